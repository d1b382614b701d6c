"""Floods against the real proxy: each is ended within its budget, and nobody else notices.

What they cost a good client's latency is printed by ``python -m benchmarks --workload floods``: figures of
one machine are never asserted here.
"""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.load.h2_floods import FLOODS, Flood, get, opening
from benchmarks.load.h2_frames import cut
from proxy.wire.h2_frames import GOAWAY
from tests.e2e.conftest import Launch
from tests.e2e.http2.conftest import HTTP2
from tests.support.h2_peer import CANCEL, INITIAL_WINDOW, Heard, Peer
from tests.support.h2_scripted import ScriptedH2, plain
from tests.support.need import need
from tests.support.proxy import Proxy, Rule
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, Message, Wire

ENHANCE_YOUR_CALM = 11
GROWTH = 20 * 1024  # KiB
STREAMS = 100
ATTACKS = 3  # connections of each flood


class Upstream(ScriptedH2):
    """Answers all but what is held, and knows how many of those were under way at once."""

    def __init__(self) -> None:
        super().__init__(play=self._play)
        self.most = 0
        self.on_head = self._count

    def _play(self, peer: Peer, asked: Heard) -> None:
        if asked.path != "/held":
            plain(peer, asked)

    def _count(self, peer: Peer, asked: Heard) -> None:
        self.most = max(self.most, len(self.open()))

    def held(self) -> list[Heard]:
        """The requests of attackers."""
        return [heard for heard in list(self.requests) if heard.path == "/held"]

    def open(self) -> list[Heard]:
        """Those of them that were not cancelled."""
        return [heard for heard in self.held() if heard.reset is None]


@pytest.fixture(scope="module")
def upstream_() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def attacked(upstream_: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with the limits that it has by itself."""
    proxy = Proxy(tmp_path_factory.mktemp("attacked"), upstream_.address, upstream_options=HTTP2)
    with Peer.to(proxy.address) as peer:
        peer.fetch("/")
    yield proxy
    proxy.stop()


@contextmanager
def good_client(proxy: Proxy) -> Iterator[list[float]]:
    """Ask all the time, on a connection of its own; gives how long answers took; fails if one is wrong."""
    took: list[float] = []
    wrong: list[object] = []
    over = threading.Event()

    def ask() -> None:
        try:
            with Peer.to(proxy.address) as peer:
                while not over.is_set():
                    begun = time.monotonic()
                    answer = peer.fetch("/bytes/1000")
                    took.append(time.monotonic() - begun)
                    if (answer.status, answer.body) != (200, filling(1000)):
                        wrong.append(answer)
                    peer.streams.clear()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        eventually(lambda: len(took) > 3 or wrong, what="answers to the good client")
        yield took
        before = len(took)
        eventually(lambda: len(took) > before + 3 or wrong, what="answers to the good client afterwards")
    finally:
        over.set()
        thread.join(20)
    assert not wrong


def attack(proxy: Proxy, flood: Flood) -> int:
    """Send one connection's flood, not one round beyond its budget; give the code of the GOAWAY that came."""
    host, _, port = proxy.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(opening() + flood.rounds(0, flood.most))
        data = b""
        while piece := sock.recv(65536):
            data += piece
    codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in cut(data)[0] if kind == GOAWAY]
    assert len(codes) == 1
    return codes[0]


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name.replace(" ", "-"))
def test_a_flood_is_limited_and_harms_nobody_else(attacked: Proxy, upstream_: Upstream, flood: Flood) -> None:
    """Ended after its budget, counted under its kind; its requests are cancelled; good answers go on."""
    upstream_.requests.clear()
    upstream_.most = 0
    counted = attacked.failures(flood.kind)
    before = attacked.process.memory()
    with good_client(attacked) as took:
        assert [attack(attacked, flood) for _ in range(ATTACKS)] == [ENHANCE_YOUR_CALM] * ATTACKS
        ended = time.monotonic()
        eventually(lambda: not upstream_.open(), what="the end of what the attackers asked")
        print(f"{flood.name}: cancelled {time.monotonic() - ended:.3f} s after the last end at the latest")
        grown = attacked.process.memory() - before
    print(f"RSS grew by {grown} KiB; {len(took)} good answers, the slowest in {max(took) * 1000:.1f} ms")
    assert attacked.failures(flood.kind) - counted == ATTACKS
    attacked.wait_record(event="refused", kind=flood.kind)
    assert upstream_.most <= STREAMS
    assert {heard.reset for heard in upstream_.held()} <= {CANCEL}
    assert grown < GROWTH
    eventually(lambda: attacked.metric("misrule_requests_active") == 0)
    attacked.check_log()


def test_one_round_less_is_no_flood(attacked: Proxy) -> None:
    """The budget of resets, to the last one."""
    flood = FLOODS[0]
    host, _, port = attacked.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(opening() + flood.rounds(0, flood.most - 1) + get(2 * flood.most + 1, b"/fine"))
        data = b""
        while b"ok" not in data:
            data += sock.recv(65536)
        assert GOAWAY not in [kind for kind, _, _, _ in cut(data)[0]]


