"""Heads of HTTP/2 as the path sees them, and their translation to and from HTTP/1.1 (RFC 9113, section 8.3).

What comes by HTTP/2 for an HTTP/1.1 peer is written as HTTP/1.1 and read again by the strict reader of that
protocol: whatever could desynchronise the next parser is refused there, as if it had come so.
Everything derived from a block or a head is kept with it: both come again and again.
"""

from typing import Final

from proxy.wire.h1_fields import parse_request, parse_response
from proxy.wire.h1_head import CHUNKED, LENGTH, NO_BODY, UNTIL_CLOSE, Head, Names
from proxy.wire.h1_trailers import FORBIDDEN
from proxy.wire.h2_block import Block
from proxy.wire.h2_field import LITERAL, Field, interned
from proxy.wire.websocket import ACCEPT, KEY

# Fields that mean one connection of HTTP/1.1, or whose place pseudo-headers take (RFC 9113, section 8.2.2).
_NOT_IN_H2: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"host", b"te"}
)
_STATUS: Final = (b"grpc-status", b"grpc-message")
_LENGTH: Final = frozenset({b"content-length"})
# What CONNECT must not have (RFC 9110, section 9.3.6), and what we write ourselves in an upgrade.
_NOT_IN_UPGRADE: Final = frozenset({b"content-length", KEY, ACCEPT})
_MANY: Final = 1 << 20  # the codec of HTTP/2 has bounded the list of fields already


class Derived:
    """What was made of one block: heads with and without a body, in both protocols' forms."""

    __slots__ = ("bare", "bodied", "h1_bare", "h1_bodied")

    def __init__(self) -> None:
        self.bare: Head | None = None
        self.bodied: Head | None = None
        self.h1_bare: Head | None = None
        self.h1_bodied: Head | None = None


def _derived(block: Block) -> Derived:
    """Give what is kept of a block: from its second sight on, since most others never come again.

    A block that keeps heads and heads that know their block are a cycle, which only the collector ends.
    """
    known = block.head
    if isinstance(known, Derived):
        return known
    made = Derived()
    block.head = made
    return made


def _kept(block: Block, names: Names) -> Derived:
    """Give what is kept of a block; nothing new is kept."""
    known = block.head
    return known if block.head_names is names and isinstance(known, Derived) else Derived()


def _known(block: Block, names: Names, ended: bool) -> Head | None:
    """Give the head that was made of a block before."""
    if block.head_names is not names:
        block.head_names = names
        block.head = None
        return None
    derived = _derived(block)
    return derived.bare if ended else derived.bodied


def _keep(block: Block, head: Head, ended: bool) -> Head:
    """Keep a head with its block, where that has come before."""
    derived = block.head
    if isinstance(derived, Derived):
        if ended:
            derived.bare = head
        else:
            derived.bodied = head
    return head


def request_head(block: Block, names: Names, ended: bool) -> Head:
    """Give the head of a request; ``ended``: no body follows."""
    known = _known(block, names, ended)
    return _keep(block, _request_head(block, names, ended), ended) if known is None else known


def _request_head(block: Block, names: Names, ended: bool) -> Head:
    like = block.like
    if like is not None and not _collects(names, block):
        known = _kept(like, names)
        base = known.bare if ended else known.bodied
        return _with_path(request_head(like, names, ended) if base is None else base, block)
    head = Head(b"")
    head.block = block
    head.method = block.method
    head.upgrade = block.protocol
    head.target = block.path
    head.origin = block.path
    head.path, _, head.query = block.path.partition(b"?")
    head.authority = block.authority
    head.host = host_of(block.authority)
    head.length = block.length
    if not ended:
        head.framing = CHUNKED if block.length < 0 else LENGTH
    head.fields = block.collect(names.collected)
    if block.content_type:
        head.grpc = is_grpc(block.content_type)
    if block.expect:
        head.expect_continue = block.expect.lower() == b"100-continue"
    return head


