"""Bodies that pass at a rate: what waits, what is read meanwhile, what a change of rules does to it."""

import pytest

from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import GRPC_OK, Http2Stage, message

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n"
POST_CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UPGRADE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
BODY = bytes(range(250)) * 4

SLOW = "throttle: {rate: 1000B/s}"
UP = "throttle: {rate: 1000B/s, direction: request}"
BOTH = "throttle: {rate: 1000B/s, direction: both}"


def rules(*faults: str, name: str = "r", more: str = "") -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


def injected(stage: Stage, name: str = "r") -> list[int]:
    return stage.snapshot.by_name[name].state.injected


def chunks(data: bytes) -> bytes:
    """Give the content of a whole chunked body."""
    found = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        if size == 0:
            return found
        found += data[:size]
        assert data[size : size + 2] == b"\r\n"
        data = data[size + 2 :]


async def answered(stage: Stage, data: bytes) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(data)
    return client, upstream


def body_of(data: bytes) -> bytes:
    return data.partition(b"\r\n\r\n")[2]


async def test_an_answer_passes_at_its_rate_and_keeps_its_length() -> None:
    stage = Stage(rules(SLOW))
    client, upstream = await answered(stage, LONG + BODY)
    got = client.taken()
    assert b"content-length: 1000" in got
    assert b"x-misrule: rule=r; fault=throttle; at=response_body; version=1" in got
    body = body_of(got)
    for elapsed in range(1, 11):
        stage.timers.advance(0.1)
        body += client.taken()
        assert len(body) == elapsed * 100
    assert body == BODY
    assert (stage.timers.armed, stage.worker.cells.waiting, stage.worker.waiting) == (0, 0, {})
    assert (client.closing, upstream.closing, upstream.paused) == (False, False, False)
    assert injected(stage) == [1]
    (access,) = stage.logged("access")
    assert (access["outcome"], access["bytes_out"]) == ("injected", 1000)
    cells = stage.worker.cells.route("web", "app")
    assert cells.injected_gross.total == pytest.approx(1.0)
    assert cells.injected_net.total == pytest.approx(0.0)
    client.gives(GET)  # the connections serve on
    assert upstream.taken().count(b"GET / ") == 2


async def test_pieces_are_small() -> None:
    stage = Stage(rules(SLOW))
    client, _ = await answered(stage, LONG + BODY)
    client.taken()
    stage.timers.advance(1)
    assert {len(piece) for piece in client.written} == {20}


async def test_chunks_are_framed_anew_and_trailers_pass() -> None:
    stage = Stage(rules(SLOW))
    client, _ = await answered(stage, CHUNKED + b"3e8\r\n" + BODY + b"\r\n0\r\nx-end: 1\r\n\r\n")
    stage.timers.advance(0.5)
    got = client.taken()
    assert not got.endswith(b"0\r\n\r\n")
    stage.timers.advance(0.5)
    got += client.taken()
    assert got.endswith(b"0\r\nx-end: 1\r\n\r\n")
    assert chunks(body_of(got)) == BODY


async def test_no_more_is_read_than_one_read_brought() -> None:
    stage = Stage(rules("throttle: 100B/s"))
    client, upstream = await answered(stage, LONG + BODY[:500])
    paused = [upstream.paused]
    for seconds in (4.9, 0.2):
        stage.timers.advance(seconds)
        paused.append(upstream.paused)
    upstream.gives(BODY[500:])
    assert [*paused, upstream.paused] == [True, True, False, True]
    stage.timers.advance(5)
    assert body_of(client.taken()) == BODY


