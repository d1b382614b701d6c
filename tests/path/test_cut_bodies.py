"""A body that ends early: exactly so many bytes, then the end that each protocol has for it."""

import pytest
from h2.exceptions import InvalidBodyLengthError

from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import GRPC_OK, Http2Stage, message

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"
POST_CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
UPGRADE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


def rules(after: int, direction: str = "response") -> str:
    return f"  - {{name: r, faults: [truncate: {{after_bytes: {after}B, direction: {direction}}}]}}"


def injected(stage: Stage) -> int:
    return stage.snapshot.by_name["r"].state.injected[0]


async def answered(stage: Stage, data: bytes) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(data)
    return client, upstream


@pytest.mark.parametrize("after", [0, 1, 9])
async def test_fin_before_the_length_that_was_announced(after: int) -> None:
    stage = Stage(rules(after))
    client, upstream = await answered(stage, LONG + b"0123456789")
    head, _, body = client.taken().partition(b"\r\n\r\n")
    assert b"content-length: 10" in head
    assert b"x-misrule: rule=r; fault=truncate; at=response_body; version=1" in head
    assert (body, client.ended, client.aborted) == (b"0123456789"[:after], True, False)
    assert (upstream.closing, injected(stage)) == (True, 1)
    assert [line["outcome"] for line in stage.logged("access")] == ["injected"]


@pytest.mark.parametrize("after", [10, 11])
async def test_a_body_that_is_not_longer_passes_whole_and_is_not_counted(after: int) -> None:
    stage = Stage(rules(after))
    client, upstream = await answered(stage, LONG + b"0123456789")
    assert client.taken().endswith(b"\r\n\r\n0123456789")
    assert (client.ended, upstream.closing, injected(stage)) == (False, False, 0)


async def test_fin_without_the_last_chunk() -> None:
    stage = Stage(rules(5))
    client, _ = await answered(stage, CHUNKED + b"3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n")
    assert client.taken().endswith(b"\r\n\r\n3\r\nabc\r\n5\r\nde")
    assert client.ended


@pytest.mark.parametrize("fields", [[], [("content-length", "10")]])
async def test_end_stream_before_the_length_that_was_announced(fields: list[tuple[str, str]]) -> None:
    stage = Http2Stage(rules(4))
    client = stage.peer()
    sid = client.ask()
    server = await stage.both(client)
    server.head(1, [(":status", "200"), *fields])
    server.say(1, b"0123456789", end=True)
    if fields:  # the library h2 counts, and calls it an error of the protocol
        with pytest.raises(InvalidBodyLengthError, match="Expected 10 bytes, received 4"):
            client.sync()
    else:
        client.sync()
        assert (client.body(sid), client.ended(sid), client.reset(sid)) == (b"0123", True, None)
    assert injected(stage) == 1


async def test_end_stream_in_the_middle_of_a_message_without_a_status() -> None:
    stage = Http2Stage(rules(8))
    client = stage.peer()
    sid = client.call(b"x")
    server = await stage.both(client)
    server.head(1, GRPC_OK)
    server.say(1, message(b"hello"))
    client.sync()
    assert (client.body(sid), client.ended(sid)) == (message(b"hello")[:8], True)
    assert "grpc-status" not in client.fields(sid)
    assert server.sync().reset(1) == 8


async def test_a_request_ends_early_and_its_answer_is_passed_on() -> None:
    stage = Stage(rules(4, "request"))
    client = stage.client()
    client.gives(POST + b"012345")
    upstream = await stage.connected()
    assert upstream.taken().endswith(b"\r\n\r\n0123")
    assert (upstream.ended, upstream.closing) == (True, False)
    upstream.gives(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 400 ")
    assert upstream.closing  # half a request stands there
    client.gives(b"6789" + GET)
    assert (await stage.connected(1)).taken().startswith(b"GET / ")


async def test_an_upstream_that_closes_on_half_a_request_is_502_to_the_client() -> None:
    stage = Stage(rules(0, "request"))
    client = stage.client()
    client.gives(POST_CHUNKED + b"5\r\nhello\r\n")
    upstream = await stage.connected()
    assert b"hello" not in upstream.taken()
    upstream.ends()
    got = client.taken()
    assert got.startswith(b"HTTP/1.1 502 ")
    assert b"fault=truncate" in got


async def test_an_upstream_that_says_nothing_meets_its_time_out() -> None:
    stage = Stage(rules(4, "request"), response_timeout=3.0)
    client = stage.client()
    client.gives(POST + b"012345")
    await stage.connected()
    stage.sweep(5)
    assert client.taken().startswith(b"HTTP/1.1 504 ")


async def test_end_stream_in_a_request() -> None:
    stage = Http2Stage(rules(4, "request"))
    client = stage.peer()
    sid = client.ask(body=b"0123456789", end=False)
    server = await stage.both(client)
    assert (server.body(1), server.ended(1)) == (b"0123", True)
    server.head(1, [(":status", "400")], end=True)
    client.sync()
    assert client.fields(sid)[":status"] == "400"


@pytest.mark.parametrize("direction", ["request", "response"])
async def test_a_tunnel_ends_one_way(direction: str) -> None:
    stage = Stage(rules(4, direction))
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH)
    client.taken()
    upstream.taken()
    source, sink = (client, upstream) if direction == "request" else (upstream, client)
    source.gives(b"012345")
    source.gives(b"6789")
    assert (sink.taken(), sink.ended, source.ended, source.paused) == (b"0123", True, False, False)
    sink.gives(b"still here")
    assert source.taken() == b"still here"
    sink.ends()
    assert (client.closing, upstream.closing) == (True, True)
    assert injected(stage) == 1


async def test_a_tunnel_that_is_open_meets_a_new_rule() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH + b"before")
    stage.change_rules(rules(2))
    upstream.gives(b"0123")
    assert client.taken().endswith(b"before01")
    assert client.ended
