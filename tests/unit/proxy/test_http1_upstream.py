"""An upstream's connection: kept, used again, given up."""

import pytest

from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import Peer

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
SLOW = b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n0123456789"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def kept(stage: Stage) -> tuple[FakeTransport, FakeTransport]:
    """A client, and an upstream connection that idles after one exchange."""
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK)
    client.taken()
    upstream.taken()
    return client, upstream


@pytest.mark.parametrize("why", ["fin", "unasked", "idle"])
async def test_a_connection_that_ends_is_not_given_to_a_request(why: str) -> None:
    """The loop tells of the end only in a later turn."""
    stage = Stage()
    client, upstream = await kept(stage)
    if why == "fin":
        upstream.protocol.eof_received()
    elif why == "unasked":
        upstream.gives(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        assert upstream.closing
    else:
        client.lost()
        stage.sweep(302)
        assert upstream.closing
        client = stage.client()
    assert stage.upstream.cells.idle == 0
    client.gives(GET)
    await stage.connected(1)
    assert upstream.taken() == b""
    assert stage.upstream.cells.reused == 0


async def test_time_before_the_request_was_sent_is_not_the_upstreams() -> None:
    stage = Stage(
        "  - {name: r, match: {path: /slow}, faults: [delay: 60s]}", response_timeout=2.0, max_connections=1
    )
    client, upstream = await kept(stage)
    client.gives(SLOW)
    stage.sweep(60.25)
    assert upstream.taken().startswith(b"GET /slow ")
    stage.sweep(0.5)
    assert client.taken() == b""
    queued = stage.client()
    queued.gives(GET)
    stage.sweep(1)
    upstream.gives(OK)
    assert client.taken().startswith(b"HTTP/1.1 200 ")
    stage.sweep(1.5)
    assert queued.taken() == b""
    stage.sweep(1.25)
    assert queued.taken().startswith(b"HTTP/1.1 504 ")


async def test_the_head_of_an_answer_has_one_time_however_many_pieces_it_comes_in() -> None:
    stage = Stage(response_timeout=2.0)
    client, upstream = await kept(stage)
    client.gives(GET)
    for byte in OK[:7]:
        stage.sweep(0.25)
        upstream.gives(bytes([byte]))
    assert client.taken() == b""
    stage.sweep(0.75)
    assert client.taken().startswith(b"HTTP/1.1 504 ")
    assert stage.upstream.cells.failures == {"response_timeout": 1}
    assert upstream.closing


async def test_a_byte_at_once_after_a_long_silence_is_no_late_head() -> None:
    stage = Stage("  - {name: r, match: {path: /slow}, faults: [delay: 60s]}", response_timeout=2.0)
    client, upstream = await kept(stage)
    client.gives(SLOW)
    stage.sweep(60.25)
    upstream.gives(OK[:5])
    stage.sweep(1.75)
    upstream.gives(OK[5:])
    assert client.taken().startswith(b"HTTP/1.1 200 ")


async def test_an_interim_answer_is_a_sign_of_life() -> None:
    stage = Stage(response_timeout=2.0)
    client, upstream = await kept(stage)
    client.gives(GET)
    for _ in range(4):
        stage.sweep(1.5)
        upstream.gives(b"HTTP/1.1 102 Processing\r\n\r\n")
    assert client.taken().count(b" 102 ") == 4
    stage.sweep(0.25)
    upstream.gives(OK[:5])
    stage.sweep(1.5)
    assert client.taken() == b""
    stage.sweep(0.75)
    assert client.taken().startswith(b"HTTP/1.1 504 ")


async def test_an_upstream_that_does_not_read_is_not_the_clients_fault() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(POST[: POST.index(b"\r\n\r\n") + 4])
    upstream = await stage.connected()
    upstream.protocol.pause_writing()
    stage.sweep(200)
    upstream.protocol.resume_writing()
    upstream.protocol.pause_writing()
    stage.sweep(299)
    assert client.taken() == b""
    stage.sweep(3)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"error=http_response_timeout" in answer
    assert stage.upstream.cells.failures == {"upstream_not_reading": 1}
    assert upstream.closing


async def test_an_upstream_that_stops_in_the_middle_is_cut_after_its_time() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK[:-1])
    stage.sweep(299)
    assert (client.ended, client.closing) == (False, False)
    stage.sweep(2)
    assert (client.ended, client.closing) == (True, False)
    assert stage.upstream.cells.failures == {"upstream_idle": 1}


async def test_a_slow_reader_is_not_the_upstreams_fault() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK[:-1])
    client.protocol.pause_writing()
    stage.sweep(310)
    assert stage.upstream.cells.failures == {"client_idle": 1}
    assert client.aborted or client.closing or stage.timers.armed


async def test_the_answer_to_head_has_no_body() -> None:
    stage = Stage()
    client, upstream = await kept(stage)
    client.gives(HEAD)
    upstream.gives(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    assert client.taken().endswith(b"content-length: 1000\r\n\r\n")
    assert stage.upstream.cells.idle == 1


async def test_more_than_may_idle_is_closed() -> None:
    stage = Stage(max_idle=0)
    _, upstream = await kept(stage)
    assert upstream.closing
    upstream.lost()
    assert (stage.upstream.cells.idle, stage.upstream.cells.open) == (0, 0)


@pytest.mark.parametrize("last", [b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK\r\nconnection: close"])
async def test_an_upstream_that_says_that_it_closes_is_believed(last: bytes) -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(last + b"\r\ncontent-length: 0\r\n\r\n")
    assert upstream.closing
    assert not client.closing
    assert b"connection: close" not in client.taken()


async def test_a_head_without_end_is_refused() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300000)
    assert b"error=http_response_header_section_size\r\n" in client.taken()
    assert stage.upstream.cells.failures == {"upstream_head_too_large": 1}
    assert stage.logged("upstream_protocol")[0]["kind"] == "head_too_large"


async def test_it_says_what_it_does() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    view = upstream.protocol.describe()
    assert (view["side"], view["upstream"], view["address"]) == ("upstream", "app", "10.0.0.1:80")
    assert (view["state"], view["uses"]) == ("busy", 1)
    assert view["request_id"] == client.protocol.describe()["request_id"]
    assert not upstream.protocol.idle()
    upstream.gives(OK)
    assert upstream.protocol.describe()["state"] == "idle"
    assert upstream.protocol.describe()["request_id"] is None
    assert upstream.protocol.idle()


@pytest.mark.parametrize(("length", "sent", "kept"), [("4", 4, True), ("4", 3, False), ("", 4, False)])
async def test_an_answer_before_the_end_of_an_http2_stream_leaves_what_is_complete(
    length: str, sent: int, kept: bool
) -> None:
    """Clients may end a stream by a frame of its own: of a request with a length nothing is missing then."""
    stage = Stage()
    client = Peer(stage.client(), True)
    fields = [("content-length", length)] if length else []
    sid = client.ask("/", *fields, body=b"body"[:sent], end=False)
    upstream = await stage.connected()
    upstream.gives(OK)
    assert client.sync().body(sid) == b"hi"
    assert (upstream.closing, stage.upstream.cells.idle) == (not kept, int(kept))
    client.ask("/next")
    await stage.connected(0 if kept else 1)
    assert stage.upstream.cells.reused == kept
