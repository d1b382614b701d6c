"""A client's connection: pipelining, early answers, limits, how it ends, what it says of itself."""

import pytest

from tests.support.fakes import FakeTransport, Stage

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /up?q=1 HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def asked(stage: Stage, request: bytes = GET) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    client.gives(request)
    upstream = await stage.connected()
    return client, upstream


@pytest.mark.parametrize("size", [1, 2, 3, 17])
async def test_requests_may_come_in_any_pieces(size: int) -> None:
    stage = Stage()
    client = stage.client()
    data = GET + POST + b"0123456789" + GET
    for place in range(0, len(data), size):
        client.gives(data[place : place + size])
    upstream = await stage.connected()
    for _ in range(3):
        upstream.gives(OK)
    assert client.taken() == OK * 3
    assert upstream.taken().count(b"0123456789") == 1


@pytest.mark.parametrize(
    ("request_", "answer", "stays"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", b"connection: close\r\n", False),
        (b"GET / HTTP/1.0\r\nhost: a\r\n\r\n", b"connection: close\r\n", False),
        (b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n", b"connection: keep-alive\r\n", True),
        (GET, b"content-length: 2\r\n", True),
    ],
)
async def test_the_connection_stays_if_the_client_wants_it_to(
    request_: bytes, answer: bytes, stays: bool
) -> None:
    stage = Stage()
    client, upstream = await asked(stage, request_)
    upstream.gives(OK)
    assert answer in client.taken()
    assert client.closing != stays


async def test_unread_bytes_behind_the_last_answer_do_not_destroy_it() -> None:
    stage = Stage()
    client, upstream = await asked(stage, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" + GET)
    upstream.gives(OK)
    assert (client.ended, client.closing) == (True, False)  # closing now would send RST
    client.gives(GET)
    client.ends()
    assert client.closing
    assert stage.worker.cells.route("web", "app").statuses[200] == 1


async def test_an_early_answer_of_ours_reaches_a_client_that_uploads() -> None:
    stage = Stage("  - {name: r, match: {method: POST}, faults: [abort: {status: 503, body: {text: no}}]}")
    client = stage.client()
    client.gives(POST + b"01")
    assert client.taken().endswith(b"\r\n\r\nno")
    client.gives(b"23456789" + GET)
    (await stage.connected()).gives(OK)
    assert client.taken() == OK


async def test_expect_gets_no_100_from_an_abort_and_the_connection_ends() -> None:
    stage = Stage("  - {name: r, faults: [abort: 503]}")
    client = stage.client()
    client.gives(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close\r\n" in answer
    assert client.ended


async def test_the_answer_to_head_is_without_its_body() -> None:
    stage = Stage("  - {name: r, faults: [abort: {status: 503, body: {text: no}}]}")
    client = stage.client()
    client.gives(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
    answer = client.taken()
    assert b"content-length: 2\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_pipelined_bytes_are_bounded() -> None:
    stage = Stage()
    client, upstream = await asked(stage)
    client.gives(GET * 3000)
    assert (client.paused, upstream.paused) == (True, False)
    while client.paused:
        upstream.gives(OK)
    client.gives(b"")
    assert stage.worker.cells.internal_errors == 0


async def test_the_drain_of_an_early_answer_ends_after_its_time() -> None:
    stage = Stage()
    client, upstream = await asked(stage, POST)
    upstream.gives(OK)
    assert client.taken() == OK
    stage.sweep(29.5)
    assert (client.aborted, client.closing) == (False, False)
    stage.sweep(1)
    assert client.aborted


async def test_a_client_that_reads_nothing_is_given_up_after_its_time() -> None:
    stage = Stage()
    client, upstream = await asked(stage)
    upstream.gives(OK[:-1])
    client.protocol.pause_writing()
    stage.sweep(301)
    assert stage.upstream.cells.failures == {"client_idle": 1}
    stage.timers.advance(6)
    assert client.closing
    assert upstream.closing


async def test_a_client_that_waits_for_the_upstream_is_not_idle() -> None:
    stage = Stage(response_timeout=900.0)
    client, upstream = await asked(stage)
    stage.sweep(800)
    upstream.gives(OK)
    assert client.taken() == OK


@pytest.mark.parametrize("where", ["head", "waiting", "answer", "drain"])
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_client_may_leave_at_any_time(where: str, how: str) -> None:
    stage = Stage()
    client = stage.client()
    client.gives(POST if where == "drain" else GET if where != "head" else GET[:5])
    if where != "head":
        upstream = await stage.connected()
        if where != "waiting":
            upstream.gives(OK if where == "drain" else OK[:-1])
    if how == "fin":
        client.ends()
    else:
        client.lost(ConnectionResetError())
    cells = stage.worker.cells
    assert (cells.route("web", "app").active, stage.listener.cells.open) == (0, 0)
    assert sum(cells.route("web", "app").statuses) == (where != "head")
    assert stage.listener.cells.failures == ({"client_closed": 1} if where in ("waiting", "answer") else {})
    assert all(upstream.closing for upstream in stage.loop.upstreams)


async def test_it_says_what_it_does() -> None:
    stage = Stage("  - {name: slow, match: {method: POST}, faults: [delay: 1s]}")
    client = stage.client()
    view = client.protocol.describe()
    assert (view["side"], view["listener"], view["client"]) == ("client", "web", "192.0.2.7")
    assert (view["state"], view["requests"], view["opened_with_version"]) == ("idle", 0, 1)
    client.gives(POST)
    stage.timers.advance(0.25)
    view = client.protocol.describe()
    assert (view["state"], view["requests"], view["held_by"]) == ("request", 1, ["slow"])
    assert (view["method"], view["host"], view["path"]) == ("POST", "a", "/up")
    assert (view["upstream"], view["for_ms"]) == ("app", 250)
    assert view["request_id"]
    stage.timers.advance(0.75)
    assert client.protocol.describe()["held_by"] == []
    upstream = await stage.connected()
    client.gives(b"0123456789")
    assert client.protocol.describe()["state"] == "response"
    upstream.gives(OK)
    assert client.protocol.describe()["state"] == "idle"


async def test_only_a_connection_between_requests_is_idle() -> None:
    stage = Stage()
    client = stage.client()
    assert client.protocol.idle()
    client.gives(GET[:5])
    assert not client.protocol.idle()
    client.gives(GET[5:])
    assert not client.protocol.idle()
    (await stage.connected()).gives(OK)
    assert client.protocol.idle()
