"""A stream to an upstream that asks for a WebSocket, and is its end of the tunnel then (RFC 8441)."""

from proxy import errors
from proxy.exchange import Exchange
from proxy.http2 import upgrades
from proxy.http2.conduit import UpstreamConduit
from proxy.http2.forwarding import connect_for, extra_for
from proxy.http2.link import Link
from proxy.http2.upstream_stream import UpstreamStream
from proxy.net.pool import Endpoint, Upstream
from proxy.path import end
from proxy.performer import Then
from proxy.wire.errors import ProtocolError
from proxy.wire.h1_head import Head
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import NO_ERROR
from proxy.wire.h2_streams import Stream


class UpstreamTunnelStream(UpstreamStream):
    """An answer other than 2xx is passed on like any other."""

    def __init__(
        self, link: Link, stream: Stream, target: Upstream, endpoint: Endpoint, again: Then, accept: bytes
    ) -> None:
        super().__init__(link, stream, target, endpoint, again)
        self.accept: bytes = accept  # sec-websocket-accept for an HTTP/1.1 client, else b""
        self.conduit: UpstreamConduit | None = None

    def send_head(self, ex: Exchange) -> None:
        self.link.codec.send_headers(self.stream, connect_for(ex), extra_for(ex), False)

    def took_head(self, head: Head, ended: bool) -> None:
        ex = self.ex
        if ex is not None and 200 <= head.status < 300:
            try:
                head = upgrades.switched(head, self.accept, ex.worker.live.response_names)
            except ProtocolError:
                end.fail(ex, errors.UPSTREAM_PROTOCOL)
                return
        super().took_head(head, ended)

    def took_content(self, piece: bytes, ended: bool) -> None:
        conduit = self.conduit
        if conduit is None:
            super().took_content(piece, ended)
            return
        self.incoming.put(piece)
        if ended:
            self.incoming.end(None)
        conduit.read()

    def took_end(self, trailers: Block | None) -> None:
        if self.conduit is None:
            super().took_end(trailers)
        else:
            self.incoming.end(trailers)
            self.conduit.read()

    def go_on_reading(self) -> None:
        if self.conduit is None:
            super().go_on_reading()
        if self.conduit is not None:
            self.conduit.read()

    def _step(self, ex: Exchange) -> bool:
        return self.conduit is None and super()._step(ex)

    def writable(self) -> None:
        if self.conduit is None:
            super().writable()
        else:
            self.conduit.writable()

    def tunnel(self, ex: Exchange) -> None:
        conduit = UpstreamConduit(self.link, self.stream, self.sender, self.incoming)
        self.conduit = conduit
        conduit.passing = ex.client.tunnel(ex, conduit)

    def was_reset(self, code: int, unseen: bool) -> None:
        conduit = self.conduit
        passing = None if conduit is None else conduit.passing
        if passing is None:
            super().was_reset(code, unseen)
        else:
            self.lost = True
            if code == NO_ERROR and conduit is not None:
                conduit.read_out()
            passing.upstream_lost(code != NO_ERROR)

    def end_stream(self) -> None:
        passing = None if self.conduit is None else self.conduit.passing
        if passing is None or not passing.ended():
            super().end_stream()
        else:  # END_STREAM may still wait for the upstream's window
            self.stream.owner = None

    def sweep(self, now: float) -> None:
        if self.conduit is None:
            super().sweep(now)  # else the client's side keeps the time
