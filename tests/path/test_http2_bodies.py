"""Content over HTTP/2 goes straight on where nothing holds it: each byte once, behind what had to wait."""

import h11
import pytest
from h2.events import DataReceived

from proxy.net.pool import HTTP1
from tests.support.h2_stage import GRPC_OK, Http2Stage, message

OK = [(":status", "200")]


async def test_an_upload_that_waited_first_reaches_an_http1_upstream_whole() -> None:
    on = Http2Stage()
    on.upstream.protocol = HTTP1
    client = on.peer()
    sid = client.ask("/", ("content-length", "9"), end=False)
    client.say(sid, b"abc")  # no connection stands yet: it waits
    upstream = await on.connected()
    client.say(sid, b"def")
    client.say(sid, b"ghi", end=True)
    assert upstream.taken().endswith(b"\r\n\r\nabcdefghi")
    upstream.gives(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.sync().fields(sid)[":status"] == "204"


async def test_an_upload_of_unknown_length_is_chunked_whole() -> None:
    on = Http2Stage()
    on.upstream.protocol = HTTP1
    client = on.peer()
    sid = client.ask("/", end=False)
    client.say(sid, b"abc")
    upstream = await on.connected()
    client.say(sid, b"def", end=True)
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(upstream.taken())
    assert isinstance(reader.next_event(), h11.Request)
    body = b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert body == b"abcdef"
    assert isinstance(event, h11.EndOfMessage)


@pytest.mark.parametrize("trailers", [False, True])
async def test_an_answer_that_waited_first_arrives_whole(trailers: bool) -> None:
    on = Http2Stage()
    client = on.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    server = await on.server()
    sid = server.sync().requests()[0]
    server.head(sid, OK)
    client.protocol.pause_writing()
    server.say(sid, b"abc")
    server.say(sid, b"def")  # waits until the client has caught up
    client.protocol.resume_writing()
    server.say(sid, b"ghi", end=not trailers)
    if trailers:
        server.head(sid, [("x-after", "1")], end=True)
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    reader.receive_data(client.taken())
    assert isinstance(reader.next_event(), h11.Response)
    body = b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert body == b"abcdefghi"
    assert isinstance(event, h11.EndOfMessage)
    assert [tuple(pair) for pair in event.headers] == ([(b"x-after", b"1")] if trailers else [])


async def test_messages_of_a_call_pass_in_order_both_ways() -> None:
    on = Http2Stage()
    client = on.peer()
    sid = client.call(b"one", end=False)  # waits for the connection
    server = await on.both(client)
    client.say(sid, message(b"two"))
    client.say(sid, message(b"three"), end=True)
    call = server.sync().requests()[0]
    assert server.body(call) == message(b"one") + message(b"two") + message(b"three")
    server.head(call, GRPC_OK)
    for text in (b"a", b"b", b"c"):
        server.say(call, message(text))
        assert client.sync().body(sid).endswith(message(text))
    server.done(call)
    assert client.sync().fields(sid)["grpc-status"] == "0"
    assert len(client.came(DataReceived, sid)) == 3
    assert client.ended(sid)


async def test_a_call_that_is_one_frame_stays_one() -> None:
    on = Http2Stage()
    client = on.peer()
    first = client.call(b"one", end=False)
    server = await on.both(client)
    client.say(first, message(b"two"), end=True)
    sid = client.call(b"whole")  # now the connection stands: it goes on at once
    call = server.sync().requests()[1]
    (came,) = server.came(DataReceived, call)
    assert (came.data, came.stream_ended is not None) == (message(b"whole"), True)
    assert on.worker.cells.routes[0].bytes_in == 0
    server.head(call, GRPC_OK)
    server.say(call, message(b"answer"))
    server.done(call)
    assert (client.sync().body(sid), client.fields(sid)["grpc-status"]) == (message(b"answer"), "0")
    assert on.worker.cells.routes[0].bytes_in == len(message(b"whole"))


@pytest.mark.parametrize("apart", [False, True])
async def test_a_call_that_ends_without_trailers_ends(apart: bool) -> None:
    """Its end comes with the last message, or behind it, where nothing was kept back that could carry it."""
    on = Http2Stage()
    client = on.peer()
    sid = client.call(b"one")
    server = await on.both(client)
    call = server.sync().requests()[0]
    server.head(call, GRPC_OK)
    server.say(call, message(b"a"))
    server.say(call, message(b"b"), end=not apart)
    if apart:
        server.say(call, b"", end=True)
    assert client.sync().body(sid) == message(b"a") + message(b"b")
    assert client.ended(sid)
    assert "grpc-status" not in client.fields(sid)


@pytest.mark.parametrize("fields", [(), (("content-length", "3"),)])
async def test_an_upload_in_one_frame_reaches_a_kept_http1_upstream(
    fields: tuple[tuple[str, str], ...],
) -> None:
    on = Http2Stage()
    on.upstream.protocol = HTTP1
    client = on.peer()
    sid = client.ask("/")
    upstream = await on.connected()
    upstream.taken()
    upstream.gives(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.sync().ended(sid)
    sid = client.ask("/", *fields, body=b"abc")
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(upstream.taken())
    assert isinstance(reader.next_event(), h11.Request)
    assert isinstance(data := reader.next_event(), h11.Data)
    assert (data.data, type(reader.next_event())) == (b"abc", h11.EndOfMessage)
    upstream.gives(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert client.sync().fields(sid)[":status"] == "204"


async def test_an_upstream_that_opens_no_window_is_not_the_clients_fault() -> None:
    on = Http2Stage()
    client = on.client()
    client.gives(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n")
    server = await on.server()
    server.credit = False
    while not client.paused:
        client.gives(bytes(60_000))
    server.sync()
    on.sweep(200)
    server.h2.increment_flow_control_window(10_000, server.requests()[0])  # a sign of life
    server.h2.increment_flow_control_window(10_000)
    server.sync()
    assert client.paused
    on.sweep(299)
    assert client.taken() == b""
    on.sweep(3)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert on.upstream.cells.failures == {"upstream_not_reading": 1}
    assert server.sync().reset(server.requests()[0]) is not None
