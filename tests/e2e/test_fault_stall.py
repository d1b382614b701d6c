"""stall: bytes stop and the connection stays open, until the client's patience or the time given ends."""

import threading
import time

import pytest

from tests.support.clients import CLIENTS, TIMEOUT, Call, ask
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually
from tests.support.wire import FIN, RESET, Wire, get, request

_PHASES = ["accept", "request_head", "request_body", "resolve", "connect", "response_head"]


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_gives_up(proxy: Proxy, shop: Scripted, client: str) -> None:
    proxy.put(rule("stuck", {"stall": {"until": "client_gives_up"}}))
    seen = ask(client, Call(proxy.url, timeout=0.5))
    assert (seen.status, seen.trouble) == (0, TIMEOUT), seen.native
    assert shop.requests == []
    eventually(lambda: proxy.metric("misrule_rule_active", rule="stuck") == 0, what="the exchange ends")


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_gives_up_in_the_answer(proxy: Proxy, shop: Scripted, client: str) -> None:
    proxy.put(rule("stuck", {"stall": {"after_bytes": "1000B"}}))
    seen = ask(client, Call(proxy.url + "/bytes/5000", timeout=1.2))
    assert (seen.status, seen.trouble) == (200, TIMEOUT), seen.native
    assert seen.length == 1000 or client == "requests"


@pytest.mark.parametrize("phase", _PHASES)
def test_nothing_comes_at_every_phase(proxy: Proxy, shop: Scripted, phase: str) -> None:
    proxy.put(rule("stuck", {"stall": {"at": phase}}))
    with Wire.to(proxy.address) as wire:
        wire.send(request("POST", "/echo", body=b"hello"))
        assert wire.quiet(0.3)
        assert proxy.metric("misrule_exchanges_held") == 1 or phase == "accept"
    if phase in ("accept", "request_head", "resolve", "connect"):
        assert shop.requests == []


@pytest.mark.parametrize(
    "phase", ["accept", "request_head", "request_body", "response_head", "response_body"]
)
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_client_that_went_away_is_noticed(proxy: Proxy, shop: Scripted, phase: str, how: str) -> None:
    """Though nothing is read from it: its exchange ends, and what it held is free again."""
    proxy.put(rule("stuck", {"stall": {"at": phase}}, sample={"max_active": 1}))
    wire = Wire.to(proxy.address)
    wire.send(request("POST", "/echo", body=b"hello"))
    if phase == "response_body":
        assert wire.read_head().status == 200
    else:
        assert wire.quiet(0.1)
    with Wire.to(proxy.address) as other:  # one at a time may stall: this one passes
        assert other.ask(get("/bytes/5")).body == filling(5)
    if how == "fin":
        wire.close()
    else:
        wire.reset()
    eventually(
        lambda: proxy.metric("misrule_rule_active", rule="stuck") == 0, 10.0, "the end of the exchange"
    )
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/5"))
        if phase == "response_body":
            wire.read_head()
        elif phase == "request_body":  # this request has none
            return
        assert wire.quiet(0.1), "the place is free: the next one stalls"


def test_a_client_with_an_upload_that_went_away_is_noticed(proxy: Proxy, shop: Scripted) -> None:
    """Its body fills the buffers, reading is paused, and the system reports no end of a paused socket."""
    proxy.put(rule("stuck", {"stall": {}}))
    wire = Wire.to(proxy.address, timeout=0.5)
    wire.send(request("POST", "/echo", "content-length: 100000000"))
    with pytest.raises(TimeoutError):
        wire.send(bytes(100_000_000))
    assert proxy.metric("misrule_exchanges_held") == 1
    wire.reset()
    eventually(lambda: proxy.metric("misrule_exchanges_held") == 0, 10.0, "the end of the exchange")


