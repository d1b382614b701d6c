"""Whole messages, changed, where HTTP/2 is spoken on one side or both; calls and WebSockets."""

import pytest

from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

OK = [(":status", "200"), ("content-length", "5"), ("a", "b")]
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


def rules(fields: str) -> str:
    return f"  - {{name: r, faults: [rewrite: {{{fields}}}]}}"


def counts(stage: Stage) -> tuple[int, dict[str, int]]:
    state = stage.snapshot.by_name["r"].state
    return state.injected[0], state.faults[0].skipped


def head_of(server: Peer, number: int = 0) -> dict[str, str]:
    from h2.events import RequestReceived

    headers = server.came(RequestReceived)[number].headers or []
    return {str(name): str(value) for name, value in headers}


async def test_the_head_of_a_request() -> None:
    fields = (
        "request: {method: PUT, path: /b, headers: {set: {x-old: '2', host: b}, add: {x-new: a}, remove: x}}"
    )
    stage = Http2Stage(rules(fields))
    client = stage.peer()
    client.ask("/a?q=1", ("x-old", "1"), ("x", "y"))
    got = head_of(await stage.both(client))
    assert (got[":method"], got[":path"], got[":authority"]) == ("PUT", "/b?q=1", "b")
    assert (got["x-old"], got["x-new"], "x" in got, "host" in got) == ("2", "a", False, False)
    assert counts(stage) == (1, {})


async def test_the_body_of_a_request() -> None:
    stage = Http2Stage(rules("request: {body: {append: '!'}}"))
    client = stage.peer()
    sid = client.ask("/", ("content-length", "200000"), body=b"x" * 10_000, end=False)
    for at in range(10_000, 200_000, 10_000):  # more than a window
        client.say(sid, b"x" * 10_000, end=at == 190_000)
    server = await stage.both(client)
    (sid,) = server.requests()
    assert (len(server.body(sid)), head_of(server)["content-length"]) == (200_001, "200001")
    client.ask("/", body=b"y")  # no length was said: none is
    server = await stage.both(client)
    assert "content-length" not in head_of(server, 1)
    assert server.body(server.requests()[1]) == b"y!"


async def test_a_request_without_a_body_gets_one() -> None:
    stage = Http2Stage(rules("request: {method: POST, body: {replace: hello}}"))
    client = stage.peer()
    sid = client.ask("/")
    server = await stage.both(client)
    (upstream,) = server.requests()
    assert (server.body(upstream), head_of(server)["content-length"]) == (b"hello", "5")
    server.head(upstream, OK)
    server.say(upstream, b"hello", end=True)
    client.sync()
    assert client.ended(sid)
    assert client.reset(sid) is None


async def test_an_answer() -> None:
    stage = Http2Stage(rules("response: {status: 404, headers: {remove: a}, body: {replace: bye}}"))
    client = stage.peer()
    sid = client.ask("/")
    server = await stage.both(client)
    server.head(1, OK)
    server.say(1, b"hel")
    client.sync()
    assert client.fields(sid) == {}
    server.say(1, b"lo", end=True)
    client.sync()
    got = client.fields(sid)
    assert (got[":status"], got["content-length"], "a" in got) == ("404", "3", False)
    assert (client.body(sid), client.ended(sid)) == (b"bye", True)


async def test_an_answer_keeps_its_trailers() -> None:
    stage = Http2Stage(rules("response: {body: {append: '!'}}"))
    client = stage.peer()
    sid = client.ask("/")
    server = await stage.both(client)
    server.head(1, [(":status", "200")])
    server.say(1, b"hello")
    server.head(1, [("x-sum", "7")], end=True)
    client.sync()
    assert (client.body(sid), client.fields(sid)["x-sum"]) == (b"hello!", "7")


async def test_an_answer_without_a_body_gets_one() -> None:
    stage = Http2Stage(rules("response: {body: {replace: hello}}"))
    client = stage.peer()
    sid = client.ask("/")
    server = await stage.both(client)
    server.head(1, [(":status", "200")], end=True)
    client.sync()
    assert (client.body(sid), client.fields(sid)["content-length"]) == (b"hello", "5")


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_status_without_a_body_takes_it_away(status: int) -> None:
    stage = Http2Stage(rules(f"response: {{status: {status}}}"))
    client = stage.peer()
    sid = client.ask("/")
    server = await stage.both(client)
    server.head(1, OK)
    server.say(1, b"hello", end=True)
    client.sync()
    assert (client.fields(sid)[":status"], client.body(sid), client.ended(sid)) == (str(status), b"", True)
    assert client.fields(sid).get("content-length", "0") == "0"


async def test_an_upstream_stream_that_is_reset() -> None:
    stage = Http2Stage(rules("response: {body: {append: '!'}}"))
    client = stage.peer()
    sid = client.ask("/")
    server = await stage.both(client)
    server.head(1, OK)
    server.h2.reset_stream(1)
    server.sync()
    client.sync()
    assert client.fields(sid)[":status"] == "502"
    assert stage.worker.cells.waiting == 0


