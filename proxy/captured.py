"""Captured clients: redirected here by the kernel, on their way to an address that they have dialled.

Before a phase begins, two things are found out that other listeners know by their configuration: which
address that is (``Arrival``), and what is spoken (``Sniffed``).  From then on these are connections like any
other, of the classes that ``accept`` has for what was found.  What is neither HTTP nor TLS, or says nothing
in time because its server speaks first, is passed on unread.
"""

import asyncio
from typing import Any, Final, cast

from proxy import errors
from proxy.errors import Failure
from proxy.exchange import ClientSide, Exchange
from proxy.http1.client import ClientConnection
from proxy.http1.client_leg import CLOSED, READ_HEAD
from proxy.listener import NO_TLS, ONLY_HTTP2, ONLY_TCP, SNIFFED, Listener, Target
from proxy.net import sockets
from proxy.net.dialled import DialledUpstream
from proxy.net.pool import AUTO, HTTP1, HTTP2
from proxy.net.timers import Callback
from proxy.net.tls import TlsTransport
from proxy.path import end
from proxy.path.accept import (
    AcceptedConnection,
    AcceptedForHttp2,
    AcceptedHandshake,
    FollowingOpaque,
    Opaque,
)
from proxy.path.request_head import Intake
from proxy.path.tls import CHOOSING, HELLO, Handshaking
from proxy.wire.h1_head import Head
from proxy.wire.sniff import HTTP, MORE, TLS, recognise
from proxy.worker import Worker
from rules import facts

_A_MOMENT: Final = 0.002  # seconds; a few turns of the loop
_PROTOCOLS: Final[dict[int, int]] = {facts.HTTP1: HTTP1, facts.HTTP2: HTTP2}


class CapturedIntake(Intake):
    """Where the requests of a captured connection come in: it knows which address was dialled."""

    def __init__(self, worker: Worker, listener: Listener, host: str, port: int, peer: Any) -> None:
        super().__init__(worker, listener)
        self.peer: tuple[str, int] = (sockets.name_of(peer), peer[1]) if isinstance(peer, tuple) else ("", 0)
        self.dialled = sockets.address_text(host, port)
        self.host: str = host
        self.port: int = port
        self.routes = listener.routes_to(host, port)
        # Where all of it goes, if there is one such place.
        if self.routes and self.routes[0].takes_all() and len(self.routes[0].targets) == 1:
            self.chosen = self.routes[0].targets[0]

    def choose(self, head: Head) -> None:
        self.chosen = self._way(head)

    def begin(self, client: ClientSide, head: Head) -> Exchange:
        known = self.chosen
        if known is None:
            self.chosen = self._way(head)
        ex = super().begin(client, head)
        self.chosen = known
        target = ex.target
        if isinstance(target, DialledUpstream):
            ends_here = self.tls and self.listener.keeper is not None
            protocol = _PROTOCOLS.get(self.protocol, AUTO)
            if ends_here and protocol == HTTP2:
                protocol = AUTO  # whether the upstream speaks it too is for ALPN to say
            name = (self.sni or b"").decode("latin-1") if ends_here else ""
            now = self.worker.timers.now()
            ex.aside = target.at(self.host, self.port, protocol, ends_here, name, now)
        ex.dialled = self.dialled
        return ex

    def looped(self) -> bool:
        """Tell whether the client is this proxy itself: its own connection was brought back to it."""
        host, port = self.peer
        for upstream in self.worker.upstreams.values():
            if isinstance(upstream, DialledUpstream) and upstream.is_own(host, port, self.host, self.port):
                return True
        return False

    def enter(self, ex: Exchange) -> None:
        if self.looped():
            end.fail(ex, errors.CAPTURE_LOOP)
        else:
            super().enter(ex)

    def _way(self, head: Head) -> Target | None:
        for route in self.routes:
            if route.matches(head):
                return route.choose()
        return None


class CapturingDoor:
    """Takes the clients of a capturing listener."""

    def __init__(self, worker: Worker, listener: Listener) -> None:
        self.worker: Worker = worker
        self.listener: Listener = listener

    def protocol(self) -> Any:
        """Give the protocol for one new connection."""
        return Arrival(self.worker, self.listener)