@pytest.mark.parametrize("phase", [*_PHASES, "response_body"])
def test_for_a_time_then_continue(proxy: Proxy, shop: Scripted, phase: str) -> None:
    proxy.put(rule("stuck", {"stall": {"for": "200ms", "then": "continue", "at": phase}}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        wire.send(request("POST", "/echo", "connection: close", body=b"hello"))
        assert wire.answer().body == b"hello"
        assert 0.2 <= time.monotonic() - begun < 5.0


@pytest.mark.parametrize(("then", "end"), [("reset", RESET), ("close", FIN)])
@pytest.mark.parametrize("phase", ["accept", "request_head", "connect", "response_head"])
def test_for_a_time_then_an_end(proxy: Proxy, shop: Scripted, phase: str, then: str, end: str) -> None:
    proxy.put(rule("stuck", {"stall": {"for": "200ms", "then": then, "at": phase}}))
    begun = time.monotonic()
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        assert wire.rest() == (b"", end)
    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize(("then", "end"), [("reset", RESET), ("close", FIN)])
def test_after_bytes_for_a_time_then_an_end(proxy: Proxy, shop: Scripted, then: str, end: str) -> None:
    proxy.put(rule("stuck", {"stall": {"for": "200ms", "then": then, "after_bytes": "70000B"}}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        wire.send(get("/bytes/200000"))
        assert wire.read_head().status == 200
        assert wire.rest() == (filling(70_000), end)
        assert time.monotonic() - begun >= 0.2


def test_after_bytes_for_a_time_then_continue(proxy: Proxy, shop: Scripted) -> None:
    for path in ["/bytes/3000000", "/chunked/3000000"]:
        proxy.put(rule("stuck", {"stall": {"for": "200ms", "after_bytes": "70000B"}}))
        with Wire.to(proxy.address) as wire:
            begun = time.monotonic()
            assert wire.ask(get(path)).body == filling(3_000_000)
            assert time.monotonic() - begun >= 0.2
            proxy.put()
            assert wire.ask(get("/bytes/5")).body == filling(5)


@pytest.mark.parametrize("phase", ["request_head", "connect", "response_head"])
def test_for_a_time_then_abort(proxy: Proxy, shop: Scripted, phase: str) -> None:
    fault: Rule = {"for": "200ms", "then": "abort", "at": phase}
    proxy.put(rule("stuck", {"stall": fault}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        assert wire.ask(get("/bytes/1")).status == 504
        assert time.monotonic() - begun >= 0.2
        proxy.put(rule("stuck", {"stall": {**fault, "abort": {"status": 418, "body": {"text": "tea"}}}}))
        answer = wire.ask(get("/bytes/1"))
        assert (answer.status, answer.body) == (418, b"tea")


def test_stalled_exchanges_cost_no_others(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("stuck", {"stall": {}}, match={"path": "/stuck"}))
    stuck = [Wire.to(proxy.address) for _ in range(100)]
    for wire in stuck:
        wire.send(get("/stuck"))
    eventually(lambda: proxy.metric("misrule_exchanges_held") == 100, what="all of them wait")
    with Wire.to(proxy.address) as wire:
        for _ in range(50):
            assert wire.ask(get("/bytes/3")).body == filling(3)
    for wire in stuck:
        wire.close()
    eventually(lambda: proxy.metric("misrule_exchanges_held") == 0, what="none of them waits")


def test_stalled_answer_holds_the_upstream_back(proxy: Proxy, shop: Scripted) -> None:
    """What the upstream sends meanwhile is not piled up."""
    sent: list[int] = []

    def endless(wire: Wire, asked: object) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 200000000\r\n\r\n")
        for _ in range(200):
            wire.send(bytes(1_000_000))
            sent.append(1)

    shop.play = endless
    proxy.put(rule("stuck", {"stall": {"at": "response_body"}}))
    before = proxy.process.memory()
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        assert wire.read_head().status == 200
        settled = threading.Event()
        settled.wait(0.5)
        assert len(sent) < 32
        assert proxy.process.memory() - before < 16 * 1024
