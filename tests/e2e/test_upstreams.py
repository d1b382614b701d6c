"""Where requests go: pooled connections and their deaths, several addresses, weights, routes."""

import collections
import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Launch
from tests.support.process import free_port
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling, plain
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, Message, Wire, get, request, response

Make = Callable[..., Scripted]


def _named(upstream: Make, name: str) -> Scripted:
    """An upstream that answers with its name."""

    def play(wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        wire.send(response(200, body=name.encode()))

    return upstream(play=play)


def _ask(proxy: Proxy, *asked: bytes) -> list[str]:
    with Wire.to(proxy.address) as wire:
        return [wire.ask(one).body.decode() for one in asked]


# The pool


def test_a_connection_is_used_again_by_other_clients(launch: Launch, upstream: Make) -> None:
    shop = upstream()
    proxy = launch(shop.address)
    for _ in range(5):
        with Wire.to(proxy.address) as wire:
            assert wire.ask(get("/bytes/9")).body == filling(9)
    assert len(shop.wires) == 1
    assert proxy.metric("misrule_upstream_connections_total") == 1
    assert proxy.metric("misrule_upstream_connections_reused_total") == 4
    assert proxy.metric("misrule_upstream_connections_idle") == 1


def test_a_connection_that_its_upstream_closes_is_not_used(launch: Launch, upstream: Make) -> None:
    shop = upstream()

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "connection: close", body=b"ok"))
        wire.close()

    shop.play = play
    proxy = launch(shop.address)
    with Wire.to(proxy.address) as wire:
        for _ in range(5):
            assert wire.ask(get()).body == b"ok"
    assert len(shop.wires) == 5
    assert proxy.metric("misrule_upstream_retries_total") == 0


def _dies_when_used_again(shop: Scripted, how: str) -> None:
    """The first request of a connection is answered; at the second one the connection dies."""
    used: set[int] = set()

    def play(wire: Wire, asked: Message) -> None:
        if wire.number in used:
            wire.read_body(asked)
            if how == "reset":
                wire.reset()
            else:
                wire.close()
        else:
            used.add(wire.number)
            plain(wire, asked)

    shop.play = play


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_get_is_sent_again_when_a_kept_connection_died(launch: Launch, upstream: Make, how: str) -> None:
    shop = upstream()
    proxy = launch(shop.address)
    _dies_when_used_again(shop, how)
    with Wire.to(proxy.address) as wire:
        for number in range(1, 6):
            assert wire.ask(get(f"/bytes/{number}")).body == filling(number)
    assert proxy.metric("misrule_upstream_retries_total") == 4


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_post_is_not_sent_again(launch: Launch, upstream: Make, how: str) -> None:
    """The upstream had it, and may have done the work: only the client can know whether twice is harmless."""
    shop = upstream()
    proxy = launch(shop.address)
    _dies_when_used_again(shop, how)
    with Wire.to(proxy.address) as wire:
        assert wire.ask(request("POST", "/echo", body=b"one")).body == b"one"
        answer = wire.ask(request("POST", "/echo", body=b"two"))
        assert (answer.status, answer.get("proxy-status")) == (502, "misrule; error=connection_terminated")
    assert [asked.body for asked in shop.requests] == [b"one", b"two"]


def test_get_is_not_sent_again_on_a_new_connection(launch: Launch, upstream: Make) -> None:
    """A fresh connection that dies is a failure of the upstream's, not a stale connection."""
    shop = upstream(play=lambda wire, _: wire.close())
    proxy = launch(shop.address)
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 502
    assert len(shop.requests) == 1


def test_get_is_not_sent_again_after_a_byte_of_the_answer(launch: Launch, upstream: Make) -> None:
    shop = upstream()
    proxy = launch(shop.address)
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/1")).status == 200

        def play(wire: Wire, asked: Message) -> None:
            wire.send(b"HTTP/1.1 2")
            pause(0.02)
            wire.close()

        shop.play = play
        assert wire.ask(get()).status == 502
    assert len(shop.requests) == 2


def test_a_kept_connection_that_was_closed_in_peace(launch: Launch, upstream: Make) -> None:
    """The upstream closed it while nobody used it: nobody notices, POST or not."""
    shop = upstream()
    proxy = launch(shop.address)
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/1")).status == 200
        for opened in list(shop.wires):
            opened.sock.shutdown(2)
        eventually(
            lambda: proxy.metric("misrule_upstream_connections_idle") == 0, what="the pool has noticed"
        )
        assert wire.ask(request("POST", "/echo", body=b"one")).body == b"one"


def test_pool_bounds(launch: Launch, upstream: Make) -> None:
    """At most so many connections; who comes later waits for one, and gets it."""

    def play(wire: Wire, asked: Message) -> None:
        pause(0.1)
        wire.send(response(200, body=b"ok"))

    shop = upstream(play=play)
    proxy = launch(shop.address, upstream_options={"pool": {"max_connections": 2, "max_idle": 1}})
    wires = [Wire.to(proxy.address) for _ in range(8)]
    begun = time.monotonic()
    for wire in wires:
        wire.send(get())
    for wire in wires:
        assert wire.answer().body == b"ok"
        wire.close()
    assert time.monotonic() - begun >= 0.4
    assert len(shop.wires) <= 2
    eventually(lambda: proxy.metric("misrule_upstream_connections_open") == 1, what="one is kept")


