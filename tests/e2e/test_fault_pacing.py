"""drip and loss: what real clients get, and when."""

import time
from collections.abc import Callable

import pytest

from tests.support.clients import CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.upstreams import Corpus
from tests.support.wire import Wire, get


@pytest.mark.parametrize("client", CLIENTS)
def test_drip(proxy: Proxy, client: str) -> None:
    proxy.put(rule("drops", {"drip": {"bytes": 10, "every": "5ms"}}))
    seen = ask(client, Call(f"{proxy.url}/bytes/1000"))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(1000), "")
    assert 0.495 <= seen.seconds < 5.0


def test_drops_come_alone(proxy: Proxy) -> None:
    proxy.put(rule("drops", {"drip": {"bytes": 1, "every": "20ms"}}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        wire.send(get("/bytes/20"))
        assert wire.read_head().status == 200
        for number in range(20):
            wire.take(1)
            assert time.monotonic() - begun >= number * 0.02


def test_drip_of_an_upload(proxy: Proxy, shop: Scripted, corpus: Corpus) -> None:
    proxy.put(rule("drops", {"drip": {"bytes": 1000, "every": "5ms", "direction": "request"}}))
    seen = ask("curl", Call(f"{proxy.url}/echo", "POST", file=corpus.path(65_536), chunked=True))
    assert (seen.length, seen.sha256) == (65_536, corpus.sha256(65_536))
    assert seen.seconds >= 65 * 0.005


@pytest.mark.parametrize("at", ["request_head", "response_head"])
@pytest.mark.parametrize("client", ["curl", "node", "httpx"])
def test_drip_of_heads(proxy: Proxy, client: str, at: str) -> None:
    proxy.put(rule("drops", {"drip": {"bytes": 10, "every": "10ms", "at": at}}))
    seen = ask(client, Call(f"{proxy.url}/bytes/1000"))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(1000), "")
    assert 0.1 <= seen.seconds < 5.0
    assert [line.split("; ")[:2] for line in seen.all("x-misrule")] == [["rule=drops", "fault=drip"]]
    assert proxy.injections(rule="drops", fault="drip", phase=at) == 1


def test_drip_of_the_head_of_an_upload(proxy: Proxy, corpus: Corpus) -> None:
    proxy.put(rule("drops", {"drip": {"bytes": 10, "every": "10ms", "at": "request_head"}}))
    seen = ask("curl", Call(f"{proxy.url}/echo", "POST", file=corpus.path(65_536), chunked=True))
    assert (seen.length, seen.sha256) == (65_536, corpus.sha256(65_536))
    assert seen.seconds >= 0.1


def test_nginx_reads_a_slow_head(fronts: Callable[[str], Proxy]) -> None:
    front = fronts("nginx")
    front.put(rule("drops", {"drip": {"bytes": 1, "every": "1ms", "at": "request_head"}}))
    seen = ask("curl", Call(f"{front.url}/small"))
    assert (seen.status, seen.body) == (200, b"ok\n")
    assert seen.seconds >= 0.1


@pytest.mark.parametrize("client", ["curl", "node", "httpx"])
def test_loss(proxy: Proxy, client: str) -> None:
    """A hundred segments, of which the same ones are lost each time: the seed says so."""
    proxy.put(rule("lossy", {"loss": {"percent": 10, "rto": "50ms"}}, sample={"sticky": "path"}))
    seen = [ask(client, Call(f"{proxy.url}/bytes/146000")) for _ in range(2)]
    assert [(one.status, one.length, one.trouble) for one in seen] == [(200, 146_000, "")] * 2
    assert all(0.1 <= one.seconds < 10.0 for one in seen)
    assert proxy.injections(rule="lossy", fault="loss") == 2
