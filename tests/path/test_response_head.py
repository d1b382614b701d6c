"""Phase response_head: the upstream has begun to answer, and nothing of it has gone to the client yet."""

import pytest

from tests.support.fakes import FakeTransport, Stage

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n01234"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1\r\n\r\nhi"


def rule(*faults: str, name: str = "r", more: str = "") -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


async def asked(stage: Stage, request: bytes = GET) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    client.gives(request)
    upstream = await stage.connected()
    upstream.taken()
    return client, upstream


async def test_a_delay_holds_the_whole_answer_and_is_proved_in_it() -> None:
    stage = Stage(rule("delay: {fixed: 300ms, at: response_head}"))
    client, upstream = await asked(stage)
    upstream.gives(OK)
    stage.timers.advance(0.299)
    assert client.taken() == b""
    stage.timers.advance(0.001)
    answer = client.taken()
    assert b"x-misrule: rule=r; fault=delay; ms=300; version=1\r\n" in answer
    assert answer.endswith(b"\r\n\r\nhi")
    assert stage.upstream.cells.idle == 1


@pytest.mark.parametrize("request_", [GET, POST])
async def test_an_abort_takes_the_place_of_the_answer(request_: bytes) -> None:
    fault = 'abort: {status: 503, at: response_head, headers: {retry-after: "30"}, body: {text: sorry}}'
    stage = Stage(rule(fault))
    client, upstream = await asked(stage, request_)
    upstream.gives(OK)
    head, _, body = client.taken().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 30\r\n" in head
    assert b"x-misrule: rule=r; fault=abort; ms=0; version=1" in head
    assert b"x-a" not in head
    assert body == b"sorry"
    assert upstream.closing  # its own answer is half read
    if request_ is POST:
        client.gives(b"56789")
    client.gives(GET)
    (await stage.connected(1)).gives(OK)
    assert client.taken().startswith(b"HTTP/1.1 503 ")
    assert [line["status"] for line in stage.logged("access")] == [503, 503]


@pytest.mark.parametrize(("fault", "aborted", "ended"), [("reset", True, False), ("close", False, True)])
@pytest.mark.parametrize("side", ["client", "both"])
async def test_an_end_comes_before_a_byte_of_the_answer(
    fault: str, aborted: bool, ended: bool, side: str
) -> None:
    stage = Stage(rule(f"{fault}: {{at: response_head, side: {side}}}"))
    client, upstream = await asked(stage)
    upstream.gives(OK)
    stage.timers.advance(0.1)
    assert (client.taken(), client.aborted, client.ended) == (b"", aborted, ended)
    assert (upstream.closing, upstream.aborted) == (True, fault == "reset" and side == "both")


@pytest.mark.parametrize("fault", ["reset", "close"])
async def test_an_end_of_the_upstreams_leg_is_what_a_proxy_says_of_a_real_one(fault: str) -> None:
    stage = Stage(rule(f"{fault}: {{at: response_head, side: upstream}}"))
    client, upstream = await asked(stage)
    upstream.gives(OK)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"proxy-status: misrule; error=connection_terminated\r\n" in answer
    assert f"fault={fault}; ms=0; version=1\r\n".encode() in answer
    stage.timers.advance(0.1)
    assert (upstream.closing, upstream.aborted) == (True, fault == "reset")
    assert (client.closing, stage.upstream.cells.failures) == (False, {})


@pytest.mark.parametrize(
    ("then", "aborted", "ended", "answer"),
    [
        ("continue", False, False, b"HTTP/1.1 200 "),
        ("reset", True, False, b""),
        ("close", False, True, b""),
        ("abort", False, False, b"HTTP/1.1 504 "),
    ],
)
async def test_a_stall_and_then(then: str, aborted: bool, ended: bool, answer: bytes) -> None:
    stage = Stage(rule(f"stall: {{at: response_head, for: 2s, then: {then}}}"))
    client, upstream = await asked(stage)
    upstream.gives(OK)
    stage.timers.advance(1.9)
    assert (client.taken(), upstream.closing) == (b"", False)
    stage.timers.advance(0.2)
    assert client.taken()[:13] == answer
    assert (client.aborted, client.ended) == (aborted, ended)
    assert upstream.closing == (then != "continue")


