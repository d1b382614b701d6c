"""limit: what real clients see of it by HTTP/1.1 and HTTP/2, and that nobody passes who may not."""

import threading
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.support.clients import CLIENTS, HTTP2_CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling, plain
from tests.support.wait import eventually, pause
from tests.support.wire import RESET, Message, Wire, get

EACH = [*((name, False) for name in CLIENTS), *((name, True) for name in HTTP2_CLIENTS)]


def _under_way(proxy: Proxy, what: str) -> float:
    return proxy.metric("misrule_limits", rule="r", of=what)


@pytest.mark.parametrize(("client", "http2"), EACH)
def test_each_client(proxy: Proxy, shop: Scripted, client: str, http2: bool) -> None:
    """The second call of an hour: 429, and when to come again."""
    proxy.put(rule("r", {"limit": {"rate": "1/h"}}))
    assert ask(client, Call(proxy.url + "/bytes/9", http2=http2)).status == 200
    seen = ask(client, Call(proxy.url + "/bytes/9", http2=http2))
    assert (seen.trouble, seen.status, seen.body) == ("", 429, b"too many requests\n"), seen.native
    assert 3500 < int(seen.all("retry-after")[0]) <= 3600
    assert seen.all("x-misrule") == [f"rule=r; fault=limit; ms=0; version={proxy.version}"]
    assert len(shop.requests) == 1


@pytest.mark.parametrize(
    ("client", "http2"), [("curl", False), ("curl", True), ("httpx", True), ("node", True)]
)
def test_refused(proxy: Proxy, shop: Scripted, client: str, http2: bool) -> None:
    proxy.put(rule("r", {"limit": {"requests": 0, "over": "refuse"}}))
    seen = ask(client, Call(proxy.url + "/", http2=http2))
    assert (seen.status, seen.trouble != "") == (0, True)
    if http2 and client != "curl":
        assert "REFUSED_STREAM" in seen.native.upper() or "code:7" in seen.native.replace(" ", "")
    assert shop.requests == []


def test_refused_by_http_1(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("r", {"limit": {"requests": 0, "over": "refuse"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        assert wire.rest() == (b"", RESET)


def test_a_pool_of_connections(proxy: Proxy, shop: Scripted) -> None:
    """Two places: the third connection is told so, until one of the others ends."""
    proxy.put(rule("r", {"limit": {"connections": 2}}))
    with ExitStack() as open_wires:
        first, second, third = (open_wires.enter_context(Wire.to(proxy.address)) for _ in range(3))
        for wire in (first, second, first):
            assert wire.ask(get("/bytes/5")).status == 200
        answer = third.ask(get("/bytes/5"))
        assert (answer.status, answer.body) == (503, b"no connection is free\n")
        assert _under_way(proxy, "connections") == 2
        first.close()
        eventually(lambda: third.ask(get("/bytes/5")).status == 200, what="a place is free")
    eventually(lambda: _under_way(proxy, "connections") == 0, what="all are free")


def test_streams_share_the_place_of_their_connection(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("r", {"limit": {"connections": 1}}))
    options: dict[str, Any] = {"http1": False, "http2": True, "trust_env": False, "timeout": 20}
    with httpx.Client(**options) as one, httpx.Client(**options) as other:
        assert [one.get(proxy.url + "/bytes/5").status_code for _ in range(3)] == [200] * 3
        refused = other.get(proxy.url + "/bytes/5")
        assert (refused.status_code, refused.text) == (503, "no connection is free\n")
        assert _under_way(proxy, "connections") == 1
    eventually(lambda: _under_way(proxy, "connections") == 0, what="it is free")


def test_a_queue(proxy: Proxy, shop: Scripted) -> None:
    """One at a time, first come first served; whoever gives up makes room."""
    gate = threading.Semaphore(0)

    def when_told(wire: Wire, asked: Message) -> None:
        assert gate.acquire(timeout=60)
        plain(wire, asked)

    shop.play = when_told
    proxy.put(rule("r", {"limit": {"requests": 1, "queue": 3}}))
    with ExitStack() as open_wires:
        wires = [open_wires.enter_context(Wire.to(proxy.address)) for _ in range(5)]
        for number, wire in enumerate(wires[:4]):
            wire.send(get(f"/bytes/{number + 1}"))
            eventually(lambda: _under_way(proxy, "requests") == 1, what="the first one is in")
            eventually(lambda wanted=number: _under_way(proxy, "waiting") == wanted, what="others wait")  # type: ignore[misc]
        assert wires[4].ask(get()).status == 503
        wires[2].close()
        eventually(lambda: _under_way(proxy, "waiting") == 2, what="one has given up")
        pause(0.05)
        for number in (0, 1, 3):
            gate.release()
            answer = wires[number].answer()
            assert (answer.status, answer.body) == (200, filling(number + 1))
            told = answer.get("x-misrule") or ""
            assert ("fault=limit" in told) == (number > 0)
            assert number == 0 or int(told.partition("ms=")[2].partition(";")[0]) >= 50
    assert [asked.target for asked in shop.requests] == ["/bytes/1", "/bytes/2", "/bytes/4"]


def test_figures_change_while_it_works(proxy: Proxy, shop: Scripted) -> None:
    limit = {"requests": 0, "queue": 10}
    proxy.put(rule("r", {"limit": limit}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/5"))
        eventually(lambda: proxy.metric("misrule_exchanges_held") == 1 or None, what="it waits")
        proxy.put(rule("r", {"limit": {**limit, "requests": 1}}))
        assert wire.answer().body == filling(5)
    (shown,) = proxy.rule("r")["counts"]["faults"]
    assert shown["limit"] == {
        "connections": 0,
        "requests": 0,
        "waiting": 0,
        "keys": 1,
        "asked": {"admitted": 1, "connections": 0, "requests": 0, "rate": 0},
    }


def test_explain_says_how_far_it_is_used_up(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("r", {"limit": {"requests": 5, "rate": "100/m", "queue": 7}}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 200
    (entry,) = proxy.admin("POST", "/v1/explain", {"path": "/"})["rules"]
    assert entry["faults"][0]["note"] == "0 of 5 requests at once, 100 in 60 s, bursts of 100, 0 of 7 wait"


def test_a_client_that_goes_away_frees_its_place(proxy: Proxy, shop: Scripted) -> None:
    """Fifty who leave in the middle of an answer that does not come."""
    proxy.put(rule("r", {"limit": {"requests": 50}}, priority=1), rule("stuck", {"stall": {}}))
    with ExitStack() as open_wires:
        wires = [open_wires.enter_context(Wire.to(proxy.address)) for _ in range(51)]
        for wire in wires[:50]:
            wire.send(get())
        eventually(lambda: _under_way(proxy, "requests") == 50, what="full")
        assert wires[50].ask(get()).status == 503
        for number, wire in enumerate(wires):
            if number % 2:
                wire.reset()
            else:
                wire.close()
    eventually(lambda: _under_way(proxy, "requests") == 0, what="empty")
