"""Phase ``accept``: a client has connected; nothing was read yet.

Here act the faults of a connection: those that meet it before its first request, and those that come
by a change of rules and say ``on: open``.
"""

import asyncio
from typing import Any, Final, cast

from proxy import errors
from proxy.errors import Failure
from proxy.exchange import BY_BUFFER, Exchange, Passing
from proxy.greeting import ConnectionFaults
from proxy.http1.client import ClientConnection
from proxy.http1.client_leg import CLOSED, LINGER, TUNNEL, WAIT
from proxy.http2.client import LINGER as HTTP2_LINGER
from proxy.http2.client import ClientConnection as Http2Connection
from proxy.listener import NO_TLS, ONLY_HTTP1, ONLY_HTTP2, ONLY_TCP, PASSTHROUGH, Listener
from proxy.net.pipe import Conduit
from proxy.net.tls import TlsTransport
from proxy.parting import Parting
from proxy.path import end
from proxy.path.request_head import Intake
from proxy.path.tls import CHOOSING, SECURED, Handshaking
from proxy.renewal import at_once, replan, strike
from proxy.wire.h1_head import Head
from proxy.wire.hello import INTERNAL_ERROR, UNRECOGNIZED_NAME, alert_record
from proxy.worker import Worker
from rules.actions import Action, Answer, Close, ShapeHandshake
from rules.facts import HTTP2, TCP
from rules.plan import Chosen
from rules.snapshot import Plan, Snapshot
from rules.way_actions import Say

# What the reader of HTTP/1.1 has read when it finds the preface of HTTP/2 (RFC 9113, section 3.4).
PREFACE_HEAD: Final = b"PRI * HTTP/2.0\r\n\r\n"


class Door:
    """Makes a connection of each client that the listener's socket accepts."""

    def __init__(self, worker: Worker, listener: Listener) -> None:
        self.worker: Worker = worker
        self.listener: Listener = listener

    def protocol(self) -> Any:
        """Give the protocol for one new connection."""
        if self.listener.tls_mode != NO_TLS:
            return AcceptedHandshake(self.worker, self.listener)
        if self.listener.protocol == ONLY_TCP:
            return Opaque(self.worker, self.listener)
        if self.listener.protocol == ONLY_HTTP2:
            return AcceptedForHttp2(self.worker, self.listener)
        return AcceptedConnection(self.worker, self.listener)