def test_upstream_behind_a_unix_socket(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(65_536)
            sock.sendall(response(200, body=b"unix"))

    thread = threading.Thread(target=serve)
    thread.start()
    proxy = launch(f"unix:{path}")
    assert _ask(proxy, get()) == ["unix"]
    thread.join(5)
    listener.close()


# Several addresses


def test_round_robin(launch: Launch, upstream: Make) -> None:
    names = ["a", "b", "c"]
    proxy = launch([_named(upstream, name).address for name in names])
    seen = _ask(proxy, *[get()] * 12)
    assert "".join(seen) in ("abcabcabcabc", "bcabcabcabca", "cabcabcabcab")


def test_weights_of_addresses(launch: Launch, upstream: Make) -> None:
    addresses = [
        {"address": _named(upstream, name).address, "weight": weight} for name, weight in [("a", 3), ("b", 1)]
    ]
    seen = _ask(launch(addresses), *[get()] * 40)
    assert collections.Counter(seen) == {"a": 30, "b": 10}


@pytest.mark.parametrize("balance", ["least_requests", "random"])
def test_other_ways_to_balance(launch: Launch, upstream: Make, balance: str) -> None:
    proxy = launch([_named(upstream, name).address for name in "ab"], upstream_options={"balance": balance})
    seen = collections.Counter(_ask(proxy, *[get()] * 60))
    assert set(seen) == {"a", "b"}


def test_least_requests_avoids_the_busy_one(launch: Launch, upstream: Make) -> None:
    def slow(wire: Wire, asked: Message) -> None:
        wire.rest(10.0)  # until the client that waits has gone
        wire.send(response(200, body=b"slow"))

    busy = upstream(play=slow)
    proxy = launch(
        [busy.address, _named(upstream, "quick").address], upstream_options={"balance": "least_requests"}
    )
    waiting = []
    while not busy.requests:
        waiting.append(Wire.to(proxy.address))
        waiting[-1].send(get())
        pause(0.02)
    assert _ask(proxy, *[get()] * 10) == ["quick"] * 10
    for wire in waiting:
        wire.reset()


def test_an_address_that_refuses_is_passed_over(launch: Launch, upstream: Make) -> None:
    """With attempts a request that never left goes to the next address, whatever its method."""
    dead = f"127.0.0.1:{free_port()}"
    options = {"retry": {"attempts": 1}}
    proxy = launch([dead, _named(upstream, "alive").address], upstream_options=options)
    seen = _ask(proxy, *[request("POST", "/", body=b"x")] * 6)
    assert seen == ["alive"] * 6


# Routes


def _routed(launch: Launch, upstream: Make, routes: list[dict[str, object]], *names: str) -> Proxy:
    return launch(
        config={
            "listeners": [{"name": "web", "address": "127.0.0.1:0", "routes": routes}],
            "upstreams": {name: {"address": _named(upstream, name).address} for name in names},
        }
    )


def test_routes_by_host_path_and_header(launch: Launch, upstream: Make) -> None:
    proxy = _routed(
        launch,
        upstream,
        [
            {"match": {"host": "pay.example"}, "upstream": "host"},
            {"match": {"path": {"prefix": "/static/"}}, "upstream": "path"},
            {"match": {"headers": {"x-canary": "true"}}, "upstream": "header"},
            {"match": {"path": {"template": "/v/{n}"}, "headers": {"x-a": "b"}}, "upstream": "both"},
            {"upstream": "rest"},
        ],
        "host", "path", "header", "both", "rest",
    )  # fmt: skip
    asked = [
        get(host="PAY.example:8080"),
        get("/static/x", "x-canary: true"),
        get("/", "x-canary: true"),
        get("/v/1", "x-a: b"),
        get("/v/1"),
        get("/static", host="xpay.example"),
    ]
    assert _ask(proxy, *asked) == ["host", "path", "header", "both", "rest", "rest"]


def test_no_route(launch: Launch, upstream: Make) -> None:
    proxy = _routed(launch, upstream, [{"match": {"path": "/a"}, "upstream": "a"}], "a")
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get("/b"))
        assert (answer.status, answer.get("proxy-status")) == (404, "misrule; error=destination_not_found")
        assert wire.ask(get("/a")).body == b"a"
    assert proxy.failures("no_route") == 1


def test_routes_by_weight(launch: Launch, upstream: Make) -> None:
    targets = [{"upstream": "stable", "weight": 80}, {"upstream": "canary", "weight": 20}]
    proxy = _routed(launch, upstream, [{"upstreams": targets}], "stable", "canary")
    seen = collections.Counter(_ask(proxy, *[get()] * 500))
    assert 60 <= seen["canary"] <= 140  # 100 expected; more than four standard deviations either way
    assert sum(seen.values()) == 500


# Life


def test_drain_on_sigterm(launch: Launch, upstream: Make) -> None:
    """What is under way arrives; idle connections end; the exit status is 0."""

    def play(wire: Wire, asked: Message) -> None:
        pause(0.4)
        wire.send(response(200, body=b"late"))

    shop = upstream(play=play)
    proxy = launch(shop.address, listener={"timeouts": {"drain": "5s"}})
    with Wire.to(proxy.address) as busy, Wire.to(proxy.address) as idle:
        busy.send(get())
        eventually(lambda: shop.requests, what="the request at the upstream")
        proxy.process.signal(15)
        assert idle.rest() == (b"", FIN)
        answer = busy.answer()
        assert (answer.body, answer.get("connection")) == (b"late", "close")
    assert proxy.process.wait(5) == 0
