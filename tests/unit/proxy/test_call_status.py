"""Rules that look at the status of a call: it stands in the trailers, or in a head that is trailers alone."""

from typing import Any

import pytest

from proxy.net.pool import HTTP1
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

MATCH = "match: {protocol: grpc, response: {grpc_status: NOT_FOUND}}"


def stage(*faults: str, more: str = "") -> Http2Stage:
    return Http2Stage(f"  - {{name: r, {MATCH}, {more} faults: [{', '.join(faults)}]}}\n")


async def ended(on: Http2Stage, status: int) -> tuple[Peer, Peer, int]:
    """Make a call whose answer has a message, and ends with a status."""
    client = on.peer()
    sid = client.call(b"x")
    server = await on.both(client)
    server.head(1, GRPC_OK)
    server.say(1, message(b"hello"))
    client.sync()
    assert client.body(sid) == message(b"hello")
    server.done(1, status)
    return client.sync(), server, sid


def told(on: Http2Stage) -> tuple[int, list[int], int]:
    """Give what the rule counts: matches, injections, what is under way."""
    state = on.snapshot.by_name["r"].state
    return state.matches, state.injected, state.tally.active


@pytest.mark.parametrize(("status", "seen"), [(5, "14"), (0, "0"), (7, "7")])
async def test_a_status_becomes_another_one(status: int, seen: str) -> None:
    on = stage("grpc: {status: UNAVAILABLE, message: try again}")
    client, _, sid = await ended(on, status)
    assert client.fields(sid)["grpc-status"] == seen
    assert client.fields(sid).get("grpc-message") == ("try again" if status == 5 else None)
    assert client.ended(sid)
    assert told(on) == ((1, [1], 0) if status == 5 else (0, [0], 0))


async def test_a_status_becomes_another_one_where_it_is_in_the_head() -> None:
    on = stage("grpc: {status: UNAVAILABLE}")
    client = on.peer()
    sid = client.call(b"x")
    server = await on.both(client)
    server.head(1, [*GRPC_OK, ("grpc-status", "5")], end=True)
    assert client.sync().fields(sid)["grpc-status"] == "14"
    assert told(on) == (1, [1], 0)


async def test_time_passes_before_the_status() -> None:
    on = stage("delay: {fixed: 100ms, at: response_body}")
    client, _, sid = await ended(on, 5)
    assert not client.ended(sid)
    on.timers.advance(0.09)
    assert not client.sync().ended(sid)
    on.timers.advance(0.02)
    assert client.sync().fields(sid)["grpc-status"] == "5"
    assert told(on) == (1, [1], 0)
    line = on.logged("injection")[0]
    assert (line["fault"], line["phase"]) == ("delay", "response_body")


async def test_a_rule_that_goes_lets_the_status_go() -> None:
    on = stage("stall: {at: response_body}")
    client, _, sid = await ended(on, 5)
    assert not client.ended(sid)
    on.change_rules("")
    assert client.sync().fields(sid)["grpc-status"] == "5"
    assert client.ended(sid)


async def test_a_client_that_goes_while_the_status_waits() -> None:
    on = stage("stall: {at: response_body}")
    client, _, sid = await ended(on, 5)
    client.h2.reset_stream(sid)
    client.sync()
    assert told(on) == (1, [1], 0)
    assert on.worker.cells.waiting == 0


async def test_a_reset_in_place_of_the_status() -> None:
    on = stage("reset: {at: response_body, code: INTERNAL_ERROR}")
    client, _, sid = await ended(on, 5)
    on.timers.advance(0.02)
    assert client.sync().reset(sid) == 2
    assert "grpc-status" not in client.fields(sid)


async def test_a_delay_then_another_status_then_goaway() -> None:
    """Each acts where it can, in the order of the phases."""
    on = stage(
        "grpc: {status: UNAVAILABLE}",
        "http2: {goaway: {}, at: end}",
        "delay: {fixed: 50ms, at: response_body}",
    )
    client, _, sid = await ended(on, 5)
    assert (client.ended(sid), client.goaways()) == (False, [])
    on.timers.advance(0.06)
    client.sync()
    assert (client.fields(sid)["grpc-status"], len(client.goaways())) == ("14", 1)
    assert told(on) == (1, [1, 1, 1], 0)


TOO_LATE = [
    "delay: {fixed: 1s, at: response_head}",
    "abort: {status: 503, at: response_head}",
    "reset: {at: response_body, after_bytes: 3B}",
    "grpc: {drop_message: 1}",
    "grpc: {after_messages: 1, status: ABORTED}",
]


@pytest.mark.parametrize("fault", TOO_LATE)
async def test_what_would_have_acted_before_does_not(fault: str) -> None:
    on = stage(fault, more="sample: {first: 1},")
    client, _, sid = await ended(on, 5)
    assert (client.fields(sid)["grpc-status"], client.ended(sid)) == ("5", True)
    assert told(on) == (1, [0], 0)
    assert on.snapshot.by_name["r"].state.tally.fired == 0


async def test_it_does_act_where_the_answer_is_trailers_alone() -> None:
    on = stage("delay: {fixed: 1s, at: response_head}")
    client = on.peer()
    sid = client.call(b"x")
    server = await on.both(client)
    server.head(1, [*GRPC_OK, ("grpc-status", "5")], end=True)
    assert not client.sync().ended(sid)
    on.timers.advance(1.1)
    assert client.sync().fields(sid)["grpc-status"] == "5"


async def test_a_shadow_is_counted_and_changes_nothing() -> None:
    on = stage("grpc: {status: UNAVAILABLE}", more="mode: shadow,")
    client, _, sid = await ended(on, 5)
    assert client.fields(sid)["grpc-status"] == "5"
    assert on.snapshot.by_name["r"].state.shadowed == [1]
    assert len(on.logged("shadow")) == 1


async def test_the_trailers_of_an_upstream_of_http1() -> None:
    on = stage("grpc: {status: UNAVAILABLE}")
    on.upstream.protocol = HTTP1
    client = on.peer()
    sid = client.call(b"x")
    upstream: Any = await on.connected()
    client.sync()
    upstream.gives(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"
        b"7\r\n" + message(b"ab") + b"\r\n0\r\nx-a: b\r\nGrpc-Status: 5\r\n\r\n"
    )
    client.sync()
    assert client.body(sid) == message(b"ab")
    assert (client.fields(sid)["grpc-status"], client.fields(sid)["x-a"]) == ("14", "b")


async def test_a_call_that_ends_without_a_status_has_none() -> None:
    on = stage("grpc: {status: UNAVAILABLE}")
    client = on.peer()
    sid = client.call(b"x")
    server = await on.both(client)
    server.head(1, GRPC_OK)
    server.say(1, message(b"hello"), end=True)
    assert client.sync().ended(sid)
    assert "grpc-status" not in client.fields(sid)
    assert told(on) == (0, [0], 0)
