"""Phase resolve: which address a request goes to, and faults before that is settled."""

import errno
import socket

import pytest

from proxy.net.names import Told
from proxy.net.pool import MOST_ASIDES, Endpoint, names_of
from tests.support.fakes import FakeTransport, Stage

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def rule(fault: str) -> str:
    return f"  - {{name: r, faults: [{fault}]}}"


async def test_addresses_take_turns() -> None:
    stage = Stage(endpoints=3)
    clients = [stage.client() for _ in range(6)]
    for client in clients:
        client.gives(GET)
    await stage.connected(5)
    assert sorted(upstream.peer[1] for upstream in stage.loop.upstreams) == [80, 80, 81, 81, 82, 82]


async def test_the_turn_is_taken_when_the_fault_is_over() -> None:
    stage = Stage("  - {name: r, match: {path: /slow}, faults: [stall: {at: resolve, for: 1s}]}", endpoints=2)
    slow, quick = stage.client(), stage.client()
    slow.gives(b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
    quick.gives(GET)
    assert (await stage.connected()).peer[1] == 80
    stage.timers.advance(1)
    assert (await stage.connected(1)).peer[1] == 81


@pytest.mark.parametrize(("fault", "aborted", "ended"), [("reset", True, False), ("close", False, True)])
async def test_an_end_comes_before_any_connection(fault: str, aborted: bool, ended: bool) -> None:
    stage = Stage(rule(f"{fault}: {{at: resolve}}"))
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    assert (client.aborted, client.ended, stage.loop.upstreams) == (aborted, ended, [])
    assert client.taken() == b""
    (line,) = stage.logged("injection")
    assert (line["phase"], line["fault"]) == ("resolve", fault)


async def test_time_before_the_address_is_known_is_injected_time() -> None:
    stage = Stage(rule("stall: {at: resolve, for: 2s}"), response_timeout=1.0)
    client = stage.client()
    client.gives(GET)
    stage.sweep(1.75)
    assert stage.loop.upstreams == []
    stage.sweep(0.25)
    upstream = await stage.connected()
    stage.sweep(0.75)
    upstream.gives(OK)
    assert b"x-misrule: rule=r; fault=stall; ms=2000; version=1\r\n" in client.taken()


async def test_then_abort_answers_with_what_it_was_given() -> None:
    fault = 'stall: {at: resolve, for: 1s, then: abort, abort: {status: 503, body: {text: "no address"}}}'
    stage = Stage(rule(fault))
    client = stage.client()
    client.gives(GET)
    stage.timers.advance(1)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"\r\n\r\nno address")
    assert not client.closing


# Look-ups


def answered(client: FakeTransport) -> tuple[bytes, list[bytes]]:
    """Give the answer without what says when and by which rule, and the proofs."""
    lines = client.taken().split(b"\r\n")
    proofs = [line for line in lines if line.startswith(b"x-misrule")]
    return b"\r\n".join(line for line in lines if not line.startswith((b"x-misrule", b"date:"))), proofs


@pytest.mark.parametrize("word", ["nxdomain", "nodata", "servfail", "refused", "timeout"])
async def test_a_look_up_that_fails_by_rule_is_answered_as_one_that_does(word: str) -> None:
    real = Stage()
    real.loop.refuse = socket.gaierror(f"dns_{word}")
    victim = real.client()
    victim.gives(GET)
    await real.turn()
    stage = Stage(rule(f"dns: {word}"))
    client = stage.client()
    client.gives(GET)
    if word == "timeout":
        assert client.taken() == b""
        stage.timers.advance(5)  # what connecting may take
    await stage.turn()
    wanted, _ = answered(victim)
    given, proofs = answered(client)
    assert given == wanted
    assert b"error=dns_" in given
    assert [line.partition(b"; ms=")[0] for line in proofs] == [b"x-misrule: rule=r; fault=dns"]
    assert stage.loop.upstreams == []
    (line,) = stage.logged("injection")
    assert (line["phase"], line["fault"]) == ("resolve", "dns")


