"""Upstreams by name, with a resolver of our own: the answers to clients, and what is kept."""

import subprocess
from collections.abc import Callable, Iterator

import grpc
import pytest

from tests.e2e.conftest import Launch
from tests.support.dns_server import NODATA, REFUSED, SERVFAIL, SILENCE, Resolver, Zone
from tests.support.need import need
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wait import eventually
from tests.support.wire import Message, Wire, get, response

Start = Callable[[Zone, str], tuple[Proxy, Resolver]]


@pytest.fixture
def named(launch: Launch) -> Iterator[Start]:
    """A proxy whose upstream is found by the given zone, with the address given as host:port."""
    started: list[Resolver] = []

    def start(zone: Zone, upstream: str) -> tuple[Proxy, Resolver]:
        resolver = Resolver(zone, ttl=1).__enter__()
        started.append(resolver)
        proxy = launch(
            config={
                "dns": {"resolvers": [resolver.address]},
                "listeners": [{"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "app"}]}],
                "upstreams": {"app": {"address": upstream, "timeouts": {"connect": "900ms"}}},
            }
        )
        return proxy, resolver

    yield start
    for resolver in started:
        resolver.__exit__(None, None, None)


def _who(at: str) -> Callable[[Wire, Message], None]:
    return lambda wire, _: wire.send(response(200, body=at.encode()))


@pytest.mark.parametrize(
    ("zone", "status", "token", "kind"),
    [
        ({}, 502, "dns_error", "dns_nxdomain"),
        ({"shop.test": NODATA}, 502, "dns_error", "dns_nodata"),
        ({"shop.test": SERVFAIL}, 502, "dns_error", "dns_servfail"),
        ({"shop.test": REFUSED}, 502, "dns_error", "dns_refused"),
        ({"shop.test": SILENCE}, 504, "dns_timeout", "dns_timeout"),
    ],
)
def test_each_failure_of_a_look_up_is_told(
    named: Start, zone: Zone, status: int, token: str, kind: str
) -> None:
    proxy, _ = named(zone, "shop.test:80")
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get("/"))
    assert (answer.status, answer.get("proxy-status")) == (status, f"misrule; error={token}")
    assert proxy.metric("misrule_upstream_failures_total", upstream="app", kind=kind) == 1
    assert proxy.metric("misrule_upstream_lookups_total", outcome=kind) == 1


@pytest.mark.parametrize("word", ["nxdomain", "nodata", "servfail", "refused", "timeout"])
def test_a_failure_by_rule_is_told_as_the_real_one(named: Start, word: str) -> None:
    """Over HTTP/1.1 and, as curl speaks it, HTTP/2: status, fields and body."""
    happens: Zone = {"nodata": NODATA, "servfail": SERVFAIL, "refused": REFUSED, "timeout": SILENCE}
    zone: Zone = {"shop.test": happens[word]} if word in happens else {}
    proxy, _ = named(zone, "shop.test:80")

    def told() -> list[tuple[int, list[str], bytes]]:
        answers = []
        for option in ("--http1.1", "--http2-prior-knowledge"):
            command = [need("curl"), "-s", "-i", option, proxy.url]
            head, _, body = subprocess.run(command, capture_output=True, check=True).stdout.partition(
                b"\r\n\r\n"
            )
            lines = head.decode().lower().split("\r\n")
            status = int(lines[0].split()[1])
            answers.append((status, sorted(line for line in lines[1:] if not _varies(line)), body))
        return answers

    real = told()
    failures = proxy.failures(f"dns_{word}")
    proxy.put(rule("r", {"dns": word}, match={"dns": {"name": "shop.test"}}))
    assert told() == real
    assert proxy.injections(rule="r", fault="dns", phase="resolve") == 2
    assert proxy.failures(f"dns_{word}") == failures == 2  # what is injected is no failure


@pytest.mark.parametrize("word", ["nxdomain", "servfail"])
def test_a_grpc_call_fails_as_it_really_does(named: Start, word: str) -> None:
    zone: Zone = {"shop.test": SERVFAIL} if word == "servfail" else {}
    proxy, _ = named(zone, "shop.test:80")

    def told() -> tuple[grpc.StatusCode, str | None]:
        with grpc.insecure_channel(proxy.address) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/shop.Cart/Add", bytes, bytes)(b"", timeout=20)
        return caught.value.code(), caught.value.details()

    real = told()
    assert real[0] is grpc.StatusCode.UNAVAILABLE
    proxy.put(rule("r", {"dns": word}, match={"protocol": ["grpc"]}))
    assert told() == real
    assert proxy.injections(rule="r", fault="dns", phase="resolve") == 1


def _varies(line: str) -> bool:
    return line.startswith(("date:", "x-misrule:", "x-request-id:"))


def test_a_kept_connection_asks_for_nothing_and_outlives_a_change(
    named: Start, upstream: Callable[..., Scripted]
) -> None:
    first = upstream(play=_who("first"))
    port = first.address.rpartition(":")[2]
    proxy, resolver = named({"shop.test": {"A": ["127.0.0.1"]}}, f"shop.test:{port}")
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/")).body == b"first"
        asked = resolver.count("shop.test")
        resolver.zone["shop.test"] = {"A": ["127.0.0.2"]}  # nobody listens there
        for _ in range(20):
            assert wire.ask(get("/")).body == b"first"
        assert resolver.count("shop.test") == asked

        def moved() -> bool:
            for one in first.wires:  # so that a new connection is needed
                one.close()
            return wire.ask(get("/")).status == 502

        eventually(moved, 10.0)
    assert resolver.count("shop.test") > asked


def test_an_upstream_is_found_again_while_no_resolver_answers(
    named: Start, upstream: Callable[..., Scripted]
) -> None:
    def play(wire: Wire, _: Message) -> None:
        wire.send(response(200, "connection: close", body=b"ok"))
        wire.close()

    port = upstream(play=play).address.rpartition(":")[2]
    proxy, resolver = named({"shop.test": {"A": ["127.0.0.1"]}}, f"shop.test:{port}")
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/")).body == b"ok"
        resolver.down = True

        def stale() -> bool:
            assert wire.ask(get("/")).body == b"ok"
            return proxy.metric("misrule_upstream_lookups_total", outcome="stale") == 1

        eventually(stale, 10.0)
