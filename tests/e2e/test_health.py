"""Health checks of HTTP upstreams: real sockets, addresses that fall ill, die, come back and flap."""

import collections
import http.client
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Launch
from tests.support.h2_scripted import ScriptedH2
from tests.support.process import free_port
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.upstreams import Upstream
from tests.support.wait import eventually
from tests.support.wire import Message, Wire, get, response

Make = Callable[..., Scripted]
FAST = {"interval": "100ms", "timeout": "5s", "healthy_after": 2, "unhealthy_after": 2}


class Shop:
    """An upstream that answers with its name, and to ``/healthz`` with ``status``; 0: not at all."""

    def __init__(self, upstream: Make, name: str, status: int = 200) -> None:
        self.name = name
        self.status = status
        self.checks = 0
        self.scripted = upstream(play=self.play)
        self.address = self.scripted.address

    def play(self, wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        if asked.target != "/healthz":
            wire.send(response(200, body=self.name.encode()))
            return
        self.checks += 1
        if self.status:
            wire.send(response(self.status, body=b"x" * 1000))


def _launch(launch: Launch, addresses: list[str], protocol: str = "auto", **health: Any) -> Proxy:
    check = {**FAST, **({} if "tcp" in health else {"http": "/healthz"}), **health}
    return launch(addresses, upstream_options={"health": check, "protocol": protocol})


def _ask(proxy: Proxy, times: int) -> collections.Counter[str]:
    with Wire.to(proxy.address) as wire:
        return collections.Counter(wire.ask(get()).body.decode() for _ in range(times))


def _states(proxy: Proxy) -> list[str]:
    """What the admin endpoint shows of each address, in order."""
    return [shown["state"] for shown in proxy.admin("GET", "/v1/stats")["endpoints"]]


def _become(proxy: Proxy, *states: str) -> None:
    eventually(lambda: _states(proxy) == list(states), 20.0, f"states are {states}")


def test_an_address_falls_ill_and_recovers(launch: Launch, upstream: Make) -> None:
    a, b = Shop(upstream, "a"), Shop(upstream, "b")
    proxy = _launch(launch, [a.address, b.address])
    _become(proxy, "healthy", "healthy")
    assert _ask(proxy, 10) == {"a": 5, "b": 5}
    a.status = 503
    _become(proxy, "unhealthy", "healthy")
    assert _ask(proxy, 10) == {"b": 10}
    assert proxy.metric("misrule_upstream_healthy", address=a.address) == 0
    assert proxy.metric("misrule_upstream_healthy", address=b.address) == 1
    assert proxy.metric("misrule_upstream_health_checks_total", address=a.address, outcome="failed") >= 2
    record = proxy.wait_record(event="upstream_health", state="unhealthy")
    assert (record["address"], record["outcome"], record["healthy"], record["of"]) == (
        a.address,
        "failed",
        1,
        2,
    )
    assert record["message"] == f"upstream shop: {a.address} is unhealthy: status 503, not 200-299"
    a.status = 200
    _become(proxy, "healthy", "healthy")
    assert _ask(proxy, 10) == {"a": 5, "b": 5}


def test_checks_are_neither_requests_nor_faulted(launch: Launch, upstream: Make) -> None:
    a = Shop(upstream, "a")
    proxy = _launch(launch, [a.address])
    proxy.put({"name": "all", "faults": [{"abort": 503}]})
    before = a.checks
    eventually(lambda: a.checks >= before + 5, 20.0, "five checks")
    assert _states(proxy) == ["healthy"]
    assert proxy.injections() == 0
    assert proxy.metric("misrule_requests_total") == 0
    assert proxy.metric("misrule_upstream_connections_total") == 0
    seen = [asked for asked in a.scripted.requests if asked.target == "/healthz"]
    assert seen[0].get("host") == a.address
    assert str(seen[0].get("user-agent")).startswith("misrule/")
    assert len({asked.opening for asked in seen}) == len(seen)  # each on a connection of its own


def test_an_address_that_is_down_and_comes_up(launch: Launch, upstream: Make) -> None:
    """It is out after the first check, and in after the first one that it answers."""
    port = free_port()
    b = Shop(upstream, "b")
    proxy = _launch(launch, [f"127.0.0.1:{port}", b.address], unhealthy_after=1000, healthy_after=1000)
    _become(proxy, "unhealthy", "healthy")
    shown = proxy.admin("GET", "/v1/stats")["endpoints"][0]
    assert shown["last"] == "upstream refused the connection"
    assert set(shown["checks"]) == {"unreachable"}
    assert _ask(proxy, 6) == {"b": 6}
    assert proxy.failures("connect_refused") == 0
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(20)
        sock, _ = server.accept()
        with Wire(sock) as wire:
            wire.read_head()
            wire.send(response(204))
        _become(proxy, "healthy", "healthy")


def test_silence_is_a_timeout(launch: Launch, upstream: Make) -> None:
    a, b = Shop(upstream, "a", status=0), Shop(upstream, "b")
    proxy = _launch(launch, [a.address, b.address], timeout="500ms", unhealthy_after=3)
    _become(proxy, "unhealthy", "healthy")
    assert proxy.admin("GET", "/v1/stats")["endpoints"][0]["last"] == "no answer within 0.5 s"
    assert proxy.metric("misrule_upstream_health_checks_total", address=a.address, outcome="timeout") >= 1
    assert _ask(proxy, 4) == {"b": 4}
    eventually(lambda: a.checks >= 4, 20.0, "checks go on")
    # A check that was given up leaves no connection.
    eventually(lambda: len(a.scripted.wires) - len(a.scripted.ended) <= 3, what="their ends")


def test_flapping_below_the_threshold_changes_nothing(launch: Launch, upstream: Make) -> None:
    a, b = Shop(upstream, "a"), Shop(upstream, "b")
    plain = a.play

    def flaps(wire: Wire, asked: Message) -> None:
        a.status = 200 if a.checks % 3 == 0 else 503
        plain(wire, asked)

    a.scripted.play = flaps
    proxy = _launch(launch, [a.address, b.address], unhealthy_after=3)
    eventually(lambda: a.checks >= 13, 20.0, "checks")
    assert proxy.metric("misrule_upstream_health_checks_total", address=a.address, outcome="failed") >= 6
    assert proxy.records(event="upstream_health", state="unhealthy") == []
    assert _states(proxy) == ["healthy", "healthy"]


def test_when_all_are_down_all_are_used(launch: Launch, upstream: Make) -> None:
    a, b = Shop(upstream, "a", 500), Shop(upstream, "b", 500)
    proxy = _launch(launch, [a.address, b.address])
    _become(proxy, "unhealthy", "unhealthy")
    assert _ask(proxy, 10) == {"a": 5, "b": 5}


def test_when_all_are_down_requests_fail_on_request(launch: Launch, upstream: Make) -> None:
    a, b = Shop(upstream, "a", 500), Shop(upstream, "b", 500)
    proxy = _launch(launch, [a.address, b.address], when_all_unhealthy="fail")
    _become(proxy, "unhealthy", "unhealthy")
    with Wire.to(proxy.address) as wire:
        for _ in range(3):  # the connection stays
            answer = wire.ask(get())
            assert (answer.status, answer.body) == (503, b"misrule: no healthy upstream\n")
            assert answer.get("proxy-status") == "misrule; error=destination_unavailable"
        assert proxy.failures("no_healthy_upstream") == 3
        b.status = 200
        _become(proxy, "unhealthy", "healthy")
        assert wire.ask(get()).body == b"b"


def test_an_exchange_under_way_goes_on(launch: Launch, upstream: Make) -> None:
    a = Shop(upstream, "a")
    plain = a.play

    def slow(wire: Wire, asked: Message) -> None:
        if asked.target == "/slow":
            wire.send(response(200, "content-length: 8") + b"half")
            eventually(lambda: a.status == 1, 20.0, "word to go on")
            wire.send(b"done")
        else:
            plain(wire, asked)

    a.scripted.play = slow
    proxy = _launch(launch, [a.address], when_all_unhealthy="fail")
    with Wire.to(proxy.address) as wire:
        wire.send(get("/slow"))
        wire.until(b"half")
        a.status = 503
        _become(proxy, "unhealthy")
        a.status = 1
        assert wire.take(4) == b"done"


def test_tcp_only_connects(launch: Launch, upstream: Make) -> None:
    a, dead = Shop(upstream, "a", 500), f"127.0.0.1:{free_port()}"
    proxy = _launch(launch, [a.address, dead], tcp=True)
    _become(proxy, "healthy", "unhealthy")
    assert _ask(proxy, 4) == {"a": 4}
    assert a.checks == 0


def test_transitions_are_events(launch: Launch, upstream: Make) -> None:
    a = Shop(upstream, "a")
    proxy = _launch(launch, [a.address])
    _become(proxy, "healthy")
    connection = http.client.HTTPConnection(proxy.admin_address, timeout=20)
    connection.request("GET", "/v1/events")
    feed = connection.getresponse()
    a.status = 500
    kinds = []
    while True:
        line = feed.readline().decode().strip()
        if line.startswith("event: "):
            kinds.append(line.removeprefix("event: "))
        elif line.startswith("data: ") and kinds[-1] == "upstream_health":
            told = json.loads(line.removeprefix("data: "))
            break
    connection.close()
    assert (told["upstream"], told["address"], told["state"]) == ("shop", a.address, "unhealthy")


@pytest.fixture
def ill() -> Iterator[ScriptedH2]:
    server = ScriptedH2(play=lambda peer, asked: peer.answer(asked, 500, body=b"no"))
    yield server
    server.close()


@pytest.fixture
def well() -> Iterator[ScriptedH2]:
    server = ScriptedH2()
    yield server
    server.close()


def test_http2_upstreams_are_asked_in_http2(launch: Launch, ill: ScriptedH2, well: ScriptedH2) -> None:
    proxy = _launch(launch, [ill.address, well.address], "http2", host="shop.example")
    _become(proxy, "unhealthy", "healthy")
    asked = well.requests[0]
    assert (asked.get(":path"), asked.get(":authority")) == ("/healthz", "shop.example")
    assert _ask(proxy, 4) == {"ok": 4}


PATHS = {"nginx": "/small", "node": "/small", "node2": "/small", "nghttpd": "/files/1"}


@pytest.mark.parametrize(
    ("name", "protocol"), [("nginx", "auto"), ("node", "http1"), ("node2", "http2"), ("nghttpd", "http2")]
)
def test_real_servers(launch: Launch, upstreams: Callable[[str], Upstream], name: str, protocol: str) -> None:
    address = upstreams(name).address
    proxy = launch(
        config={
            "listeners": [{"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "passes"}]}],
            "upstreams": {
                "passes": {"address": address, "protocol": protocol, "health": {**FAST, "http": PATHS[name]}},
                "fails": {
                    "address": address,
                    "protocol": protocol,
                    "health": {**FAST, "http": PATHS[name], "expect": ["100-199", "201-599"]},
                },
            },
        }
    )
    _become(proxy, "healthy", "unhealthy")


def test_an_http2_check_of_a_server_that_speaks_http1(
    launch: Launch, upstreams: Callable[[str], Upstream]
) -> None:
    proxy = launch(
        upstreams("nginx").address,
        upstream_options={"protocol": "http2", "health": {**FAST, "http": "/small"}},
    )
    _become(proxy, "unhealthy")
    assert "not a valid answer of HTTP/2" in proxy.admin("GET", "/v1/stats")["endpoints"][0]["last"]
