"""What the proxy adds to a request that goes on by HTTP/2, see ``proxy.forwarding``."""

from typing import Final

from proxy import forwarding
from proxy.exchange import Exchange
from proxy.http2.heads import block_of_lines, request_block
from proxy.wire.h2_fields import Block
from proxy.wire.hpack_encode import literal
from proxy.worker import REWRITTEN

_KEPT: Final = 1024
_encoded: Final[dict[bytes, bytes]] = {}  # lines that all requests of a client's connection get, encoded


def block_for(ex: Exchange) -> Block:
    """Give the request's own fields, less those that the proxy writes anew."""
    block = request_block(ex.head)
    return block if forwarding.nothing_came(ex.head) else block.without(REWRITTEN)


def extra_for(ex: Exchange) -> bytes:
    """Give our own fields as encoded literals, put behind the block's."""
    head = ex.head
    if head.fields is not None and not forwarding.nothing_came(head):
        return encode(forwarding.continued(ex, head, head.fields))
    lines = ex.forward
    coded = _encoded.get(lines)
    if coded is None:
        coded = encode(lines + b"x-forwarded-proto: http\r\n")
        if len(_encoded) >= _KEPT:
            _encoded.clear()
        _encoded[lines] = coded
    return coded + literal(b"x-forwarded-host", head.authority) + literal(b"x-request-id", ex.request_id)


def encode(lines: bytes) -> bytes:
    """Encode whole lines so that they depend on no table."""
    return b"".join([literal(field.name, field.value) for field in block_of_lines(lines).fields])
