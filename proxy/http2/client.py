"""A client's connection in HTTP/2: each stream that it opens becomes an exchange."""

import asyncio
from typing import Any, Final, cast

from proxy import errors, limiting
from proxy.exchange import BY_BUFFER, BY_PEER, Exchange
from proxy.http2 import refused
from proxy.http2.client_stream import ClientStream
from proxy.http2.client_tunnel import ClientTunnelStream
from proxy.http2.disturbances import Disturbances
from proxy.http2.heads import request_head
from proxy.http2.link import Carrier
from proxy.listener import Listener
from proxy.path import end, request_body
from proxy.path.request_head import Intake
from proxy.wire.errors import ProtocolError
from proxy.wire.h2 import DATA, END, HEAD, NEED, PONG, REFUSED, RESET, TRAILERS, WRITABLE
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import CANCEL, ENHANCE_YOUR_CALM, NO_ERROR, H2Error
from proxy.wire.h2_streams import TUNNEL, Stream
from proxy.worker import Worker
from rules.actions import Disturb, GoAway
from rules.compiled import CompiledRule
from rules.snapshot import Snapshot

OPEN: Final = 0
LEAVING: Final = 1  # GOAWAY was sent: what is under way may end, nothing new begins
LINGER: Final = 2  # FIN was sent
CLOSED: Final = 3
# The PING between the two GOAWAYs of a graceful end, and how long (seconds) its answer is waited for.
_NOTICE: Final = b"misrule!"
_PING: Final = b"\0misrule"  # of rules
_NOTICE_PATIENCE: Final = 1.0
_MOST_AT_ONCE: Final = 32  # requests that take their steps together
_HELD_BYTES: Final = 65536  # that are read while a fault holds the connection
_STATES: Final = ("open", "leaving", "linger", "closed")

_ORDERLY: Final = GoAway()
_GRACEFUL: Final = GoAway(graceful=True)


