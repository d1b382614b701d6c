"""SIGTERM while clients ask as fast as they can: whatever reached an upstream reached its client, too."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import httpx
import pytest

from tests.e2e.conftest import Launch
from tests.support.h2_heard import Heard
from tests.support.h2_peer import Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.need import need
from tests.support.process import ROOT
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.wait import eventually, pause
from tests.support.wire import Message, Wire, get, response

BODY = b"x" * 1000
HIGHEST = 0x7FFFFFFF
SERVERS = ROOT / "tests" / "support" / "servers"
OUTSIDE: dict[str, list[str]] = {
    "h2load": ["h2load", "-D", "3", "-c", "4", "-m", "10"],
    "h2load of HTTP/1.1": ["h2load", "--h1", "-D", "3", "-c", "20", "-m", "1"],
    "node": ["node", str(SERVERS / "load2.mjs")],
}
COUNTS = r"(\d+) succeeded|answered (\d+)"


def slow(wire: Wire, asked: Message) -> None:
    """Answer so late that many requests are under way when the signal comes."""
    wire.read_body(asked)
    pause(0.02)
    wire.send(response(200, body=BODY))


def slow_call(peer: Peer, asked: Heard) -> None:
    pause(0.002)
    message = b"\0" + len(BODY).to_bytes(4, "big") + BODY
    kind = ("content-type", "application/grpc")
    peer.answer(asked, 200, kind, body=message, trailers=[("grpc-status", "0")])


def stop(proxy: Proxy, upstream: Scripted | ScriptedH2) -> None:
    """Drain under load; far below the grace, since every request takes but milliseconds."""
    eventually(lambda: len(upstream.requests) > 100, 20.0)
    begun = time.monotonic()
    proxy.process.signal(signal.SIGTERM)
    assert proxy.process.wait(15.0) == 0
    assert time.monotonic() - begun < 8.0


@pytest.mark.parametrize("name", list(OUTSIDE))
def test_load_from_outside(launch: Launch, upstream: Callable[..., Scripted], name: str) -> None:
    shop = upstream(play=slow)
    proxy = launch(shop.address)
    program, *options = OUTSIDE[name]
    command = [need(program), *options, proxy.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        stop(proxy, shop)
        told = client.communicate(timeout=20)[0]
    found = re.search(COUNTS, told)
    assert found is not None, told
    assert int(found[1] or found[2]) == len(shop.requests) > 100


class Asking:
    """Threads that each ask again and again until it fails; ``answered`` counts whole answers."""

    def __init__(self, ask: Callable[[], bool], count: int = 8) -> None:
        self.answered = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(ask,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self, ask: Callable[[], bool]) -> None:
        while ask():
            with self._lock:
                self.answered += 1

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)


def test_httpx(launch: Launch, upstream: Callable[..., Scripted]) -> None:
    """HTTP/1.1 only: the library h2 gives up its connection at any GOAWAY, with what is under way on it."""
    shop = upstream(play=slow)
    proxy = launch(shop.address)
    with httpx.Client(trust_env=False, timeout=10.0) as client:

        def ask() -> bool:
            try:
                return client.get(proxy.url).content == BODY
            except httpx.HTTPError:
                return False

        asking = Asking(ask)
        stop(proxy, shop)
        asking.join()
    assert asking.answered == len(shop.requests)


def ask_in_http2(address: str, told: list[int]) -> None:
    """Keep ten requests under way until the second GOAWAY names the last; note how many were answered."""
    with Peer.to(address) as peer:
        asked: list[Heard] = []
        while not peer.gone:
            last = peer.goaways[-1].last_stream_id if peer.goaways else HIGHEST
            while last == HIGHEST and sum(not one.ended for one in asked) < 10:
                asked.append(peer.ask("/"))
            peer.step(0.01)
        last = peer.goaways[-1].last_stream_id  # the second one may have come along with the end
        told += [last, sum(one.sid <= last for one in asked), sum(one.body == BODY for one in asked)]
        assert [goaway.error_code for goaway in peer.goaways] == [0, 0]


def test_requests_between_the_two_goaways(launch: Launch, upstream: Callable[..., Scripted]) -> None:
    shop = upstream(play=slow)
    proxy = launch(shop.address)
    told: list[list[int]] = [[], [], []]
    threads = [threading.Thread(target=ask_in_http2, args=(proxy.address, one)) for one in told]
    for thread in threads:
        thread.start()
    stop(proxy, shop)
    for thread in threads:
        thread.join(20)
    for last, promised, answered in told:
        assert 0 < last < HIGHEST
        assert answered == promised
    assert sum(answered for _, _, answered in told) == len(shop.requests)


def test_grpcio(launch: Launch, h2_upstream: ScriptedH2) -> None:
    h2_upstream.play = slow_call
    proxy = launch(h2_upstream.address)
    with grpc.insecure_channel(proxy.address, [("grpc.enable_retries", 0)]) as channel:
        method: Callable[..., bytes] = channel.unary_unary("/shop.Cart/Get")

        def ask() -> bool:
            try:
                return bool(method(b"", timeout=10.0) == BODY)
            except grpc.RpcError:
                return False

        asking = Asking(ask)
        stop(proxy, h2_upstream)
        asking.join()
    assert asking.answered == len(h2_upstream.requests)


@pytest.fixture
def h2_upstream() -> Iterator[ScriptedH2]:
    made = ScriptedH2()
    yield made
    made.close()


# The grace


def never(wire: Wire, asked: Message) -> None:
    """Begin to answer, and stop."""
    wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
    pause(1.5)


def config(address: str, grace: str) -> dict[str, object]:
    listener = {"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "shop"}]}
    return {
        "listeners": [listener],
        "upstreams": {"shop": {"address": address}},
        "drain": {"grace": grace},
        "log": {"access": "all"},
    }


def test_what_does_not_end_is_cut_after_the_grace(launch: Launch, upstream: Callable[..., Scripted]) -> None:
    proxy = launch(config=config(upstream(play=never).address, "300ms"))
    with Wire.to(proxy.address) as wire, Peer.to(proxy.address) as peer:
        wire.send(get())
        wire.read_head()
        under_way = peer.ask("/")
        peer.until(lambda: under_way.status)
        begun = time.monotonic()
        proxy.process.signal(signal.SIGTERM)
        assert proxy.process.wait(10.0) == 0
        assert time.monotonic() - begun >= 0.3
        peer.rest(5.0)
        assert [goaway.last_stream_id for goaway in peer.goaways][:2] == [HIGHEST, 1]
        assert not under_way.ended
    # Neither the client nor the upstream has gone away.
    outcomes = eventually(lambda: (found := proxy.records(event="access"))[1:] and found)
    assert [line["outcome"] for line in outcomes] == ["shutdown"] * 2


def test_a_second_signal_ends_it_at_once(launch: Launch, upstream: Callable[..., Scripted]) -> None:
    proxy = launch(config=config(upstream(play=never).address, "1h"))
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        wire.read_head()
        proxy.process.signal(signal.SIGTERM)
        proxy.wait_record(event="draining")
        assert proxy.process.status is None
        proxy.process.signal(signal.SIGTERM)
        assert proxy.process.wait(10.0) == 0
