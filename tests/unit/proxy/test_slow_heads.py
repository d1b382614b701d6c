"""Heads that pass in pieces: when which bytes leave, and what waits behind them."""

import pytest

from tests.support.fakes import Stage
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

GET = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
UPGRADE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


def rules(at: str, size: int = 10, more: str = "") -> str:
    return f"  - {{name: r, faults: [drip: {{bytes: {size}, every: 1s, at: {at}}}]{more}}}"


def injected(stage: Stage) -> int:
    return stage.snapshot.by_name["r"].state.injected[0]


async def test_a_request() -> None:
    stage = Stage(rules("request_head"))
    client = stage.client()
    client.gives(POST)
    upstream = await stage.connected()
    got = upstream.taken()
    assert got == b"POST /a HT"
    pieces = 1
    while stage.worker.cells.waiting:
        assert upstream.taken() == b""
        stage.timers.advance(1.0)
        piece = upstream.taken()
        assert len(piece) == 10 or not stage.worker.cells.waiting
        got += piece
        pieces += 1
    head = got.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert got == head + b"hello"
    assert pieces == -(-len(head) // 10)
    upstream.gives(OK)
    answer = client.taken()
    assert b"x-misrule: rule=r; fault=drip; ms=0" in answer
    assert answer.endswith(b"hello")
    assert injected(stage) == 1


async def test_an_answer() -> None:
    stage = Stage(rules("response_head"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK)
    got = client.taken()
    assert got == b"HTTP/1.1 2"
    seconds = 0
    while stage.worker.cells.waiting:
        stage.timers.advance(1.0)
        got += client.taken()
        seconds += 1
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"x-misrule: rule=r; fault=drip; at=response_head; version=1" in head
    assert body == b"hello"
    assert seconds == -(-(len(head) + 4) // 10) - 1
    assert injected(stage) == 1
    client.gives(GET)  # the connections are in step
    upstream.gives(OK)
    assert len(stage.loop.upstreams) == 1
    assert client.taken() == b"HTTP/1.1 2"


async def test_the_injected_time_is_told() -> None:
    stage = Stage(rules("response_head", 60))
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    stage.timers.advance(3.0)
    (line,) = stage.logged("access")
    assert (line["injected"], line["ms"] - line["ms_own"]) == (["r/drip"], pytest.approx(1000.0))


async def test_a_head_that_fits_into_one_piece() -> None:
    stage = Stage(rules("response_head", 65536))
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    assert client.taken().endswith(b"hello")
    assert (injected(stage), stage.worker.cells.waiting) == (0, 0)


async def test_chunks_behind_a_slow_head() -> None:
    stage = Stage(rules("response_head", 60))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"
    )
    stage.timers.advance(1.0)
    assert client.taken().endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n")


async def test_a_rule_that_goes_lets_the_rest_go() -> None:
    for at in ("request_head", "response_head"):
        stage = Stage(rules(at, 1))
        client = stage.client()
        client.gives(GET)
        upstream = await stage.connected()
        if at == "response_head":
            upstream.gives(OK)
            stage.change_rules("")
            assert client.taken().endswith(b"hello")
        else:
            stage.change_rules("")
            assert upstream.taken().endswith(b"\r\n\r\n")
        assert (stage.worker.cells.waiting, stage.timers.armed) == (0, 0)


async def test_an_upstream_that_answers_within_a_head_gets_no_other_request() -> None:
    stage = Stage(rules("request_head", 1))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 408 ")
    assert upstream.closing
    assert stage.worker.cells.waiting == 0


async def test_a_request_that_is_sent_once_more_has_its_head_anew() -> None:
    stage = Stage(rules("request_head", 20, ", sample: {every: 2}"))
    client = stage.client()
    client.gives(GET)
    first = await stage.connected()
    first.taken()
    first.gives(OK)
    client.taken()
    client.gives(GET)
    assert first.taken() == GET[:20]
    first.lost(ConnectionResetError())  # the kept connection was closed just now
    second = await stage.connected(1)
    stage.timers.advance(1.0)
    assert second.taken() == GET[:20]
    stage.timers.advance(30.0)
    assert second.taken().startswith(GET[20:26])
    second.gives(OK)
    assert client.taken().endswith(b"hello")


async def test_a_client_that_goes_away() -> None:
    stage = Stage(rules("response_head", 1))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK)
    client.ends()
    assert upstream.closing
    assert (stage.worker.cells.waiting, stage.timers.armed) == (0, 0)


async def test_a_tunnel_begins_behind_its_head() -> None:
    stage = Stage(rules("response_head", 50))
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH + b"first")
    got = client.taken()
    assert (got[:13], len(got)) == (b"HTTP/1.1 101 ", 50)
    stage.timers.advance(10.0)
    assert client.taken().endswith(b"\r\n\r\nfirst")
    client.gives(b"more")
    assert upstream.taken().endswith(b"more")
    upstream.gives(b"second")
    assert client.taken() == b"second"


