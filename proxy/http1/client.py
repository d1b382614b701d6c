"""A client's connection in HTTP/1.1: what it reads becomes exchanges.

At most one exchange of a connection is under way; the bytes of pipelined requests wait in the reader.
"""

import asyncio
from typing import Any, Final, cast

from proxy import errors, limiting
from proxy.errors import Failure
from proxy.exchange import BY_BUFFER, BY_PEER, Exchange, Passing
from proxy.farewell import part
from proxy.http1.client_leg import (
    CLOSED,
    DRAIN,
    HELD_BYTES,
    LINGER,
    READ_BODY,
    READ_HEAD,
    TUNNEL,
    WAIT,
    ClientLeg,
)
from proxy.listener import Listener
from proxy.net import sockets
from proxy.net.pipe import Conduit
from proxy.path import end, request_body
from proxy.path.request_head import Intake
from proxy.tunnel import Tunnel
from proxy.wire import h1_write
from proxy.wire.errors import ProtocolError
from proxy.wire.h1 import BODY, END, HEAD, NEED, REQUEST, H1Reader
from proxy.wire.h1_head import CHUNKED, NO_BODY
from proxy.worker import Worker

_STATES: Final = ("idle", "request", "response", "drain", "linger", "tunnel", "closed")


class ClientConnection(ClientLeg):
    """A client's HTTP/1.1 connection: its reading half."""

    def __init__(self, worker: Worker, listener: Listener, intake: Intake | None = None) -> None:
        super().__init__(worker, listener)
        self.intake: Intake = Intake(worker, listener) if intake is None else intake
        self.reader: H1Reader = H1Reader(REQUEST, listener.head_size, listener.header_count)
        self.reader.names = worker.live.request_names
        self.advancing: bool = False
        self.moved: bool = True
        self.since: float = worker.timers.now()
        self.head_since: float = 0.0
        self.passing: Tunnel | None = None

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self.pipe.attach(cast(asyncio.Transport, transport))
        self.intake.came_from(sockets.name_of(transport.get_extra_info("peername")))
        self.worker.connections[self] = None
        self.listener.cells.open += 1

    def data_received(self, data: bytes) -> None:
        """Feed, act, flush."""
        if self.state == LINGER or self.state == CLOSED:
            self.throw_away(len(data))
            return
        worker = self.worker
        self.moved = True
        worker.cork.closed = True
        passing = self.passing
        if passing is not None:
            passing.from_client(data)
        else:
            self.reader.feed(data)
            self.go_on_reading()
        worker.cork.flush()

    def eof_received(self) -> bool:
        """The client sends no more: it has given up on what is under way.  Tunnels pass its FIN on."""
        passing = self.passing
        if passing is not None and self.state == TUNNEL and not self.stuck():
            passing.client_ended()
            return True
        ex = self.ex
        if ex is not None:
            self.state = CLOSED
            end.gone(ex)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self.pipe.detach()
        self.worker.connections.pop(self, None)
        self.listener.cells.open -= 1
        self.state = CLOSED
        for greeting in list(self.intake.greetings):
            greeting.cancel()
        passing = self.passing
        ex = self.ex
        if passing is not None:
            passing.client_lost(error is not None)
        elif ex is not None:
            end.gone(ex)
        places = self.intake.places
        if places is not None:
            limiting.release(self.worker, places)

    def stuck(self) -> bool:
        """Tell whether a fault holds what passes unread, and only its client's going away can end that."""
        ex = self.ex
        if ex is not None and ex.opaque and ex.holding is not None:
            for held in ex.holding:
                if held.endless():
                    return True
        return False

    def pause_writing(self) -> None:
        """The client reads slowly: take less from the upstream."""
        self.pipe.full = True
        self._upstream_full(True)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.pipe.full = False
        self.moved = True
        self._upstream_full(False)

    def _upstream_full(self, full: bool) -> None:
        ex = self.ex
        if self.passing is not None:
            self.passing.client_full(full)
        elif ex is not None and ex.upstream is not None:
            if full:
                ex.upstream.pause(BY_PEER)
            else:
                ex.upstream.resume(BY_PEER)

    def unread(self) -> int:
        return self.reader.buffered

    def go_on_reading(self) -> None:
        if self.advancing:
            return
        self.advancing = True
        try:
            while self._step():
                pass
        except ProtocolError as error:
            self._refuse(error)
        except Exception:
            self.worker.bug("client")
            self._break_off()
        finally:
            self.advancing = False
        if not self.reader.idle and self.state < LINGER and self.reader.buffered > HELD_BYTES:
            self.pipe.pause(BY_BUFFER)
        elif self.pipe.reasons:
            self.pipe.resume(BY_BUFFER)

    def _step(self) -> bool:
        """Handle one event; False: nothing more for now."""
        state = self.state
        if state == READ_HEAD:
            return not self.intake.held and self._read_head()
        if state == READ_BODY:
            ex = self.ex
            if ex is None or not request_body.step(ex, self.reader):
                return False
            if ex.request_done and self.state == READ_BODY:
                self.state = WAIT
            return True
        if state == DRAIN:
            return self._drain()
        return False

    def _read_head(self) -> bool:
        reader = self.reader
        intake = self.intake
        if intake.live is not self.worker.live:
            intake.renew()
            reader.names = intake.live.request_names
        if reader.next() != HEAD:
            return False
        self.head_since = 0.0
        head = reader.head
        ex = intake.begin(self, head)
        self.ex = ex
        if head.framing == NO_BODY:
            reader.rest()  # the end of the message
            ex.request_done = True
            self.state = WAIT
        else:
            self.state = READ_BODY
            if head.framing == CHUNKED:
                reader.body_as(True)
        if intake.plan(ex):
            request_body.begin(ex, reader)
        intake.enter(ex)
        return self.state != WAIT

    def begin_next(self) -> None:
        self.state = READ_HEAD
        self.continued = False
        if not self.reader.idle:
            self.go_on_reading()

    def bare_body(self) -> None:
        self.reader.body_as(False)

    def reopen_body(self) -> None:
        self.state = READ_BODY

    def _drain(self) -> bool:
        """Throw away the rest of a request that was answered early."""
        reader = self.reader
        event = reader.next()
        if event == END:
            self.begin_next()
            return True
        if event == BODY:
            self.drain_left -= len(reader.piece)
            if self.drain_left < 0:
                self.linger()
                return False
            return True
        return event != NEED

    def _refuse(self, error: ProtocolError) -> None:
        """What the client sends cannot be read: say so once, and end the connection."""
        if error.kind == "http2_preface" and self.intake.requests == 0 and self.speak_http2():
            return
        failure = errors.refused_request(error.kind, error.status, error.text)
        self.worker.log.event(
            "info",
            "refused",
            message=error.text,
            kind=error.kind,
            status=error.status,
            listener=self.listener.name,
            client=self.intake.source,
        )
        self.turn_away(failure)

    def speak_http2(self) -> bool:
        """The client began with the preface of HTTP/2; False: it may not."""
        raise NotImplementedError

    def turn_away(self, failure: Failure) -> None:
        """Answer with a failure that is the client's own, and close."""
        ex = self.ex
        if ex is not None:
            self.ending = True
            end.fail(ex, failure)
        elif self.state == DRAIN:
            self.linger()  # it has its answer already
        else:
            end.refused(self.worker, self.listener, self.intake.source, failure)
            answer = end.answer_for(failure)
            status_line = b"proxy-status: " + end.proxy_status(failure) + b"\r\n"
            self.pipe.send(
                h1_write.answer(answer.status, answer.headers, answer.body, True, False, status_line)
            )
            self.linger()

    def _break_off(self) -> None:
        """A bug of ours: end this connection, and nothing else."""
        ex = self.ex
        if ex is not None:
            self.ending = True
            end.fail(ex, errors.INTERNAL)
        self.pipe.close()
        self.state = CLOSED

    def tunnel(self, ex: Exchange, upstream: Conduit) -> Passing:
        self.listener.cells.upgraded += 1
        passing = self.join(ex, upstream)
        rest = self.reader.leftover()
        if rest:
            passing.from_client(rest)
        return passing

    def join(self, ex: Exchange, upstream: Conduit) -> Tunnel:
        """Make the tunnel; nothing has passed yet."""
        self.state = TUNNEL
        passing = Tunnel(ex, self.pipe, upstream, end.ENDING)
        self.passing = passing
        ex.passing = passing
        return passing

    def sweep(self, now: float) -> None:
        ex = self.ex
        passing = self.passing
        held = self.intake.held or (ex is not None and ex.holding is not None)
        if self._lost_unread(ex, held):
            return
        if (passing is not None and passing.moved()) or self.moved or held:
            self.moved = False
            self.since = now
        if self.state == READ_HEAD:
            self._sweep_head(now)
        elif self.state == LINGER or self.state == DRAIN:
            if now > self.linger_until:
                self.reset()
        elif now - self.since > self.listener.idle_timeout:
            self._sweep_idle(ex)

    def _lost_unread(self, ex: Exchange | None, held: bool) -> bool:
        """Notice that the client went away while nobody reads; True: it did, and all has ended.

        In a tunnel a FIN may stand behind bytes that the upstream was too slow for: it does not end all.  Of
        what is passed on unread it ends all only where nothing else ever would.
        """
        pipe = self.pipe
        if self.passing is None:
            if not pipe.peer_gone():
                return False
            reset = False
        else:
            reset = self.passing.one_sided(pipe.reasons != 0) and pipe.peer_reset()
            gone = self.stuck() if ex is not None and ex.opaque else held
            if not reset and not (gone and pipe.peer_gone()):
                return False
        pipe.close()  # connection_lost does the rest
        if ex is not None:
            if reset and ex.upstream is not None:
                ex.upstream.reset()
            end.gone(ex)
        return True

    def _sweep_head(self, now: float) -> None:
        """Bound the time that a head may take to arrive, and the time between requests."""
        listener = self.listener
        if self.intake.held:
            self.head_since = 0.0  # a head that came in part has its time anew, after the fault
        elif self.reader.buffered == 0:
            if now - self.since > listener.idle_timeout:
                self.shut()
        elif self.head_since == 0.0:
            self.head_since = now
        elif now - self.head_since > listener.head_timeout:
            self.turn_away(errors.HEAD_TIMEOUT)

    def _sweep_idle(self, ex: Exchange | None) -> None:
        """Nothing has moved for long: end what waits for this client; what waits for the upstream may."""
        if self.passing is not None and ex is not None:
            self.passing.idle_too_long()
        elif ex is not None and self.pipe.full:
            end.fail(ex, errors.CLIENT_IDLE)
            self.reset()
        elif ex is not None and self.state == READ_BODY and ex.body_open and not self.pipe.reasons:
            self.turn_away(errors.BODY_TIMEOUT)

    def idle(self) -> bool:
        return self.state == READ_HEAD and self.reader.buffered == 0

    def drain(self) -> bool:
        if self.idle():
            self.shut()
        elif self.passing is not None:
            part(self.passing)
        # One that lingers may not have its answer yet; one that is closed has what we do not hold any more.
        return self.state != CLOSED or self.pipe.unsent() > 0

    def describe(self) -> dict[str, Any]:
        ex = self.ex
        view: dict[str, Any] = {
            "side": "client",
            "listener": self.listener.name,
            "client": self.intake.source,
            "state": _STATES[self.state],
            "requests": self.intake.requests,
            "opened_with_version": self.intake.opened_version,
            **self.intake.describe(),
        }
        if ex is not None:
            view["request_id"] = ex.request_id.decode("latin-1")
            view["method"] = ex.head.method.decode("latin-1")
            view["host"] = ex.head.host.decode("latin-1")
            view["path"] = ex.head.path.decode("latin-1")
            view["upstream"] = ex.target.name if ex.target is not None else ""
            view["held_by"] = [h.name for held in ex.holding or [] if (h := held.rule_now()) is not None]
            view["for_ms"] = round((self.worker.timers.now() - ex.started) * 1000.0)
        return view