async def test_an_upload_passes_at_its_rate() -> None:
    stage = Stage(rules(UP))
    client = stage.client()
    client.gives(POST + BODY)
    upstream = await stage.connected()
    head, _, body = upstream.taken().partition(b"\r\n\r\n")
    assert b"content-length: 1000" in head
    paused = [client.paused]
    for elapsed in range(1, 11):
        stage.timers.advance(0.1)
        body += upstream.taken()
        assert len(body) == elapsed * 100
    assert body == BODY
    assert [*paused, client.paused] == [True, False]
    upstream.gives(b"HTTP/1.1 204 No\r\n\r\n")
    got = client.taken()
    assert b"x-misrule: rule=r; fault=throttle; ms=" in got
    client.gives(GET)
    assert upstream.taken().startswith(b"GET / ")


async def test_an_upload_in_chunks() -> None:
    stage = Stage(rules(UP))
    client = stage.client()
    client.gives(POST_CHUNKED + b"3e8\r\n" + BODY + b"\r\n0\r\n\r\n")
    upstream = await stage.connected()
    stage.timers.advance(1.0)
    head, _, body = upstream.taken().partition(b"\r\n\r\n")
    assert b"chunked" in head
    assert chunks(body) == BODY


async def test_both_directions_each_for_itself() -> None:
    stage = Stage(rules(BOTH))
    client = stage.client()
    client.gives(POST + BODY)
    upstream = await stage.connected()
    stage.timers.advance(1.0)
    assert body_of(upstream.taken()) == BODY
    upstream.gives(LONG + BODY)
    stage.timers.advance(0.5)
    assert len(body_of(client.taken())) == 500
    stage.timers.advance(0.5)
    assert client.taken() == BODY[500:]
    assert injected(stage) == [1]


async def test_exchanges_of_a_rule_share_its_rate() -> None:
    stage = Stage(rules("throttle: {rate: 1000B/s, scope: rule}"))
    one, first = await answered(stage, LONG[:0])
    other = stage.client()
    other.gives(GET)
    second = await stage.connected(1)
    first.gives(LONG + BODY)
    second.gives(LONG + BODY)
    for client in (one, other):
        client.written = [body_of(client.taken())]
    stage.timers.advance(1.0)
    sizes = [len(one.taken()), len(other.taken())]
    assert sum(sizes) == 1000
    assert max(sizes) - min(sizes) <= 20  # in turns
    stage.timers.advance(1.0)
    assert len(one.taken()) + len(other.taken()) == 1000


async def test_a_thousand_bodies_wait_by_one_timer_and_keep_their_rate() -> None:
    count = 1000
    stage = Stage(rules("throttle: 500B/s"), max_connections=count)
    clients = []
    for number in range(count):
        client = stage.client()
        client.gives(GET)
        (await stage.connected(number)).gives(LONG + BODY)
        client.taken()
        clients.append(client)
    assert (stage.timers.armed, stage.worker.cells.waiting) == (1, count)
    stage.timers.advance(1.0)
    sizes = [len(client.taken()) for client in clients]
    assert all(400 <= size <= 500 for size in sizes)  # in pieces of what 100 ms are worth
    stage.timers.advance(1.1)
    assert [size + len(client.taken()) for size, client in zip(sizes, clients, strict=True)] == [1000] * count
    assert (stage.timers.armed, stage.worker.cells.waiting) == (0, 0)


async def test_a_rule_that_goes_lets_go_at_once() -> None:
    stage = Stage(rules(SLOW))
    client, upstream = await answered(stage, LONG + BODY[:900])
    stage.timers.advance(0.1)
    stage.change_rules("")
    assert body_of(client.taken()) == BODY[:900]
    assert (stage.timers.armed, upstream.paused) == (0, False)
    upstream.gives(BODY[900:])
    assert client.taken() == BODY[900:]


async def test_the_red_button_lets_go_and_what_comes_after_it_waits_again() -> None:
    stage = Stage(rules(SLOW))
    client, upstream = await answered(stage, LONG + BODY[:400])
    stage.worker.install(stage.snapshot, True)
    assert body_of(client.taken()) == BODY[:400]
    upstream.gives(BODY[400:600])
    assert client.taken() == BODY[400:600]
    stage.worker.install(stage.snapshot, False)
    upstream.gives(BODY[600:])
    assert client.taken() == b""
    stage.timers.advance(0.42)  # the piece that waited had its time reserved
    assert client.taken() == BODY[600:]


