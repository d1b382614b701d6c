"""What the proxy adds to a request that goes on by HTTP/2, see ``proxy.forwarding``."""

from typing import Final

from proxy import forwarding
from proxy.exchange import Exchange
from proxy.http2.heads import block_of_lines, request_block
from proxy.http2.upgrades import connect_block
from proxy.wire.h2_block import Block
from proxy.wire.hpack_encode import literal
from proxy.worker import REWRITTEN

_KEPT: Final = 1024
_LONG: Final = 256  # bytes of an authority that is not remembered
_hosts: Final[dict[bytes, bytes]] = {}  # x-forwarded-host, encoded, by authority
_ID_SIZE: Final = 36  # bytes of a request id of our own,
_ID: Final = literal(b"x-request-id", b"-" * _ID_SIZE)[:-_ID_SIZE]  # and what stands before it
_encoded: Final[dict[bytes, bytes]] = {}  # lines that all requests of a client's connection get, encoded


def block_for(ex: Exchange) -> Block:
    """Give the request's own fields, less those that the proxy writes anew."""
    endpoint = ex.endpoint
    over_tls = endpoint is not None and endpoint.credentials is not None
    block = request_block(ex.head, forwarding.HTTPS if over_tls else ex.scheme)
    return block if ex.head.ours == 1 or forwarding.nothing_came(ex.head) else block.without(REWRITTEN)


def connect_for(ex: Exchange) -> Block:
    """Give the fields of a request that asks for a WebSocket, likewise."""
    return connect_block(ex.head).without(REWRITTEN)


def extra_for(ex: Exchange) -> bytes:
    """Give our own fields as encoded literals, put behind the block's."""
    head = ex.head
    if head.minor == 0 or (head.ours != 1 and head.fields is not None and not forwarding.nothing_came(head)):
        return encode(forwarding.continued(ex, head, head.fields or {}))
    lines = ex.forward
    coded = _encoded.get(lines)
    if coded is None:
        coded = encode(lines)
        if len(_encoded) >= _KEPT:
            _encoded.clear()
        _encoded[lines] = coded
    request_id = ex.request_id
    if len(request_id) == _ID_SIZE:
        return coded + _host(head.authority) + _ID + request_id
    return coded + _host(head.authority) + literal(b"x-request-id", request_id)


def _host(authority: bytes) -> bytes:
    """Encode x-forwarded-host: clients ask the same few hosts again and again."""
    coded = _hosts.get(authority)
    if coded is None:
        coded = literal(b"x-forwarded-host", authority)
        if len(_hosts) >= _KEPT:
            _hosts.clear()
        if len(authority) <= _LONG:
            _hosts[authority] = coded
    return coded


def encode(lines: bytes) -> bytes:
    """Encode whole lines so that they depend on no table."""
    return b"".join([literal(field.name, field.value) for field in block_of_lines(lines).fields])
