"""Phase end: the answer is complete; an exchange is ended and accounted for once."""

import pytest

from tests.support.fakes import FakeTransport, Stage

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhi"


def end(fault: str) -> str:
    return f"  - {{name: r, faults: [{fault}]}}"


async def answered(stage: Stage, answer: bytes = OK) -> tuple[FakeTransport, FakeTransport]:
    """A request and its whole answer."""
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(answer)
    return client, upstream


@pytest.mark.parametrize(("fault", "aborted", "ended"), [("reset", True, False), ("close", False, True)])
async def test_the_connection_ends_behind_a_whole_answer(fault: str, aborted: bool, ended: bool) -> None:
    stage = Stage(end(f"{fault}: {{at: end}}"))
    client, _ = await answered(stage)
    head, _, body = client.taken().partition(b"\r\n\r\n")
    assert f"x-misrule: rule=r; fault={fault}; at=end; version=1".encode() in head
    assert body == b"hi"
    stage.timers.advance(0.1)
    assert (client.aborted, client.ended) == (aborted, ended)
    (access,) = stage.logged("access")
    assert (access["status"], access["outcome"], access["injected"]) == (200, "injected", [f"r/{fault}"])


@pytest.mark.parametrize("fault", ["reset", "close"])
@pytest.mark.parametrize("side", ["upstream", "both"])
async def test_an_upstream_connection_that_was_ended_is_not_kept(fault: str, side: str) -> None:
    stage = Stage(end(f"{fault}: {{at: end, side: {side}}}"))
    client, upstream = await answered(stage)
    assert stage.upstream.cells.idle == 0
    assert client.taken().endswith(b"hi")
    stage.timers.advance(0.1)
    assert upstream.closing
    assert upstream.aborted == (fault == "reset")
    assert client.closing or client.ended or side == "upstream"


async def test_the_end_of_the_upstreams_leg_leaves_the_client_its_connection() -> None:
    stage = Stage(end("close: {at: end, side: upstream}"))
    client, _ = await answered(stage)
    assert not client.closing
    assert not client.ended
    client.gives(GET)
    (await stage.connected(1)).gives(OK)
    assert client.taken().count(b"200 OK") == 2


async def test_a_stall_keeps_the_next_request_waiting() -> None:
    stage = Stage(end("stall: {at: end, for: 2s}"))
    client, upstream = await answered(stage)
    upstream.taken()
    assert client.taken().endswith(b"hi")
    client.gives(GET)
    stage.timers.advance(1.9)
    assert upstream.taken() == b""
    stage.timers.advance(0.1)
    assert upstream.taken().startswith(b"GET / ")


@pytest.mark.parametrize(("then", "aborted", "ended"), [("reset", True, False), ("close", False, True)])
async def test_a_stall_and_then_an_end(then: str, aborted: bool, ended: bool) -> None:
    stage = Stage(end(f"stall: {{at: end, for: 2s, then: {then}}}"))
    client, _ = await answered(stage)
    assert client.taken().endswith(b"hi")
    stage.timers.advance(1.9)
    assert not client.closing
    stage.timers.advance(0.2)
    assert (client.aborted, client.ended) == (aborted, ended)


