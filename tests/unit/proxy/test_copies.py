"""Requests that are sent more than once: what each upstream's connection gets, and what the client sees."""

from proxy.gathering import PATIENCE
from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

GET = b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
TWICE = "  - {name: r, faults: [duplicate: 2]}"


def injected(stage: Stage) -> int:
    return stage.snapshot.by_name["r"].state.injected[0]


def skipped(stage: Stage) -> dict[str, int]:
    return stage.snapshot.by_name["r"].state.faults[0].skipped


async def both(stage: Stage) -> list[FakeTransport]:
    """Give the connections of the copy and of the request itself, which goes last."""
    await stage.connected(1)
    return stage.loop.upstreams


async def test_a_request_without_a_body() -> None:
    stage = Stage("  - {name: r, faults: [duplicate: 3]}")
    stage.client().gives(GET)
    await stage.connected(2)
    first, second, third = [transport.taken() for transport in stage.loop.upstreams]
    assert first == second == third
    assert first.startswith(b"GET /a HTTP/1.1\r\n")
    assert injected(stage) == 1


async def test_the_client_gets_the_answer_to_its_own() -> None:
    stage = Stage(TWICE)
    client = stage.client()
    client.gives(GET)
    copy, own = await both(stage)
    copy.gives(OK + b"other")
    assert client.taken() == b""
    own.gives(OK + b"hello")
    got = client.taken()
    assert got.endswith(b"hello")
    assert b"x-misrule: rule=r; fault=duplicate; ms=0; version=1\r\n" in got
    client.gives(GET)  # on the connections that are kept
    await stage.turn()
    assert len(stage.loop.upstreams) == 2
    assert copy.taken().count(b"GET /a") + own.taken().count(b"GET /a") == 4


async def test_its_body_is_read_once_and_sent_twice() -> None:
    stage = Stage(TWICE)
    client = stage.client()
    client.gives(POST[:-1])
    await stage.turn()
    assert stage.loop.upstreams == []
    client.gives(POST[-1:])
    for transport in await both(stage):
        assert transport.taken().endswith(b"\r\n\r\nhello")


async def test_chunks_and_trailers() -> None:
    stage = Stage(TWICE)
    head = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    stage.client().gives(head + b"2\r\nhe\r\n3\r\nllo\r\n0\r\nx-sum: 7\r\n\r\n")
    for transport in await both(stage):
        assert transport.taken().endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n")


async def test_copies_are_nobodys_requests() -> None:
    stage = Stage(TWICE)
    client = stage.client()
    client.gives(GET)
    copy, own = await both(stage)
    own.gives(OK + b"hello")
    copy.gives(OK + b"other")
    cells = stage.worker.cells.route("web", "app")
    assert (cells.statuses[200], cells.active) == (1, 0)
    assert len(stage.logged("access")) == 1
    assert stage.upstream.open == 2
    assert [endpoint.active for endpoint in stage.upstream.endpoints] == [0]


async def test_a_copy_that_fails_is_not_seen() -> None:
    stage = Stage(TWICE)
    client = stage.client()
    client.gives(GET)
    copy, own = await both(stage)
    copy.ends()
    own.gives(OK + b"hello")
    assert client.taken().endswith(b"hello")
    assert not client.closing


async def test_a_copy_goes_on_without_its_client() -> None:
    stage = Stage(TWICE)
    client = stage.client()
    client.gives(GET)
    copy, own = await both(stage)
    client.ends()
    assert (copy.closing, own.closing) == (False, True)
    copy.gives(OK + b"other")
    assert not copy.closing


async def test_a_copy_does_not_wait_for_ever() -> None:
    stage = Stage(TWICE, response_timeout=2.0)
    client = stage.client()
    client.gives(GET)
    copy, own = await both(stage)
    own.gives(OK + b"hello")
    stage.sweep(3.0)
    assert (copy.closing, own.closing) == (True, False)


