"""A connection to an upstream in HTTP/2: many exchanges at once."""

import asyncio
from typing import Any, Final, cast

from proxy import errors
from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.http2 import upgrades
from proxy.http2.heads import response_head
from proxy.http2.link import Talker
from proxy.http2.upstream_stream import UpstreamStream
from proxy.http2.upstream_tunnel import UpstreamTunnelStream
from proxy.net.pool import Endpoint, Upstream
from proxy.path import end
from proxy.path import response_head as phase
from proxy.performer import Then
from proxy.wire.errors import ProtocolError
from proxy.wire.h2 import (
    CLIENT,
    DATA,
    END,
    GOAWAY_CAME,
    HEAD,
    INTERIM,
    RESET,
    STREAMS,
    TRAILERS,
    WRITABLE,
    H2Connection,
    H2Settings,
)
from proxy.wire.h2_errors import NO_ERROR, H2Error
from proxy.worker import Worker
from rules.snapshot import Snapshot

# Streams that are counted on before the upstream has said how many it allows.
_EXPECTED: Final = 100


class UpstreamConnection(Talker):
    """The connection: what is common to all its streams."""

    place = "upstream"

    def __init__(self, worker: Worker, target: Upstream, endpoint: Endpoint, again: Then) -> None:
        super().__init__(worker, H2Connection(CLIENT, H2Settings()))
        self.target: Upstream = target
        self.endpoint: Endpoint = endpoint
        self.again: Then = again
        self.waiting: list[Exchange] = []  # for the connection to stand, or for what it allows
        self.made: bool = False
        self.used: bool = False  # a request was sent
        self.settled_until: float = 0.0  # so long requests may wait for the upstream's SETTINGS
        self.ended: bool = False
        self.standing: bool = False  # who dials knows that it stands
        self.lost: bool = False  # the upstream has ended it
        self.error: Exception | None = None  # with which the connection was lost

    def has_room(self, careful: bool) -> bool:
        """Tell whether one more exchange may begin here.

        ``careful``: also as the upstream counts that has not noticed yet which ones were reset.
        """
        transport = self.link.transport
        if self.ended or self.link.resetting or (transport is not None and transport.is_closing()):
            return False
        if self.made:
            codec = self.codec
            room = codec.room_for_streams(_EXPECTED)
            if careful and codec.resets:
                room = min(room, codec.sure_room(self.worker.clock()))
            return room > len(self.waiting)
        return len(self.waiting) < _EXPECTED

    def begin(self, ex: Exchange) -> None:
        """Send a request, at once or as soon as the connection stands."""
        if not self.made:
            self.waiting.append(ex)
            return
        accept: bytes | None = None
        if ex.head.upgrade and upgrades.asks(ex.head):
            accept = self._accept(ex)
            if accept is None:
                return
        stream = self.codec.open(self.worker.clock())
        if stream is None:
            self.again.carry_on(ex)
            return
        if self.used:
            self.target.cells.reused += 1
        self.used = True
        if accept is None:
            side = UpstreamStream(self.link, stream, self.target, self.endpoint, self.again)
        else:
            side = UpstreamTunnelStream(self.link, stream, self.target, self.endpoint, self.again, accept)
        stream.owner = side
        side.begin(ex)

    def _accept(self, ex: Exchange) -> bytes | None:
        """Give the sec-websocket-accept for a request that may be sent; None: it waits, or has failed."""
        if not self.codec.settled:
            self.waiting.append(ex)  # the upstream has to allow it before (RFC 8441, section 3)
            return None
        if not self.codec.peer_connect_protocol:
            end.fail(ex, errors.UPGRADE_NOT_OFFERED)
            return None
        try:
            return upgrades.accept_for(ex.head)
        except ProtocolError as error:
            end.fail(ex, errors.refused_request(error.kind, error.status, error.text))
            return None

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.link.attach(cast(asyncio.Transport, transport))
        self.worker.connections[self] = None
        self.codec.start()
        self.made = True
        self.settled_until = self.worker.timers.now() + self.target.connect_timeout

    def stands(self) -> None:
        """Begin what waited for this connection."""
        self.standing = True
        self.target.cells.opened += 1
        self._begin_waiting()
        self.link.mark()

    def take_waiting(self) -> list[Exchange]:
        """Give those who wait: they do not any more."""
        waiting = self.waiting
        self.waiting = []
        return waiting

    def _begin_waiting(self) -> None:
        for ex in self.take_waiting():
            if not ex.over:
                self.begin(ex)

    def _fail_waiting(self, failure: Failure) -> None:
        for ex in self.take_waiting():
            end.fail(ex, failure)

    def eof_received(self) -> bool:
        """The upstream sends no more."""
        self.lost = True
        self._leave_pool()
        self.codec.feed_eof()
        self.go_on_reading()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, and all its exchanges with it."""
        self.lost = True
        self.error = error
        self.never_made()
        self.worker.connections.pop(self, None)
        if self.standing:  # else who dials tries another address
            self._fail_waiting(errors.UPSTREAM_CLOSED)
        for stream in list(self.codec.streams.values()):
            side = stream.owner
            if isinstance(side, UpstreamStream):
                side.was_reset(-1, False)
        self.link.detach()

    # --- reading

    def on_event(self, event: int) -> None:
        if event == GOAWAY_CAME or event == STREAMS:
            self._on_limits(event)
            return
        codec = self.codec
        side = codec.stream.owner
        if not isinstance(side, UpstreamStream):
            return
        side.since = codec.now
        if event == HEAD:
            names = self.worker.live.response_names
            side.took_head(response_head(codec.block, names, codec.end), codec.end)
        elif event == DATA:
            piece = codec.piece
            if codec.flow != len(piece):
                codec.credit(codec.stream, codec.flow - len(piece))  # the padding
            side.took_content(piece, codec.end)
        elif event == TRAILERS:
            side.took_end(codec.block)
        else:
            self._on_rarer(side, event)

    def _on_limits(self, event: int) -> None:
        """The upstream takes no more streams, or more or fewer than before."""
        if event == GOAWAY_CAME:
            self._leave_pool()
            return
        if self.waiting:
            self._begin_waiting()
        self.target.grant_all()

    def _on_rarer(self, side: UpstreamStream, event: int) -> None:
        """Something came on a stream of ours that most have not."""
        codec = self.codec
        if event == END:
            side.took_end(None)
        elif event == INTERIM:
            if side.ex is not None:
                phase.interim(side.ex, response_head(codec.block, self.worker.live.response_names, True))
        elif event == RESET:
            side.was_reset(codec.code, codec.kind == "" and codec.goaway_received)
        elif event == WRITABLE:
            side.writable()

    def broken(self, error: H2Error) -> None:
        """The upstream broke the protocol."""
        self.worker.log.event(
            "warning", "upstream_protocol", message=error.text, upstream=self.target.name, kind=error.kind
        )
        for stream in list(self.codec.streams.values()):
            side = stream.owner
            if isinstance(side, UpstreamStream) and side.ex is not None:
                end.fail(side.ex, errors.UPSTREAM_PROTOCOL)
        self._fail_waiting(errors.UPSTREAM_PROTOCOL)
        self.link.close()

    # --- the end

    def _leave_pool(self) -> None:
        """Take nothing new; the rest may end."""
        if self in self.endpoint.shared:
            self.endpoint.shared.remove(self)

    def never_made(self) -> None:
        """Count this connection as open no more."""
        if not self.ended:
            self.ended = True
            self._leave_pool()
            target = self.target
            target.open -= 1
            target.cells.open = target.open
            target.grant()

    def shut(self) -> None:
        self._leave_pool()
        self.codec.goaway(-1, NO_ERROR)
        self.link.close()

    # --- what the worker asks

    def sweep(self, now: float) -> None:
        for stream in list(self.codec.streams.values()):
            side = stream.owner
            if isinstance(side, UpstreamStream):
                side.sweep(now)
        if self.waiting and self.made and now > self.settled_until:
            self._fail_waiting(errors.CONNECT_TIMEOUT)  # the upstream has sent no SETTINGS
        if self.codec.held:
            self.codec.use_rest()
            self.go_on_reading()  # tells what has gone out
        if self.moved or self.codec.streams or self.waiting:
            self.moved = False
            self.since = now
        if not self.codec.streams and (
            now - self.since > self.target.idle_timeout or self.codec.goaway_received
        ):
            self.shut()

    def rules_changed(self, before: Snapshot) -> None:
        pass

    def idle(self) -> bool:
        return self.made and not self.codec.streams and not self.waiting

    def drain(self) -> bool:
        return False  # it ends with the process: requests may wait until it stands

    def describe(self) -> dict[str, Any]:
        return {
            "side": "upstream",
            "protocol": "http2",
            "upstream": self.target.name,
            "address": self.endpoint.address(),
            "streams": len(self.codec.streams),
        }
