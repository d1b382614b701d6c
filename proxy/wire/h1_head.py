"""The head of an HTTP/1.1 message, and the names that are looked at in it.

A head stays the bytes that came.  A scan (``h1_match`` or ``h1_scan``, two bodies of one function)
checks all of them, and notes the few fields that framing, routing, the proxy itself or a rule needs.
``h1_fields`` says what those mean.  ``h1_write`` passes the rest on untouched.
"""

import re
from typing import Final

from mypy_extensions import i64

REQUEST: Final = 0
RESPONSE: Final = 1

# How the end of a body is found (RFC 9112, section 6.3).
NO_BODY: Final = 0
LENGTH: Final = 1
CHUNKED: Final = 2
UNTIL_CLOSE: Final = 3

# What a field name means to the codec: a kind, and two bits.
KIND: Final = 15
PLAIN: Final = 0
CONTENT_LENGTH: Final = 1
TRANSFER_ENCODING: Final = 2
CONNECTION: Final = 3
UPGRADE: Final = 4
HOST: Final = 5
EXPECT: Final = 6
HOP: Final = 7  # belongs to this connection only: never passed on
COLLECT: Final = 16  # its values are wanted in Head.fields
CUT: Final = 32  # never passed on: the proxy writes its own

# RFC 9110, section 7.6.1.  `trailer` is not among them: trailers are passed on, and so is their list.
_KNOWN: Final[dict[bytes, int]] = {
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"host": HOST,
    b"expect": EXPECT,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"te": HOP,
}

# With more names than this, trying them one by one at each line costs more than a look-up per line.
_MANY: Final = 64

# Heads that are remembered by their bytes: so many, and none larger than so many bytes.
KNOWN_HEADS: Final = 512
KNOWN_SIZE: Final = 2048

# A set of (length, first letter) pairs as a table: a name not in it needs no look-up.
_FILTER_SIZE: Final = 64 * 32


class Names:
    """The field names that a reader looks at, lower-case; built once per rule set.

    ``collect``: names whose values are wanted in ``Head.fields``.  ``cut``: names that are not passed
    on, because the proxy writes its own; their values are collected too.
    """

    __slots__ = ("collected", "filter", "finditer", "kinds", "many", "requests", "responses")

    def __init__(self, collect: frozenset[bytes], cut: frozenset[bytes] = frozenset()) -> None:
        kinds = dict(_KNOWN)
        for name in collect:
            kinds[name] = kinds.get(name, PLAIN) | COLLECT
        for name in cut:
            kinds[name] = kinds.get(name, PLAIN) | COLLECT | CUT
        self.kinds: dict[bytes, int] = kinds
        self.many: bool = len(kinds) > _MANY
        self.finditer: Final = re.compile(_any_line() if self.many else _line_of(kinds)).finditer
        table = bytearray(_FILTER_SIZE)
        for name in kinds:
            table[filter_place(len(name), name[0])] = 1
        self.filter: bytes = bytes(table)
        self.collected: frozenset[bytes] = collect | cut
        # Heads that came before, byte for byte: peers repeat themselves, and reading a head costs the most.
        self.requests: dict[bytes, Head] = {}
        self.responses: dict[bytes, Head] = {}


def filter_place(size: i64, first: i64) -> i64:
    """Say where a name of this size and first letter, of either case, stands in ``Names.filter``."""
    return (size & 63) * 32 + (first & 31)


def _any_line() -> bytes:
    return rb"\r\n([^:\r]+):[ \t]*([^\r]*)"


def _line_of(kinds: dict[bytes, int]) -> bytes:
    """Make the pattern of a line whose name is one of these, grouped by first letter to fail early."""
    groups: dict[bytes, list[bytes]] = {}
    for name in sorted(kinds):
        groups.setdefault(name[:1], []).append(re.escape(name[1:]))
    choices = [re.escape(first) + b"(?:" + b"|".join(rest) + b")" for first, rest in groups.items()]
    return rb"\r\n(" + b"|".join(choices) + rb"):[ \t]*([^\r]*)"


class Head:
    """One head as it was read.  Text stays bytes, as it came; ``host`` alone is lower-cased.

    ``fields`` holds the values of the names that were to be collected, trimmed, in their order; None
    when there is none.  ``length`` is what content-length says, -1 when it is absent (it may be there
    although ``framing`` is NO_BODY, in the answer to HEAD).

    A head that was read never changes: exchanges share it where the same bytes come again.  Defaults
    stand in the class, so that making one costs as little as it sets.
    """

    # a request
    method: bytes = b""
    target: bytes = b""  # as it came
    origin: bytes = b""  # the target as it is passed on: origin-form or "*"
    path: bytes = b""
    query: bytes = b""  # without "?"
    authority: bytes = b""  # of the target, else of Host; b"" where HTTP/1.0 has none
    authority_of_target: bool = False
    host: bytes = b""  # the authority lower-case, without port
    expect_continue: bool = False
    # a response
    status: int = 0
    reason: bytes = b""
    # both
    minor: int = 1  # 0 or 1; a later 1.x is read as 1.1 (RFC 9110, section 2.5)
    framing: int = NO_BODY
    length: int = -1
    keep_alive: bool = True
    upgrade: bytes = b""  # the protocols offered or chosen; b"" unless `connection: upgrade`
    fields: dict[bytes, list[bytes]] | None = None
    # for the writers: offsets into raw
    as_came: bool = True  # the first line can be passed on as it is
    line_end: int = 0  # of the CRLF that ends the first line
    cuts: list[tuple[int, int]] | None = None  # whole lines to leave out, in order
    frame_start: int = 0  # the line that frames the body (content-length, transfer-encoding)
    frame_end: int = 0
    # while it is read
    codings: bytes | None = None
    options: bytes | None = None
    host_start: int = -1
    host_end: int = 0
    field_lines: int = 0
    ours: int = 0  # whether fields came that the proxy writes itself: 0 not known yet, 1 no, 2 yes
    written: bytes = b""  # as it is passed on where nothing is added to it
    # of HTTP/2
    grpc: bool = False  # a gRPC call, by its content type
    counted: object | None = None  # where the calls of this head are counted
    block: object | None = None  # the header block that this was made of
    tunnel: bool = False  # an answer to CONNECT behind which a tunnel follows
    translated: object | None = None  # the header block that was made of this

    def __init__(self, raw: bytes) -> None:
        self.raw: bytes = raw  # all of it, to the end of the empty line
        self.hits: list[tuple[bytes, int, int, int]] = []  # name, start of line, of value, end of value
