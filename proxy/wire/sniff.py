"""Which protocol a client speaks, by its first bytes: for ports where all kinds of them arrive.

What is no TLS and no request line of HTTP is passed on unread, so a doubt is no harm there; but a protocol
that is no HTTP must not be answered 400.  So it takes the whole first line to be taken for HTTP: ``get foo``
of memcached has a method and a target too, and no version.  Requests to a forward proxy (CONNECT, or with a
whole URL) pass unread as well: they are for that proxy, and no gateway's to answer.
"""

import re
from typing import Final

MORE: Final = 0  # it may be HTTP or TLS: more of it must come
HTTP: Final = 1  # of whatever version: HTTP/2 begins with such a line too (RFC 9113, section 3.4)
TLS: Final = 2
OTHER: Final = 3

_LONGEST: Final = (
    32768  # bytes of a line that may be HTTP: a longer one is taken for it, and refused as too long
)
_HANDSHAKE: Final = (
    22  # the type of the first record (RFC 8446, section 5.1), with the major version behind it
)
_MAJOR: Final = 3

# RFC 9112, section 3, and section 2.2 for empty lines before it.
_METHOD: Final = rb"(?:\r?\n)*[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
_LINE: Final = re.compile(_METHOD + rb" [^\x00-\x1f\x7f]*HTTP/[0-9]\.[0-9][ \t]*\r?\n")
_TO_A_PROXY: Final = re.compile(rb"(?:\r?\n)*(?:CONNECT |[A-Z-]+ [A-Za-z][A-Za-z0-9+.-]*://)")  # 3.2.2, 3.2.3
_BEGINNING: Final = re.compile(rb"(?:\r?\n)*\r?|" + _METHOD + rb"(?: [^\x00-\x1f\x7f]*\r?)?")


def recognise(data: bytes) -> int:
    """Say what a client speaks that has sent this much, and has sent something: MORE, HTTP, TLS or OTHER."""
    if data[0] == _HANDSHAKE:
        if len(data) == 1:
            return MORE
        return TLS if data[1] == _MAJOR else OTHER
    if _LINE.match(data) is not None:
        return HTTP if _TO_A_PROXY.match(data) is None else OTHER
    if _BEGINNING.fullmatch(data) is None:
        return OTHER
    return HTTP if len(data) > _LONGEST else MORE