@pytest.mark.parametrize("who", ["client", "upstream"])
async def test_an_end_in_the_middle_leaves_nothing_behind(who: str) -> None:
    stage = Stage(rules(SLOW))
    client, upstream = await answered(stage, LONG + BODY[:500])
    stage.timers.advance(0.1)
    if who == "client":
        client.lost()
    else:
        upstream.lost()
        stage.timers.advance(1.0)
        assert body_of(client.taken()) == BODY[:500]  # all that had come arrives before the end
        assert client.ended
    assert (stage.timers.armed, stage.worker.waiting, stage.worker.cells.waiting) == (0, {}, 0)
    assert stage.snapshot.by_name["r"].state.active == 0


async def test_injected_time_runs_no_time_out_of_ours() -> None:
    stage = Stage(rules("throttle: 1B/s"))
    client, _ = await answered(stage, LONG + BODY)
    stage.sweep(400)
    assert len(body_of(client.taken())) == 400
    assert not client.closing


async def test_a_client_that_went_away_is_noticed() -> None:
    stage = Stage(rules(UP))
    client = stage.client()
    client.gives(POST + BODY)
    await stage.connected()
    assert client.protocol.ex.holding  # what sweep looks at, see ClientConnection.sweep


async def test_a_reset_behind_so_many_bytes_comes_behind_them() -> None:
    stage = Stage(rules(SLOW, "reset: {after_bytes: 500B}"))
    client, _ = await answered(stage, LONG + BODY)
    stage.timers.advance(0.49)
    assert not client.aborted
    stage.timers.advance(0.1)
    assert body_of(client.taken()) == BODY[:500]
    assert client.aborted


async def test_it_is_a_row_of_two_where_two_rules_say_so() -> None:
    stage = Stage(rules(SLOW) + rules("throttle: 500B/s", name="s"))
    client, _ = await answered(stage, LONG + BODY)
    stage.timers.advance(1.0)
    assert 480 <= len(body_of(client.taken())) <= 500
    stage.timers.advance(1.1)
    assert client.taken().endswith(BODY[-10:])
    assert (injected(stage), injected(stage, "s")) == ([1], [1])


# --- drip and loss, which differ by their gates alone


async def test_drops() -> None:
    stage = Stage(rules("drip: {bytes: 100, every: 10ms}"))
    client, upstream = await answered(stage, LONG + BODY)
    assert body_of(client.taken()) == BODY[:100]
    paused = [upstream.paused]
    stage.timers.advance(0.085)
    assert client.written == [BODY[at : at + 100] for at in range(100, 900, 100)]
    stage.timers.advance(0.005)
    assert client.taken() == BODY[100:]
    assert [*paused, upstream.paused] == [True, False]
    assert injected(stage) == [1]


async def test_a_body_of_one_drop_is_not_concerned() -> None:
    stage = Stage(rules("drip: {bytes: 1000, every: 10ms}"))
    client, _ = await answered(stage, LONG + BODY)
    assert body_of(client.taken()) == BODY
    assert injected(stage) == [0]


async def test_the_same_segments_are_lost_with_the_same_seed() -> None:
    whole = bytes(200_000)
    seen = []
    for seed in (1, 1, 2):
        stage = Stage(rules("loss: {percent: 10}", more=f"sample: {{seed: {seed}}},"))
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n"
        client, _ = await answered(stage, head + whole)
        sizes = [len(body_of(client.taken()))]
        for _ in range(200):
            stage.timers.advance(0.1)
            sizes.append(len(client.taken()))
        assert sum(sizes) == 200_000
        assert injected(stage) == [1]
        stalls = [size for size in sizes if size]
        assert all(size % 1460 == 0 for size in stalls[:-1])  # it stalls between segments
        assert 5 < len(stalls) < 30
        seen.append(sizes)
    assert seen[0] == seen[1] != seen[2]


