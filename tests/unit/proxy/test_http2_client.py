"""A client's HTTP/2 connection: what it may leave unread, and what counts as its fault."""

from typing import Any

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    RstStreamFrame,
    WindowUpdateFrame,
)

from proxy.http2.body import StreamBody
from proxy.wire.h1 import BODY
from tests.support.h2_stage import Http2Stage, Peer

OK = [(":status", "200")]


def stage(fault: str = "", match: str = "{}", **options: Any) -> Http2Stage:
    return Http2Stage(f"  - {{name: r, match: {match}, faults: [{fault}]}}" if fault else "", **options)


def sweep(on: Http2Stage, seconds: float) -> None:
    """Let time pass, with a sweep now and then."""
    on.worker.sweep()
    for _ in range(4):
        on.timers.advance(seconds / 4)
        on.worker.sweep()


async def unread(on: Http2Stage, size: int, end: bool) -> tuple[Peer, Peer, int]:
    """A client asks for so much and takes nothing of it beyond its window."""
    client = on.peer(credit=False)
    sid = client.ask()
    server = await on.both(client)
    asked = server.requests()[-1]
    server.head(asked, OK)
    for at in range(0, size, 14000):
        if server.h2.local_flow_control_window(asked) >= 14000:
            server.say(asked, bytes(14000), end and at + 14000 >= size)
        client.sync()
        server.sync()
    return client, server, sid


async def test_an_answer_that_nobody_takes_ends_at_the_idle_timeout() -> None:
    on = stage()
    client, server, sid = await unread(on, 1 << 20, False)
    sweep(on, 290.0)
    assert client.sync().reset(sid) is None
    sweep(on, 100.0)
    assert client.sync().reset(sid) == 2
    assert server.sync().reset(server.requests()[0]) == 8
    assert on.upstream.cells.failures == {"client_idle": 1}
    sweep(on, 400.0)
    assert client.transport.ended


async def test_so_does_one_that_is_complete() -> None:
    on = stage()
    client, _, sid = await unread(on, 70000, True)
    assert on.worker.cells.route("web", "app").statuses[200] == 1
    sweep(on, 500.0)
    assert client.sync().reset(sid) == 8
    assert on.worker.cells.listeners[0].failures == {"client_idle": 1}


async def test_an_answer_that_is_taken_bit_by_bit_does_not() -> None:
    on = stage()
    client, _, sid = await unread(on, 1 << 20, False)
    for _ in range(5):
        sweep(on, 200.0)
        client.h2.increment_flow_control_window(100)
        client.h2.increment_flow_control_window(100, sid)
        client.sync()
    assert client.reset(sid) is None


@pytest.mark.parametrize("whole", [1, 13])
async def test_a_head_that_comes_too_slowly_ends_the_connection(whole: int) -> None:
    """A frame of it in bits, or a block of frames without an end; head_timeout is 10 s."""
    on = stage()
    client = on.peer()
    begun = HeadersFrame(1, b"\x82\x86\x84\x41\x01a")
    begun.flags.add("END_STREAM")
    data = begun.serialize() + ContinuationFrame(1, b"").serialize() * 20
    at = len(begun.serialize()) if whole > 1 else 0
    client.transport.gives(data[:at])
    for _ in range(10):
        client.transport.gives(data[at : at + whole])
        at += whole
        on.timers.advance(1.0)
        on.worker.sweep()
    assert not client.sync().goaways()
    on.timers.advance(0.5)
    on.worker.sweep()
    assert [code for _, code, _ in client.sync().goaways()] == [11]
    assert on.worker.cells.listeners[0].failures == {"head_timeout": 1}
    assert client.transport.ended


async def test_heads_that_come_in_part_now_and_then_do_not() -> None:
    """Each begins anew, also where every read ends within one."""
    on = stage()
    client = on.peer()
    data = b""
    for place in range(40):
        head = HeadersFrame(2 * place + 1, b"\x82\x86\x84\x41\x01a")
        head.flags |= {"END_HEADERS", "END_STREAM"}
        data += head.serialize()
    size = len(data) // 40
    client.transport.gives(data[:5])
    for place in range(39):
        client.transport.gives(data[place * size + 5 : (place + 1) * size + 5])
        on.timers.advance(1.0)
        on.worker.sweep()
    assert not client.sync().goaways()
    assert on.worker.cells.listeners[0].failures == {}


