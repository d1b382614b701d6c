"""Phase ``tls``: the handshake, flight by flight, from the ClientHello to the first byte of content.

The ClientHello is read before anything is decided.  Then the rules are asked, once, and what they say goes
into the choice of the context: certificate, versions, protocols.  Faults act where nothing was sent yet
(CLIENT_HELLO), behind our ServerHello (SERVER_HELLO), and where all is said and done (FINISHED).

A certificate that is not at hand is minted off the loop while the client waits, by a Task: only at the first
handshake for a name.
"""

import asyncio
import ssl
from typing import Any, Final, cast

from mypy_extensions import mypyc_attr

from proxy import errors
from proxy.handshake import HandshakeFaults, Shaken
from proxy.listener import AUTO, Listener
from proxy.net import identity, sockets
from proxy.net.identity import IdentityError
from proxy.net.tls import Handshake, TlsTransport
from proxy.path.request_head import Intake
from proxy.wire.hello import HANDSHAKE, UNRECOGNIZED_NAME, HelloError, HelloReader, alert_record, greets
from proxy.worker import Worker
from rules.actions import CLIENT_HELLO, FINISHED, SERVER_HELLO
from rules.snapshot import Plan

HELLO: Final = 0  # the ClientHello is being read
CHOOSING: Final = 1  # by which context to answer it
SHAKING: Final = 2
SECURED: Final = 3  # the connection is somebody else's
CLOSED: Final = 4
_STATES: Final = ("client_hello", "certificate", "handshake", "secured", "closed")

# What a client may send while it is not read: a client that waits for us sends nothing, or some early data.
_HELD_BYTES: Final = 131072