async def test_where_nothing_is_lost_nothing_is_counted() -> None:
    stage = Stage(rules("loss: 0"))
    client, _ = await answered(stage, LONG + BODY)
    assert body_of(client.taken()) == BODY
    assert injected(stage) == [0]
    assert stage.timers.armed == 0


# --- HTTP/2


async def test_a_stream_passes_at_its_rate_and_its_window_is_withheld() -> None:
    stage = Http2Stage(rules("throttle: 10KB/s"))
    client = stage.peer()
    sid = client.ask()
    server = await stage.both(client)
    server.head(1, [(":status", "200"), ("content-length", "200000")])
    sent = 0
    while window := min(server.h2.local_flow_control_window(1), 16384, 200_000 - sent):
        server.say(1, bytes(window))
        sent += window
    assert sent <= 131_072 + 16_384  # our window, and what was passed on already
    other = client.ask("/other")  # on the same connections
    assert 3 in server.sync().requests()
    server.head(3, [(":status", "204")], end=True)
    client.sync()
    assert client.ended(other)
    stage.timers.advance(5.0)
    assert 49_800 <= len(client.sync().body(sid)) <= 50_000  # in whole pieces
    server.sync()
    while sent < 200_000:
        size = min(server.sync().h2.local_flow_control_window(1), 16384, 200_000 - sent)
        if size:
            server.say(1, bytes(size), end=sent + size == 200_000)
            sent += size
        stage.timers.advance(0.5)
        client.sync()
    for _ in range(30):
        stage.timers.advance(0.5)
        client.sync()
    assert (len(client.body(sid)), client.ended(sid)) == (200_000, True)


async def test_a_call_that_is_open_meets_a_new_rule() -> None:
    stage = Http2Stage()
    client = stage.peer()
    sid = client.call(b"x", end=False)
    server = await stage.both(client)
    server.head(1, GRPC_OK)
    server.say(1, message(b"fast"))
    assert client.sync().body(sid) == message(b"fast")
    stage.change_rules(rules("throttle: {rate: 100B/s, direction: both, on: open}"))
    server.say(1, message(bytes(95)))
    client.say(sid, message(bytes(195)))
    stage.timers.advance(0.5)
    assert len(client.sync().body(sid)) == 9 + 50
    assert len(server.sync().body(1)) == 6 + 50
    server.done(1, 0)
    assert not client.sync().ended(sid)
    stage.timers.advance(0.5)
    assert client.sync().ended(sid)
    assert client.fields(sid)["grpc-status"] == "0"
    assert injected(stage) == [1]
    assert stage.snapshot.by_name["r"].state.active == 0


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_answer_under_way_meets_a_new_rule(framing: str) -> None:
    """Chunks that pass as they came go on so."""
    stage = Stage()
    whole = LONG + BODY if framing == "length" else CHUNKED + b"3e8\r\n" + BODY + b"\r\n0\r\n\r\n"
    cut = whole.index(BODY) + 100
    client, upstream = await answered(stage, whole[:cut])
    stage.change_rules(rules("throttle: {rate: 1000B/s, on: open}"))
    got = client.taken()
    assert got == whole[:cut]
    upstream.gives(whole[cut:])
    stage.timers.advance(0.5)
    got += client.taken()
    assert got == whole[: cut + 500]
    stage.timers.advance(0.5)
    assert got + client.taken() == whole
    assert not stage.worker.waiting
    assert injected(stage) == [1]


async def test_a_request_that_waits_for_its_upstream_meets_a_new_rule() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(POST_CHUNKED + b"3e8\r\n" + BODY + b"\r\n0\r\n\r\n")
    stage.change_rules(rules("throttle: {rate: 1000B/s, direction: request, on: open}"))
    upstream = await stage.connected()
    stage.timers.advance(0.5)
    got = upstream.taken()
    stage.timers.advance(0.6)
    assert chunks(body_of(got + upstream.taken())) == BODY