def _collects(names: Names, block: Block) -> bool:
    """Tell whether a field is to be collected in which a block differs from the one that it is like."""
    fields = block.fields
    for place in block.places:
        if fields[place].name in names.collected:
            return True
    return False


def _with_path(head: Head, block: Block) -> Head:
    """Copy the head of a request, with the path of another block that is alike but for it."""
    made = _changed(head, block)
    if block.path != head.target:
        made.target = made.origin = block.path
        made.path, _, made.query = block.path.partition(b"?")
    return made


def is_grpc(content_type: bytes) -> bool:
    """Tell a gRPC call by its content type (the gRPC protocol over HTTP/2, "Requests"); gRPC-Web is none."""
    return content_type.startswith(b"application/grpc") and content_type[16:17] in (b"", b"+", b";")


def host_of(authority: bytes) -> bytes:
    """Give the host of an authority: lower-case, without port."""
    host = authority.lower()
    if host.endswith(b"]"):
        return host
    before, colon, _ = host.rpartition(b":")
    return before if colon else host


def response_head(block: Block, names: Names, ended: bool) -> Head:
    """Give the head of a response; ``ended``: no body follows."""
    known = _known(block, names, ended)
    return _keep(block, _response_head(block, names, ended), ended) if known is None else known


def _response_head(block: Block, names: Names, ended: bool) -> Head:
    head = Head(b"")
    head.block = block
    head.status = block.status
    head.length = block.length
    if not ended:
        head.framing = UNTIL_CLOSE if block.length < 0 else LENGTH
    head.fields = block.collect(names.collected)
    return head


def with_status(block: Block, status: bytes, message: bytes) -> Block:
    """Give trailers (or a head that is trailers too) with another end of a gRPC call; b"": none."""
    fields = [field for field in block.fields if field.name not in _STATUS]
    if status:
        fields.append(Field(b"grpc-status", status, LITERAL))
    if message:
        fields.append(Field(b"grpc-message", message, LITERAL))
    return Block.of(fields)


def unmeasured(head: Head) -> Head:
    """Give a head that does not say how long its body is."""
    if head.length < 0:
        return head
    made = _changed(head, _block_of(head).without(_LENGTH))
    made.length = -1
    made.framing = CHUNKED if head.method else UNTIL_CLOSE
    return made


def ending_so(head: Head, status: bytes, message: bytes) -> Head:
    """Give the head of an answer that is trailers only, with another end of the call."""
    return _changed(head, with_status(_block_of(head), status, message))


def _block_of(head: Head) -> Block:
    return request_block(head) if head.method else response_block(head)


def _changed(head: Head, block: Block) -> Head:
    """Copy a head, with other fields."""
    made = Head(b"")
    made.block = block
    made.status = head.status
    made.method = head.method
    made.target = head.target
    made.origin = head.origin
    made.path = head.path
    made.query = head.query
    made.authority = head.authority
    made.host = head.host
    made.length = head.length
    made.framing = head.framing
    made.fields = head.fields
    made.grpc = head.grpc
    made.expect_continue = head.expect_continue
    made.ours = head.ours
    made.upgrade = head.upgrade
    return made


# --- to HTTP/1.1


def h1_request(head: Head, names: Names) -> Head:
    """Give a request of HTTP/2 as a head of HTTP/1.1; raises ProtocolError where there is none."""
    block = head.block
    if not isinstance(block, Block):
        return head
    derived = _kept(block, names)
    ended = head.framing == NO_BODY
    made = derived.h1_bare if ended else derived.h1_bodied
    if made is None:
        method = b"GET" if block.protocol else block.method
        lines = [method, b" ", block.path, b" HTTP/1.1\r\nhost: ", block.authority, b"\r\n"]
        if block.protocol:
            write_fields(block.without(_NOT_IN_UPGRADE), lines)
            lines += (b"connection: upgrade\r\nupgrade: ", block.protocol, b"\r\n")
        else:
            write_fields(block, lines)
        if not ended and block.length < 0:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        made = parse_request(b"".join(lines), names, _MANY)
        if ended:
            derived.h1_bare = made
        else:
            derived.h1_bodied = made
    return made


