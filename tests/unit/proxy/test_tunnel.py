"""A tunnel after a switch of protocols: bytes both ways, faults in both, rules that come and go."""

import pytest

from rules.phases import REQUEST_BODY
from tests.support.fakes import FakeTransport, Stage

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
UPGRADE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"

WAYS = ["request_body", "response_body"]


def rule(*faults: str, name: str = "r", more: str = "") -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


async def opened(stage: Stage, number: int = 0) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected(number)
    upstream.gives(SWITCH)
    assert client.taken().startswith(b"HTTP/1.1 101 ")
    upstream.taken()
    return client, upstream


def ends_of(way: str, client: FakeTransport, upstream: FakeTransport) -> tuple[FakeTransport, FakeTransport]:
    """Give where the bytes of a direction come from and where they go."""
    return (client, upstream) if way == "request_body" else (upstream, client)


def state(stage: Stage, name: str = "r") -> list[int]:
    return stage.snapshot.by_name[name].state.injected


# --- without a fault


async def test_bytes_pass_both_ways_and_are_counted() -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    client.gives(b"abc")
    upstream.gives(b"defgh")
    assert (upstream.taken(), client.taken()) == (b"abc", b"defgh")
    assert (stage.listener.cells.upgraded, client.protocol.describe()["state"]) == (1, "tunnel")
    client.lost()
    upstream.lost()
    (access,) = stage.logged("access")
    assert (access["status"], access["bytes_in"], access["bytes_out"], access["outcome"]) == (101, 3, 5, "ok")
    assert (stage.upstream.open, len(stage.worker.connections)) == (0, 0)


async def test_bytes_that_come_along_with_the_heads_are_not_lost() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(UPGRADE + b"early")
    upstream = await stage.connected()
    upstream.taken()
    upstream.gives(SWITCH + b"hello")
    assert upstream.taken() == b"early"
    assert client.taken().endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_a_fin_passes_and_the_other_way_stays_open(first: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    one, other = (client, upstream) if first == "client" else (upstream, client)
    one.ends()
    assert (other.ended, one.closing) == (True, False)
    other.gives(b"still here")
    assert one.taken() == b"still here"
    other.ends()
    assert (client.closing, upstream.closing) == (True, True)
    client.lost()
    upstream.lost()
    assert not stage.worker.connections
    assert stage.logged("access")[0]["outcome"] == "ok"


@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_a_reset_passes(first: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    one, other = (client, upstream) if first == "client" else (upstream, client)
    one.lost(ConnectionResetError())
    stage.timers.advance(0.1)
    assert other.aborted
    assert stage.worker.cells.route("web", "app").active == 0


@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_a_slow_reader_pauses_the_other_side(first: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    one, other = (client, upstream) if first == "client" else (upstream, client)
    one.protocol.pause_writing()
    assert (one.paused, other.paused) == (False, True)
    one.protocol.resume_writing()
    assert (one.paused, other.paused) == (False, False)


@pytest.mark.parametrize("speaker", ["client", "upstream"])
async def test_a_tunnel_in_which_one_side_speaks_is_not_idle(speaker: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    for _ in range(3):
        stage.sweep(200)
        (client if speaker == "client" else upstream).gives(b"x")
    assert not client.aborted


async def test_a_tunnel_in_which_nobody_speaks_ends() -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    stage.sweep(302)
    assert client.aborted
    client.lost()
    stage.timers.advance(0.1)
    assert upstream.closing
    assert not [c for c in stage.worker.connections if c is client.protocol]


async def test_a_bug_ends_one_tunnel_and_is_counted() -> None:
    stage = Stage(rule("stall: {at: request_body, after_bytes: 9B}"))
    client, _ = await opened(stage)
    other, _ = await opened(stage, 1)
    client.protocol.ex.plan.phases[REQUEST_BODY] = [None]  # a plan that cannot be read
    client.gives(b"x")
    assert stage.worker.cells.internal_errors == 1
    assert stage.logged("internal_error")[0]["phase"] == "tunnel"
    stage.timers.advance(0.1)
    assert (client.aborted, other.closing) == (True, False)


# --- faults in either direction


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("split", [1, 2, 3, 4, 5, 10])
@pytest.mark.parametrize("fault", ["reset", "close", "stall"])
async def test_exactly_so_many_bytes_pass_however_they_come(way: str, split: int, fault: str) -> None:
    stage = Stage(rule(f"{fault}: {{at: {way}, after_bytes: 4B}}"))
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    for at in range(0, 10, split):
        if not (source.closing or source.paused):
            source.gives(b"0123456789"[at : at + split])
    assert sink.taken() == b"0123"
    assert state(stage) == [1]
    stage.timers.advance(0.1)
    assert client.aborted == (fault == "reset")
    assert client.ended == (fault == "close")


@pytest.mark.parametrize("way", WAYS)
async def test_no_byte_more_no_fault(way: str) -> None:
    stage = Stage(rule(f"reset: {{at: {way}, after_bytes: 4B}}"))
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"0123")
    source.ends()
    assert (sink.taken(), sink.ended, state(stage)) == (b"0123", True, [0])


@pytest.mark.parametrize("way", WAYS)
async def test_a_delay_holds_one_direction_only(way: str) -> None:
    stage = Stage(rule(f"delay: {{fixed: 1s, at: {way}}}"))
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"ab")
    source.gives(b"cd")
    assert (source.paused, sink.paused) == (True, False)
    sink.gives(b"other")
    assert (sink.taken(), source.taken()) == (b"", b"other")
    stage.timers.advance(1)
    assert sink.taken() == b"abcd"
    assert (source.paused, sink.paused) == (False, False)
    source.gives(b"ef")
    assert sink.taken() == b"ef"


@pytest.mark.parametrize("way", WAYS)
async def test_a_fin_waits_behind_the_bytes_that_are_held(way: str) -> None:
    stage = Stage(rule(f"delay: {{fixed: 1s, at: {way}}}"))
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"ab")
    source.ends()
    assert (sink.taken(), sink.ended) == (b"", False)
    stage.timers.advance(1)
    assert (sink.taken(), sink.ended) == (b"ab", True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("then", "aborted", "ended"), [("continue", False, False), ("reset", True, False), ("close", False, True)]
)
async def test_a_stall_and_then(way: str, then: str, aborted: bool, ended: bool) -> None:
    stage = Stage(rule(f"stall: {{at: {way}, for: 2s, then: {then}}}"))
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"ab")
    stage.timers.advance(1.9)
    assert sink.taken() == b""
    stage.timers.advance(0.2)
    assert (client.aborted, client.ended) == (aborted, ended)
    assert sink.taken() == (b"ab" if then == "continue" else b"")
    assert upstream.closing == (then != "continue")