class AcceptedConnection(ClientConnection):
    """A client's connection, from its first moment."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cells = self.listener.cells
        cells.accepted += 1
        if cells.open > self.listener.max_connections:
            cells.refused += 1
            self.turn_away(errors.TOO_MANY_CONNECTIONS)
            return
        live = self.intake.live
        if live.faulting:
            plan = live.snapshot.plan_connection(self.intake.connection_facts(), self.intake.opened_turn)
            if plan is not None:
                Greeting(self, plan).step()

    def speak_http2(self) -> bool:
        if self.listener.protocol == ONLY_HTTP1:
            return False
        taken = self.hand_over()
        if taken is not None:
            taken.data_received(PREFACE_HEAD + self.reader.leftover())
        return True

    def hand_over(self) -> "AcceptedStreams | None":
        """Give the transport to a connection of HTTP/2; None: it is gone."""
        transport = self.pipe.transport
        if transport is None:
            return None
        self.pipe.resume(~0)  # that too much came while a fault held it is over
        self.pipe.detach()
        self.worker.connections.pop(self, None)
        self.state = CLOSED
        self.intake.speaks(HTTP2)
        taken = AcceptedStreams(self.worker, self.listener, self.intake)
        transport.set_protocol(cast(asyncio.BaseProtocol, taken))
        taken.connection_made(transport)
        return taken

    def rules_changed(self, before: Snapshot) -> None:
        live = self.worker.live
        if self.state == CLOSED or not live.faulting:
            return
        ex = self.ex
        if self.passing is not None and ex is not None:
            replan(ex, self.passing, self.intake, live.snapshot)
        if ex is not None and ex.over:
            return
        facts = self.intake.facts(ex) if ex is not None else self.intake.connection_facts()
        tunnel = self.intake.protocol == TCP or (ex is not None and ex.passing is not None)
        plan = live.snapshot.plan_open(facts, self.intake.opened_turn, before, tunnel)
        if plan is None:
            return
        if ex is None:
            Greeting(self, plan).step()
        else:
            strike(ex, plan, facts)


class AcceptedForHttp2(AcceptedConnection):
    """A client's connection that speaks HTTP/2 or nothing: it becomes one as soon as a byte may be read.

    Not before: what the faults of a connection do to it comes before our SETTINGS, as in a sniffed one.
    """

    def _read_head(self) -> bool:
        rest = self.reader.leftover()
        if rest:
            taken = self.hand_over()
            if taken is not None:
                taken.data_received(rest)
        return False

    def turn_away(self, failure: Failure) -> None:
        end.refused(self.worker, self.listener, self.intake.source, failure)
        taken = self.hand_over()
        if taken is not None:
            taken.close()


class AcceptedHandshake(Handshaking):
    """A client's connection to a listener with TLS, from its first moment."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cells = self.listener.cells
        cells.accepted += 1
        if cells.open > self.listener.max_connections:
            cells.refused += 1
            self.worker.cells.failed(self.listener.name, "", errors.TOO_MANY_CONNECTIONS.kind)
            self.close()
            return
        live = self.intake.live
        if live.faulting:
            plan = live.snapshot.plan_connection(self.intake.connection_facts(), self.intake.opened_turn)
            if plan is not None:
                Greeting(self, plan).step()

    def secured(self, transport: TlsTransport, protocol: str) -> None:
        if protocol != "h2":
            self._follow(transport)
            return
        self.intake.speaks(HTTP2)
        streams = AcceptedStreams(self.worker, self.listener, self.intake)
        transport.set_protocol(streams)
        streams.connection_made(cast(asyncio.BaseTransport, transport))

    def pass_on(self, raw: Any, data: bytes, server_name: bytes) -> None:
        self.listener.cells.open -= 1  # it counts itself
        self.intake.speaks(TCP)
        made = FollowingOpaque(self.worker, self.listener, self.intake)
        raw.set_protocol(made)
        made.reader.feed(data)
        made.connection_made(raw)

    def clear(self, raw: Any, data: bytes) -> None:
        self._follow(raw).data_received(data)

    def _follow(self, transport: Any) -> ClientConnection:
        """Go on as the connection that this listener has without TLS."""
        self.listener.cells.open -= 1  # it counts itself
        if self.listener.protocol == ONLY_HTTP2:
            made: ClientConnection = FollowingForHttp2(self.worker, self.listener, self.intake)
        elif self.listener.protocol == ONLY_TCP:
            made = FollowingOpaque(self.worker, self.listener, self.intake)
        else:
            made = Following(self.worker, self.listener, self.intake)
        transport.set_protocol(made)
        made.connection_made(transport)
        return made

    def rules_changed(self, before: Snapshot) -> None:
        live = self.worker.live
        if not CHOOSING <= self.state < SECURED or not live.faulting:
            return  # before the ClientHello was read, the new rules are the ones that will be asked
        plan = live.snapshot.plan_open(self.intake.connection_facts(), self.intake.opened_turn, before)
        if plan is not None:
            Greeting(self, plan).step()


