"""A connection to an upstream in HTTP/1.1: what it reads is the answer of the exchange under way.

A kept connection may have been closed by the upstream at the moment it was used: then the request is
sent once more on another one, but only where that is safe: not a byte of the answer came, nothing of a
body was sent, and the method is idempotent (RFC 9110, section 9.2.2).
"""

import asyncio
import socket
from typing import Any, Final, cast

from proxy import errors
from proxy.exchange import BY_BUFFER, BY_PEER, Exchange, Passing
from proxy.http1.upstream_leg import UpstreamLeg
from proxy.http2 import upgrades
from proxy.net import dial
from proxy.net.pool import Endpoint, Upstream
from proxy.path import end, response_body, response_head
from proxy.performer import Then
from proxy.wire.errors import ProtocolError
from proxy.wire.h1 import BODY, END, HEAD, MARK
from proxy.wire.h1_head import UNTIL_CLOSE
from proxy.worker import Worker
from rules.snapshot import Snapshot

# CONNECT is here what asks for a WebSocket, and goes on as GET.
_IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"})

# Bytes of an answer that are held while a fault keeps it back.
_HELD_BYTES: Final = 65536


class UpstreamConnection(UpstreamLeg):
    """An HTTP/1.1 connection to an upstream: its reading half."""

    def __init__(self, worker: Worker, target: Upstream, endpoint: Endpoint, again: Then) -> None:
        super().__init__(worker, target, endpoint)
        self.again: Then = again  # sends an exchange once more, on another connection
        self.advancing: bool = False
        self.interim: bool = False
        self.since: float = worker.timers.now()
        self.timed: int = 0  # the use whose time has begun: `since` is of it
        self.passing: Passing | None = None
        self.error: Exception | None = None  # with which the connection was lost
        self.ended: bool = False  # it does not count as open any more

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.pipe.attach(cast(asyncio.Transport, transport))
        self.worker.connections[self] = None

    def data_received(self, data: bytes) -> None:
        """Feed, act, flush."""
        worker = self.worker
        self.moved = True
        worker.cork.closed = True
        passing = self.passing
        if passing is not None:
            passing.from_upstream(data)
        else:
            self.answered = True
            self.reader.feed(data)
            self.go_on_reading()
        worker.cork.flush()

    def eof_received(self) -> bool:
        """The upstream sends no more.  In a tunnel the other direction stays open."""
        passing = self.passing
        if passing is not None:
            passing.upstream_ended()
            return True
        self.lost = True
        self.target.forget(self.endpoint, self)
        ex = self.ex
        head = ex.response or ex.pending_head if ex is not None else None
        if ex is not None and head is not None and self.reader.head.framing == UNTIL_CLOSE:
            if self.pipe.truncated():  # RFC 9112, section 9.8: such an end ends no message
                end.fail(ex, errors.UPSTREAM_TRUNCATED)
                return False
        self.reader.feed_eof()
        self.go_on_reading()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        passing = self.passing
        self.error = error
        self.target.forget(self.endpoint, self)
        self.never_made()
        self.worker.connections.pop(self, None)
        if passing is not None:
            passing.upstream_lost(error is not None)
        elif self.ex is not None:
            if error is not None:
                self._rescue()
            self.reader.feed_eof(error is not None and not self._unread(self.ex))
            self.go_on_reading()
        self.drop_spare()
        self.pipe.detach()

    def _unread(self, ex: Exchange) -> bool:
        """Tell whether the upstream may have reset only because it has not read all of the request.

        So servers end an early answer; the rest of the request may lie between us and them.
        """
        return not ex.request_done or (self.body_sent and self.reader.head.status >= 400)

    def pause_writing(self) -> None:
        """The upstream reads slowly: take less from the client."""
        self.pipe.full = True
        if self.passing is not None:
            self.passing.upstream_full(True)
        elif self.ex is not None:
            self.ex.client.pause(BY_PEER)

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        self.pipe.full = False
        self.moved = True
        if self.passing is not None:
            self.passing.upstream_full(False)
        elif self.ex is not None:
            self.ex.client.resume(BY_PEER)

    # --- reading an answer

    def go_on_reading(self) -> None:
        if self.advancing:
            return
        self.advancing = True
        try:
            while self._step():
                pass
        except ProtocolError as error:
            self._broken(error)
        except Exception:
            self.worker.bug("upstream")
            self.pipe.close()
            if self.ex is not None:
                end.fail(self.ex, errors.INTERNAL)
        finally:
            self.advancing = False
        ex = self.ex
        held = ex is not None and (ex.response_held > 0 or ex.response_done)
        if self.lost and ex is not None and not ex.over and not held:
            self._given_up(ex)  # held back: what came is still to be read, and the end is met after that
        elif held and self.reader.buffered > _HELD_BYTES:
            self.pipe.pause(BY_BUFFER)
        elif self.pipe.reasons:
            self.pipe.resume(BY_BUFFER)

    def _step(self) -> bool:
        """Handle one event; False: nothing more for now."""
        ex = self.ex
        if ex is None:
            if not self.reader.idle and self.passing is None:
                self.shut()  # bytes that no request asked for: never to be taken for an answer
            return False
        if ex.response_held or ex.response_done:
            return ex.altered is not None and response_body.step_held(ex, self.reader)
        reader = self.reader
        event = reader.next()
        if event == HEAD:
            self._head(ex)
            return self.ex is not None
        if event == BODY:
            response_body.piece(ex, reader.piece)
            return True
        if event == END:
            if self.interim:
                self.interim = False
            else:
                response_body.finish(ex, reader)
            return self.ex is not None
        if event == MARK:
            response_body.mark(ex, reader.content)
            return True
        return False

    def _head(self, ex: Exchange) -> None:
        head = self.reader.head
        if head.status >= 200:
            if ex.plan is not None or ex.response_shaping is not None:
                response_head.enter(ex, head)
            else:
                response_head.forward(ex, head)
                rest = self.reader.rest()
                if rest is not None:  # all of it came at once
                    if rest:
                        response_body.piece(ex, rest)
                    response_body.finish(ex, self.reader)
        elif head.status != 101:
            self.interim = True
            self.timed = 0  # a sign of life (RFC 9110, section 15.2): the head's time begins anew
            response_head.interim(ex, head)
        elif ex.head.upgrade:
            response_head.enter(ex, head if ex.head.block is None else upgrades.agreed(head, self.key))
        else:
            raise ProtocolError(502, "unasked_upgrade", "101 without an upgrade in the request")

    def tunnel(self, ex: Exchange) -> None:
        self.reader.next()  # the end of the 101 itself
        passing = ex.client.tunnel(ex, self.pipe)
        self.passing = passing
        rest = self.reader.leftover()
        if rest:
            passing.from_upstream(rest)

    # --- when it goes wrong

    def _broken(self, error: ProtocolError) -> None:
        """The upstream sent what cannot be read, or ended in the middle."""
        ex = self.ex
        if ex is None:
            self.pipe.close()
        elif error.kind == "truncated":
            self._given_up(ex)
        else:
            self.worker.log.event(
                "warning",
                "upstream_protocol",
                message=error.text,
                upstream=self.target.name,
                kind=error.kind,
                request_id=ex.request_id,
            )
            too_large = error.status == 431
            end.fail(ex, errors.UPSTREAM_HEAD_TOO_LARGE if too_large else errors.UPSTREAM_PROTOCOL)

    def _given_up(self, ex: Exchange) -> None:
        """The connection ended before the answer did."""
        if ex.response is not None:
            end.fail(ex, errors.UPSTREAM_TRUNCATED)
        elif self._may_retry(ex):
            self._retry(ex)
        else:
            end.fail(ex, errors.UPSTREAM_CLOSED if self.error is None else dial.failure_of(self.error))

    def _may_retry(self, ex: Exchange) -> bool:
        """Tell whether the request may be sent again: nothing of it can have had an effect twice."""
        if self.answered or self.body_sent or not ex.request_done or ex.head.method not in _IDEMPOTENT:
            return False
        target = self.target
        return (self.uses > 1 and target.retry_reused) or ex.attempts <= target.attempts

    def _retry(self, ex: Exchange) -> None:
        self.target.cells.retries += 1
        ex.upstream = None
        self.release(False)
        self.again.carry_on(ex)

    def _rescue(self) -> None:
        """Read what the upstream sent before our writing to it failed, see ``keep_readable``."""
        if self.spare < 0:
            return
        sock = socket.socket(fileno=self.spare)
        self.spare = -1
        try:
            sock.setblocking(False)
            while data := sock.recv(65536):
                self.answered = True
                self.reader.feed(self.pipe.rescue(data))
        except OSError:
            pass  # nothing more to be had
        finally:
            sock.close()

    def never_made(self) -> None:
        """Count this connection as open no more."""
        if not self.ended:
            self.ended = True
            self.lost = True
            target = self.target
            target.open -= 1
            target.cells.open = target.open
            target.grant()

    # --- what the worker asks

    def sweep(self, now: float) -> None:
        ex = self.ex
        if self.moved or (ex is not None and ex.holding is not None):
            self.moved = False
            if ex is None or ex.holding is not None or not self._head_begun(ex):
                self.timed = self.uses
                self.since = now
                return
        target = self.target
        passing = self.passing
        if passing is not None:  # the client's connection keeps the time of a tunnel
            if self.pipe.reasons and self.pipe.peer_reset():
                passing.upstream_lost(True)
            return
        if ex is None:
            if now - self.since > target.idle_timeout:
                self.shut()
        elif ex.response is None:
            if ex.sent_at > 0.0 and now - max(ex.sent_at, self.since) > target.response_timeout:
                end.fail(ex, errors.RESPONSE_TIMEOUT)
            elif self.pipe.full and now - self.since > target.idle_timeout:
                end.fail(ex, errors.UPSTREAM_NOT_READING)
        elif self.pipe.reasons == 0 and now - self.since > target.idle_timeout:
            end.fail(ex, errors.UPSTREAM_IDLE)

    def _head_begun(self, ex: Exchange) -> bool:
        """Tell whether what has come is a head that is not complete: pieces of it buy no time."""
        return self.answered and self.timed == self.uses and ex.response is None and ex.pending_head is None

    def rules_changed(self, before: Snapshot) -> None:
        pass  # the client's side draws for the exchange; an idle upstream connection carries none

    def idle(self) -> bool:
        return self.ex is None and self.passing is None

    def drain(self) -> bool:
        # It ends with the process.  A request may be about to get it, above all one that was just dialled.
        return False

    def describe(self) -> dict[str, Any]:
        ex = self.ex
        return {
            "side": "upstream",
            "upstream": self.target.name,
            "address": self.endpoint.address(),
            "state": "tunnel" if self.passing is not None else "idle" if ex is None else "busy",
            "uses": self.uses,
            "request_id": ex.request_id.decode("latin-1") if ex is not None else None,
        }


class OpaqueConnection(UpstreamConnection):
    """A connection on which a client's bytes are passed on unread, from the first one.

    The upstream may speak, and even end, before the loop has told who waits for this connection.
    """

    def __init__(self, worker: Worker, target: Upstream, endpoint: Endpoint, again: Then) -> None:
        super().__init__(worker, target, endpoint, again)
        self.half_closed: bool = False  # the upstream's FIN came so early

    def data_received(self, data: bytes) -> None:
        if self.passing is None:
            self.reader.feed(data)
        else:
            super().data_received(data)

    def eof_received(self) -> bool:
        if self.passing is None:
            self.half_closed = True
            return True
        return super().eof_received()

    def begin(self, ex: Exchange) -> None:
        self.ex = ex
        self.uses += 1
        ex.upstream = self
        ex.attempts += 1
        self.endpoint.active += 1
        passing = ex.client.tunnel(ex, self.pipe)
        self.passing = passing
        rest = self.reader.leftover()
        if rest:
            passing.from_upstream(rest)
        if self.lost:
            passing.upstream_lost(self.error is not None)
        elif self.half_closed:
            passing.upstream_ended()

    def release(self, reusable: bool) -> None:
        super().release(False)  # nobody knows where in what conversation it is