class Arrival:
    """The first moment of a captured connection: asks the kernel where it was going."""

    def __init__(self, worker: Worker, listener: Listener) -> None:
        self.worker: Worker = worker
        self.listener: Listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find the address that was dialled, and go on as what this listener speaks."""
        sock = sockets.raw(transport)
        found = sockets.original_destination(sock)
        here = transport.get_extra_info("sockname")
        if found is None or (isinstance(here, tuple) and found == (sockets.name_of(here), here[1])):
            self._refuse(transport, errors.NOT_REDIRECTED, "not redirected", here)
            return
        host, port = found
        if port in self.listener.capture.own_ports and sockets.is_ours(host):
            self._refuse(transport, errors.OWN_ADDRESS, sockets.address_text(host, port), here)
            return
        peer = transport.get_extra_info("peername")
        made = self._follower(CapturedIntake(self.worker, self.listener, host, port, peer))
        cast(Any, transport).set_protocol(made)
        made.connection_made(transport)

    def _follower(self, intake: CapturedIntake) -> Any:
        """Make the connection that goes on."""
        worker, listener = self.worker, self.listener
        opaque = listener.protocol == SNIFFED and intake.port in listener.capture.opaque_ports
        if opaque or (listener.protocol == ONLY_TCP and listener.tls_mode == NO_TLS):
            intake.speaks(facts.TCP)
            intake.choose(Head(b""))
            return Silent(worker, listener, intake)
        if listener.protocol == SNIFFED:
            return Sniffed(worker, listener, intake)
        if listener.tls_mode != NO_TLS:
            return CapturedHandshake(worker, listener, intake)
        if listener.protocol == ONLY_HTTP2:
            return AcceptedForHttp2(worker, listener, intake)
        return AcceptedConnection(worker, listener, intake)

    def _refuse(self, transport: asyncio.BaseTransport, kind: str, dialled: str, here: Any) -> None:
        """Reset a connection that would go round in circles."""
        worker, listener = self.worker, self.listener
        listener.cells.accepted += 1
        worker.cells.failed(listener.name, "", kind)
        worker.log.event(
            "warning",
            "capture_refused",
            message=f"refused, as it would go round in circles: a connection {errors.CAPTURES[kind]}",
            kind=kind,
            listener=listener.name,
            client=sockets.name_of(transport.get_extra_info("peername")),
            address=sockets.address_text(sockets.name_of(here), here[1]) if isinstance(here, tuple) else "",
            dialled=dialled,
        )
        sockets.reset(cast(asyncio.WriteTransport, transport))

    def data_received(self, data: bytes) -> None:
        """What a refused client has sent is thrown away."""

    def eof_received(self) -> bool:
        """It was refused."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """It was refused, and is gone."""

    def pause_writing(self) -> None:
        """Nothing is written."""

    def resume_writing(self) -> None:
        """Nothing is written."""


class Sniffed(AcceptedConnection):
    """A captured connection before it is known what is spoken: its first bytes tell, or that none come."""

    def __init__(self, worker: Worker, listener: Listener, intake: Intake) -> None:
        super().__init__(worker, listener, intake)
        self.recognised: bool = False  # it is HTTP
        self.until: float = worker.timers.now() + listener.capture.sniff_timeout

    def _read_head(self) -> bool:
        if self.recognised:
            return super()._read_head()
        data = self.reader.leftover()
        if not data:
            return False
        self.reader.feed(data)
        spoken = recognise(data)
        if spoken == MORE:
            return False
        if spoken == HTTP:
            self.recognised = True
            return super()._read_head()
        if spoken == TLS and not self.intake.tls:
            self._shake_hands()
        else:
            self.pass_on()
        return False

    def pass_on(self) -> Opaque | None:
        """Go on as a connection that is passed on unread; None: it is gone."""
        made = FollowingOpaque(self.worker, self.listener, self.intake)
        transport = self._leave()
        if transport is None:
            return None
        self.intake.speaks(facts.TCP)
        made.reader.feed(self.reader.leftover())
        transport.set_protocol(made)
        made.connection_made(transport)
        return made

    def _shake_hands(self) -> None:
        """Go on as a handshake, which ends here or is passed on."""
        transport = self._leave()
        if transport is not None:
            made = FollowingHandshake(self.worker, self.listener, self.intake)
            transport.set_protocol(made)
            made.connection_made(transport)
            made.data_received(self.reader.leftover())

    def _leave(self) -> Any:
        """Give the transport away; None: it is gone."""
        transport = self.pipe.transport
        if transport is not None:
            self.pipe.resume(~0)
            self.pipe.detach()
            self.worker.connections.pop(self, None)
            self.listener.cells.open -= 1  # who follows counts itself
            self.state = CLOSED
        return transport

    def eof_received(self) -> bool:
        if self.recognised or self.state != READ_HEAD or self.intake.held:
            return super().eof_received()
        followed = self.pass_on()
        return followed is not None and followed.eof_received()

    def turn_away(self, failure: Failure) -> None:
        if self.recognised:
            super().turn_away(failure)
        else:
            self.worker.cells.failed(self.listener.name, "", failure.kind)
            self.linger()

    def sweep(self, now: float) -> None:
        if self.recognised or self.state != READ_HEAD:
            super().sweep(now)
            return
        held = self.intake.held
        if held:
            self.until = now + self.listener.capture.sniff_timeout
        if not self._lost_unread(None, held) and now >= self.until:
            self.pass_on()


class Silent(Sniffed):
    """A captured connection that is passed on unread, whatever it is: its server may speak first.

    Not in the same moment: if it is our own connection that was brought back to us, who has made it knows of
    it only when it is told that it stands.
    """

    def __init__(self, worker: Worker, listener: Listener, intake: Intake) -> None:
        super().__init__(worker, listener, intake)
        self.waited: bool = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.worker.timers.after(_A_MOMENT, _Waited(self))

    def _read_head(self) -> bool:
        if self.waited:
            self.pass_on()
        return False


class _Waited(Callback):
    """The moment is over."""

    def __init__(self, connection: Silent) -> None:
        self.connection: Silent = connection

    def fire(self) -> None:
        self.connection.waited = True
        self.connection.go_on_reading()


class FollowingSniffed(Sniffed):
    """The same within TLS, where ALPN has said nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        ClientConnection.connection_made(self, transport)


class CapturedHandshake(AcceptedHandshake):
    """TLS of a captured client.  Where it does not end here, what cannot be read passes on as well."""

    def secured(self, transport: TlsTransport, protocol: str) -> None:
        if protocol or self.listener.protocol != SNIFFED:
            super().secured(transport, protocol)
            return
        self.listener.cells.open -= 1  # it counts itself
        made = FollowingSniffed(self.worker, self.listener, self.intake)
        transport.set_protocol(made)
        made.connection_made(cast(asyncio.BaseTransport, transport))

    def fail(self, kind: str, text: str, alert: int) -> None:
        if self.listener.keeper is None and self.state == HELLO:
            self.state = CHOOSING
            self.choose()
        else:
            super().fail(kind, text, alert)


class FollowingHandshake(CapturedHandshake):
    """The same where the first moment was that of an unread connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Handshaking.connection_made(self, transport)
