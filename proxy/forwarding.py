"""The request head as the upstream gets it: who asked, by which way.

``via`` is what RFC 9110, section 7.6.3, asks of a gateway; ``x-forwarded-*`` and ``x-request-id`` are what
everybody reads.  What came in them is believed only with ``trusted_hops``: else the address chain is
continued and the rest replaced.
"""

from typing import Final

from proxy.exchange import Exchange
from proxy.wire import h1_write
from proxy.wire.h1_head import Head
from proxy.worker import REWRITTEN

HTTP: Final = b"http"
HTTPS: Final = b"https"
VIA: Final = b"via: 1.1 misrule\r\n"
VIA_HTTP2: Final = b"via: 2 misrule\r\n"  # the version is that of the message as it came
_VIA_HTTP10: Final = b"via: 1.0 misrule\r\n"
_OURS: Final = REWRITTEN | {b"x-request-id"}


def lines_for(source: str, http2: bool = False, scheme: bytes = HTTP, certificate: bytes = b"") -> bytes:
    """Give the lines that are the same for all requests of a connection.

    ``certificate``: what the line x-forwarded-client-cert says, b"": there is none.
    """
    lines = VIA_HTTP2 if http2 else VIA
    if source:
        lines = b"x-forwarded-for: %b\r\n" % source.encode() + lines
    if certificate:
        lines += b"x-forwarded-client-cert: %b\r\n" % certificate
    return b"%bx-forwarded-proto: %b\r\n" % (lines, scheme)


def nothing_came(head: Head) -> bool:
    """Tell whether none of the fields came that the proxy writes itself, so that all lines are our own."""
    ours = head.ours
    if ours == 0:
        fields = head.fields
        ours = 1 if fields is None or _OURS.isdisjoint(fields) else 2
        head.ours = ours
    return ours == 1


def identify(ex: Exchange, head: Head) -> None:
    """Give the exchange its request id: the one that came, or a new one."""
    if head.ours != 1:
        fields = head.fields
        if fields is not None and not nothing_came(head):
            came = fields.get(b"x-request-id")
            if came and came[0]:
                ex.request_id = came[0]
                return
    ex.request_id = ex.worker.next_id()


def upstream_head(ex: Exchange, head: Head) -> bytes:
    """Write the head for the upstream."""
    fields = head.fields
    if head.minor == 0:
        extra = continued(ex, head, fields or {})
    elif fields is None or nothing_came(head):
        extra = b"%bx-forwarded-host: %b\r\nx-request-id: %b\r\n" % (
            ex.forward,
            head.authority,
            ex.request_id,
        )
    else:
        extra = continued(ex, head, fields)
    authority = head.authority
    if not authority and ex.endpoint is not None:
        # A request of HTTP/1.0 may come without a host; one of HTTP/1.1 must have it (RFC 9112, section 3.2).
        authority = (ex.endpoint.address() if not ex.endpoint.path else "localhost").encode()
    return h1_write.request_head(head, extra, len(head.upgrade) > 0, authority)


def continued(ex: Exchange, head: Head, fields: dict[bytes, list[bytes]]) -> bytes:
    """Write our lines where some of them may have come: continue, believe or replace them."""
    trusted = ex.trusted_hops > 0
    chain = fields.get(b"x-forwarded-for", [])
    if ex.source:
        chain = [*chain, ex.source.encode()]
    proto = fields.get(b"x-forwarded-proto") if trusted else None
    host = fields.get(b"x-forwarded-host") if trusted else None
    if ex.head.block is not None:
        lines = [VIA_HTTP2]
    else:
        lines = [VIA if head.minor else _VIA_HTTP10]
    if chain:
        lines.append(b"x-forwarded-for: " + b", ".join(chain) + b"\r\n")
    lines.append(b"x-forwarded-proto: " + (proto[0] if proto else ex.scheme) + b"\r\n")
    lines.append(b"x-forwarded-host: " + (host[0] if host else head.authority) + b"\r\n")
    certificates = fields.get(b"x-forwarded-client-cert", []) if ex.certificate is None else [ex.certificate]
    for certificate in certificates:
        if certificate:
            lines.append(b"x-forwarded-client-cert: " + certificate + b"\r\n")
    came = fields.get(b"x-request-id")
    if not came or not came[0]:
        lines.append(b"x-request-id: " + ex.request_id + b"\r\n")
    return b"".join(lines)


def true_source(peer: str, head: Head, trusted_hops: int) -> str:
    """Give the client's address: the peer's, or what the trusted proxies in front say."""
    fields = head.fields
    if trusted_hops == 0 or fields is None or b"x-forwarded-for" not in fields:
        return peer
    chain = b",".join(fields[b"x-forwarded-for"]).split(b",")
    return chain[max(0, len(chain) - trusted_hops)].strip().decode("latin-1")