class Following(AcceptedConnection):
    """A connection whose first moment was in another phase."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        ClientConnection.connection_made(self, transport)


class Opaque(AcceptedConnection):
    """A client's connection that is passed on unread: plain TCP, or TLS that does not end here."""

    def __init__(self, worker: Worker, listener: Listener, intake: Intake | None = None) -> None:
        super().__init__(worker, listener, intake)
        self.half_closed: bool = False  # the client's FIN came before there was where to pass it on
        self.parting: Parting | None = None  # what is said to it instead of passing it on

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.intake.choose(Head(b""))
        super().connection_made(transport)
        self.go_on_reading()

    def _read_head(self) -> bool:
        """Find the way at once, for it may be the upstream that speaks first; what has come waits, unread."""
        intake = self.intake
        if intake.live is not self.worker.live:
            intake.renew()
        name = (intake.sni or b"").lower()
        head = Head(b"")
        head.host = name
        head.authority = name
        ex = intake.begin(self, head)
        ex.opaque = True
        ex.request_done = True
        self.ex = ex
        self.state = WAIT
        intake.plan(ex)
        intake.enter(ex)
        return False

    def eof_received(self) -> bool:
        if self.parting is None and self.state == WAIT and not self.stuck():
            self.half_closed = True
            return True
        return super().eof_received()

    def tunnel(self, ex: Exchange, upstream: Conduit) -> Passing:
        passing = self.join(ex, upstream)
        snapshot = self.worker.live.snapshot
        if self.worker.live.faulting and snapshot.turn != self.intake.opened_turn:
            replan(ex, passing, self.intake, snapshot)
        if not ex.over:
            self.pipe.resume(BY_BUFFER)
            rest = self.reader.leftover()
            if rest:
                passing.from_client(rest)
            if self.half_closed:
                passing.client_ended()
        return passing

    def answer(self, ex: Exchange, answer: Answer, extra: bytes) -> None:
        if self.passing is None and self.listener.tls_mode == PASSTHROUGH:
            self.pipe.send(alert_record(UNRECOGNIZED_NAME if ex.target is None else INTERNAL_ERROR))

    def say(self, ex: Exchange, say: Say) -> bool:
        if not say.of_postgres:
            self.pipe.send(say.data)
            return True
        self.parting = Parting(ex, self.pipe, say.data)
        self.parting.hear(self.reader.leftover())
        return False

    def data_received(self, data: bytes) -> None:
        if self.parting is None or self.state != WAIT:
            super().data_received(data)
        else:
            self.parting.hear(data)

    def turn_away(self, failure: Failure) -> None:
        self.worker.cells.failed(self.listener.name, "", failure.kind)
        self.linger()

    def over(self, ex: Exchange) -> None:
        self.ex = None
        if self.state < LINGER or self.state == TUNNEL:
            self.linger()

    def describe(self) -> dict[str, Any]:
        view = super().describe()
        passing = self.passing
        view["protocol"] = "tcp"
        view["bytes_in"], view["bytes_out"] = (0, 0) if passing is None else passing.bytes_passed()
        return view


class FollowingOpaque(Opaque):
    """The same where the first moment was in another phase: there was a ClientHello, or a handshake."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        ClientConnection.connection_made(self, transport)
        self.go_on_reading()


class FollowingForHttp2(AcceptedForHttp2):
    """The same where only HTTP/2 is spoken."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        ClientConnection.connection_made(self, transport)


class AcceptedStreams(Http2Connection):
    """A client's connection that has turned out to speak HTTP/2."""

    def rules_changed(self, before: Snapshot) -> None:
        live = self.worker.live
        if self.state >= HTTP2_LINGER or not live.faulting:
            return
        intake = self.intake
        busy = False
        for side in list(self.streams):
            ex = side.ex
            if ex is None or ex.over:  # perhaps by what was done for another stream
                continue
            busy = True
            if ex.passing is not None and self._ended_anew(ex, ex.passing):
                continue
            facts = intake.facts(ex)
            tunnel = ex.passing is not None
            plan = live.snapshot.plan_open(facts, intake.opened_turn, before, tunnel)
            if plan is not None:
                strike(ex, plan, facts)
        if busy:
            return
        plan = live.snapshot.plan_open(intake.connection_facts(), intake.opened_turn, before)
        if plan is not None:
            Greeting(self, plan).step()

    def _ended_anew(self, ex: Exchange, passing: Passing) -> bool:
        """Give a tunnel a new plan; True: it has ended by that."""
        replan(ex, passing, self.intake, self.worker.live.snapshot)
        return ex.over


Greeted = ClientConnection | Http2Connection | Handshaking


class Greeting(ConnectionFaults):
    """The faults of a connection that no request is under way on, being carried out."""

    def __init__(self, connection: Greeted, plan: Plan) -> None:
        super().__init__(connection.worker, connection.intake, plan, at_once(plan))
        self.connection: Greeted = connection
        connection.intake.held = True
        connection.intake.greetings.append(self)

    def all_done(self) -> None:
        self.over()
        self.connection.go_on_reading()

    def hold(self, chosen: Chosen, seconds: float, then: int) -> None:
        self.intake.behind = True
        super().hold(chosen, seconds, then)

    def perform(self, chosen: Chosen, action: Action) -> bool:
        self.act(chosen)
        if not isinstance(action, ShapeHandshake):
            return False
        self.finish(Close())  # so that its client comes again, and meets what it now meets
        return True

    def finish(self, action: Action) -> None:
        self.over()
        if isinstance(action, Close):
            if not action.close_notify:
                self.connection.unannounced()
            self.connection.close()
        else:
            self.connection.reset()

    def over(self) -> None:
        """Give the connection back."""
        self.plan.release()
        intake = self.intake
        intake.greetings.remove(self)
        intake.held = len(intake.greetings) > 0