def h1_response(head: Head, names: Names, to_head: bool) -> Head:
    """Give a response of HTTP/2 as a head of HTTP/1.1; ``to_head``: it answers HEAD.

    Raises ProtocolError where there is none.  Behind a status that has no body the codec lets none pass.
    """
    block = head.block
    if not isinstance(block, Block):
        return head
    ended = head.framing == NO_BODY
    lines: list[bytes] = [b"HTTP/1.1 %d \r\n" % block.status]
    write_fields(block, lines)
    if ended and block.length < 0 and not to_head and block.status >= 200:
        if block.status not in (204, 304):
            lines.append(b"content-length: 0\r\n")
    lines.append(b"\r\n")
    return parse_response(b"".join(lines), names, _MANY, to_head or ended)


def write_fields(block: Block, lines: list[bytes]) -> None:
    """Write the regular fields as lines; cookie crumbs become one line again (section 8.2.3)."""
    cookies: list[bytes] = []
    for field in block.fields:
        name = field.name
        if name[0] == 58 or name in _NOT_IN_H2:
            continue
        if name == b"cookie":
            cookies.append(field.value)
        else:
            lines += (name, b": ", field.value, b"\r\n")
    if cookies:
        lines += (b"cookie: ", b"; ".join(cookies), b"\r\n")


def lines_of(block: Block) -> bytes:
    """Write trailers as lines, less those that a recipient must not merge into the head."""
    known = block.trailer_lines
    if known is not None:
        return known
    lines: list[bytes] = []
    passes = True
    for field in block.fields:
        if field.name in FORBIDDEN:
            passes = False
        else:
            lines += (field.name, b": ", field.value, b"\r\n")
    block.trailers_pass = passes
    made = b"".join(lines)
    block.trailer_lines = made
    return made


def trailers_of(block: Block) -> Block | None:
    """Give trailers less the same ones (RFC 9110, section 6.5.1); None where nothing is left."""
    lines = lines_of(block)
    if block.trailers_pass:
        return block
    return block.without(FORBIDDEN) if lines else None


# --- to HTTP/2


def request_block(head: Head, scheme: bytes = b"http") -> Block:
    """Give a request's head as a block, whatever protocol it came by."""
    block = head.block
    if isinstance(block, Block):
        return block
    known = head.translated
    if isinstance(known, Block) and known.scheme == scheme:
        return known
    fields = [
        interned(b":method", head.method),
        interned(b":scheme", scheme),
        interned(b":authority", head.authority),
        interned(b":path", head.origin),
    ]
    read_lines(head, fields)
    made = Block.of(fields)
    made.scheme = scheme
    head.translated = made
    return made


def response_block(head: Head) -> Block:
    """Give a response's head as a block, whatever protocol it came by."""
    block = head.block
    if isinstance(block, Block):
        return block
    known = head.translated
    if isinstance(known, Block):
        return known
    fields = [interned(b":status", b"%d" % head.status)]
    read_lines(head, fields)
    made = Block.of(fields)
    head.translated = made
    return made


def read_lines(head: Head, fields: list[Field]) -> None:
    """Read the field lines of a head of HTTP/1.1, without those that are of its connection alone."""
    cuts = head.cuts or []
    at = head.line_end + 2
    raw = head.raw
    for start, end in cuts:
        _read_part(raw[at:start], fields)
        at = max(at, end)
    _read_part(raw[at:-2], fields)


def _read_part(lines: bytes, fields: list[Field]) -> None:
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if colon and name not in _NOT_IN_H2:
            fields.append(interned(name, value.strip(b" \t")))


def block_of_lines(lines: bytes) -> Block:
    """Read whole lines, of trailers or of our own making, as fields that are not indexed."""
    fields: list[Field] = []
    for line in lines.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.append(Field(name.lower(), value.strip(b" \t"), LITERAL))
    return Block.of(fields)
