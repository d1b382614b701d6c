"""Phase request_body: the body flows to the upstream, faults act at exact places in it."""

import pytest

from tests.support.fakes import FakeTransport, Stage
from tests.support.framing import content

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\n"
LENGTH = HEAD + b"content-length: 10\r\n\r\n0123456789"
CHUNKS = (
    HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\n012\r\n5;ext=1\r\n34567\r\n2\r\n89\r\n0\r\nt: v\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def rule(*faults: str, more: str = "") -> str:
    return f"  - {{name: r, {more} faults: [{', '.join(faults)}]}}\n"


def at(fault: str, after: int, more: str = "") -> str:
    return f"{fault}: {{at: request_body, after_bytes: {after}B{more}}}"


async def uploading(stage: Stage, message: bytes, split: int = 1000) -> tuple[FakeTransport, FakeTransport]:
    """Send a head, then its body in pieces as far as it is taken."""
    client = stage.client()
    start = message.index(b"\r\n\r\n") + 4
    client.gives(message[:start])
    upstream = await stage.connected()
    for place in range(start, len(message), split):
        if not (client.closing or client.ended or client.paused):
            client.gives(message[place : place + split])
    return client, upstream


@pytest.mark.parametrize("message", [LENGTH, CHUNKS])
@pytest.mark.parametrize("split", [1, 3, 1000])
async def test_a_body_passes_with_the_framing_that_it_came_in(message: bytes, split: int) -> None:
    stage = Stage()
    client, upstream = await uploading(stage, message, split)
    body = message.partition(b"\r\n\r\n")[2]
    assert upstream.taken().endswith(b"\r\n\r\n" + body)
    upstream.gives(OK)
    assert client.taken() == OK
    assert stage.logged("access")[0]["bytes_in"] == 10
    assert stage.upstream.cells.idle == 1


@pytest.mark.parametrize("message", [LENGTH, CHUNKS])
@pytest.mark.parametrize("split", [1, 2, 3, 5, 7, 1000])
@pytest.mark.parametrize("after", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("fault", ["reset", "close", "stall"])
async def test_exactly_so_many_bytes_reach_the_upstream(
    message: bytes, split: int, after: int, fault: str
) -> None:
    stage = Stage(rule(at(fault, after)))
    client, upstream = await uploading(stage, message, split)
    assert content(upstream.taken()) == b"0123456789"[:after]
    assert stage.snapshot.by_name["r"].state.injected == [1]
    assert (client.aborted, client.ended) == (fault == "reset", fault == "close")
    assert upstream.closing == (fault != "stall")


@pytest.mark.parametrize("message", [LENGTH, CHUNKS])
@pytest.mark.parametrize("after", [10, 11])
async def test_a_place_that_is_not_reached_does_nothing(message: bytes, after: int) -> None:
    stage = Stage(rule(at("reset", after), more="sample: {first: 1},"))
    client, upstream = await uploading(stage, message, 3)
    upstream.gives(OK)
    assert client.taken() == OK
    state = stage.snapshot.by_name["r"].state
    assert (state.injected, state.fired) == ([0], 0)


@pytest.mark.parametrize(
    "empty", [b"content-length: 0\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"\r\n"]
)
async def test_without_a_body_there_is_no_fault_of_the_body(empty: bytes) -> None:
    stage = Stage(rule("reset: {at: request_body}"))
    client = stage.client()
    client.gives(HEAD + empty)
    (await stage.connected()).gives(OK)
    assert client.taken() == OK


@pytest.mark.parametrize("message", [LENGTH, CHUNKS])
async def test_a_delay_holds_the_body_and_not_the_head(message: bytes) -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: request_body}"))
    client, upstream = await uploading(stage, message)
    before = upstream.taken()
    assert content(before) == b""
    stage.timers.advance(1)
    assert (before + upstream.taken()).endswith(message.partition(b"\r\n\r\n")[2])
    upstream.gives(OK)
    assert b"x-misrule: rule=r; fault=delay; ms=1000; version=1\r\n" in client.taken()


async def test_several_places_in_one_body() -> None:
    stage = Stage(rule(at("stall", 2, ", for: 1s"), at("close", 7), at("stall", 5, ", for: 2s")))
    client, upstream = await uploading(stage, CHUNKS, 2)
    assert content(upstream.taken()) == b"01"
    stage.timers.advance(1)
    assert upstream.taken().startswith(b"2")
    stage.timers.advance(1.9)
    assert (upstream.taken(), client.ended) == (b"", False)
    stage.timers.advance(0.1)
    assert (upstream.taken(), client.ended) == (b"56", True)
    (access,) = stage.logged("access")
    assert access["injected"] == ["r/stall", "r/stall", "r/close"]
    assert (access["ms"], access["ms_own"]) == (3000, 0)


@pytest.mark.parametrize(
    ("then", "aborted", "ended", "answer"),
    [("reset", True, False, b""), ("close", False, True, b""), ("abort", False, False, b"HTTP/1.1 504 ")],
)
async def test_a_stall_and_then(then: str, aborted: bool, ended: bool, answer: bytes) -> None:
    stage = Stage(rule(at("stall", 4, f", for: 1s, then: {then}")))
    client, upstream = await uploading(stage, LENGTH[:-2])
    stage.timers.advance(0.9)
    assert (client.taken(), client.ended, upstream.closing) == (b"", False, False)
    stage.timers.advance(0.1)
    assert client.taken()[:13] == answer
    assert (client.aborted, client.ended, upstream.closing) == (aborted, ended, True)
    if then == "abort":  # the rest is thrown away, and the connection serves on
        client.gives(b"89" + LENGTH)
        assert content((await stage.connected(1)).taken()) == b"0123"


@pytest.mark.parametrize(
    ("fault", "side", "client_sees"),
    [
        ("reset", "upstream", b"connection_terminated"),
        ("close", "upstream", b"connection_terminated"),
        ("reset", "both", b""),
        ("close", "both", b""),
    ],
)
async def test_the_upstreams_leg_ends_as_told(fault: str, side: str, client_sees: bytes) -> None:
    stage = Stage(rule(at(fault, 4, f", side: {side}")))
    client, upstream = await uploading(stage, LENGTH)
    stage.timers.advance(0.1)
    assert (upstream.closing, upstream.aborted) == (True, fault == "reset")
    answer = client.taken()
    assert bool(answer) == bool(client_sees)
    assert client_sees in answer
    assert stage.upstream.cells.failures == {}  # nothing really failed
    assert stage.logged("access")[0]["outcome"] == "injected"


async def test_an_answer_may_come_while_the_body_is_held() -> None:
    stage = Stage(rule(at("stall", 4)))
    client, upstream = await uploading(stage, LENGTH)
    upstream.gives(OK)
    assert client.taken().endswith(b"hi")
    assert stage.worker.cells.waiting == 0
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    await stage.connected(1)


async def test_more_than_is_held_stops_the_client() -> None:
    stage = Stage(rule(at("stall", 4, ", for: 1s")))
    client = stage.client()
    client.gives(HEAD + b"content-length: 200000\r\n\r\n")
    upstream = await stage.connected()
    client.gives(b"x" * 60000)
    assert (client.paused, upstream.paused) == (False, False)
    client.gives(b"x" * 60000)
    assert (client.paused, upstream.paused) == (True, False)
    stage.timers.advance(1)
    assert (client.paused, upstream.paused) == (False, False)
    client.gives(b"x" * 80000)
    assert len(content(upstream.taken())) == 200000


async def test_a_body_that_stops_coming_is_turned_away_but_not_while_it_is_held() -> None:
    stage = Stage(rule(at("stall", 4, ", for: 20m")))
    client, upstream = await uploading(stage, LENGTH)
    stage.sweep(1199)
    assert (client.taken(), client.closing, upstream.closing) == (b"", False, False)
    stage.change_rules("")
    client = stage.client()
    client.gives(LENGTH[:-2])
    await stage.turn()
    stage.sweep(299)
    assert client.taken() == b""
    stage.sweep(3)
    assert client.taken().startswith(b"HTTP/1.1 408 ")
    assert stage.upstream.cells.failures["body_timeout"] == 1


async def test_a_client_that_leaves_while_its_body_is_held() -> None:
    stage = Stage(rule(at("stall", 4), more="sample: {max_active: 1},"))
    client, upstream = await uploading(stage, LENGTH)
    client.lost(ConnectionResetError())
    assert upstream.closing
    assert (stage.worker.cells.waiting, stage.snapshot.by_name["r"].state.active) == (0, 0)
    (access,) = stage.logged("access")
    assert (access["outcome"], access["injected"]) == ("client_closed", ["r/stall"])


async def test_expect_continue_waits_for_the_upstream() -> None:
    stage = Stage(rule(at("reset", 4)))
    client = stage.client()
    client.gives(HEAD + b"expect: 100-continue\r\ncontent-length: 10\r\n\r\n")
    upstream = await stage.connected()
    assert b"expect: 100-continue\r\n" in upstream.taken()
    upstream.gives(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.gives(b"0123456789")
    assert (upstream.taken(), client.aborted) == (b"0123", True)