@mypyc_attr(allow_interpreted_subclasses=True)
class Handshaking(Shaken):
    """A client's connection until its handshake is complete."""

    def __init__(self, worker: Worker, listener: Listener, intake: Intake | None = None) -> None:
        super().__init__(worker, Intake(worker, listener) if intake is None else intake)
        self.listener: Listener = listener
        self.ends_here = listener.keeper is not None
        self.reader: HelloReader = HelloReader()
        self.raw: Any = None
        self.state: int = HELLO
        self.since: float = worker.timers.now()
        self.faults: HandshakeFaults | None = None
        self.handshake: Any = None  # a Handshake, or what stands in for it, see Keeper
        self.answered: bool = False  # our first flight has left, or is being kept
        self.kept: bytes = b""  # of that flight, what a fault keeps
        self.early: bytes = b""  # came while nothing was read

    # --- what comes next, elsewhere

    def secured(self, transport: TlsTransport, protocol: str) -> None:
        """Make the connection that speaks over this transport; ``protocol`` is what ALPN has chosen."""
        raise NotImplementedError

    def pass_on(self, raw: Any, data: bytes, server_name: bytes) -> None:
        """Make the connection of a client whose TLS does not end here; ``data`` is what came."""
        raise NotImplementedError

    def clear(self, raw: Any, data: bytes) -> None:
        """Make the connection of a client that does not speak TLS."""
        raise NotImplementedError

    # --- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self.raw = transport
        self.intake.came_from(sockets.name_of(transport.get_extra_info("peername")))
        self.worker.connections[self] = None
        self.listener.cells.open += 1

    def data_received(self, data: bytes) -> None:
        """Read the ClientHello, or go on with the handshake."""
        if self.state == CLOSED:
            return
        try:
            if self.state == HELLO and not self._held():
                self._read(data)
            elif self.state == SHAKING and not self._held():
                self._advance(data)
            elif len(self.early) + len(data) <= _HELD_BYTES:
                self.early += data
            else:
                self.fail(errors.TLS_PROTOCOL, "too much came before the handshake", 0)
        except Exception:
            self._bug()

    def eof_received(self) -> bool:
        """The client has given up."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self.state < SECURED and (self.reader.received or self.early):
            self._note(errors.TLS_CLOSED, "the client went away in the middle of the handshake")
        self.state = CLOSED
        self.raw = None
        self._leave()
        self.listener.cells.open -= 1
        for greeting in list(self.intake.greetings):
            greeting.cancel()

    def pause_writing(self) -> None:
        """The client does not read: its handshake will time out."""

    def resume_writing(self) -> None:
        """The client reads again."""

    def faults_over(self) -> None:
        self.faults = None

    def _leave(self) -> None:
        self.worker.connections.pop(self, None)
        if self.faults is not None:
            self.faults.cancel()

    # --- the ClientHello

    def go_on_reading(self) -> None:
        """Faults of the connection are done with: read what has come."""
        try:
            self._read_early()
        except Exception:
            self._bug()

    def _read_early(self) -> None:
        data = self.early
        if not data or self._held():
            return
        self.early = b""
        if self.state == HELLO:
            self._read(data)
        elif self.state == SHAKING:
            self._advance(data)
        else:
            self.early = data

    def _read(self, data: bytes) -> None:
        reader = self.reader
        if self.listener.tls_mode == AUTO and not reader.received and data[0] != HANDSHAKE:
            raw = self.raw
            self._hand_over()
            self.clear(raw, data)
            return
        try:
            complete = reader.feed(data)
        except HelloError as error:
            self.fail(error.kind, error.text, error.alert)
            return
        hello = reader.hello
        if complete and hello is not None:
            self.state = CHOOSING
            self.intake.asked_for(hello.server_name)
            self._plan()

    def _plan(self) -> None:
        """Ask the rules, with the snapshot of this moment."""
        intake = self.intake
        intake.renew()
        live = intake.live
        plan: Plan | None = None
        if live.faulting:
            plan = live.snapshot.plan_handshake(intake.connection_facts(), intake.opened_turn)
        if plan is None:
            self.choose()
        else:
            faults = HandshakeFaults(self, plan)
            self.faults = faults
            faults.step()

    # --- the answer

    def choose(self) -> None:
        """Choose by what the ClientHello is answered."""
        keeper = self.listener.keeper
        if self.state != CHOOSING:
            return
        if keeper is None:
            raw = self.raw
            data = self.reader.received + self.early
            self._hand_over()
            self.pass_on(raw, data, self.intake.sni or b"")
            return
        name = self._name()
        try:
            handshake = keeper.handshake(name, self.shape)
        except IdentityError as error:
            self.fail(errors.TLS_NO_CERTIFICATE, str(error), UNRECOGNIZED_NAME)
            return
        if handshake is None:
            self.worker.spawn(_prepare(self, name))
        else:
            self._begin(handshake)

    def _name(self) -> str:
        """Give the name to have a certificate for: the one asked for, else the address that was dialled."""
        sni = self.intake.sni
        if sni is not None:
            return sni.decode("latin-1").lower()
        return self.intake.dialled or sockets.name_of(self.raw.get_extra_info("sockname")) or "localhost"

    def _begin(self, handshake: Any) -> None:
        """Answer the ClientHello."""
        self.state = SHAKING
        self.handshake = handshake
        data = self.reader.received + self.early
        self.early = b""
        self._advance(data)

    def _held(self) -> bool:
        return self.intake.held or (self.faults is not None and self.faults.now is not None)

    def _advance(self, data: bytes) -> None:
        """Go on by what came, and send what that gives."""
        handshake = self.handshake
        try:
            done = handshake.step(data)
        except ssl.SSLError as error:
            flight = handshake.flight()
            if flight:
                self.raw.write(flight)  # the alert
            self.fail(identity.client_failure(error), identity.words(error), 0)
            return
        flight = handshake.flight()
        if flight and not self.answered and greets(flight):
            self.answered = True
            faults = self.faults
            if faults is not None and faults.acts_at(SERVER_HELLO):
                end = 5 + int.from_bytes(flight[3:5], "big")  # one record: that is the ServerHello
                self.raw.write(flight[:end])
                self.kept = flight[end:]
                faults.go(SERVER_HELLO)
                return
        if flight:
            self.raw.write(flight)
        if done:
            self._finished()

    def _finished(self) -> None:
        faults = self.faults
        if faults is not None and faults.acts_at(FINISHED):
            faults.go(FINISHED)
        else:
            self._secure()

    def go_on(self, place: int) -> None:
        if self.state >= SECURED:
            return
        try:
            if place == CLIENT_HELLO:
                self.choose()
            elif place == SERVER_HELLO:
                self.raw.write(self.kept)
                self.kept = b""
                self._read_early()
            else:
                self._secure()
        except Exception:
            self._bug()

    def _secure(self) -> None:
        """The handshake is complete: from here on this is a connection like any other."""
        handshake = self.handshake
        raw = self.raw
        self._hand_over()
        listener = self.listener
        listener.cells.handshakes += 1
        if isinstance(handshake, Handshake) and handshake.side.session_reused:
            listener.cells.resumed += 1
        certificate = identity.client_certificate(handshake.side)
        told = identity.told_of(certificate) if listener.tells_certificates else None
        self.intake.showed(certificate, told)
        transport = TlsTransport(self.worker.loop, raw, handshake)
        raw.set_protocol(transport)
        self.secured(transport, handshake.protocol())
        if self.early:
            transport.data_received(self.early)
        else:
            transport.start()

    def _hand_over(self) -> None:
        """Give the raw transport away."""
        self.state = SECURED
        self.raw = None
        if self.faults is not None:
            self.faults.over()
        self._leave()

    # --- the end

    def alert(self, number: int) -> None:
        handshake = self.handshake
        self.raw.write(alert_record(number) if handshake is None else handshake.alert(number))
        self.close()

    def fail(self, kind: str, text: str, alert: int) -> None:
        """The handshake has failed: count it, say so by an alert (0: none of ours), end the connection."""
        if self.state >= SECURED:
            return
        self._note(kind, text)
        if alert:
            self.raw.write(alert_record(alert))
        self.close()

    def _note(self, kind: str, text: str) -> None:
        """Write down that the handshake has failed; where a rule has shaped it, that is no real failure."""
        intake = self.intake
        if self.shape is None:
            self.worker.cells.failed(self.listener.name, "", kind)
        self.worker.log.event(
            "info",
            "handshake_failed",
            message=text,
            kind=kind,
            injected=self.shape is not None,
            listener=self.listener.name,
            client=intake.source,
            sni=intake.sni.decode("latin-1") if intake.sni is not None else "",
        )

    def _bug(self) -> None:
        self.worker.bug("tls")
        self.reset()

    def close(self) -> None:
        """Send FIN, and read on for a while: data that nobody reads makes RST, which destroys an alert."""
        if self.state < SECURED:
            self.state = CLOSED
            self.since = self.worker.timers.now()
            if not self.raw.is_closing():
                self.raw.write_eof()

    def unannounced(self) -> None:
        """There is no close_notify before the handshake is complete."""

    def reset(self) -> None:
        if self.state < SECURED:
            self.state = CLOSED
            sockets.reset(cast(asyncio.WriteTransport, self.raw))

    def shut(self) -> None:
        if self.state != SECURED:
            self.state = CLOSED
            self.raw.close()

    # --- what the worker asks

    def sweep(self, now: float) -> None:
        if self.state == CLOSED:
            if now - self.since > self.listener.drain_timeout:
                self.raw.close()
        elif self._held():
            self.since = now
        elif now - self.since > self.listener.handshake_timeout:
            self.fail(errors.TLS_TIMEOUT, "the handshake was not complete in time", 0)

    def idle(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        intake = self.intake
        return {
            "side": "client",
            "listener": self.listener.name,
            "client": intake.source,
            "state": _STATES[self.state],
            "sni": intake.sni.decode("latin-1") if intake.sni is not None else None,
            "opened_with_version": intake.opened_version,
            **intake.describe(),
        }


async def _prepare(connection: Handshaking, name: str) -> None:
    """Have a certificate made, then answer the ClientHello."""
    keeper = connection.listener.keeper
    if keeper is None:
        return
    try:
        await keeper.prepare(name, connection.shape)
        connection.choose()
    except IdentityError as error:
        connection.fail(errors.TLS_NO_CERTIFICATE, str(error), UNRECOGNIZED_NAME)
    except Exception:
        connection.worker.bug("tls")
        connection.reset()
