"""The TLS transport between a raw one and a connection, with OpenSSL at the far end."""

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from proxy.net import sockets
from proxy.net.tls import Handshake, TlsTransport
from tests.support.fakes import FakeTransport
from tests.support.pki import the_pki
from tests.support.tls_peer import TlsPeer


class Loop:
    """Calls back when it is told to."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Raw(FakeTransport):
    """Counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.sock: Any = None

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.sock if name == "socket" else super().get_extra_info(name) or default


class Connection:
    """What the transport is for: keeps what comes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.events: list[str] = []
        self.error: Exception | None = None
        self.stays = False
        self.on_data: Callable[[], None] = lambda: None

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.events.append("data")
        self.on_data()

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.stays

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost")
        self.error = error

    def pause_writing(self) -> None:
        self.events.append("full")

    def resume_writing(self) -> None:
        self.events.append("empty")


class Pair:
    """A transport of ours as a server, and a client of OpenSSL's."""

    def __init__(self, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> None:
        pki = the_pki()
        self.loop = Loop()
        self.raw = Raw()
        self.connection = Connection()
        client = pki.client()
        client.maximum_version = newest
        self.handshake = Handshake(pki.leaf("a.example").server(), True)
        self.raw.protocol = self
        self.peer = TlsPeer(self.raw, client, "a.example")
        self.made: list[TlsTransport] = []
        self.peer.shake()
        self.tls: TlsTransport = self.made[0]
        self.raw.writes = 0

    def data_received(self, data: bytes) -> None:
        done = self.handshake.step(data)
        flight = self.handshake.flight()
        if flight:
            self.raw.write(flight)
        if done:
            transport = TlsTransport(self.loop, self.raw, self.handshake)  # type: ignore[arg-type]
            self.made.append(transport)
            transport.set_protocol(self.connection)
            self.raw.set_protocol(transport)
            transport.start()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return Pair(request.param)


def test_content_both_ways(pair: Pair) -> None:
    pair.peer.sends(b"ask")
    assert pair.connection.pieces == [b"ask"]
    pair.tls.write(b"answer")
    assert pair.raw.writes == 1
    assert pair.peer.takes() == b"answer"


def test_pieces_leave_in_one_write(pair: Pair) -> None:
    pieces = [b"head", b"x" * 100_000, b"tail"]
    pair.tls.writelines(pieces)
    assert pair.raw.writes == 1
    assert pair.peer.takes() == b"".join(pieces)


def test_nothing_is_nothing(pair: Pair) -> None:
    pair.tls.write(b"")
    assert pair.raw.writes == 0


def test_many_records_arrive_as_one_piece(pair: Pair) -> None:
    data = bytes(range(256)) * 400
    pair.peer.sends(data)
    assert pair.connection.pieces == [data]


def test_records_split_anywhere(pair: Pair) -> None:
    data = b"y" * 20_000
    pair.peer.side.write(data)
    wire = pair.peer.outgoing.read()
    for at in range(0, len(wire), 997):
        pair.raw.gives(wire[at : at + 997])
    assert b"".join(pair.connection.pieces) == data


def test_content_that_came_with_the_last_flight_is_delivered() -> None:
    pki = the_pki()
    handshake = Handshake(pki.leaf("a.example").server(), True)
    raw = Raw()
    peer = TlsPeer(raw, pki.client(), "a.example")
    peer.hear()
    handshake.step(peer.outgoing.read())
    raw.write(handshake.flight())
    peer.hear()
    peer.side.write(b"early bird")
    assert handshake.step(peer.outgoing.read())
    transport, connection = TlsTransport(Loop(), raw, handshake), Connection()  # type: ignore[arg-type]
    transport.set_protocol(connection)
    transport.start()
    assert connection.pieces == [b"early bird"]


def test_the_client_side_verifies() -> None:
    pki = the_pki()
    raw = FakeTransport()
    server = TlsPeer(raw, pki.leaf("a.example").server("h2"))
    handshake = Handshake(pki.client("h2", "http/1.1"), False, "a.example")
    assert not handshake.step(b"")
    server.incoming.write(handshake.flight())
    server.hear()
    assert handshake.step(server.outgoing.read())
    chosen = handshake.protocol()
    assert chosen == "h2"
    wrong = Handshake(pki.client(), False, "b.example")
    wrong.step(b"")
    other = TlsPeer(raw, pki.leaf("a.example").server())
    other.incoming.write(wrong.flight())
    other.hear()
    with pytest.raises(ssl.SSLCertVerificationError):
        wrong.step(other.outgoing.read())
    assert len(wrong.flight()) > 6  # the alert


# --- pressure


def test_a_slow_peer_is_told_of(pair: Pair) -> None:
    pair.raw.protocol.pause_writing()
    pair.raw.protocol.resume_writing()
    assert pair.connection.events == ["full", "empty"]
    assert pair.tls.get_write_buffer_size() == 0


def test_paused_reading_holds_all(pair: Pair) -> None:
    pair.tls.pause_reading()
    paused = pair.raw.paused
    assert paused
    pair.peer.sends(b"one")
    pair.peer.sends(b"two")
    assert pair.connection.pieces == []
    pair.tls.resume_reading()
    assert not pair.raw.paused
    assert pair.connection.pieces == []  # nobody is called from within a call of its own
    pair.loop.turn()
    assert pair.connection.pieces == [b"onetwo"]


def test_paused_again_before_the_turn(pair: Pair) -> None:
    pair.tls.pause_reading()
    pair.peer.sends(b"one")
    pair.tls.resume_reading()
    pair.tls.pause_reading()
    pair.loop.turn()
    assert pair.connection.pieces == []
    pair.tls.resume_reading()
    pair.loop.turn()
    assert pair.connection.pieces == [b"one"]


def test_an_end_behind_a_pause_comes_behind_the_bytes(pair: Pair) -> None:
    pair.connection.on_data = pair.tls.pause_reading
    pair.peer.side.write(b"last")
    pair.raw.gives(pair.peer.outgoing.read() + pair.peer.goodbye())
    assert pair.connection.events == ["data"]
    pair.connection.on_data = lambda: None
    pair.tls.resume_reading()
    pair.loop.turn()
    assert pair.connection.events == ["data", "eof"]


def test_resuming_with_nothing_held_costs_no_turn(pair: Pair) -> None:
    pair.tls.pause_reading()
    pair.tls.resume_reading()
    assert pair.loop.soon == []


# --- ends


def test_an_orderly_end_of_the_peer(pair: Pair) -> None:
    pair.raw.gives(pair.peer.goodbye())
    assert pair.connection.events == ["eof"]
    assert pair.tls.get_extra_info("truncated") is False
    assert pair.raw.closing  # the connection did not want to stay
    pair.peer.hear()
    assert pair.peer.ended


def test_half_closed_the_other_direction_goes_on(pair: Pair) -> None:
    pair.connection.stays = True
    pair.raw.gives(pair.peer.goodbye())
    pair.raw.ends()
    assert pair.connection.events == ["eof"]
    assert not pair.raw.closing
    pair.tls.write(b"still here")
    assert pair.raw.writes == 1
    pair.tls.write_eof()
    assert pair.raw.ended


def test_fin_alone_is_an_end_that_may_have_been_forged(pair: Pair) -> None:
    pair.raw.ends()
    assert pair.connection.events == ["eof", "lost"]
    assert pair.tls.get_extra_info("truncated") is True


def test_our_half_close(pair: Pair) -> None:
    pair.tls.write(b"all")
    pair.tls.write_eof()
    assert pair.tls.can_write_eof()
    assert pair.raw.ended
    assert pair.peer.takes() == b"all"
    assert pair.peer.ended
    pair.peer.sends(b"and yours")
    assert pair.connection.pieces == [b"and yours"]
    pair.tls.write(b"too late")
    assert pair.raw.taken() == b""


def test_our_half_close_while_bytes_are_held(pair: Pair) -> None:
    pair.tls.pause_reading()
    pair.peer.sends(b"held")
    pair.tls.write_eof()
    pair.tls.resume_reading()
    pair.loop.turn()
    assert pair.connection.pieces == [b"held"]


def test_close_says_goodbye_once(pair: Pair) -> None:
    pair.tls.close()
    pair.tls.close()
    assert pair.raw.writes == 1
    assert pair.tls.is_closing()
    pair.peer.hear()
    assert pair.peer.ended
    pair.raw.lost()
    assert pair.connection.events == ["lost"]
    assert pair.connection.error is None


def test_an_end_without_goodbye(pair: Pair) -> None:
    pair.tls.forget_goodbye()
    pair.tls.close()
    assert pair.raw.closing
    assert pair.raw.taken() == b""


def test_abort_and_reset(pair: Pair) -> None:
    sockets.reset(pair.tls)  # type: ignore[arg-type]
    assert pair.raw.aborted
    assert pair.raw.taken() == b""
    pair.tls.write(b"nothing")
    pair.raw.lost(ConnectionResetError())
    assert isinstance(pair.connection.error, ConnectionResetError)
    assert pair.raw.writes == 0


def test_a_garbled_record_ends_it_with_an_alert(pair: Pair) -> None:
    pair.peer.side.write(b"content")
    wire = bytearray(pair.peer.outgoing.read())
    wire[-1] ^= 1
    pair.raw.gives(bytes(wire))
    assert pair.connection.pieces == []
    assert pair.raw.closing
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        pair.peer.hear()
    pair.raw.lost()
    assert isinstance(pair.connection.error, ssl.SSLError)


def test_extra_info(pair: Pair) -> None:
    assert pair.tls.get_extra_info("ssl_object") is pair.handshake.side
    assert pair.tls.get_extra_info("peername") == pair.raw.peer
    pair.raw.sock = object()
    assert sockets.raw(pair.tls) is pair.raw.sock  # type: ignore[arg-type]
    assert pair.tls.get_extra_info("nothing", 7) == 7


def test_another_protocol_takes_over_in_the_middle(pair: Pair) -> None:
    other = Connection()
    pair.connection.on_data = lambda: pair.tls.set_protocol(other)
    pair.peer.sends(b"first")
    pair.peer.sends(b"second")
    assert pair.connection.pieces == [b"first"]
    assert other.pieces == [b"second"]
