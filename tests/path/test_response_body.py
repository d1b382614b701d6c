"""Phase response_body: the answer flows, whole or visibly broken; faults act at exact places in it."""

import pytest
from h2.events import TrailersReceived

from tests.support.fakes import FakeTransport, Stage
from tests.support.framing import content
from tests.support.h2_stage import GRPC_OK, Fields, Http2Stage

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OLD_GET = b"GET / HTTP/1.0\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_an_answer_and_its_first_piece_leave_in_one_write() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(LONG + b"01234")
    assert client.written == [LONG + b"01234"]
    upstream.gives(b"56789")
    assert client.taken() == LONG + b"0123456789"


async def test_a_body_until_close_is_chunked_for_http11_so_that_its_end_is_seen() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 200 OK\r\n\r\nabc")
    upstream.ends()
    assert client.taken() == CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"
    assert not client.closing


async def test_a_chunked_body_is_unwrapped_for_http10() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(OLD_GET)
    upstream = await stage.connected()
    upstream.gives(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    head, _, body = client.taken().partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"abcde"
    assert client.closing or client.ended


@pytest.mark.parametrize(
    ("asked", "status"), [(b"HEAD / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", b"200"), (OLD_GET, b"304")]
)
async def test_http10_hears_of_no_chunks_where_there_is_no_body_either(asked: bytes, status: bytes) -> None:
    stage = Stage()
    client = stage.client()
    client.gives(asked)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 %b OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n" % status)
    assert client.taken() == b"HTTP/1.1 %b OK\r\nx: y\r\nconnection: close\r\n\r\n" % status
    assert client.closing or client.ended


async def test_the_length_of_what_http10_asked_about_stays() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"HEAD / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
    upstream = await stage.connected()
    upstream.gives(LONG)
    assert client.taken() == LONG[:-2] + b"connection: keep-alive\r\n\r\n"
    assert not client.closing


async def test_a_broken_answer_ends_the_client_before_its_end() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(LONG + b"012")
    upstream.lost(ConnectionResetError())
    assert client.taken() == LONG + b"012"
    assert client.ended
    assert stage.upstream.cells.failures == {"upstream_truncated": 1}


async def test_a_broken_answer_to_http10_is_reset_because_fin_would_be_its_regular_end() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(OLD_GET)
    upstream = await stage.connected()
    upstream.gives(CHUNKED + b"3\r\nabc\r\n")
    upstream.lost(ConnectionResetError())
    stage.timers.advance(0.02)
    assert client.aborted


async def reset_behind_abc(stage: Stage, asked: bytes) -> FakeTransport:
    """Let an upstream reset in the middle of an answer without length; gives who asked."""
    client = stage.client()
    client.gives(asked)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 200 OK\r\n\r\nabc")
    upstream.lost(ConnectionResetError())
    return client


@pytest.mark.parametrize(("asked", "aborts"), [(GET, False), (OLD_GET, True)])
async def test_a_reset_is_no_end_of_a_body_until_close(asked: bytes, aborts: bool) -> None:
    stage = Stage()
    client = await reset_behind_abc(stage, asked)
    stage.timers.advance(0.02)
    assert b"abc" in client.taken()
    assert (client.aborted, client.ended) == (aborts, not aborts)
    assert not any(piece.endswith(b"0\r\n\r\n") for piece in client.written)
    assert stage.upstream.cells.failures == {"upstream_truncated": 1}


async def test_nor_is_it_one_that_comes_while_a_fault_holds_the_body() -> None:
    stage = Stage("  - {name: r, faults: [{delay: {fixed: 1s, at: response_body}}]}")
    client = await reset_behind_abc(stage, GET)
    stage.timers.advance(1.5)
    assert client.taken().endswith(b"3\r\nabc\r\n")
    assert client.ended
    assert stage.upstream.cells.failures == {"upstream_truncated": 1}


@pytest.mark.parametrize(
    ("body", "status", "whole"),
    [(b"1234", b"200", True), (b"123456789", b"413", True), (b"123456789", b"200", False)],
)
async def test_an_upstream_that_resets_what_it_did_not_read_has_answered(
    body: bytes, status: bytes, whole: bool
) -> None:
    """So servers end an early answer: the request still comes, or all of it has left and was refused."""
    stage = Stage()
    client = stage.client()
    client.gives(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
    upstream = await stage.connected()
    client.gives(body)
    upstream.gives(b"HTTP/1.1 %b Well\r\n\r\nabc" % status)
    upstream.lost(ConnectionResetError())
    assert client.taken().endswith(b"3\r\nabc\r\n" + (b"0\r\n\r\n" if whole else b""))
    assert stage.upstream.cells.failures == ({} if whole else {"upstream_truncated": 1})


async def test_an_early_answer_arrives_while_the_request_still_comes() -> None:
    stage = Stage(drain_bytes=100)
    client = stage.client()
    client.gives(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 50\r\n\r\n0123456789")
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 413 ")
    assert upstream.closing  # half a request stands there
    client.gives(b"x" * 40 + GET)  # the rest is thrown away, the next request is served
    assert (await stage.connected(1)).taken().startswith(b"GET / ")


async def test_more_than_may_be_drained_ends_in_a_lingering_close() -> None:
    stage = Stage(drain_bytes=100)
    client = stage.client()
    client.gives(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5000\r\n\r\n")
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
    client.gives(b"x" * 200)
    assert client.ended
    assert not client.closing
    client.gives(b"x" * 1000)
    stage.sweep(31)
    assert client.aborted


async def test_a_slow_reader_pauses_the_upstream_and_nobody_else() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(LONG)
    client.protocol.pause_writing()
    assert (client.paused, upstream.paused) == (False, True)
    client.protocol.resume_writing()
    assert (client.paused, upstream.paused) == (False, False)


async def test_a_slow_upstream_pauses_the_client_and_nobody_else() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.protocol.pause_writing()
    assert (client.paused, upstream.paused) == (True, False)
    upstream.protocol.resume_writing()
    assert (client.paused, upstream.paused) == (False, False)


async def test_a_kept_connection_is_never_left_paused() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(LONG)
    client.protocol.pause_writing()
    assert (upstream.paused, upstream.closing) == (True, False)
    upstream.gives(b"0123456789")
    assert (upstream.paused, upstream.closing) == (False, False)


async def test_interim_answers_pass_and_101_without_an_upgrade_does_not() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 103 ")
    upstream.gives(b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 502 ")


async def test_a_reset_after_bytes_lets_exactly_so_many_pass() -> None:
    stage = Stage("  - {name: r, faults: [{reset: {at: response_body, after_bytes: 4B}}]}")
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(LONG + b"0123456789")
    head, _, body = client.taken().partition(b"\r\n\r\n")
    assert b"x-misrule: rule=r; fault=reset; at=response_body; version=1" in head
    assert body == b"0123"
    assert (client.aborted, client.closing) == (False, False)  # it is given the time to read what arrived
    stage.timers.advance(0.02)
    assert (client.aborted, client.closing) == (True, True)
    assert stage.snapshot.by_name["r"].state.injected == [1]


async def test_a_fault_of_the_body_that_never_comes_to_act_is_not_counted() -> None:
    stage = Stage(
        "  - {name: r, sample: {first: 1}, faults: [{reset: {at: response_body, after_bytes: 1KiB}}]}"
    )
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(LONG + b"0123456789")
    assert client.taken().endswith(b"0123456789")
    assert stage.snapshot.by_name["r"].state.injected == [0]
    assert stage.logged("injection") == []


# --- faults, in each framing that an upstream may choose and that a client may get

TEN = {
    "length": (GET, LONG + b"0123456789"),
    "chunks": (GET, CHUNKED + b"3\r\n012\r\n5;ext=1\r\n34567\r\n2\r\n89\r\n0\r\nt: v\r\n\r\n"),
    "until close": (GET, b"HTTP/1.1 200 OK\r\n\r\n0123456789"),
    "old client": (OLD_GET, CHUNKED + b"3\r\n012\r\n7\r\n3456789\r\n0\r\n\r\n"),
}
each_framing = pytest.mark.parametrize("framing", list(TEN))


def at(fault: str, after: int, more: str = "") -> str:
    return f"{fault}: {{at: response_body, after_bytes: {after}B{more}}}"


def rule(*faults: str, more: str = "") -> str:
    return f"  - {{name: r, {more} faults: [{', '.join(faults)}]}}\n"


async def answering(stage: Stage, framing: str, split: int = 1000) -> tuple[FakeTransport, FakeTransport]:
    """Ask, and answer in pieces as far as they are taken."""
    request, answer = TEN[framing]
    client = stage.client()
    client.gives(request)
    upstream = await stage.connected()
    for place in range(0, len(answer), split):
        if not (upstream.closing or upstream.paused):
            upstream.gives(answer[place : place + split])
    return client, upstream


@each_framing
@pytest.mark.parametrize("split", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("after", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("fault", ["reset", "close", "stall"])
async def test_exactly_so_many_bytes_reach_the_client(
    framing: str, split: int, after: int, fault: str
) -> None:
    stage = Stage(rule(at(fault, after)))
    client, upstream = await answering(stage, framing, split)
    assert content(client.taken()) == b"0123456789"[:after]
    stage.timers.advance(0.1)
    assert stage.snapshot.by_name["r"].state.injected == [1]
    assert client.aborted == (fault == "reset")
    assert client.ended == (fault == "close")
    assert upstream.closing == (fault != "stall")
    assert content(client.taken()) == b""


@each_framing
@pytest.mark.parametrize("after", [10, 11])
async def test_a_place_that_is_not_reached_does_nothing(framing: str, after: int) -> None:
    stage = Stage(rule(at("reset", after), more="sample: {first: 1},"))
    client, upstream = await answering(stage, framing)
    if framing == "until close":
        upstream.ends()
    assert content(client.taken()) == b"0123456789"
    state = stage.snapshot.by_name["r"].state
    assert (state.injected, state.fired, client.aborted) == ([0], 0, False)


@each_framing
async def test_a_delay_holds_the_body_behind_its_head(framing: str) -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: response_body}"))
    client, upstream = await answering(stage, framing)
    before = client.taken()
    assert b"x-misrule: rule=r; fault=delay; at=response_body; version=1\r\n" in before
    assert content(before) == b""
    stage.timers.advance(1)
    if framing == "until close":
        upstream.ends()
    assert content(before + client.taken()) == b"0123456789"
    assert stage.logged("access")[0]["ms_own"] == 0


@each_framing
async def test_an_upstream_that_leaves_while_its_body_is_held_has_answered(framing: str) -> None:
    stage = Stage(rule(at("stall", 4, ", for: 1s")))
    client, upstream = await answering(stage, framing)
    upstream.ends()
    stage.timers.advance(1)
    assert content(client.taken()) == b"0123456789"
    assert stage.upstream.cells.failures == {}


async def test_several_places_in_one_body() -> None:
    stage = Stage(rule(at("stall", 2, ", for: 1s"), at("close", 7), at("stall", 5, ", for: 2s")))
    client, _ = await answering(stage, "length")
    assert content(client.taken()) == b"01"
    stage.timers.advance(1)
    assert client.taken() == b"234"
    stage.timers.advance(1.9)
    assert (client.taken(), client.ended) == (b"", False)
    stage.timers.advance(0.1)
    assert (client.taken(), client.ended) == (b"56", True)
    assert [line["fault"] for line in stage.logged("injection")] == ["stall", "stall", "close"]


@each_framing
@pytest.mark.parametrize(("then", "aborted", "ended"), [("reset", True, False), ("close", False, True)])
async def test_a_stall_and_then(framing: str, then: str, aborted: bool, ended: bool) -> None:
    stage = Stage(rule(at("stall", 4, f", for: 1s, then: {then}")))
    client, upstream = await answering(stage, framing)
    stage.timers.advance(0.9)
    assert (client.aborted, client.ended, upstream.closing) == (False, False, False)
    stage.timers.advance(0.2)
    assert (client.aborted, client.ended, upstream.closing) == (aborted, ended, True)
    assert content(client.taken()) == b"0123"


@each_framing
@pytest.mark.parametrize("fault", ["reset", "close"])
async def test_the_end_of_the_upstreams_leg_cuts_the_answer(framing: str, fault: str) -> None:
    stage = Stage(rule(at(fault, 4, ", side: upstream")))
    client, upstream = await answering(stage, framing)
    stage.timers.advance(0.1)
    assert content(client.taken()) == b"0123"
    assert (upstream.closing, upstream.aborted) == (True, fault == "reset")
    # HTTP/1.0 would take a FIN for the regular end
    assert (client.aborted, client.ended) == (framing == "old client", framing != "old client")
    assert stage.upstream.cells.failures == {}


@pytest.mark.parametrize(
    "empty", [b"content-length: 0\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_without_a_body_there_is_no_fault_of_the_body(empty: bytes) -> None:
    stage = Stage(rule("reset: {at: response_body}"))
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(b"HTTP/1.1 200 OK\r\n" + empty)
    assert client.taken().startswith(b"HTTP/1.1 200 ")
    stage.timers.advance(0.1)
    assert not client.aborted


async def test_the_answer_to_head_has_no_fault_of_the_body() -> None:
    stage = Stage(rule("reset: {at: response_body}"))
    client = stage.client()
    client.gives(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\n")
    (await stage.connected()).gives(LONG)
    stage.timers.advance(0.1)
    assert (client.aborted, stage.upstream.cells.idle) == (False, 1)


async def test_more_than_is_held_stops_the_upstream() -> None:
    stage = Stage(rule(at("stall", 4, ", for: 1s")))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
    upstream.gives(b"x" * 70000)
    assert (upstream.paused, client.paused) == (True, False)
    stage.timers.advance(1)
    assert (upstream.paused, client.paused) == (False, False)
    upstream.gives(b"x" * 30000)
    assert content(client.taken()) == b"x" * 100000


async def test_a_client_that_leaves_while_its_body_is_held() -> None:
    stage = Stage(rule(at("stall", 4), more="sample: {max_active: 1},"))
    client, upstream = await answering(stage, "chunks")
    client.lost(ConnectionResetError())
    assert upstream.closing
    assert (stage.worker.cells.waiting, stage.snapshot.by_name["r"].state.active) == (0, 0)
    (access,) = stage.logged("access")
    assert (access["status"], access["outcome"], access["bytes_out"]) == (200, "client_closed", 4)


@pytest.mark.parametrize("how", ["deleted", "disabled", "stopped"])
async def test_a_held_body_goes_on_when_the_rule_goes(how: str) -> None:
    stall = at("stall", 4)
    stage = Stage(rule(stall, at("reset", 6)))
    client, _ = await answering(stage, "chunks")
    now = {"deleted": "", "disabled": rule(stall, at("reset", 6), more="enabled: false,")}
    stage.change_rules(now.get(how, rule(stall, at("reset", 6))), how == "stopped")
    assert content(client.taken()) == b"0123456789"
    assert not client.aborted


HIDDEN: Fields = [
    ("content-type", "text/html"),
    ("set-cookie", "a=b"),
    ("x-forwarded-for", "::1"),
    ("age", "1"),
]


@pytest.mark.parametrize("again", [False, True])  # the second time the block is remembered
@pytest.mark.parametrize("kept", [[], [("grpc-status", "0"), ("x-sum", "1")]])
async def test_trailers_that_a_recipient_must_not_merge_are_not_passed_on(kept: Fields, again: bool) -> None:
    stage = Http2Stage()
    client = stage.peer()
    for _ in range(1 + again):
        sid = client.ask(end=False)
        server = await stage.both(client)
        there = server.requests()[-1]
        client.head(sid, [*HIDDEN, *kept], end=True)
        server.sync()
        server.head(there, GRPC_OK)
        server.head(there, [*HIDDEN, *kept], end=True)
        client.sync()
        for end, on in ((server, there), (client, sid)):
            assert end.ended(on)
            blocks = [
                [(str(n), str(v)) for n, v in event.headers or []] for event in end.came(TrailersReceived, on)
            ]
            assert blocks == ([kept] if kept else [])