class ClientConnection(Carrier):
    """The connection: what is common to all its streams."""

    place = "client"

    def __init__(self, worker: Worker, listener: Listener, intake: Intake) -> None:
        super().__init__(worker, refused.codec_for(listener))
        self.listener: Listener = listener
        self.intake: Intake = intake
        self.disturbances: Disturbances = Disturbances(worker, self.link)
        self.state: int = OPEN
        self.streams: dict[ClientStream, None] = {}
        self.linger_until: float = 0.0
        self.noticed: GoAway | None = None  # the first GOAWAY of a graceful end was sent: this one comes next
        self.noticed_until: float = 0.0

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ours from now on."""
        self.link.attach(cast(asyncio.Transport, transport))
        self.worker.connections[self] = None
        self.codec.start()
        self.link.mark()

    def data_received(self, data: bytes) -> None:
        if self.state < LINGER:
            super().data_received(data)

    def eof_received(self) -> bool:
        """The client sends no more: HTTP/2 knows no half-closed connection."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, and all its exchanges with it."""
        self.link.detach()
        self.worker.connections.pop(self, None)
        self.listener.cells.open -= 1
        self.state = CLOSED
        self.disturbances.clear()
        for greeting in list(self.intake.greetings):
            greeting.cancel()
        self._lose_all(error is not None)
        places = self.intake.places
        if places is not None:
            limiting.release(self.worker, places)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.link.mark()
        self.link.resume(BY_PEER)

    # --- reading

    def go_on_reading(self) -> None:
        if self.state >= LINGER:
            return
        link = self.link
        if self.intake.held:
            if self.codec.buffered > _HELD_BYTES:
                link.pause(BY_BUFFER)
            return
        if link.reasons:
            link.resume(BY_BUFFER)
        super().go_on_reading()
        link.hold_back()

    def on_event(self, event: int) -> None:
        codec = self.codec
        if event == HEAD:
            self._on_heads()
            return
        side = codec.stream.owner
        if event == DATA:
            if isinstance(side, ClientStream):
                piece = codec.piece
                padding = codec.flow - len(piece)
                if padding:
                    codec.credit(codec.stream, padding)
                side.took_content(piece, codec.end)
        elif event == PONG:
            if codec.piece == _NOTICE:
                self._on_noticed()
        elif event == REFUSED:
            refused.count_request(self.worker, self.listener, self.intake.source, codec.kind)
        elif isinstance(side, ClientStream):
            self._on_rarer(side, event)

    def _on_rarer(self, side: ClientStream, event: int) -> None:
        """Something came on a stream that most have not."""
        codec = self.codec
        if event == END:
            side.incoming.end(None)
            side.go_on_reading()
        elif event == TRAILERS:
            side.incoming.end(codec.block)
            side.go_on_reading()
        elif event == RESET:
            self._drop(side)
            side.lost(codec.code != NO_ERROR, codec.kind)
        elif event == WRITABLE:
            side.writable()
            self._forget(side)

    def _on_heads(self) -> None:
        """A request has come, and perhaps more right behind it."""
        codec = self.codec
        heads: list[tuple[Stream, Block, bool]] = []
        event = HEAD
        try:
            while event == HEAD and codec.stream.expected != TUNNEL:
                heads.append((codec.stream, codec.block, codec.end))
                if len(heads) >= _MOST_AT_ONCE or not codec.head_follows:
                    event = NEED
                    break
                event = codec.next()
        finally:
            self._begin(heads)
        if event == HEAD:
            asking = ClientTunnelStream(self, self.link, codec.stream, self.intake)
            self.streams[asking] = None
            asking.begin(codec.block, codec.end)
        elif event != NEED:
            self.on_event(event)

    def _begin(self, heads: list[tuple[Stream, Block, bool]]) -> None:
        """Begin requests: each takes one step before any takes the next.

        Code that runs several times in a row stays in the processor's caches.  From the rules on each goes
        alone: what becomes of one may count for the next.
        """
        intake = self.intake
        if intake.live is not self.worker.live:
            intake.renew()
        names = intake.live.request_names
        sides: list[ClientStream] = []
        for stream, block, ended in heads:
            side = ClientStream(self, self.link, stream)
            stream.owner = side
            if intake.behind:
                stream.faulted = True
            self.streams[side] = None
            side.ex = intake.begin(side, request_head(block, names, ended))
            side.ex.request_done = ended
            sides.append(side)
        for side in sides:
            ex = side.ex
            if ex is not None and not ex.over and self.state != CLOSED:  # one before may have ended them all
                self._enter(side, ex)

    def _enter(self, side: ClientStream, ex: Exchange) -> None:
        """Let a request go its way, by the rules."""
        try:
            if self.intake.plan(ex):
                if ex.request_done:
                    side.incoming.ended = True
                request_body.begin(ex, side.incoming)
            self.intake.enter(ex)
        except ProtocolError as error:  # what HTTP/1.1 cannot say to an upstream that speaks only that
            end.fail(ex, errors.refused_request(error.kind, error.status, error.text))

    def _forget(self, side: ClientStream) -> None:
        """Drop what is over; leave when nothing is left."""
        if side.ex is None and side.stream.queue is None:
            self._drop(side)
        if self.state == LEAVING and not self.streams:
            self._linger()

    def _stopped_reading(self, side: ClientStream) -> None:
        """Nothing of what waits for this client has gone out for long."""
        if side.ex is not None:
            end.fail(side.ex, errors.CLIENT_IDLE)
        else:
            self.worker.cells.failed(self.listener.name, "", errors.CLIENT_IDLE.kind)
            side.end_by(CANCEL)

    def _drop(self, side: ClientStream) -> None:
        """Forget a stream; without a cycle, so that what it holds is free at once."""
        self.streams.pop(side, None)
        side.stream.owner = None

    def _lose_all(self, reset: bool, but: Stream | None = None) -> None:
        """Give up and forget all streams; nothing is given up on behalf of which this is done."""
        for stream in self.codec.streams.values():
            stream.owner = None
        for side in list(self.streams):
            if side.stream is not but:
                side.lost(reset)
            self._drop(side)

    # --- the end

    def broken(self, error: H2Error) -> None:
        """The client broke the protocol, or is too much: the codec has said so by GOAWAY."""
        refused.count_connection(self.worker, self.listener, self.intake.source, error)
        self._lose_all(True)
        self._linger()

    def leave(self) -> None:
        """Let what is under way end, and take nothing new."""
        self._leave(_ORDERLY)

    def _leave(self, goaway: GoAway) -> None:
        if self.state == OPEN:
            self.state = LEAVING
            self.codec.goaway(goaway.last_stream_id, goaway.code, goaway.debug)
            self.link.mark()
        if self.state == LEAVING and not self.streams:
            self._linger()

    def dismiss(self, goaway: GoAway) -> None:
        if self.state != OPEN or self.noticed is not None:
            return
        if not goaway.graceful:
            self._leave(goaway)
            return
        self.noticed = goaway
        self.noticed_until = self.worker.timers.now() + _NOTICE_PATIENCE
        self.codec.shutdown_notice()
        self.codec.ping(_NOTICE)
        self.link.mark()

    def _on_noticed(self) -> None:
        """The client knows of the first GOAWAY: every request that it sent before has come."""
        noticed = self.noticed
        if noticed is not None:
            self._leave(noticed)

    def disturb(self, action: Disturb, rule: CompiledRule, stream: Stream) -> None:
        if action.ping:
            self.codec.ping(_PING)
            self.link.mark()
        if action.lasts:
            self.disturbances.add(action, rule, stream)
        if action.goaway is not None:
            self.dismiss(action.goaway)

    def rest(self, stream: Stream) -> None:
        self.disturbances.forget(stream)

    def done(self, stream: Stream) -> None:
        if stream.queue is None:
            side = stream.owner
            if isinstance(side, ClientStream):
                self.streams.pop(side, None)
            stream.owner = None
        if self.state == LEAVING and not self.streams:
            self._linger()

    def cut(self, stream: Stream, goaway: GoAway | None) -> None:
        if self.state >= LINGER:
            return
        last = -1 if goaway is None else goaway.last_stream_id
        if last < 0:
            last = stream.sid if stream.send_ended else max(0, stream.sid - 2)
        if goaway is None:
            self.codec.goaway(last, NO_ERROR)
        else:
            self.codec.goaway(last, goaway.code, goaway.debug)
        self._linger()
        self._lose_all(False, stream)

    def _linger(self) -> None:
        """Send FIN, and throw away what still comes, for a bounded time."""
        if self.state < LINGER:
            self.state = LINGER
            self.linger_until = self.worker.timers.now() + self.listener.drain_timeout
            self.link.finish()

    def close(self) -> None:
        """End in an orderly way now."""
        if self.state < LINGER:
            self.codec.goaway(-1, NO_ERROR)
            self._linger()

    def unannounced(self) -> None:
        """Leave out close_notify when this connection ends."""
        self.link.unannounced()

    def reset(self) -> None:
        """End with RST."""
        if self.state != CLOSED:
            self.state = CLOSED
            answering = False
            for side in self.streams:
                if side.ex is None or side.ex.response is not None:
                    answering = True
            self.link.reset(answering)

    def shut(self) -> None:
        if self.state != CLOSED:
            self.codec.goaway(-1, NO_ERROR)
            self.state = CLOSED
            self.link.close()

    # --- what the worker asks

    def sweep(self, now: float) -> None:
        for side in list(self.streams):
            side.sweep(now)
            if now - side.since > self.listener.idle_timeout:
                self._stopped_reading(side)
            self._forget(side)
        if self.codec.held:
            self.codec.use_rest()
            self.go_on_reading()  # tells what has gone out
        if self.state == OPEN and self.noticed is not None and now > self.noticed_until:
            self._on_noticed()
        held = self.intake.held
        self.intake.behind = held
        if held:
            self.codec.head_since = 0.0  # a head that came in part has its time anew, after the fault
        elif self.state < LINGER and 0.0 < self.codec.head_since < now - self.listener.head_timeout:
            late = errors.HEAD_TIMEOUT
            self.codec.goaway(-1, ENHANCE_YOUR_CALM, late.text.encode())
            self.broken(H2Error(ENHANCE_YOUR_CALM, late.kind, late.text))
        if self.link.peer_gone():
            self.link.close()  # connection_lost does the rest
            return
        if self.moved or self.streams or held:
            self.moved = False
            self.since = now
        if self.state == LINGER:
            if now > self.linger_until:
                self.reset()
        elif now - self.since > self.listener.idle_timeout:
            self.leave()

    def rules_changed(self, before: Snapshot) -> None:
        pass

    def idle(self) -> bool:
        return not self.streams

    def drain(self) -> bool:
        """Say GOAWAY in two steps, so that no request that is on its way is lost (RFC 9113, section 6.8)."""
        self.dismiss(_GRACEFUL)
        for side in list(self.streams):
            side.drain()
        if self.state == LEAVING:
            for side in list(self.streams):
                self._forget(side)
        return self.state < LINGER or self.link.unsent() > 0

    def describe(self) -> dict[str, Any]:
        return {
            "side": "client",
            "protocol": "http2",
            "listener": self.listener.name,
            "client": self.intake.source,
            "state": _STATES[self.state],
            "requests": self.intake.requests,
            "opened_with_version": self.intake.opened_version,
            **self.intake.describe(),
            "streams": [side.describe() for side in list(self.streams)],
        }
