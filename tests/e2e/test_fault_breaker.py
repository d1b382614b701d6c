"""breaker: what real clients see of one by each protocol, and what it sees of a real upstream."""

import http.client
import threading

import pytest

from tests.support.clients import CLIENTS, HTTP2_CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wait import eventually, pause
from tests.support.wire import Wire, get, request

_OPEN = b"circuit breaker is open"
_WEBSOCKET = (
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.parametrize(
    ("client", "http2"), [*((name, False) for name in CLIENTS), *((name, True) for name in HTTP2_CLIENTS)]
)
def test_each_client(proxy: Proxy, shop: Scripted, client: str, http2: bool) -> None:
    proxy.put(rule("b", {"breaker": {"profile": "gobreaker", "consecutive_failures": 2, "open_for": "24h"}}))
    for _ in range(2):
        assert ask(client, Call(proxy.url + "/status/500", http2=http2)).status == 500
    seen = ask(client, Call(proxy.url + "/bytes/9", http2=http2))
    assert (seen.trouble, seen.status, seen.body) == ("", 503, _OPEN), seen.native
    assert seen.all("content-type") == ["text/plain"]
    assert seen.all("x-misrule") == [f"rule=b; fault=breaker; ms=0; version={proxy.version}"]
    assert len(shop.requests) == 2


def test_a_websocket_is_refused(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("b", {"breaker": {"force": "open"}}))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get("/", *_WEBSOCKET))
    assert (answer.status, answer.get("x-envoy-overloaded")) == (503, "true")
    assert shop.requests == []


def test_it_opens_tries_and_closes(proxy: Proxy, shop: Scripted) -> None:
    """The real clock: refused for as long as it must be, and let through after that."""
    breaker = {"profile": "polly", "min_calls": 2, "open_for": "300ms"}
    proxy.put(rule("b", {"breaker": breaker}))
    connection = http.client.HTTPConnection(proxy.address, timeout=20)

    def status(path: str) -> int:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert [status("/status/502"), status("/status/502")] == [502, 502]
    eventually(lambda: status("/bytes/1") == 200 or None)
    record = proxy.wait_record(event="breaker_transition", after="closed")
    assert (record["before"], record["reason"]) == ("half_open", "trials_succeeded")
    assert status("/bytes/1") == 200
    connection.close()


def test_each_of_many_concurrent_calls_counts_once(proxy: Proxy, shop: Scripted) -> None:
    """2,000 calls over 20 connections: the window has each of them, and opens at the last that it needs."""
    proxy.put(rule("b", {"breaker": {"profile": "hystrix", "window": {"time": "1h"}, "min_calls": 2001}}))

    def send() -> None:
        with Wire.to(proxy.address) as wire:
            for _ in range(100):
                assert wire.ask(get("/status/500")).status == 500

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (shown,) = proxy.admin("GET", "/v1/breakers")["breakers"]
    (key,) = shown["keys"]
    assert (key["calls"], key["failures"], key["active"], key["state"]) == (2000, 2000, 0, "closed")
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/status/500")).status == 500
        assert wire.ask(get("/")).status == 503


def test_an_upload_is_read_over(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("b", {"breaker": {"force": "open"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(request("PUT", "/echo", "content-length: 100000"))
        pause(0.05)
        wire.send(b"x" * 100_000)
        assert wire.answer("PUT").status == 503
        proxy.put()
        assert wire.ask(get("/")).status == 200
