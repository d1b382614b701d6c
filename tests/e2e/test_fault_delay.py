"""delay: time passes, never less than asked; nothing else changes."""

import threading
import time

import pytest

from tests.support.clients import CLIENTS, Call, ask
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted, filling, plain
from tests.support.upstreams import Corpus
from tests.support.wire import OPEN, Message, Wire, chunked, get, request, response

_PHASES = ["accept", "request_head", "request_body", "connect", "response_head", "response_body"]


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client(proxy: Proxy, shop: Scripted, client: str) -> None:
    proxy.put(rule("slow", {"delay": "300ms"}))
    seen = ask(client, Call(proxy.url + "/bytes/100"))
    assert (seen.trouble, seen.status, seen.body) == ("", 200, filling(100)), seen.native
    assert 0.3 <= seen.seconds < 5.0


@pytest.mark.parametrize("phase", _PHASES)
def test_every_phase(proxy: Proxy, shop: Scripted, phase: str) -> None:
    """The exchange is whole, late, and carries proof."""
    proxy.put(rule("slow", {"delay": {"fixed": "150ms", "at": phase}}))
    begun = time.monotonic()
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(request("POST", "/echo", "connection: close", body=b"hello"))
        assert 0.15 <= time.monotonic() - begun < 5.0
        assert (answer.status, answer.body) == (200, b"hello")
    assert proxy.injections(rule="slow", fault="delay") == 1


@pytest.mark.parametrize("phase", _PHASES)
def test_never_early(proxy: Proxy, shop: Scripted, phase: str) -> None:
    """Clocks of the event loop have steps and may fire early: seen from outside, not one may."""
    proxy.put(rule("slow", {"delay": {"fixed": "11ms", "at": phase}}))
    took = []
    for _ in range(40):
        begun = time.monotonic()
        with Wire.to(proxy.address) as wire:
            assert wire.ask(request("POST", "/echo", body=b"x")).body == b"x"
        took.append(time.monotonic() - begun)
    assert min(took) >= 0.011


