"""The WebSocket handshake in both protocols: ``Upgrade`` of HTTP/1.1, extended CONNECT of HTTP/2 (RFC 8441).

The path sees each head in the client's protocol: 101 where that is HTTP/1.1, 200 with ``Head.tunnel`` where
it is HTTP/2.  So an upstream's side translates the answer that switches before it hands it on.
"""

from typing import Final

from proxy.http2.heads import read_lines, response_block, write_fields
from proxy.wire.errors import ProtocolError
from proxy.wire.h1_fields import parse_response
from proxy.wire.h1_head import NO_BODY, Head, Names
from proxy.wire.h2_block import Block
from proxy.wire.h2_field import Field, interned
from proxy.wire.websocket import ACCEPT, KEY, WEBSOCKET, accept_of, is_key

# What HTTP/1.1 alone has of the handshake, and a length, which CONNECT has not (RFC 9110, section 9.3.6).
_NOT_IN_CONNECT: Final = frozenset({b"content-length", KEY, ACCEPT})
_MANY: Final = 1 << 20
_STATUS: Final = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n"


def asks(head: Head) -> bool:
    """Whether a request asks for a WebSocket, in either protocol; its ``upgrade`` is not empty."""
    if head.upgrade.lower() != WEBSOCKET:
        return False
    return head.block is not None or (head.method == b"GET" and head.framing == NO_BODY)


def connect_block(head: Head) -> Block:
    """Give the extended CONNECT of a request that asks for a WebSocket (RFC 8441, section 4)."""
    block = head.block
    if isinstance(block, Block):
        return block.without(_NOT_IN_CONNECT)
    fields = [
        interned(b":method", b"CONNECT"),
        interned(b":protocol", WEBSOCKET),
        interned(b":scheme", b"http"),
        interned(b":authority", head.authority),
        interned(b":path", head.origin),
    ]
    return Block.of(fields + _kept_lines(head))


def accept_for(head: Head) -> bytes:
    """Give the sec-websocket-accept that the client waits for, b"" in HTTP/2; raises ProtocolError."""
    if head.block is not None:
        return b""
    lines: list[Field] = []
    read_lines(head, lines)
    keys = [field.value for field in lines if field.name == KEY]
    if len(keys) != 1 or not is_key(keys[0]):
        raise ProtocolError(400, "bad_websocket_key", "a WebSocket needs one sec-websocket-key of 16 bytes")
    return accept_of(keys[0])


def switched(head: Head, accept: bytes, names: Names) -> Head:
    """Give the 2xx of an HTTP/2 upstream as the client gets it; ``accept``: what HTTP/1.1 waits for.

    Raises ProtocolError where HTTP/1.1 cannot say it.
    """
    block = response_block(head).without(_NOT_IN_CONNECT)
    if not accept:
        return _tunnel(block, head)
    lines = [_STATUS, ACCEPT, b": ", accept, b"\r\n"]
    write_fields(block, lines)
    lines.append(b"\r\n")
    return parse_response(b"".join(lines), names, _MANY, False)


def agreed(head: Head, key: bytes) -> Head:
    """Give the 101 of an HTTP/1.1 upstream as an HTTP/2 client gets it; ``key``: what was sent.

    Raises ProtocolError where the upstream did not agree to this (RFC 6455, section 4.1).
    """
    lines: list[Field] = []
    read_lines(head, lines)
    accepts = [field.value for field in lines if field.name == ACCEPT]
    if head.upgrade.lower() != WEBSOCKET or accepts != [accept_of(key)]:
        raise ProtocolError(502, "bad_websocket_accept", "101 that does not answer our sec-websocket-key")
    return _tunnel(Block.of([interned(b":status", b"200"), *_kept_lines(head)]), head)


def _tunnel(block: Block, head: Head) -> Head:
    """Make the head of an answer behind which a tunnel follows."""
    made = Head(b"")
    made.block = block
    made.status = block.status
    made.fields = head.fields
    made.tunnel = True
    return made


def _kept_lines(head: Head) -> list[Field]:
    """Give the fields of a head of HTTP/1.1 that the handshake of HTTP/2 has too."""
    lines: list[Field] = []
    read_lines(head, lines)
    return [field for field in lines if field.name not in _NOT_IN_CONNECT]