async def test_an_idle_connection_is_not_concerned() -> None:
    stage = Stage()
    client, upstream = await answered(stage, LONG + BODY)
    stage.change_rules(rules("throttle: {rate: 1000B/s, on: open}"))
    assert injected(stage) == [0]
    client.gives(GET)
    upstream.gives(LONG + BODY)
    assert client.taken().endswith(BODY)  # a connection that was open before is not concerned any more
    assert stage.snapshot.by_name["r"].state.active == 0


# --- tunnels


async def opened(stage: Stage) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH)
    client.taken()
    upstream.taken()
    return client, upstream


async def test_a_tunnel_passes_at_its_rate_both_ways() -> None:
    stage = Stage(rules(BOTH))
    client, upstream = await opened(stage)
    client.gives(BODY)
    upstream.gives(BODY)
    assert (client.paused, upstream.paused) == (True, True)
    stage.timers.advance(0.3)
    assert (len(client.taken()), len(upstream.taken())) == (300, 300)
    stage.timers.advance(0.7)
    assert (client.taken(), upstream.taken()) == (BODY[300:], BODY[300:])
    assert (client.paused, upstream.paused, stage.timers.armed) == (False, False, 0)


async def test_a_fin_waits_for_what_came_before_it() -> None:
    stage = Stage(rules(SLOW))
    client, upstream = await opened(stage)
    upstream.gives(BODY)
    upstream.ends()
    stage.timers.advance(0.9)
    assert not client.ended
    stage.timers.advance(0.1)
    assert (client.taken(), client.ended) == (BODY, True)


async def test_a_tunnel_that_is_open_meets_a_new_rule_and_is_let_go() -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    upstream.gives(b"fast")
    assert client.taken() == b"fast"
    stage.change_rules(rules(SLOW))
    upstream.gives(BODY)
    stage.timers.advance(0.1)
    assert len(client.taken()) == 100
    stage.change_rules("")
    assert client.taken() == BODY[100:]
    assert (upstream.paused, stage.timers.armed) == (False, 0)


async def test_a_change_of_another_rule_leaves_it_as_it_is() -> None:
    stage = Stage(rules(SLOW, more="sample: {max_active: 1},"))
    client, upstream = await opened(stage)
    upstream.gives(BODY)
    stage.timers.advance(0.1)
    assert len(client.taken()) == 100
    for name in ("other", "third"):
        stage.change_rules(rules(SLOW, more="sample: {max_active: 1},") + rules("delay: 1ms", name=name))
        state = stage.snapshot.by_name["r"].state
        assert (state.active, state.injected) == (1, [1])  # it holds its place
        stage.timers.advance(0.1)
        assert len(client.taken()) == 100
    client.lost()
    upstream.lost()
    assert stage.snapshot.by_name["r"].state.active == 0


async def test_a_rule_that_changes_its_rate_does_so_at_once_and_loses_nothing() -> None:
    stage = Stage(rules(SLOW))
    client, upstream = await opened(stage)
    upstream.gives(BODY)
    stage.timers.advance(0.1)
    stage.change_rules(rules("throttle: {rate: 500B/s}"))
    got = client.taken()
    assert got == BODY  # what waited passes
    upstream.gives(BODY)
    stage.timers.advance(1.0)
    assert len(client.taken()) == 500
    stage.timers.advance(1.0)
    assert client.taken() == BODY[500:]
    assert stage.snapshot.by_name["r"].state.active == 1


async def test_an_end_behind_so_many_bytes_of_a_tunnel_comes_behind_them() -> None:
    stage = Stage(rules(SLOW, "truncate: 500B"))
    client, upstream = await opened(stage)
    upstream.gives(BODY)
    stage.timers.advance(0.4)
    assert (len(client.taken()), client.ended) == (400, False)
    stage.timers.advance(0.2)
    assert (client.taken(), client.ended) == (BODY[400:500], True)