def test_request_head_holds_back_the_whole_request(proxy: Proxy, shop: Scripted) -> None:
    arrived: list[float] = []

    def play(wire: Wire, asked: Message) -> None:
        arrived.append(time.monotonic())
        plain(wire, asked)

    shop.play = play
    proxy.put(rule("slow", {"delay": "200ms"}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        assert wire.ask(get()).status == 200
    assert arrived[0] - begun >= 0.2


def test_request_body_lets_the_head_through(proxy: Proxy, shop: Scripted) -> None:
    arrived: list[float] = []

    def play(wire: Wire, asked: Message) -> None:
        arrived.append(time.monotonic())
        wire.read_body(asked)
        arrived.append(time.monotonic())
        wire.send(response(200, body=b"ok"))

    shop.play = play
    proxy.put(rule("slow", {"delay": {"fixed": "1s", "at": "request_body"}}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        assert wire.ask(request("POST", "/", body=b"hello")).status == 200
    head, body = arrived
    assert body - begun >= 1.0
    assert body - head >= 0.3, "the head was there long before"


def test_response_head_holds_back_the_answer(proxy: Proxy, shop: Scripted) -> None:
    arrived: list[float] = []

    def play(wire: Wire, asked: Message) -> None:
        arrived.append(time.monotonic())
        plain(wire, asked)

    shop.play = play
    proxy.put(rule("slow", {"delay": {"fixed": "200ms", "at": "response_head"}}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 200
        assert time.monotonic() - arrived[0] >= 0.2, "the upstream had it before the time began"


@pytest.mark.parametrize("path", ["/bytes/5000", "/chunked/50000"])
def test_response_body_lets_the_head_through(proxy: Proxy, shop: Scripted, path: str) -> None:
    proxy.put(rule("slow", {"delay": {"fixed": "1s", "at": "response_body"}}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        wire.send(get(path))
        head = wire.read_head()
        assert time.monotonic() - begun < 0.9, "the head does not wait with the body"
        held, how = wire.rest(0.05)
        wire.held = held
        assert how == OPEN
        assert len(held) < 10, "at most the size of the first chunk"
        assert wire.read_body(head).body == filling(int(path.rpartition("/")[2]))
        assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize("phase", ["request_head", "request_body", "response_head", "response_body"])
def test_large_bodies_come_whole_after_it(proxy: Proxy, shop: Scripted, corpus: Corpus, phase: str) -> None:
    """What arrives while the exchange waits is kept, bounded, and in order."""
    proxy.put(rule("slow", {"delay": {"fixed": "150ms", "at": phase}}))
    body = filling(3_000_000)
    with Wire.to(proxy.address) as wire:
        sender = threading.Thread(target=wire.send, args=(request("POST", "/echo", body=body),))
        sender.start()
        answer = wire.answer()
        sender.join(10)
        assert answer.body == body
        wire.send(request("POST", "/echo", "transfer-encoding: chunked") + chunked(body[:100_000], b"end"))
        assert wire.answer().body == body[:100_000] + b"end"


@pytest.mark.parametrize(
    ("delay", "low", "high"),
    [
        ({"uniform": {"min": "30ms", "max": "60ms"}}, 0.03, 0.06),
        ({"normal": {"mean": "40ms", "stddev": "2ms"}}, 0.03, 0.05),
        ({"lognormal": {"median": "40ms", "sigma": 0.05}}, 0.03, 0.05),
        ({"exponential": {"mean": "5ms"}}, 0.0, 0.1),
        ({"pareto": {"min": "30ms", "shape": 50}}, 0.03, 0.05),
        ({"percentiles": {"p50": "30ms", "p90": "40ms", "p99": "50ms", "max": "60ms"}}, 0.0, 0.06),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_each_distribution(proxy: Proxy, shop: Scripted, delay: Rule, low: float, high: float) -> None:
    """What the proof says was drawn is in its range, varies, and is what the client waited."""
    proxy.put(rule("slow", {"delay": delay}))
    said = []
    with Wire.to(proxy.address) as wire:
        for _ in range(15):
            begun = time.monotonic()
            answer = wire.ask(get())
            took = time.monotonic() - begun
            said.append(float((answer.get("x-misrule") or "").split("ms=")[1].split(";")[0]) / 1000)
            assert took >= said[-1] - 0.0011  # the proof is rounded to a millisecond
    assert len(set(said)) > 2
    assert low - 0.001 <= min(said)
    assert sorted(said)[10] <= high + 0.03, "a busy machine may be late now and then"


def test_delays_add_up(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(
        rule("one", {"delay": "60ms"}, {"delay": {"fixed": "60ms", "at": "response_head"}}),
        rule("two", {"delay": "60ms"}),
    )
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        answer = wire.ask(get())
        assert time.monotonic() - begun >= 0.18
        assert [line.split(";")[0] for line in answer.all("x-misrule")] == [
            "rule=one",
            "rule=two",
            "rule=one",
        ]


def test_others_do_not_wait(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("slow", {"delay": "3s"}, match={"path": "/slow"}))
    waiting = [Wire.to(proxy.address) for _ in range(50)]
    begun = time.monotonic()
    for wire in waiting:
        wire.send(get("/slow"))
    with Wire.to(proxy.address) as wire:
        for _ in range(50):
            assert wire.ask(get("/bytes/3")).body == filling(3)
    assert time.monotonic() - begun < 2.9
    for wire in waiting:
        assert wire.answer().status == 200
        wire.close()
    assert 3.0 <= time.monotonic() - begun < 6.0, "they wait side by side, not one after another"


def test_pipelined_requests_keep_their_order(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("slow", {"delay": "80ms"}, match={"path": "/bytes/1"}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/1") + get("/bytes/2") + get("/bytes/1") + get("/bytes/3"))
        assert [len(wire.answer().body) for _ in range(4)] == [1, 2, 1, 3]


def test_zero_percent_changes_nothing(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("never", {"delay": "10s"}, sample={"percent": 0}))
    with Wire.to(proxy.address) as wire:
        for _ in range(50):
            assert wire.ask(get()).all("x-misrule") == []
    assert proxy.injections(rule="never") == 0