@pytest.mark.parametrize("answer", [LAST, UNTIL_CLOSE])
@pytest.mark.parametrize("how", ["ends", "lost"])
async def test_an_upstream_that_leaves_after_its_answer_did_not_cut_it(answer: bytes, how: str) -> None:
    stage = Stage(end("stall: {at: end, for: 1s}"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(answer)
    if how == "ends":
        upstream.ends()
    else:
        upstream.protocol.eof_received()
        upstream.lost(ConnectionResetError())
    stage.timers.advance(1)
    assert not client.ended
    assert stage.upstream.cells.failures == {}
    assert (client.taken().count(b"hi"), stage.logged("access")[0]["outcome"]) == (1, "injected")


async def test_bytes_behind_the_answer_are_no_second_answer() -> None:
    stage = Stage(end("stall: {at: end, for: 1s}"))
    client, upstream = await answered(stage, OK + OK)
    upstream.gives(b"x" * 70000)
    assert upstream.paused
    stage.timers.advance(1)
    assert client.taken().count(b"200 OK") == 1
    assert upstream.closing
    assert stage.upstream.cells.idle == 0


async def test_an_exchange_is_accounted_once_with_and_without_what_was_injected() -> None:
    stage = Stage(end("delay: 2s"))
    client = stage.client()
    client.gives(GET)
    stage.timers.advance(2)
    upstream = await stage.connected()
    stage.timers.advance(0.5)
    upstream.gives(OK)
    client.lost()
    cells = stage.worker.cells.route("web", "app")
    assert (cells.statuses[200], sum(cells.statuses), cells.active) == (1, 1, 0)
    assert (cells.duration.total, cells.injected_gross.total) == (2.5, 2.5)
    assert cells.injected_net.total == 0.5
    assert (cells.bytes_in, cells.bytes_out) == (0, 2)
    (access,) = stage.logged("access")
    assert (access["ms"], access["ms_own"], access["bytes_out"]) == (2500, 500, 2)
    assert (access["method"], access["path"], access["upstream"]) == ("GET", "/", "app")
    (injection,) = stage.logged("injection")
    assert (injection["rule"], injection["fault"], injection["ms"]) == ("r", "delay", 2000)
    assert injection["phase"] == "request_head"
    assert injection["request_id"] == access["request_id"]


async def test_an_exchange_without_injection_is_in_one_histogram() -> None:
    stage = Stage(end("delay: 0ms"))
    await answered(stage)
    cells = stage.worker.cells.route("web", "app")
    assert sum(cells.duration.counts) == 1
    assert sum(cells.injected_gross.counts) == sum(cells.injected_net.counts) == 0


@pytest.mark.parametrize(("access", "lines", "marks"), [("all", 2, 1), ("injected", 1, 1), ("none", 0, 0)])
async def test_which_lines_are_written(access: str, lines: int, marks: int) -> None:
    stage = Stage("  - {name: r, match: {path: /x}, faults: [abort: 500]}", access)
    client, _ = await answered(stage)
    client.gives(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
    assert len(stage.logged("access")) == lines
    assert len(stage.logged("injection")) == marks


async def test_a_shadow_leaves_its_line_and_nothing_else() -> None:
    stage = Stage("  - {name: r, mode: shadow, faults: [delay: 1s, abort: 500, reset: {at: end}]}")
    client, _ = await answered(stage)
    assert client.taken() == OK
    lines = stage.logged("shadow")
    assert [(line["fault"], line["shadow"]) for line in lines] == [("delay", True), ("abort", True)]
    assert stage.logged("access")[0]["injected"] == []
    state = stage.snapshot.by_name["r"].state
    assert (state.injected, state.shadowed, state.active) == ([0, 0, 0], [1, 1, 0], 0)


async def test_a_rule_without_proof_leaves_no_header_but_its_line() -> None:
    stage = Stage("  - {name: r, proof: false, faults: [delay: 1ms, close: {at: end}]}")
    client = stage.client()
    client.gives(GET)
    stage.timers.advance(0.001)
    (await stage.connected()).gives(OK)
    assert client.taken() == OK
    assert len(stage.logged("injection")) == 2


async def test_a_refusal_is_accounted_where_no_route_is_known() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"GET\r\n\r\n")
    cells = stage.worker.cells.route("web", "")
    assert (cells.statuses[400], cells.active) == (1, 0)
    (access,) = stage.logged("access")
    assert (access["status"], access["outcome"], access["client"]) == (400, "bad_request_line", "192.0.2.7")
    assert stage.logged("refused")[0]["kind"] == "bad_request_line"