async def test_what_is_too_large_goes_once() -> None:
    stage = Stage(TWICE)
    stage.client().gives(b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1048577\r\n\r\n")
    await stage.connected()
    await stage.turn()
    assert len(stage.loop.upstreams) == 1
    assert (injected(stage), skipped(stage)) == (0, {"too_large": 1})


async def test_what_does_not_end_goes_once() -> None:
    stage = Stage(TWICE)
    client = stage.client()
    client.gives(b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n")
    stage.timers.advance(PATIENCE + 0.1)
    upstream = await stage.connected()
    assert upstream.taken().endswith(b"\r\n\r\n2\r\nhe\r\n")
    client.gives(b"3\r\nllo\r\n")
    assert upstream.taken() == b"3\r\nllo\r\n"
    assert skipped(stage) == {"too_slow": 1}


async def test_a_handshake_goes_once() -> None:
    stage = Stage(TWICE)
    stage.client().gives(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    await stage.connected()
    await stage.turn()
    assert len(stage.loop.upstreams) == 1
    assert skipped(stage) == {"tunnel": 1}


async def test_a_shadow_sends_one() -> None:
    stage = Stage("  - {name: r, mode: shadow, faults: [duplicate: 2]}")
    stage.client().gives(GET)
    await stage.connected()
    await stage.turn()
    assert len(stage.loop.upstreams) == 1
    assert stage.snapshot.by_name["r"].state.shadowed == [1]


# --- HTTP/2


def contents(server: Peer) -> list[bytes]:
    return [server.body(sid) for sid in server.requests()]


async def test_streams() -> None:
    stage = Http2Stage(TWICE)
    client = stage.peer()
    sid = client.ask("/a", body=b"hello")
    server = await stage.both(client)
    assert contents(server) == [b"hello", b"hello"]
    copy, own = server.requests()
    server.head(copy, [(":status", "500")], end=True)
    server.head(own, [(":status", "200")], end=True)
    client.sync()
    assert client.fields(sid)[":status"] == "200"
    assert injected(stage) == 1


async def test_a_unary_call() -> None:
    stage = Http2Stage(TWICE)
    client = stage.peer()
    sid = client.call(b"x" * 10_000)
    server = await stage.both(client)
    assert contents(server) == [message(b"x" * 10_000)] * 2
    for other in server.requests():
        server.head(other, GRPC_OK)
        server.say(other, message(b"y"))
        server.done(other)
    client.sync()
    assert (client.body(sid), client.fields(sid)["grpc-status"]) == (message(b"y"), "0")
    assert client.fields(sid)["x-misrule"].startswith("rule=r; fault=duplicate")


async def test_a_call_that_streams_goes_once() -> None:
    stage = Http2Stage(TWICE)
    client = stage.peer()
    client.call(b"x", b"y", end=False)
    server = await stage.both(client)
    assert contents(server) == [message(b"x") + message(b"y")]
    assert skipped(stage) == {"streaming": 1}


async def test_a_call_that_waits_for_answers_between_its_messages_goes_once() -> None:
    stage = Http2Stage(TWICE)
    client = stage.peer()
    sid = client.call(b"x", end=False)
    await stage.turn()
    assert stage.loop.upstreams == []
    stage.timers.advance(0.11)
    server = await stage.both(client)
    assert contents(server) == [message(b"x")]
    client.say(sid, message(b"y"), end=True)
    server.sync()
    assert contents(server) == [message(b"x") + message(b"y")]
    assert skipped(stage) == {"streaming": 1}


async def test_more_than_the_windows_of_the_upstream() -> None:
    stage = Http2Stage(TWICE)
    client = stage.peer()
    sid = client.ask("/a", body=b"x" * 10_000, end=False)
    for at in range(10_000, 300_000, 10_000):
        client.say(sid, b"x" * 10_000, end=at == 290_000)
    server = await stage.both(client)
    assert [len(one) for one in contents(server)] == [300_000, 300_000]
    assert all(server.ended(other) for other in server.requests())