def is_read(client: Peer) -> bool:
    return not client.transport.paused


async def test_heads_that_nobody_reads_stop_the_reading() -> None:
    """No window holds back a head: who asks and does not read is not read either."""
    on = stage("abort: {status: 503, headers: {x: %s}}" % ("y" * 1000))
    client = on.peer()
    client.transport.protocol.pause_writing()
    for _ in range(60):
        client.ask()
    assert is_read(client)
    for _ in range(20):
        client.ask()
    assert not is_read(client)
    client.transport.protocol.resume_writing()
    assert is_read(client)
    assert len([sid for sid in range(1, 160, 2) if client.sync().ended(sid)]) == 80


def cancelled(client: Peer, times: int) -> None:
    """Ask and cancel, each at once."""
    for _ in range(times):
        sid = client.ask()
        if not client.ended(sid):
            client.h2.reset_stream(sid, 8)
            client.sync()


async def test_cancelling_what_a_rule_delays_is_no_abuse() -> None:
    on = stage("delay: 5s")
    client = on.peer()
    cancelled(client, 500)
    assert not client.goaways()
    assert on.worker.cells.waiting == 0


async def test_cancelling_beside_a_rule_that_does_nothing_is() -> None:
    """A shadow rule, or one that waits for an answer of another kind, protects nobody."""
    on = Http2Stage(
        "  - {name: r, mode: shadow, match: {}, faults: [delay: 5s]}\n"
        "  - {name: s, match: {response: {status: 500}}, faults: [{delay: {fixed: 5s, at: response_head}}]}"
    )
    client = on.peer()
    cancelled(client, 101)
    assert [code for _, code, _ in client.goaways()] == [11]
    assert on.worker.cells.listeners[0].failures["rapid_reset"] == 1


async def test_cancelling_what_waited_with_its_connection_is_no_abuse() -> None:
    on = stage("{delay: {fixed: 5s, at: accept}}")
    client = on.peer()
    head = HeadersFrame(1, b"\x82\x86\x84\x41\x01a")
    head.flags |= {"END_HEADERS", "END_STREAM"}
    frames = []
    for place in range(300):
        head.stream_id = 2 * place + 1
        frames.append(head.serialize() + RstStreamFrame(2 * place + 1, 8).serialize())
    client.transport.gives(b"".join(frames))
    on.timers.advance(5.0)
    assert not client.sync().goaways()
    assert on.worker.cells.listeners[0].failures == {"client_closed": 300}
    on.worker.sweep()
    cancelled_raw = []
    for place in range(300, 401):
        head.stream_id = 2 * place + 1
        cancelled_raw.append(head.serialize() + RstStreamFrame(2 * place + 1, 8).serialize())
    client.transport.gives(b"".join(cancelled_raw))
    assert [code for _, code, _ in client.sync().goaways()] == [11]


def test_small_pieces_of_a_body_are_joined_as_they_wait() -> None:
    body = StreamBody()
    for place in range(4000):
        body.put(b"%04d" % place)
    assert body.waiting is not None
    assert len(body.waiting) <= 17
    found = b""
    while body.next() == BODY:
        found += body.piece
    assert found == b"".join(b"%04d" % place for place in range(4000))


TRAILERS = b"\0\1x\0011" * 101


@pytest.mark.parametrize(
    ("frame", "flags", "payload", "kind"),
    [
        (HeadersFrame, 5, TRAILERS, "too_many_trailers"),
        (DataFrame, 0, b"12345", "length_mismatch"),
        (WindowUpdateFrame, 0, bytes(4), "zero_increment"),
    ],
)
async def test_what_a_client_does_wrong_in_the_middle_is_told_by_its_name(
    frame: type[Frame], flags: int, payload: bytes, kind: str
) -> None:
    on = Http2Stage()
    client = on.peer()
    client.ask("/", ("content-length", "4"), end=False)
    await on.both(client)
    head = len(payload).to_bytes(3, "big") + bytes([frame.type or 0, flags]) + (1).to_bytes(4, "big")
    client.transport.gives(head + payload)
    assert on.listener.cells.failures == {kind: 1}
    (line,) = on.logged("access")
    assert (line["outcome"], line["status"]) == (kind, 0)
