"""reset, close and abort on HTTP/2: streams, connections, GOAWAY, and what the upstream's leg sees of it."""

from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.events import ResponseReceived, TrailersReceived
from h2.settings import SettingCodes
from hyperframe.frame import HeadersFrame, PingFrame

from rules.http_params import Http2Code
from rules.params import ALONE
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, asked, frames, goaways

OK = [(":status", "200")]
HIGHEST = 0x7FFFFFFF


def stage(fault: str, match: str = "{}", **options: Any) -> Http2Stage:
    return Http2Stage(f"  - {{name: r, match: {match}, faults: [{fault}]}}", **options)


async def answering(on: Http2Stage, body: bytes = b"") -> tuple[Peer, Peer, int]:
    """Ask, and let the upstream begin to answer."""
    client = on.peer()
    sid = client.ask()
    server = await on.both(client)
    server.head(server.requests()[-1], OK)
    if body:
        server.say(server.requests()[-1], body)
    return client.sync(), server, sid


@pytest.mark.parametrize(
    ("code", "number"), [("CANCEL", 8), ("REFUSED_STREAM", 7), ("4000000000", 4000000000), ("0", 0)]
)
async def test_a_reset_says_its_code_and_ends_no_other_stream(code: str, number: int) -> None:
    assert Http2Code().parse(int(code) if code.isdigit() else code, ALONE) == number
    on = stage(f"reset: {{code: {code}}}", "{path: /bad}")
    client = on.peer()
    good, bad = client.ask("/good"), client.ask("/bad")
    assert client.reset(bad) == number
    server = await on.both(client)
    server.head(server.requests()[0], OK, end=True)
    client.sync()
    assert client.fields(good)[":status"] == "200"
    assert client.ended(good)
    assert not client.transport.closing


async def test_a_reset_of_the_connection_is_a_true_rst() -> None:
    on = stage("reset: {scope: connection}", "{path: /bad}")
    client = on.peer()
    client.ask("/good")
    client.ask("/bad")
    assert client.transport.aborted
    client.transport.lost(ConnectionResetError())
    assert on.listener.cells.open == 0
    assert sum(cells.active for cells in on.worker.cells.routes) == 0


async def test_a_reset_behind_content_gives_it_time_to_be_read() -> None:
    on = stage("reset: {scope: connection, after_bytes: 3B}")
    client, _, sid = await answering(on, b"abcdef")
    assert client.body(sid) == b"abc"
    assert not client.transport.aborted
    on.timers.advance(0.02)
    assert client.transport.aborted