async def test_a_shadow_changes_nothing() -> None:
    stage = Stage(rules("response_head", 1, ", mode: shadow"))
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    assert client.taken() == OK


# --- HTTP/2


async def test_the_frames_of_an_answers_head() -> None:
    stage = Http2Stage(rules("response_head", 20))
    client = stage.peer()
    sid = client.ask("/a")
    other = client.ask("/b")
    server = await stage.both(client)
    server.head(other, [(":status", "200"), ("x", "y" * 100)])
    server.head(sid, [(":status", "200")])
    server.say(other, b"later", end=True)
    server.say(sid, b"hello", end=True)
    client.sync()
    assert client.fields(other) == {}
    seconds = 0
    while stage.worker.cells.waiting:
        stage.timers.advance(1.0)
        client.sync()
        seconds += 1
    assert seconds > 3
    assert (client.body(other), client.body(sid)) == (b"later", b"hello")
    assert client.fields(other)["x-misrule"].startswith("rule=r; fault=drip; at=response_head")
    assert client.ended(sid)
    assert client.ended(other)


async def test_the_frames_of_a_requests_head() -> None:
    stage = Http2Stage(rules("request_head", 20))
    client = stage.peer()
    sid = client.call(b"x" * 10_000)
    server = await stage.both(client)
    assert server.requests() == []
    while stage.worker.cells.waiting:
        stage.timers.advance(1.0)
        server.sync()
    client.sync()
    server.sync()
    assert server.body(1) == message(b"x" * 10_000)
    server.head(1, GRPC_OK)
    server.done(1)
    client.sync()
    assert client.fields(sid)["grpc-status"] == "0"
    assert injected(stage) == 1


@pytest.mark.parametrize("at", ["request_head", "response_head"])
async def test_a_client_that_gives_its_stream_up_leaves_the_connection_whole(at: str) -> None:
    stage = Http2Stage(rules(at, 20, ", match: {path: /a}"))
    client = stage.peer()
    sid = client.ask("/a")
    server = await stage.both(client)
    if at == "response_head":
        server.head(1, [(":status", "200"), ("x", "y" * 200)])
    client.h2.reset_stream(sid)
    client.sync()
    server.sync()
    assert stage.worker.cells.waiting == 0
    again = client.ask("/b")
    server.sync()
    found = server.requests()[-1]
    server.head(found, [(":status", "200")])
    server.say(found, b"hello", end=True)
    client.sync()
    assert (client.fields(again)[":status"], client.body(again)) == ("200", b"hello")


async def test_a_slow_head_to_a_client_of_http_2_from_an_upstream_of_http_1() -> None:
    stage = Stage(rules("response_head", 20))
    client = Peer(stage.client(), True)
    sid = client.ask("/a")
    upstream = await stage.connected()
    upstream.gives(OK)
    client.sync()
    assert client.fields(sid) == {}
    stage.timers.advance(60.0)
    client.sync()
    assert (client.fields(sid)[":status"], client.body(sid), client.ended(sid)) == ("200", b"hello", True)