@pytest.mark.parametrize("how", ["ends", "lost"])
async def test_an_upstream_that_leaves_while_its_answer_is_held_has_answered(how: str) -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: response_head}"))
    client, upstream = await asked(stage)
    upstream.gives(OK)
    if how == "ends":
        upstream.ends()
    else:
        upstream.lost(ConnectionResetError())
    assert client.taken() == b""
    stage.timers.advance(1)
    assert client.taken().endswith(b"hi")
    assert stage.upstream.cells.failures == {}


async def test_what_is_broken_behind_a_held_head_is_seen_after_it() -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: response_head}"))
    client, upstream = await asked(stage)
    upstream.gives(OK[:-1])
    upstream.lost(ConnectionResetError())
    stage.timers.advance(1)
    assert client.taken().endswith(b"\r\n\r\nh")
    assert client.ended
    assert stage.upstream.cells.failures == {"upstream_truncated": 1}


async def test_more_than_is_held_stops_the_upstream() -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: response_head}"))
    client, upstream = await asked(stage)
    upstream.gives(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    upstream.gives(b"x" * 70000)
    assert (upstream.paused, client.paused) == (True, False)
    stage.timers.advance(1)
    assert (upstream.paused, client.paused) == (False, False)
    upstream.gives(b"x" * 30000)
    assert client.taken().endswith(b"\r\n\r\n" + b"x" * 100000)


async def test_time_outs_do_not_run_while_an_answer_is_held() -> None:
    stage = Stage(rule("stall: {at: response_head, for: 20m}"), response_timeout=2.0)
    client, upstream = await asked(stage)
    upstream.gives(OK)
    stage.sweep(1199)
    assert (client.closing, upstream.closing) == (False, False)
    stage.timers.advance(1)
    assert client.taken().endswith(b"hi")


async def test_a_client_that_leaves_while_its_answer_is_held() -> None:
    stage = Stage(rule("stall: {at: response_head}", more="sample: {max_active: 1},"))
    client, upstream = await asked(stage)
    upstream.gives(OK)
    client.ends()
    assert upstream.closing
    assert (stage.worker.cells.waiting, stage.snapshot.by_name["r"].state.active) == (0, 0)


async def test_rules_may_look_at_the_answer() -> None:
    stage = Stage(
        rule("abort: {status: 500, at: response_head}", more="match: {response: {status: [404]}},")
        + rule(
            "close: {at: response_body, after_bytes: 1B}",
            name="body",
            more="match: {response: {headers: {x-a: '1'}}},",
        )
    )
    client, upstream = await asked(stage)
    upstream.gives(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 500 ")
    client.gives(GET)
    (await stage.connected(1)).gives(OK)
    head, _, body = client.taken().partition(b"\r\n\r\n")
    assert head.endswith(b"x-misrule: rule=body; fault=close; at=response_body; version=1")
    assert (body, client.ended) == (b"h", True)


async def test_a_shadow_that_looks_at_the_answer_leaves_its_line() -> None:
    stage = Stage(
        rule(
            "abort: {status: 500, at: response_head}",
            more="mode: shadow, match: {response: {status: [200]}},",
        )
    )
    client, upstream = await asked(stage)
    upstream.gives(OK)
    assert client.taken() == OK
    assert [line["rule"] for line in stage.logged("shadow")] == ["r"]


async def test_interim_answers_are_not_held() -> None:
    stage = Stage(rule("stall: {at: response_head}"))
    client, upstream = await asked(stage)
    upstream.gives(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 103 ")
    upstream.gives(OK)
    assert client.taken() == b""


async def test_a_switch_of_protocols_can_be_held_too() -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: response_head}"))
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n")
    upstream = await stage.connected()
    upstream.taken()
    upstream.gives(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\ndown")
    client.gives(b"up")
    assert (client.taken(), upstream.taken()) == (b"", b"")
    stage.timers.advance(1)
    assert client.taken().endswith(b"\r\n\r\ndown")
    assert upstream.taken() == b"up"