@pytest.mark.parametrize("patient", [True, False])
async def test_what_waits_for_the_window_arrives_before_a_reset(patient: bool) -> None:
    on = stage("reset: {after_bytes: 65540B, code: INTERNAL_ERROR}")
    client = on.peer(credit=False)
    sid = client.ask()
    server = await on.both(client)
    server.head(1, OK)
    for piece in range(0, 66000, 6000):
        server.say(1, bytes([piece // 6000]) * 6000)
    client.sync()
    assert len(client.body(sid)) == 65535
    assert client.reset(sid) is None
    if patient:
        client.h2.increment_flow_control_window(100, sid)
        client.h2.increment_flow_control_window(100)
        client.sync()
        assert len(client.body(sid)) == 65540
        assert client.reset(sid) is None  # the client has a moment to read that
        on.timers.advance(0.016)
        client.sync()
    else:
        on.sweep(6)
        client.sync()
    assert client.reset(sid) == 2


async def test_a_reset_of_the_upstream_says_its_code_there() -> None:
    on = stage("reset: {side: upstream, at: response_head, code: ENHANCE_YOUR_CALM}")
    client, server, sid = await answering(on)
    assert server.reset(1) == 11
    assert client.fields(sid)[":status"] == "502"


async def test_a_reset_of_the_upstreams_connection_fails_what_shares_it() -> None:
    on = stage("reset: {side: upstream, at: response_head, scope: connection}", "{path: /bad}")
    client = on.peer()
    good, bad = client.ask("/good"), client.ask("/bad")
    server = await on.both(client)
    server.head(3, OK)
    client.sync()
    assert client.fields(bad)[":status"] == "502"
    client.ask("/later")
    assert (await on.both(client, 1)).requests() == [1]
    on.timers.advance(0.02)
    assert server.transport.aborted
    server.transport.lost(ConnectionResetError())
    client.sync()
    assert client.fields(good)[":status"] == "502"


async def test_a_close_says_that_this_request_was_not_processed_and_sends_fin() -> None:
    on = stage("close", "{path: /bad}")
    client = on.peer()
    client.ask("/good")
    client.ask("/bad")
    assert client.goaways() == [(1, 0, b"")]
    assert client.transport.ended
    assert sum(cells.active for cells in on.worker.cells.routes) == 0
    outcomes = {line["path"]: line["outcome"] for line in on.logged("access")}
    assert outcomes == {"/good": "client_closed", "/bad": "injected"}


async def test_a_close_may_say_something_else() -> None:
    on = stage("close: {goaway: {code: ENHANCE_YOUR_CALM, debug: too_many_pings, last_stream_id: 77}}")
    client = on.peer()
    client.ask()
    assert client.goaways() == [(77, 11, b"too_many_pings")]
    assert client.transport.ended


async def test_a_graceful_close_loses_nothing() -> None:
    on = stage("close: {goaway: {graceful: true, debug: bye}}", "{path: /last}")
    client = on.peer()
    raw = client.transport
    asked(client, "/early")
    asked(client, "/last")
    notice = raw.taken()
    assert goaways(notice) == [(HIGHEST, 0, b"")]
    asked(client, "/late")
    (ping,) = [frame for frame in frames(notice) if isinstance(frame, PingFrame)]
    ping.flags.add("ACK")
    raw.gives(ping.serialize())
    assert goaways(raw.taken()) == [(5, 0, b"bye")]
    asked(client, "/too-late")
    server = await on.server()
    assert len(server.requests()) == 3
    for sid in server.requests():
        assert not raw.ended
        server.head(sid, OK, end=True)
    heads = [frame.stream_id for frame in frames(raw.taken()) if isinstance(frame, HeadersFrame)]
    assert heads == [1, 3, 5]
    on.sweep(1)
    assert raw.ended


async def test_a_graceful_close_does_not_wait_for_a_ping_for_ever() -> None:
    on = stage("close: {goaway: {graceful: true}}")
    client = on.peer()
    asked(client, "/")
    assert goaways(client.transport.taken()) == [(HIGHEST, 0, b"")]
    on.sweep(1.5)
    assert goaways(client.transport.taken()) == [(1, 0, b"")]


async def test_a_graceful_close_of_http1_ends_the_connection_with_the_answer() -> None:
    on = stage("close: {goaway: {graceful: true}}")
    client = on.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    server = await on.server()
    server.head(1, [*OK, ("content-length", "2")])
    server.say(1, b"ok", end=True)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"ok")
    assert client.closing


GRPC_ABORTS = [
    ("{grpc_status: UNAVAILABLE, grpc_message: gone}", {"grpc-status": "14", "grpc-message": "gone"}, 0),
    (
        "{grpc_status: ABORTED, trailers: {x-reason: [a, b]}, headers: {x-early: c}}",
        {"grpc-status": "10", "x-reason": "b", "x-early": "c"},
        0,
    ),
    ("{grpc_status: 5, trailers_only: false, trailers: {x: y}}", {"grpc-status": "5", "x": "y"}, 1),
]


@pytest.mark.parametrize(("fields", "seen", "blocks"), GRPC_ABORTS)
async def test_an_abort_of_a_grpc_call(fields: str, seen: dict[str, str], blocks: int) -> None:
    on = stage(f"abort: {fields}", "{protocol: grpc}")
    client = on.peer()
    sid = client.call(b"x")
    got = client.fields(sid)
    assert got[":status"] == "200"
    assert got["content-type"] == "application/grpc"
    assert {name: got[name] for name in seen} == seen
    assert len(client.came(TrailersReceived, sid)) == blocks
    assert client.ended(sid)
    assert client.body(sid) == b""


async def test_an_abort_of_another_request_may_have_trailers_too() -> None:
    on = stage("abort: {status: 500, body: {text: no}, trailers: {x-sum: '1'}}")
    client = on.peer()
    sid = client.ask()
    got = client.fields(sid)
    assert (got[":status"], got["x-sum"], client.body(sid)) == ("500", "1", b"no")
    assert client.ended(sid)


async def test_a_refused_stream_whose_body_was_sent_is_not_sent_again() -> None:
    """The body is not held: the request would go on without it."""
    on = Http2Stage()
    client = on.peer()
    sid = client.ask("/", ("content-length", "5"), body=b"hello")
    server = await on.both(client)
    assert server.body(1) == b"hello"
    server.h2.reset_stream(1, ErrorCodes.REFUSED_STREAM)
    server.sync()
    await on.both(client)
    assert server.requests() == [1]
    assert client.fields(sid)[":status"] == "503"


async def test_a_refused_call_is_refused_to_its_client() -> None:
    """Its messages are not held; the libraries of gRPC send such a call again by themselves."""
    on = Http2Stage()
    client = on.peer()
    sid = client.call(b"x")
    server = await on.both(client)
    server.h2.reset_stream(1, ErrorCodes.REFUSED_STREAM)
    server.sync()
    client.sync()
    assert (client.reset(sid), client.came(ResponseReceived)) == (ErrorCodes.REFUSED_STREAM, [])
    assert on.upstream.cells.failures == {"upstream_refused": 1}
    assert client.call(b"y")
    await on.both(client)
    assert server.requests() == [1, 3]  # the connection goes on


async def test_a_call_beyond_a_goaway_is_refused_to_its_client() -> None:
    on = Http2Stage()
    client = on.peer()
    first, second = client.call(b"x", end=False), client.call(b"y", end=False)
    server = await on.both(client)
    server.h2.close_connection(last_stream_id=1)
    server.transport.gives(server.h2.data_to_send())
    client.sync()
    assert (client.reset(first), client.reset(second)) == (None, ErrorCodes.REFUSED_STREAM)


async def crowd_that_goes(**options: Any) -> tuple[Http2Stage, Peer, Peer]:
    """Have an upstream that allows three streams answer three calls, and their client reset them."""
    on = Http2Stage(**options)
    client = on.peer()
    sids = [client.call(b"first")]
    server = await on.both(client)
    server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
    server.sync()
    sids += [client.call(b"more") for _ in range(2)]
    assert server.sync().requests() == [1, 3, 5]
    for sid in (1, 3, 5):
        server.head(sid, GRPC_OK)
    client.sync()
    for sid in sids:
        client.h2.reset_stream(sid)
    client.sync()
    return on, client, server


async def test_who_comes_behind_a_crowd_goes_to_another_connection() -> None:
    """The upstream may count the streams of the others for a moment."""
    on, client, server = await crowd_that_goes()
    late = [client.call(b"late") for _ in range(3)]
    other = await on.both(client, 1)
    assert (server.sync().requests(), other.requests()) == ([1, 3, 5], [1, 3, 5])
    for sid in (1, 3, 5):
        other.head(sid, GRPC_OK)
    client.sync()
    assert [client.fields(sid)[":status"] for sid in late] == ["200"] * 3


async def test_a_second_later_the_upstream_has_noticed() -> None:
    on, client, server = await crowd_that_goes()
    on.sweep(1.1)
    for _ in range(3):
        client.call(b"late")
    await on.turn()
    assert server.sync().requests() == [1, 3, 5, 7, 9, 11]
    assert len(on.loop.upstreams) == 1


async def test_who_comes_behind_a_crowd_stays_where_no_other_connection_is_allowed() -> None:
    on, client, server = await crowd_that_goes(max_connections=1)
    for _ in range(3):
        client.call(b"late")
    await on.turn()
    assert server.sync().requests() == [1, 3, 5, 7, 9, 11]


async def test_all_who_wait_go_on_when_an_upstream_allows_more() -> None:
    on = Http2Stage(max_connections=1)
    client = on.peer()
    client.call(b"first")
    server = await on.both(client)
    server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
    server.sync()
    for _ in range(3):
        client.call(b"more")
    await on.turn()
    assert (server.sync().requests(), len(on.upstream.waiting)) == ([1], 3)
    server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10})
    server.sync()
    assert (server.requests(), len(on.upstream.waiting)) == ([1, 3, 5, 7], 0)
