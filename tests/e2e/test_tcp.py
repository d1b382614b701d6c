"""Plain TCP through the proxy, on real sockets."""

import hashlib
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Launch
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, OPEN, RESET, Gone, Wire, meet

TCP = {"match": {"protocol": ["tcp"]}}


class Peer(Scripted):
    """An upstream that speaks first, and then does what ``talk`` says; else it echoes."""

    def __init__(self) -> None:
        super().__init__(on_open=self._begin)
        self.talk = self.echo

    def _begin(self, wire: Wire) -> None:
        self.talk(wire)
        wire.close()

    @staticmethod
    def echo(wire: Wire) -> None:
        """Greet, then send back whatever comes."""
        wire.send(b"220 ready\r\n")
        while True:
            wire.send(wire.take(1))


@pytest.fixture(scope="module")
def _peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def peer(_peer: Peer) -> Peer:
    _peer.talk = Peer.echo
    _peer.ended.clear()
    return _peer


@pytest.fixture(scope="module")
def _front(_peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(
        tmp_path_factory.mktemp("tcp"),
        _peer.address,
        listener={"protocol": "tcp", "timeouts": {"drain": "1s"}},
        upstream_options={"protocol": "tcp"},
        access="all",
    )
    yield proxy
    proxy.stop()


@pytest.fixture
def front(_front: Proxy, peer: Peer) -> Iterator[Proxy]:
    _front.calm()
    yield _front
    _front.calm()


def greeted(front: Proxy) -> Wire:
    wire = Wire.to(front.address)
    assert wire.take(11) == b"220 ready\r\n"
    return wire


def test_the_server_speaks_first(front: Proxy) -> None:
    with greeted(front) as wire:
        wire.send(b"a")
        assert wire.take(1) == b"a"
    line = front.wait_record(event="access", bytes_in=1, bytes_out=12)
    assert (line["method"], line["status"], line["upstream"], line["outcome"]) == ("", 0, "shop", "ok")


def test_much_in_both_directions_at_once(front: Proxy, peer: Peer) -> None:
    size = 20_000_000
    data = filling(size)
    took: list[bytes] = []

    def talk(wire: Wire) -> None:
        sender = threading.Thread(target=lambda: wire.send(data[::-1]))
        sender.start()
        took.append(hashlib.sha256(wire.take(size)).digest())
        sender.join()

    peer.talk = talk
    before = front.process.memory()
    with Wire.to(front.address, timeout=30) as wire:
        sender = threading.Thread(target=lambda: wire.send(data))
        sender.start()
        came, how = wire.rest(30)
        sender.join()
    assert (came == data[::-1], how) == (True, FIN)
    eventually(lambda: took, what="the upstream has all of it")
    assert took == [hashlib.sha256(data).digest()]
    assert front.process.memory() - before < 16 * 1024


def test_a_client_that_has_said_all_still_hears(front: Proxy, peer: Peer) -> None:
    def talk(wire: Wire) -> None:
        asked, how = wire.rest()
        assert how == FIN
        pause(0.6)  # two sweeps: half-closed is not gone
        wire.send(b"so " + asked)

    peer.talk = talk
    with Wire.to(front.address) as wire:
        wire.send(b"all of it")
        wire.half_close()
        assert wire.rest() == (b"so all of it", FIN)


def test_an_upstream_that_has_said_all_still_hears(front: Proxy, peer: Peer) -> None:
    heard: list[tuple[bytes, str]] = []

    def talk(wire: Wire) -> None:
        wire.send(b"all of it")
        wire.half_close()
        heard.append(wire.rest())

    peer.talk = talk
    with Wire.to(front.address) as wire:
        assert wire.rest() == (b"all of it", FIN)
        pause(0.3)
        wire.send(b"thanks")
        wire.half_close()
        eventually(lambda: heard, what="what the client said")
    assert heard == [(b"thanks", FIN)]


def test_an_upstream_that_says_why_and_hangs_up(front: Proxy, peer: Peer) -> None:
    peer.talk = lambda wire: wire.send(b"too many connections")
    for _ in range(20):
        with Wire.to(front.address) as wire:
            assert wire.rest() == (b"too many connections", FIN)


@pytest.mark.parametrize("after", [b"", b"220 "])
def test_an_rst_of_the_upstream_arrives_as_rst(front: Proxy, peer: Peer, after: bytes) -> None:
    def talk(wire: Wire) -> None:
        wire.send(after)
        pause(0.05)
        wire.reset()

    peer.talk = talk
    before = front.failures("upstream_reset")
    with Wire.to(front.address) as wire:
        assert wire.rest() == (after, RESET)
    assert front.failures("upstream_reset") == before + 1


def test_an_rst_of_the_client_arrives_as_rst(front: Proxy, peer: Peer) -> None:
    with greeted(front) as wire:
        wire.reset()
    eventually(lambda: peer.ended, what="the upstream's leg ends")
    assert peer.ended[-1][1] == RESET


def test_an_rst_that_comes_while_nobody_reads(front: Proxy, peer: Peer) -> None:
    """The upstream is slow, so the client is not read; its RST is noticed all the same."""
    go = threading.Event()

    def talk(wire: Wire) -> None:
        go.wait(20)
        wire.take(100_000_000)

    peer.talk = talk
    wire = Wire.to(front.address)
    wire.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        wire.send(bytes(50_000_000))
    wire.reset()
    eventually(lambda: front.metric("misrule_connections_open") == 0, what="the client's RST is noticed")
    go.set()
    eventually(lambda: peer.ended, what="the upstream's leg ends")
    assert peer.ended[-1][1] == RESET


# --- faults on what is open


@pytest.mark.parametrize(("kind", "how"), [("reset", RESET), ("close", FIN)])
def test_a_rule_reaches_a_connection_that_is_open(front: Proxy, peer: Peer, kind: str, how: str) -> None:
    with greeted(front) as wire:
        front.put(rule("end", {kind: {}}, **TCP))
        assert wire.rest() == (b"", how)
    assert front.injections(rule="end", fault=kind) == 1
    assert meet(front.address) == (b"", how)
    assert front.injections(rule="end", fault=kind) == 2
    assert front.wait_record(event="access", injected=[f"end/{kind}"])["outcome"] == "injected"


def test_exactly_so_many_bytes_arrive_first(front: Proxy) -> None:
    with greeted(front) as wire:
        front.put(rule("end", {"reset": {"at": "response_body", "after_bytes": "5B"}}, **TCP))
        wire.send(b"0123456789")
        assert wire.rest() == (b"01234", RESET)


def test_what_the_client_sends_stands_still(front: Proxy, peer: Peer) -> None:
    with greeted(front) as wire:
        front.put(rule("stuck", {"stall": {"at": "request_body", "after_bytes": "2B"}}, **TCP))
        wire.send(b"0123")
        assert wire.take(2) == b"01"
        assert wire.quiet(0.2)
        begun = time.monotonic()
        front.put()
        assert wire.take(2) == b"23"
        assert time.monotonic() - begun < 5.0


def test_a_client_that_gives_up_on_a_stall_is_noticed(front: Proxy, peer: Peer) -> None:
    front.put(rule("stuck", {"stall": {"at": "response_body"}}, **TCP))
    wire = Wire.to(front.address)
    assert wire.rest(0.2) == (b"", OPEN)

    def held() -> list[dict[str, Any]]:
        views = front.admin("GET", "/v1/connections")["connections"]
        return [one for one in views if one["side"] == "client" and one.get("held_by") == ["stuck"]]

    (view,) = eventually(held, what="the fault")
    assert (view["protocol"], view["bytes_out"]) == ("tcp", 0)
    wire.close()
    eventually(lambda: front.metric("misrule_connections_open") == 0, what="the proxy lets go")
    eventually(lambda: peer.ended, what="and the upstream's leg ends")


@pytest.mark.parametrize(("kind", "how"), [("reset", RESET), ("close", FIN)])
def test_at_accept_the_upstream_is_not_touched(front: Proxy, peer: Peer, kind: str, how: str) -> None:
    match = {"protocol": ["tcp"], "upstream": ["shop"], "source": ["127.0.0.0/8"]}
    front.put(rule("end", {kind: {"at": "accept"}}, match=match))
    before = len(peer.wires)
    assert meet(front.address) == (b"", how)
    assert len(peer.wires) == before


@pytest.mark.parametrize("phase", ["accept", "request_head", "connect", "response_body"])
def test_delays(front: Proxy, phase: str) -> None:
    front.put(rule("slow", {"delay": {"fixed": "150ms", "at": phase}}, **TCP))
    begun = time.monotonic()
    with greeted(front):
        assert time.monotonic() - begun >= 0.15
    assert front.injections(rule="slow", phase=phase) == 1


def test_faults_leave_other_listeners_and_upstreams_alone(front: Proxy) -> None:
    front.put(rule("end", {"reset": {}}, match={"protocol": ["tcp"], "upstream": ["other"]}))
    front.put(rule("web", {"reset": {}}, match={"protocol": ["http1"]}))
    with greeted(front) as wire:
        wire.send(b"a")
        assert wire.take(1) == b"a"


# --- where the upstream is not to be had


def test_another_address_is_tried(launch: Launch, peer: Peer) -> None:
    gone = Scripted()
    gone.close()
    front = launch([gone.address, peer.address], listener={"protocol": "tcp"})
    for _ in range(4):
        with greeted(front):
            pass


def _timer(port: int, other: int) -> str:
    """Say which timer the kernel has on the end at ``port``: 02 for probes (proc(5), the column "tr")."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = (f":{port:04X}", f":{other:04X}")
    found = [row[5] for row in rows if row[1].endswith(ends[0]) and row[2].endswith(ends[1])]
    assert len(found) == 1
    return found[0].partition(":")[0]


@pytest.mark.parametrize("given", [{}, {"keepalive": "20s"}])
def test_silent_peers_are_probed(launch: Launch, peer: Peer, given: dict[str, str]) -> None:
    options = {"protocol": "tcp", "timeouts": given}
    front = launch(peer.address, listener={"protocol": "tcp", "timeouts": given}, upstream_options=options)
    with greeted(front) as wire:
        ours = wire.sock.getsockname()[1]
        theirs = peer.wires[-1].sock.getpeername()[1]
        ends = [(int(front.address.rpartition(":")[2]), ours), (theirs, int(peer.address.rpartition(":")[2]))]
        for end in ends:  # until the greeting is acknowledged there is another timer, 01
            timer = eventually(lambda end=end: (_timer(*end) != "01" and _timer(*end)) or None)  # type: ignore[misc]
            assert timer == ("02" if given else "00")


def test_what_is_open_is_waited_for_when_the_proxy_stops(launch: Launch, peer: Peer) -> None:
    front = launch(peer.address, listener={"protocol": "tcp"})
    with greeted(front) as wire:
        front.process.signal(signal.SIGTERM)
        front.process.wait_line("misrule drains")
        wire.send(b"a")
        assert wire.take(1) == b"a"
        with pytest.raises((Gone, OSError)), Wire.to(front.address) as late:
            late.take(1)


def test_tls_that_ends_here(launch: Launch, peer: Peer) -> None:
    """A listener with TLS before a server that has none: what is inside passes as bytes."""
    front = launch(peer.address, listener={"protocol": "tcp", "tls": {"mode": "terminate"}})
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    with Wire.to(front.address) as plain:
        wire = Wire(context.wrap_socket(plain.sock, server_hostname="db.example"))
        assert wire.take(11) == b"220 ready\r\n"
        wire.send(b"a")
        assert wire.take(1) == b"a"
        front.put(rule("end", {"reset": {}}, **TCP))
        with pytest.raises(ConnectionResetError):
            socket.socket.recv(wire.sock, 100)  # beneath TLS, which Python's ssl would show as an end
        wire.close()
