"""The fault grpc at work: what both peers of a call see, at any split of what comes."""

from typing import Any

import pytest

from proxy.net.pool import HTTP1
from proxy.shaping import MOST_COPIED
from tests.support.h2_stage import GRPC_OK, Http2Stage, Peer, message

FIVE = [b"one", b"", b"three" * 100, b"4", b"fifth"]


def stage(*faults: str, **options: Any) -> Http2Stage:
    return Http2Stage(
        f"  - {{name: r, faults: [{', '.join(f'grpc: {{{one}}}' for one in faults)}]}}", **options
    )


def framed(*messages: bytes) -> bytes:
    return b"".join(message(one) for one in messages)


async def calling(on: Http2Stage, *messages: bytes, end: bool = True) -> tuple[Peer, Peer, int]:
    """Begin a call whose answer's head has come."""
    client = on.peer()
    sid = client.call(*messages, end=end)
    server = await on.both(client)
    server.head(1, GRPC_OK)
    return client.sync(), server, sid


def in_pieces(peer: Peer, sid: int, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        peer.say(sid, data[start : start + size])


def injected(on: Http2Stage) -> int:
    return on.snapshot.by_name["r"].state.injected[0]


@pytest.mark.parametrize("size", [1, 3, 7, 10_000])
@pytest.mark.parametrize("after", [0, 1, 2, 3, 5])
async def test_exactly_so_many_answers_arrive_before_the_status(after: int, size: int) -> None:
    on = stage(f"after_messages: {after}, status: UNAVAILABLE, message: gone away")
    client, server, sid = await calling(on, b"x")
    for start in range(0, len(framed(*FIVE)), size):
        if server.sync().reset(1) is None:
            server.say(1, framed(*FIVE)[start : start + size])
    client.sync()
    assert client.body(sid) == framed(*FIVE[:after])
    got = client.fields(sid)
    assert (got["grpc-status"], got["grpc-message"]) == ("14", "gone away")
    assert client.ended(sid)
    assert server.sync().reset(1) == 8
    assert injected(on) == 1
    assert [line["outcome"] for line in on.logged("access")] == ["injected"]


async def test_a_call_with_fewer_messages_ends_as_it_does() -> None:
    on = stage("after_messages: 4, status: UNAVAILABLE")
    client, server, sid = await calling(on, b"x")
    server.say(1, framed(*FIVE[:3]))
    server.done(1, 0)
    client.sync()
    assert client.body(sid) == framed(*FIVE[:3])
    assert client.fields(sid)["grpc-status"] == "0"
    assert injected(on) == 0
    assert on.logged("injection") == []


async def test_a_reset_behind_messages() -> None:
    on = stage("after_messages: 2, reset: INTERNAL_ERROR")
    client, server, sid = await calling(on, b"x")
    server.say(1, framed(*FIVE))
    client.sync()
    assert client.body(sid) == framed(*FIVE[:2])
    on.timers.advance(0.016)  # the client has a moment to read them
    client.sync()
    assert client.reset(sid) == 2
    assert server.sync().reset(1) == 8


async def test_exactly_so_many_requests_arrive_before_the_status() -> None:
    on = stage("after_messages: 2, direction: request, status: ABORTED")
    client = on.peer()
    sid = client.call(*FIVE, end=False)
    server = await on.both(client)
    assert server.body(1) == framed(*FIVE[:2])
    assert server.reset(1) == 8
    got = client.fields(sid)
    assert (got[":status"], got["grpc-status"]) == ("200", "10")
    assert "fault=grpc" in got["x-misrule"]
    assert client.ended(sid)


async def test_a_request_may_end_a_call_that_has_answered() -> None:
    on = stage("after_messages: 2, direction: request, status: ABORTED")
    client, server, sid = await calling(on, b"1", end=False)
    server.say(1, framed(b"answer"))
    client.sync().say(sid, framed(b"2", b"3"))
    client.sync()
    server.sync()
    assert server.body(1) == framed(b"1", b"2")
    assert client.body(sid) == framed(b"answer")
    assert client.fields(sid)["grpc-status"] == "10"


TROUBLES: list[tuple[str, list[bytes]]] = [
    ("drop_message: 2", [FIVE[0], *FIVE[2:]]),
    ("drop_message: 3", [*FIVE[:2], *FIVE[3:]]),
    ("drop_message: each", []),
    ("drop_message: 9", FIVE),
    ("duplicate_message: 1", [FIVE[0], *FIVE]),
    ("duplicate_message: each", [one for one in FIVE for _ in (1, 2)]),
]


@pytest.mark.parametrize("size", [1, 4, 6, 10_000])
@pytest.mark.parametrize(("fields", "seen"), TROUBLES)
@pytest.mark.parametrize("direction", ["request", "response"])
async def test_messages_are_lost_and_repeated(
    fields: str, seen: list[bytes], direction: str, size: int
) -> None:
    on = stage(f"{fields}, direction: {direction}")
    if direction == "response":
        client, server, sid = await calling(on, b"x")
        in_pieces(server, 1, framed(*FIVE), size)
        server.done(1)
        client.sync()
        assert client.body(sid) == framed(*seen)
        assert client.fields(sid)["grpc-status"] == "0"
    else:
        client, server, sid = await calling(on, end=False)
        in_pieces(client, sid, framed(*FIVE), size)
        client.h2.end_stream(sid)
        client.sync()
        assert server.sync().body(1) == framed(*seen)
        assert server.ended(1)
    assert injected(on) == (0 if seen == FIVE else 1)


async def test_a_message_too_large_to_be_held_comes_once() -> None:
    on = stage("duplicate_message: each")
    client, server, sid = await calling(on, b"x")
    for size in (MOST_COPIED, MOST_COPIED + 1):
        data = message(bytes(size))
        for start in range(0, len(data), 16000):
            server.say(1, data[start : start + 16000])
            client.sync()
            server.sync()
    assert len(client.body(sid)) == 3 * (MOST_COPIED + 5) + 1


@pytest.mark.parametrize("size", [1, 2, 10_000])
@pytest.mark.parametrize(("which", "wrong"), [("1", {1}), ("3", {3}), ("each", {1, 2, 3, 4, 5})])
async def test_a_length_that_is_wrong(which: str, wrong: set[int], size: int) -> None:
    on = stage(f"corrupt_length_prefix: {which}")
    client, server, sid = await calling(on, b"x")
    in_pieces(server, 1, framed(*FIVE), size)
    client.sync()
    said = [message(one, len(one) + (1 << 31) * (number in wrong)) for number, one in enumerate(FIVE, 1)]
    assert client.body(sid) == b"".join(said)


async def test_a_message_is_held_back_with_all_behind_it_and_the_end() -> None:
    on = stage("delay_message: {message: 2, delay: 1s}")
    client, server, sid = await calling(on, b"x")
    server.say(1, framed(*FIVE)[:-1])
    server.say(1, framed(*FIVE)[-1:])
    server.done(1)
    assert client.sync().body(sid) == framed(FIVE[0])
    on.timers.advance(0.999)
    assert client.sync().body(sid) == framed(FIVE[0])
    on.timers.advance(0.001)
    assert client.sync().body(sid) == framed(*FIVE)
    assert client.ended(sid)
    (line,) = on.logged("injection")
    assert (line["fault"], line["ms"]) == ("grpc", 1000.0)


async def test_each_message_is_held_back_and_proven_once() -> None:
    on = stage("delay_message: 100ms, direction: request")
    client, server, sid = await calling(on, end=False)
    client.say(sid, framed(*FIVE))
    for count in range(1, 6):
        assert server.sync().body(1) == framed(*FIVE[: count - 1])
        on.timers.advance(0.1)
        assert server.sync().body(1) == framed(*FIVE[:count])
    client.h2.end_stream(sid)
    client.sync()
    assert server.sync().ended(1)
    assert len(on.logged("injection")) == 1


@pytest.mark.parametrize("how", ["deleted", "stopped"])
async def test_a_message_that_is_held_back_goes_with_the_rule(how: str) -> None:
    rule = "  - {name: r, faults: [grpc: {delay_message: 10s}]}"
    on = Http2Stage(rule)
    client, server, sid = await calling(on, b"x")
    server.say(1, framed(*FIVE))
    assert client.sync().body(sid) == b""
    on.change_rules(rule if how == "stopped" else "", how == "stopped")
    assert client.sync().body(sid) == framed(*FIVE)
    assert on.timers.armed == 0


async def test_a_call_that_is_given_up_while_a_message_is_held_back() -> None:
    on = stage("delay_message: 10s")
    client, server, sid = await calling(on, b"x")
    server.say(1, framed(*FIVE))
    client.h2.reset_stream(sid)
    client.sync()
    assert server.sync().reset(1) == 8
    assert (on.timers.armed, len(on.worker.waiting)) == (0, 0)
    assert len(on.logged("injection")) == 1


STATUSES = [
    ("status: missing", {}),
    ("status: garbled", {"grpc-status": "fourteen"}),
    ("status: DATA_LOSS, message: gone", {"grpc-status": "15", "grpc-message": "gone"}),
]


@pytest.mark.parametrize(("fields", "seen"), STATUSES)
@pytest.mark.parametrize("only", [True, False])
async def test_another_end_of_the_call(fields: str, seen: dict[str, str], only: bool) -> None:
    on = stage(fields)
    client = on.peer()
    sid = client.call(b"x")
    server = await on.both(client)
    ending = [("grpc-status", "9"), ("grpc-message", "was"), ("x-other", "stays")]
    if only:
        server.head(1, [*GRPC_OK, *ending], end=True)
    else:
        server.head(1, GRPC_OK)
        server.say(1, framed(*FIVE))
        server.head(1, ending, end=True)
    client.sync()
    assert client.body(sid) == (b"" if only else framed(*FIVE))
    got = client.fields(sid)
    assert {name: got[name] for name in got if name.startswith("grpc-")} == seen
    assert got["x-other"] == "stays"
    assert client.ended(sid)
    assert injected(on) == 1


async def test_an_end_without_any_trailers() -> None:
    on = stage("after_messages: 1, status: missing")
    client, server, sid = await calling(on, b"x")
    server.say(1, framed(b"a", b"b"))
    client.sync()
    assert client.body(sid) == framed(b"a")
    assert client.ended(sid)
    assert "grpc-status" not in client.fields(sid)


async def test_several_stand_behind_each_other() -> None:
    on = stage("drop_message: 1", "duplicate_message: each", "after_messages: 3, status: UNKNOWN")
    client, server, sid = await calling(on, b"x")
    in_pieces(server, 1, framed(b"a", b"b", b"c"), 1)
    client.sync()
    assert client.body(sid) == framed(b"b", b"b", b"c")
    assert client.fields(sid)["grpc-status"] == "2"


async def test_a_length_that_was_announced_is_taken_back() -> None:
    on = stage("drop_message: 1", "drop_message: 1, direction: request")
    client = on.peer()
    body = framed(b"1", b"2")
    sid = client.call(b"1", b"2", fields=[("content-length", str(len(body)))])
    server = await on.both(client)
    server.head(1, [*GRPC_OK, ("content-length", str(len(body)))])
    server.say(1, body)
    server.done(1)
    client.sync()
    assert (server.body(1), client.body(sid)) == (framed(b"2"), framed(b"2"))
    assert "content-length" not in client.fields(sid)


DEADLINES = [("-50ms", "1S", 0.95), ("0ms", "100m", 0.1), ("1s", "1S", 2.0), ("-5s", "1S", 0.0)]


@pytest.mark.parametrize(("written", "timeout", "seconds"), DEADLINES)
async def test_a_request_waits_for_its_deadline(written: str, timeout: str, seconds: float) -> None:
    on = stage(f"delay_to_deadline: {written}")
    client = on.peer()
    client.call(b"x", fields=[("grpc-timeout", timeout)])
    if seconds:
        on.timers.advance(seconds - 0.001)
        await on.turn()
        assert on.loop.upstreams == []
        on.timers.advance(0.001)
    assert (await on.both(client)).requests() == [1]
    assert injected(on) == 1


async def test_without_a_deadline_nothing_waits_and_nothing_counts() -> None:
    on = stage("delay_to_deadline: -50ms")
    client = on.peer()
    client.call(b"x")
    assert (await on.both(client)).requests() == [1]
    assert injected(on) == 0


async def test_what_is_no_grpc_call_is_left_alone() -> None:
    on = stage("drop_message: each", "status: missing", "delay_to_deadline: -1s")
    client = on.peer()
    sid = client.ask("/", body=framed(b"a"))
    server = await on.both(client)
    server.head(1, [(":status", "200"), ("grpc-status", "0")])
    server.say(1, framed(b"b"), end=True)
    client.sync()
    assert (server.body(1), client.body(sid)) == (framed(b"a"), framed(b"b"))
    assert injected(on) == 0


async def test_an_upstream_of_http1_may_carry_a_call_too() -> None:
    on = stage("after_messages: 1, status: UNAVAILABLE")
    on.upstream.protocol = HTTP1
    client = on.peer()
    sid = client.call(b"x")
    upstream = await on.connected()
    client.sync()
    upstream.gives(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ncontent-length: 12\r\n\r\n"
        + framed(b"a", b"b")
    )
    assert client.sync().body(sid) == framed(b"a")
    assert client.fields(sid)["grpc-status"] == "14"