def test_a_rapid_reset_reaches_a_http1_upstream_as_closed_connections(launch: Launch) -> None:
    """Nothing goes on there for nobody, and its connections are no more than streams are allowed."""
    open_: set[int] = set()
    most: list[int] = [0]

    def hold(wire: Wire, asked: Message) -> None:
        open_.add(id(wire))
        most[0] = max(most[0], len(open_))
        wire.rest(10.0)
        open_.discard(id(wire))

    shop = Scripted(play=hold)
    try:
        proxy = launch(shop.address)
        host, _, port = proxy.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as sock:
            sock.sendall(opening() + b"".join(get(2 * place + 1) for place in range(60)))
            eventually(lambda: len(open_) == 60, 10.0, "the requests at the upstream")
            flood = FLOODS[0]
            sock.sendall(flood.rounds(60, flood.most))
            while sock.recv(65536):
                pass
        eventually(lambda: not open_, what="the end of every connection at the upstream")
        assert most[0] <= STREAMS
        assert proxy.failures("rapid_reset") == 1
        eventually(lambda: proxy.metric("misrule_requests_active") == 0)
    finally:
        shop.close()


# Slow reading


def test_streams_that_are_not_read_are_bounded_and_end(launch: Launch) -> None:
    """100 large answers and windows of 0: little memory, then the idle time-out, then the connection too."""

    def big(peer: Peer, asked: Heard) -> None:
        if asked.path == "/big":
            peer.head(asked.sid, [(":status", "200")])
            peer.push(asked.sid, bytes(1 << 20), end=True)
        else:
            plain(peer, asked)

    shop = ScriptedH2(play=big)
    try:
        proxy = launch(
            shop.address, upstream_options=HTTP2, listener={"timeouts": {"drain": "1s", "idle": "2s"}}
        )
        with Peer.to(proxy.address) as peer:
            peer.fetch("/")
        before = proxy.process.memory()
        with good_client(proxy), Peer.to(proxy.address, {INITIAL_WINDOW: 0}) as slow:
            begun = time.monotonic()
            asked = [slow.ask("/big") for _ in range(STREAMS)]
            slow.until(lambda: all(one.headers for one in asked))
            pause(0.3)
            grown = proxy.process.memory() - before
            print(f"RSS grew by {grown} KiB with {STREAMS} answers that nobody reads")
            assert grown < GROWTH
            slow.until(lambda: all(one.reset is not None for one in asked))
            assert time.monotonic() - begun >= 2.0
            assert slow.rest(10.0) == FIN
            assert [goaway.error_code for goaway in slow.goaways] == [0]
        assert proxy.failures("client_idle") == STREAMS
        eventually(lambda: proxy.metric("misrule_requests_active") == 0)
        assert proxy.process.memory() - before < GROWTH
    finally:
        shop.close()


class Sparing(Peer):
    """Gives back what it has read 512 bytes at a time."""

    def _credit(self, sid: int, size: int) -> None:
        lacking = self._lacking.pop(sid, 0) + size
        self._lacking[sid] = lacking % 512
        update = b"\0\0\x04\x08\0" + sid.to_bytes(4, "big") + b"\0\0\x02\0"
        self.raw(update * (lacking // 512))


def test_a_reader_in_slivers_gets_its_download(attacked: Proxy) -> None:
    """10 MiB, credited every 512 bytes, on the stream and on the connection."""
    host, _, port = attacked.address.rpartition(":")
    with Sparing(socket.create_connection((host, int(port)), timeout=10), True) as peer:
        answer = peer.fetch(f"/bytes/{10 << 20}")
        assert (answer.status, answer.length, answer.ended) == (200, 10 << 20, True)
        assert peer.fetch("/").body == b"ok"


@pytest.mark.parametrize("bits", [6, 10])
def test_nghttp_with_small_windows_gets_its_download(attacked: Proxy, bits: int) -> None:
    """Windows of 63 and of 1023 bytes, for the stream and for the connection."""
    command = [need("nghttp"), f"--window-bits={bits}", f"--connection-window-bits={bits}"]
    done = subprocess.run(
        [*command, f"{attacked.url}/bytes/300000"], capture_output=True, check=True, timeout=30
    )
    assert done.stdout == filling(300_000)


# Our own faults


IMPATIENT: dict[str, Rule] = {
    "delay": {"delay": "5s"},
    "delay of the answer": {"delay": {"fixed": "5s", "at": "response_head"}},
    "stall": {"stall": {"for": "30s", "at": "response_body"}},
    "reset": {"reset": {}},
    "abort": {"abort": 503},
}


@pytest.mark.parametrize("fault", IMPATIENT.values(), ids=IMPATIENT)
def test_giving_up_on_what_a_rule_holds_is_no_flood(attacked: Proxy, fault: Rule) -> None:
    """500 requests on one connection, each given up within a second: the connection stays."""
    attacked.put({"name": "slow", "match": {"path": {"prefix": "/bytes/7"}}, "faults": [fault]})
    try:
        with Peer.to(attacked.address) as peer:
            for _ in range(5):
                give_up(attacked, peer)
            assert peer.fetch("/").body == b"ok"
            assert not peer.goaways
        assert attacked.injections(rule="slow") == 5 * STREAMS
    finally:
        attacked.calm()


def give_up(proxy: Proxy, peer: Peer) -> None:
    """Ask as often as is allowed at once; cancel all of it as soon as the rule has acted."""
    before = proxy.injections(rule="slow")
    asked = [peer.ask("/bytes/7") for _ in range(STREAMS)]
    sent_at = time.monotonic()
    peer.until(
        lambda: (
            proxy.metric("misrule_exchanges_held") == STREAMS
            or proxy.injections(rule="slow") == before + STREAMS
        )
    )
    print(f"given up {time.monotonic() - sent_at:.3f} s after the last request")
    for one in asked:
        peer.reset(one.sid)
    peer.settle()
