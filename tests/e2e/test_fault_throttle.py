"""throttle: the rate as real receivers measure it, what waits meanwhile, rules that come and go."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.sync.client import connect

from tests.e2e.conftest import Launch
from tests.support.chat import echo_server
from tests.support.clients import Call, Seen, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.upstreams import Corpus
from tests.support.wait import eventually, pause
from tests.support.wire import Message, Wire, get, request, response


@pytest.mark.parametrize("client", ["curl", "node"])
def test_clients_get_the_same_slowly(proxy: Proxy, client: str) -> None:
    proxy.put(rule("slow", {"throttle": "200KB/s"}))
    seen = ask(client, Call(f"{proxy.url}/bytes/100000"))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(100_000), "")
    assert seen.all("content-length") == ["100000"]
    assert 0.5 <= seen.seconds < 5.0
    assert any("fault=throttle; at=response_body" in line for line in seen.all("x-misrule"))


@pytest.mark.parametrize("chunked", [False, True])
def test_uploads(proxy: Proxy, shop: Scripted, corpus: Corpus, chunked: bool) -> None:
    proxy.put(rule("slow", {"throttle": {"rate": "64KiB/s", "direction": "request"}}))
    seen = ask("curl", Call(f"{proxy.url}/echo", "POST", file=corpus.path(65_536), chunked=chunked))
    assert (seen.status, seen.length, seen.sha256) == (200, 65_536, corpus.sha256(65_536))
    assert seen.seconds >= 1.0
    assert proxy.injections(rule="slow", fault="throttle") == 1


def test_a_rule_shared_by_its_exchanges(proxy: Proxy) -> None:
    proxy.put(rule("slow", {"throttle": {"rate": "200KB/s", "scope": "rule"}}))
    calls: list[Callable[[], Seen]] = [lambda: ask("h11", Call(f"{proxy.url}/bytes/50000")) for _ in range(4)]
    begun = time.monotonic()
    with ThreadPoolExecutor() as pool:
        seen = [one.result() for one in [pool.submit(call) for call in calls]]
    assert [one.length for one in seen] == [50_000] * 4
    assert 1.0 <= time.monotonic() - begun < 6.0


def test_what_waits_is_bounded(launch: Launch, shop: Scripted) -> None:
    """Fifty answers of 1 MB, of which nobody gets much: what the proxy holds is a read for each."""
    proxy = launch(shop.address)
    proxy.put(rule("slow", {"throttle": "1KiB/s"}))
    before = proxy.process.memory()
    wires = [Wire.to(proxy.address) for _ in range(50)]
    for wire in wires:
        wire.send(get("/bytes/1000000"))
    for wire in wires:
        assert wire.read_head().status == 200
        wire.take(100)
    grown = proxy.process.memory() - before
    assert grown < 50 * 256 + 8 * 1024, f"{grown} KiB"
    for wire in wires:
        wire.close()
    eventually(lambda: proxy.metric("misrule_exchanges_held") == 0)


def test_a_rule_that_is_deleted_lets_go(proxy: Proxy) -> None:
    proxy.put(rule("slow", {"throttle": "1KiB/s"}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/100000"))
        assert wire.read_head().status == 200
        wire.take(100)
        begun = time.monotonic()
        proxy.put()
        assert wire.take(99_900) == filling(100_000)[100:]
        assert time.monotonic() - begun < 5.0  # and not 98 seconds


def test_an_answer_under_way_meets_a_new_rule(proxy: Proxy, shop: Scripted) -> None:
    go = threading.Event()

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "content-length: 200000") + filling(100_000))
        go.wait(20)
        wire.send(filling(200_000)[100_000:])

    shop.play = play
    with Wire.to(proxy.address) as wire:
        wire.send(request("GET", "/"))
        assert wire.read_head().status == 200
        first = wire.take(100_000)
        proxy.put(rule("slow", {"throttle": {"rate": "100KB/s", "on": "open"}}))
        begun = time.monotonic()
        go.set()
        assert first + wire.take(100_000) == filling(200_000)
        assert time.monotonic() - begun >= 1.0


def test_an_open_websocket_meets_a_new_rule(launch: Launch) -> None:
    with echo_server() as address:
        proxy = launch(address)
        with connect(f"ws://{proxy.address}/chat", compression=None) as chat:
            chat.send("at once")
            assert chat.recv(timeout=10) == "at once"
            proxy.put(rule("slow", {"throttle": {"rate": "40KB/s", "direction": "both"}}))
            begun = time.monotonic()
            chat.send(bytes(20_000))
            assert chat.recv(timeout=30) == bytes(20_000)
            assert time.monotonic() - begun >= 0.5
            chat.send(bytes(200_000))
            pause(0.1)
            begun = time.monotonic()
            proxy.put()
            assert chat.recv(timeout=30) == bytes(200_000)
            assert time.monotonic() - begun < 5.0