async def test_from_http_1_to_http_2_and_back() -> None:
    stage = Http2Stage(rules("request: {path: /b, body: {append: '!'}}, response: {body: {replace: bye}}"))
    client = stage.client()
    client.gives(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
    server = await stage.server()
    assert (head_of(server)[":path"], head_of(server)["content-length"]) == ("/b", "6")
    assert server.body(1) == b"hello!"
    server.head(1, [(":status", "200")])
    server.say(1, b"hello", end=True)
    assert client.taken().endswith(b"\r\n\r\n3\r\nbye\r\n0\r\n\r\n")


async def test_from_http_2_to_http_1_and_back() -> None:
    stage = Stage(rules("request: {path: /b, body: {append: '!'}}, response: {body: {replace: bye}}"))
    client = Peer(stage.client(), True)
    sid = client.ask("/a", body=b"hello")
    upstream: FakeTransport = await stage.connected()
    got = upstream.taken()
    assert got.startswith(b"POST /b HTTP/1.1\r\nhost: a\r\n")
    assert got.endswith(b"\r\n\r\n6\r\nhello!\r\n0\r\n\r\n")
    upstream.gives(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    client.sync()
    assert (client.body(sid), client.fields(sid)["content-length"]) == (b"bye", "3")


# --- calls


async def test_the_metadata_of_a_call() -> None:
    answer = "response: {headers: {add: {x-cost: '7'}}}"
    stage = Http2Stage(rules("request: {path: /shop.Cart/Add, headers: {set: {x-user: gold}}}, " + answer))
    client = stage.peer()
    sid = client.call(b"x")
    server = await stage.both(client)
    assert (head_of(server)[":path"], head_of(server)["x-user"]) == ("/shop.Cart/Add", "gold")
    server.head(1, GRPC_OK)
    server.say(1, message(b"y"))
    server.done(1)
    client.sync()
    got = client.fields(sid)
    assert (got["x-cost"], got["grpc-status"], client.body(sid)) == ("7", "0", message(b"y"))


@pytest.mark.parametrize("side", ["request", "response"])
async def test_messages_of_calls_are_left_alone(side: str) -> None:
    stage = Http2Stage(rules(f"{side}: {{headers: {{set: {{x-user: gold}}}}, body: {{replace: a}}}}"))
    client = stage.peer()
    sid = client.call(b"x")
    server = await stage.both(client)
    assert server.body(1) == message(b"x")
    server.head(1, GRPC_OK)
    server.done(1)
    client.sync()
    assert client.fields(sid)["grpc-status"] == "0"
    assert "x-user" not in client.fields(sid)
    assert counts(stage) == (0, {"grpc_body": 1})


# --- WebSockets


async def test_the_handshake_of_a_websocket() -> None:
    answer = "response: {headers: {set: {sec-websocket-protocol: y}}}"
    stage = Stage(rules("request: {path: /b, headers: {set: {origin: z}}}, " + answer))
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    got = upstream.taken()
    assert got.startswith(b"GET /b HTTP/1.1\r\n")
    assert b"origin: z\r\n" in got
    assert b"connection: upgrade\r\nupgrade: websocket\r\n" in got
    upstream.gives(SWITCH + b"first")
    got = client.taken()
    assert b"sec-websocket-protocol: y\r\n" in got
    assert b"connection: upgrade\r\nupgrade: websocket\r\n" in got
    assert got.endswith(b"first")
    client.gives(b"more")
    assert upstream.taken() == b"more"


@pytest.mark.parametrize("change", ["status: 403", "body: {replace: no}"])
async def test_a_switch_of_protocols_stays_one(change: str) -> None:
    stage = Stage(rules(f"response: {{{change}}}"))
    client = stage.client()
    client.gives(UPGRADE)
    (await stage.connected()).gives(SWITCH)
    assert client.taken().startswith(b"HTTP/1.1 101 ")
    assert counts(stage) == (0, {"tunnel": 1})


async def test_a_websocket_that_is_refused_is_an_answer_like_any_other() -> None:
    stage = Stage(rules("response: {status: 503, body: {replace: no}}"))
    client = stage.client()
    client.gives(UPGRADE)
    (await stage.connected()).gives(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 5\r\n\r\nhello")
    got = client.taken()
    assert got.startswith(b"HTTP/1.1 503 ")
    assert got.endswith(b"\r\n\r\nno")


async def test_a_websocket_over_http_2() -> None:
    stage = Http2Stage(
        rules("request: {path: /b, headers: {set: {origin: z}}}, response: {headers: {set: {x: y}}}")
    )
    stage.connect = True
    client = stage.client()
    client.gives(UPGRADE)
    server = await stage.server()
    got = head_of(server)
    assert (got[":path"], got[":protocol"], got["origin"]) == ("/b", "websocket", "z")
    server.head(1, [(":status", "200")])
    server.say(1, b"first")
    got_back = client.taken()
    assert got_back.startswith(b"HTTP/1.1 101 ")
    assert b"x: y\r\n" in got_back
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in got_back
    assert got_back.endswith(b"first")
