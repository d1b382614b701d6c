"""Which trailer fields are passed on (RFC 9110, section 6.5; RFC 9112, section 7.1.2).

A recipient may merge trailers into the head: so none passes that would frame, route, authenticate or
describe the message, and none that the proxy writes itself.
"""

from typing import Final

from proxy.wire.errors import refusal
from proxy.wire.h1_head import CUT, KIND, PLAIN, Names
from proxy.wire.h1_match import fields_are_valid
from proxy.wire.h1_refuse import TRAILERS, diagnose

FORBIDDEN: Final = frozenset(
    b"""
    age authorization cache-control connection content-encoding content-language content-length
    content-location content-range content-type cookie date expect expires forwarded host if-match
    if-modified-since if-none-match if-range if-unmodified-since keep-alive location max-forwards pragma
    proxy-authenticate proxy-authorization proxy-connection range retry-after set-cookie te trailer
    transfer-encoding upgrade vary via warning www-authenticate x-forwarded-for x-forwarded-host
    x-forwarded-proto
    """.split()
)


def read_trailers(section: bytes, names: Names, most_fields: int) -> bytes:
    """Check a trailer section with its empty line; gives the lines that may be passed on."""
    if section == b"\r\n":
        return b""
    if not fields_are_valid(section):
        raise diagnose(TRAILERS, section)
    lines = section[:-4].split(b"\r\n")
    if len(lines) > most_fields:
        raise refusal("too_many_trailers", f"more than {most_fields} trailer fields")
    kept: list[bytes] = []
    for line in lines:
        name = line[: line.index(b":")].lower()
        if name not in FORBIDDEN and not names.kinds.get(name, PLAIN) & (CUT | KIND):
            kept.append(line + b"\r\n")
    return b"".join(kept)