@pytest.mark.parametrize("way", WAYS)
async def test_several_faults_act_in_the_order_of_their_places(way: str) -> None:
    stage = Stage(
        rule(f"close: {{at: {way}, after_bytes: 6B}}", f"stall: {{at: {way}, after_bytes: 2B, for: 1s}}")
        + rule(f"delay: {{fixed: 2s, at: {way}}}", name="first")
    )
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"0123456789")
    assert sink.taken() == b""
    stage.timers.advance(2)
    assert sink.taken() == b"01"
    stage.timers.advance(1)
    assert sink.taken() == b"2345"
    assert client.ended
    assert [line["fault"] for line in stage.logged("injection")] == ["delay", "stall", "close"]
    (access,) = stage.logged("access")
    assert (access["ms"], access["ms_own"], access["outcome"]) == (3000, 0, "injected")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", ["client", "upstream", "both"])
async def test_a_reset_ends_both_legs_with_a_reset(way: str, side: str) -> None:
    stage = Stage(rule(f"reset: {{at: {way}, side: {side}}}"))
    client, upstream = await opened(stage)
    ends_of(way, client, upstream)[0].gives(b"x")
    stage.timers.advance(0.1)
    assert (client.aborted, upstream.aborted) == (True, True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("side", ["client", "upstream", "both"])
async def test_a_close_ends_both_legs_in_order(way: str, side: str) -> None:
    stage = Stage(rule(f"close: {{at: {way}, side: {side}}}"))
    client, upstream = await opened(stage)
    ends_of(way, client, upstream)[0].gives(b"x")
    stage.timers.advance(0.1)
    assert (client.ended, client.aborted) == (True, False)
    assert (upstream.closing, upstream.aborted) == (True, False)
    client.ends()  # the client's answer to the FIN
    assert client.closing
    upstream.lost()
    assert not stage.worker.connections


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_that_leaves_while_bytes_are_held_ends_the_tunnel(way: str) -> None:
    stage = Stage(rule(f"stall: {{at: {way}}}", more="sample: {max_active: 1},"))
    client, upstream = await opened(stage)
    ends_of(way, client, upstream)[0].gives(b"x")
    assert stage.worker.cells.waiting == 1
    client.lost(ConnectionResetError())
    assert (stage.worker.cells.waiting, stage.snapshot.by_name["r"].state.active) == (0, 0)
    stage.timers.advance(0.1)
    assert upstream.closing


@pytest.mark.parametrize("way", WAYS)
async def test_a_held_tunnel_is_not_idle(way: str) -> None:
    stage = Stage(rule(f"stall: {{at: {way}, for: 10m}}"))
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"x")
    stage.sweep(599)
    assert (client.closing, upstream.closing) == (False, False)
    stage.timers.advance(1)
    assert sink.taken() == b"x"


