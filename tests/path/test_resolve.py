"""Phase resolve: which address a request goes to, and faults before that is settled."""

import pytest

from tests.support.fakes import Stage

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