async def test_a_wrong_address_is_dialled_and_keeps_its_connections_to_itself() -> None:
    stage = Stage("  - {name: r, match: {path: /wrong}, faults: [dns: {address: [192.0.2.9]}]}")
    wrong = b"GET /wrong HTTP/1.1\r\nhost: a\r\n\r\n"
    client = stage.client()
    for number, (asked, peer) in enumerate([(wrong, "192.0.2.9"), (GET, "10.0.0.1")]):
        client.gives(asked)
        upstream = await stage.connected(number)
        assert upstream.peer == (peer, 80)
        upstream.gives(OK)
        assert client.taken().startswith(b"HTTP/1.1 200")
    for number, asked in [(0, wrong), (1, GET)]:
        client.gives(asked)
        await stage.turn()
        assert len(stage.loop.upstreams) == 2  # both were kept
        stage.loop.upstreams[number].gives(OK)
        assert client.taken().startswith(b"HTTP/1.1 200")
    assert stage.upstream.cells.idle == 2


async def test_a_wrong_address_that_refuses_is_not_followed_by_a_right_one() -> None:
    stage = Stage(rule("dns: {address: [192.0.2.9]}"), endpoints=2, attempts=2)
    stage.loop.refuse = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    assert b"error=connection_refused" in client.taken()
    assert stage.loop.tasks == 1


async def test_a_late_look_up_takes_its_time() -> None:
    stage = Stage(rule("dns: {delay: 2s, address: [192.0.2.9]}"))
    client = stage.client()
    client.gives(GET)
    stage.timers.advance(1.9)
    await stage.turn()
    assert stage.loop.upstreams == []
    stage.timers.advance(0.1)
    assert (await stage.connected()).peer == ("192.0.2.9", 80)


@pytest.mark.parametrize("written", ["truncated", "{ttl: 0}", "partial"])
async def test_what_changes_nothing_for_the_proxy_is_not_counted(written: str) -> None:
    stage = Stage(rule(f"dns: {written}"))
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    answer, proofs = answered(client)
    assert (answer[:12], proofs, stage.logged("injection")) == (b"HTTP/1.1 200", [], [])


async def test_half_of_the_addresses_of_a_name_are_used() -> None:
    stage = Stage(rule("dns: partial"))
    endpoint = stage.upstream.endpoints[0]
    endpoint.host, endpoint.names = "shop.test", Told(["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    client = stage.client()
    client.gives(GET)
    assert (await stage.connected()).peer == ("192.0.2.1", 80)
    assert len(stage.logged("injection")) == 1


async def test_places_that_rules_lead_to_are_bounded() -> None:
    stage = Stage()
    for number in range(MOST_ASIDES + 5):
        made = stage.upstream.aside([f"192.0.2.{number}"], False)
        assert made is stage.upstream.aside([f"192.0.2.{number}"], False)
    assert len(stage.upstream.asides) == 5


@pytest.mark.parametrize(
    ("match", "fires"),
    [
        ("{name: shop.test}", True),
        ("{name: {suffix: .TEST}}", True),
        ("{name: other.test}", False),
        ("{type: AAAA}", True),
        ("{name: {prefix: shop}, type: [A, MX]}", True),
        ("{type: MX}", False),
        ("{name: {not: shop.test}}", False),
    ],
)
async def test_a_rule_may_look_at_the_host_of_the_upstream(match: str, fires: bool) -> None:
    stage = Stage(f"  - {{name: r, match: {{dns: {match}}}, faults: [dns: nxdomain]}}")
    stage.upstream.names = names_of([Endpoint(0, "Shop.test.", 80, "", 1), Endpoint(1, "", 0, "/run/a", 1)])
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    assert (b"dns_error" in client.taken()) is fires


@pytest.mark.parametrize(("word", "seconds"), [("nxdomain", 0.0), ("timeout", 60.0)])
async def test_a_tcp_client_whose_upstream_cannot_be_found_gets_fin(word: str, seconds: float) -> None:
    """A time-out takes as long as looking up each address as often as is configured."""
    stage = Stage(rule(f"dns: {word}"), protocol="tcp", endpoints=4, attempts=2)
    client = stage.client()
    if seconds:
        stage.timers.advance(seconds - 0.01)
        assert not client.ended
        stage.timers.advance(0.01)
    await stage.turn()
    assert (client.ended, client.aborted, client.taken()) == (True, False, b"")
    assert stage.loop.upstreams == []
    assert stage.upstream.cells.feigned == {f"dns_{word}": 1}