# --- rules that change


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["deleted", "disabled", "stopped"])
async def test_what_a_rule_holds_goes_on_when_the_rule_goes(way: str, how: str) -> None:
    stall = f"stall: {{at: {way}}}"
    stage = Stage(rule(stall))
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"x")
    now = {"deleted": "", "disabled": rule(stall, more="enabled: false,")}
    stage.change_rules(now.get(how, rule(stall)), how == "stopped")
    assert sink.taken() == b"x"
    source.gives(b"y")
    assert sink.taken() == b"y"
    assert stage.worker.cells.waiting == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_rule_that_comes_acts_at_once(way: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    stage.change_rules(rule(f"reset: {{at: {way}}}"))
    stage.timers.advance(0.1)
    assert (client.aborted, upstream.aborted) == (True, True)


@pytest.mark.parametrize("way", WAYS)
async def test_a_rule_that_comes_counts_from_then_on(way: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"0123")
    stage.change_rules(rule(f"close: {{at: {way}, after_bytes: 3B}}"))
    source.gives(b"456789")
    assert sink.taken() == b"0123456"
    assert client.ended


@pytest.mark.parametrize("way", WAYS)
async def test_open_stalls_the_direction_that_the_fault_is_about(way: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    stage.change_rules(rule(f"stall: {{at: {way}, for: 2s, on: open}}"))
    client.gives(b"up")
    upstream.gives(b"down")
    held, free = ("", "down") if way == "request_body" else ("up", "")
    assert (upstream.taken(), client.taken()) == (held.encode(), free.encode())
    stage.timers.advance(2)
    assert upstream.taken() + client.taken() in (b"up", b"down")
    assert state(stage) == [1]


@pytest.mark.parametrize("phase", ["request_head", "end"])
async def test_open_stalls_both_directions_at_once(phase: str) -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    stage.change_rules(rule(f"stall: {{at: {phase}, for: 2s, on: open}}"))
    client.gives(b"up")
    upstream.gives(b"down")
    assert (upstream.taken(), client.taken()) == (b"", b"")
    stage.timers.advance(2)
    assert (upstream.taken(), client.taken()) == (b"up", b"down")
    assert (client.paused, upstream.paused, state(stage)) == (False, False, [1])


@pytest.mark.parametrize(("first", "second"), [(10, 1), (1, 10)])
@pytest.mark.parametrize("way", WAYS)
async def test_two_stalls_at_once_are_both_waited_for(first: int, second: int, way: str) -> None:
    own = rule(f"stall: {{at: {way}, for: {first}s}}")
    stage = Stage(own)
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"a")
    stage.change_rules(own + rule(f"stall: {{for: {second}s, on: open}}", name="second", more="priority: 1,"))
    stage.timers.advance(9.9)
    assert sink.taken() == b""
    assert stage.worker.cells.waiting == 1


async def test_a_tunnel_takes_no_firing_of_a_rule_that_cannot_act_on_it() -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    stage.change_rules(
        rule("abort: 503", more="sample: {first: 1},")
        + rule("delay: 1s", "close: {at: response_body, after_bytes: 2B}", name="both")
    )
    assert stage.snapshot.by_name["r"].state.matches == 0
    upstream.gives(b"abc")
    assert (client.taken(), client.ended) == (b"ab", True)
    assert state(stage, "both") == [0, 1]
    other = stage.client()
    other.gives(GET)
    assert other.taken().startswith(b"HTTP/1.1 503 ")


async def test_rules_that_look_at_the_answer_hold_for_a_tunnel_after_each_change() -> None:
    own = rule("close: {at: response_body, after_bytes: 2B}", more="match: {response: {status: [101]}},")
    stage = Stage(own)
    client, upstream = await opened(stage)
    stage.change_rules(own + rule("abort: 503", name="other", more="match: {path: /never},"))
    upstream.gives(b"abc")
    assert (client.taken(), client.ended) == (b"ab", True)


async def test_an_old_plan_gives_back_what_it_had_reserved() -> None:
    own = rule("stall: {at: request_body, after_bytes: 9B}", more="sample: {max_active: 1},")
    stage = Stage(own)
    client, _ = await opened(stage)
    for number in range(3):
        assert stage.snapshot.by_name["r"].state.active == 1
        stage.change_rules(own + rule("abort: 503", name=f"n{number}", more="match: {path: /never},"))
    client.lost()
    assert stage.snapshot.by_name["r"].state.active == 0


async def test_a_shadow_leaves_its_line_for_a_tunnel_too() -> None:
    stage = Stage()
    client, upstream = await opened(stage)
    stage.change_rules(rule("reset: {at: request_body}", more="mode: shadow,"))
    client.gives(b"x")
    assert upstream.taken() == b"x"
    assert [line["fault"] for line in stage.logged("shadow")] == ["reset"]


# --- what has acted is not repeated

OTHER = rule("abort: 503", name="other", more="match: {path: /never},")


@pytest.mark.parametrize("way", WAYS)
async def test_a_change_of_other_rules_repeats_nothing(way: str) -> None:
    own = rule(f"delay: {{fixed: 1s, at: {way}}}")
    stage = Stage(own)
    client, upstream = await opened(stage)
    source, sink = ends_of(way, client, upstream)
    source.gives(b"a")
    stage.change_rules(own + OTHER)  # while it holds
    stage.timers.advance(1)
    assert sink.taken() == b"a"
    for number in range(3):
        stage.change_rules(own + rule("abort: 503", name=f"n{number}", more="match: {path: /never},"))
        source.gives(b"b")
        assert sink.taken() == b"b"
    assert state(stage) == [1]
    assert stage.snapshot.by_name["r"].state.matches == 1


@pytest.mark.parametrize("how", ["value", "sample", "gone and back", "off and on"])
async def test_a_rule_that_has_changed_acts_again(how: str) -> None:
    own = rule("delay: {fixed: 1s, at: request_body}")
    changed = {
        "value": rule("delay: {fixed: 2s, at: request_body}"),
        "sample": rule("delay: {fixed: 2s, at: request_body}", more="sample: {every: 1},"),
    }
    stage = Stage(own)
    client, upstream = await opened(stage)
    client.gives(b"a")
    stage.timers.advance(1)
    assert upstream.taken() == b"a"
    if how in changed:
        stage.change_rules(changed[how])
    else:
        stage.change_rules(
            ""
            if how == "gone and back"
            else rule("delay: {fixed: 1s, at: request_body}", more="enabled: false,")
        )
        stage.change_rules(own)
    client.gives(b"b")
    assert upstream.taken() == b""
    stage.timers.advance(2)
    assert upstream.taken() == b"b"


async def test_a_rule_that_was_changed_and_changed_back_acts_again() -> None:
    own = rule("delay: {fixed: 1s, at: request_body}")
    stage = Stage(own)
    client, upstream = await opened(stage)
    client.gives(b"a")
    stage.timers.advance(1)
    stage.change_rules(rule("delay: {fixed: 2s, at: response_body}"))
    stage.change_rules(own)
    upstream.taken()
    client.gives(b"b")
    assert upstream.taken() == b""


async def test_what_has_not_acted_yet_is_planned_again() -> None:
    own = rule("delay: {fixed: 1s, at: request_body}", "close: {at: request_body, after_bytes: 3B}")
    stage = Stage(own)
    client, upstream = await opened(stage)
    client.gives(b"a")
    stage.timers.advance(1)
    stage.change_rules(own + OTHER)
    client.gives(b"bcdef")
    assert (upstream.taken(), client.ended) == (b"abcd", True)
    assert state(stage) == [1, 1]


async def test_what_was_not_repeated_reserves_nothing() -> None:
    own = rule(
        "delay: {fixed: 1s, at: request_body}", "stall: {after_bytes: 9B}", more="sample: {max_active: 1},"
    )
    stage = Stage(own)
    client, _ = await opened(stage)
    client.gives(b"a")
    stage.timers.advance(1)
    for number in range(3):
        stage.change_rules(own + rule("abort: 503", name=f"n{number}", more="match: {path: /never},"))
        assert stage.snapshot.by_name["r"].state.active == 1
    client.lost()
    assert stage.snapshot.by_name["r"].state.active == 0


async def test_a_shadow_is_not_written_down_again() -> None:
    own = rule("reset: {at: request_body}", more="mode: shadow,")
    stage = Stage(own)
    await opened(stage)
    stage.change_rules(own + OTHER)
    assert len(stage.logged("shadow")) == 1
