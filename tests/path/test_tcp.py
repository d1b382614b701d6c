"""Connections that are passed on unread: plain TCP, from the first moment to the last."""

from typing import Any

import pytest

from tests.support.fakes import FakeTransport, Stage

PASSED = "match: {protocol: [tcp]},"


def rule(*faults: str, name: str = "r", more: str = PASSED) -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


def injected(stage: Stage, name: str = "r") -> list[int]:
    return stage.snapshot.by_name[name].state.injected


def scene(rules: str = "", **options: Any) -> Stage:
    return Stage(rules, protocol="tcp", **options)


async def joined(stage: Stage) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    return client, await stage.connected()


def nothing_left(stage: Stage) -> None:
    assert stage.listener.cells.open == 0
    assert stage.worker.connections == {}
    assert stage.worker.waiting == {}
    assert stage.upstream.open == 0
    assert stage.worker.cells.internal_errors == 0
    assert sum(cells.active for cells in stage.worker.cells.routes) == 0


async def test_the_upstream_is_dialled_at_once_and_may_speak_first() -> None:
    stage = scene()
    client, upstream = await joined(stage)
    upstream.gives(b"220 ready\r\n")
    assert client.taken() == b"220 ready\r\n"
    client.gives(b"EHLO")
    assert upstream.taken() == b"EHLO"
    client.ends()
    assert upstream.ended
    upstream.gives(b"bye")
    assert client.taken() == b"bye"
    upstream.ends()
    for transport in (client, upstream):
        assert transport.closing
        assert not transport.aborted
        transport.lost()
    nothing_left(stage)
    (line,) = stage.logged("access")
    assert (line["method"], line["path"], line["status"], line["outcome"]) == ("", "", 0, "ok")
    assert (line["upstream"], line["bytes_in"], line["bytes_out"]) == ("app", 4, 14)
    cells = stage.worker.cells.route("web", "app")
    assert (cells.statuses[0], cells.bytes_in, cells.bytes_out) == (1, 4, 14)
    assert stage.listener.cells.upgraded == 0


async def test_what_an_upstream_says_before_it_is_asked_for_is_kept() -> None:
    """Its bytes, and its end, may come before the Task that dialled goes on."""
    stage = scene()
    client = stage.client()
    while not stage.loop.upstreams:
        await stage.turn_once()
    upstream = stage.loop.upstreams[0]
    upstream.gives(b"too many ")
    upstream.gives(b"connections")
    assert upstream.protocol.eof_received()
    assert client.taken() == b""
    await stage.turn()
    assert client.taken() == b"too many connections"
    assert client.ended
    client.ends()
    for transport in (client, upstream):
        transport.lost()
    nothing_left(stage)


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
async def test_an_upstream_that_is_gone_before_it_was_used(error: Exception | None) -> None:
    stage = scene()
    client = stage.client()
    while not stage.loop.upstreams:
        await stage.turn_once()
    stage.loop.upstreams[0].lost(error)
    await stage.turn()
    stage.timers.advance(1)
    assert client.aborted is (error is not None)
    assert client.ended is (error is None)
    client.lost()
    nothing_left(stage)


async def test_what_a_client_says_while_the_upstream_is_dialled() -> None:
    stage = scene()
    client = stage.client()
    client.gives(b"x" * 70_000)
    assert client.paused
    client.gives(b"y")
    client.paused = False
    assert client.protocol.eof_received()
    client.paused = True
    upstream = await stage.connected()
    assert not client.paused
    assert upstream.taken() == b"x" * 70_000 + b"y"
    assert upstream.ended
    upstream.gives(b"answer")
    assert client.taken() == b"answer"


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_a_reset_is_passed_on(side: str) -> None:
    stage = scene()
    client, upstream = await joined(stage)
    one, other = (client, upstream) if side == "client" else (upstream, client)
    one.lost(ConnectionResetError())
    stage.timers.advance(1)
    assert other.aborted
    other.lost()
    nothing_left(stage)
    kind = "client_closed" if side == "client" else "upstream_reset"
    assert stage.logged("access")[0]["outcome"] == kind


async def test_back_pressure_both_ways() -> None:
    stage = scene()
    client, upstream = await joined(stage)
    for one, other in ((client, upstream), (upstream, client)):
        seen = []
        for act in (one.protocol.pause_writing, one.protocol.resume_writing):
            act()
            seen.append(other.paused)
        assert seen == [True, False]


async def test_an_upstream_that_cannot_be_reached_shows_as_fin() -> None:
    stage = scene()
    stage.loop.refuse = ConnectionRefusedError(111, "refused")
    client = stage.client()
    await stage.turn()
    assert client.taken() == b""
    assert client.ended
    client.ends()
    nothing_left(stage)
    (line,) = stage.logged("access")
    assert (line["status"], line["outcome"]) == (0, "connect_refused")
    assert stage.upstream.cells.failures == {"connect_refused": 1}


async def test_where_there_is_no_room() -> None:
    stage = scene(max_connections=1)
    await joined(stage)
    late = stage.client()
    stage.sweep(5.5)
    assert late.ended
    assert stage.upstream.cells.failures == {"pool_exhausted": 1}


async def test_a_listener_that_is_full_answers_nothing() -> None:
    stage = scene(max_connections_in=0)
    client = stage.client()
    assert client.taken() == b""
    assert client.ended
    assert stage.listener.cells.failures == {"too_many_connections": 1}
    client.ends()
    nothing_left(stage)


async def test_nothing_moves_for_too_long() -> None:
    stage = scene()
    client, upstream = await joined(stage)
    stage.sweep(200)
    upstream.gives(b"a")
    stage.sweep(200)
    assert not client.closing
    stage.sweep(101)
    assert client.aborted
    client.lost()
    assert upstream.closing
    upstream.lost()
    nothing_left(stage)
    assert stage.logged("access")[0]["outcome"] == "tunnel_idle"


async def test_bytes_are_counted_while_they_pass() -> None:
    stage = scene()
    client, upstream = await joined(stage)
    cells = stage.worker.cells.route("web", "app")
    client.gives(b"abc")
    upstream.gives(b"abcde")
    stage.sweep(0.25)
    assert (cells.bytes_in, cells.bytes_out) == (3, 5)
    client.gives(b"d")
    client.ends()
    upstream.ends()
    assert (cells.bytes_in, cells.bytes_out) == (4, 5)
    stage.sweep(0.25)
    assert (cells.bytes_in, cells.bytes_out) == (4, 5)


async def test_what_the_admin_endpoint_shows() -> None:
    stage = scene(rule("stall: {at: response_body}"))
    client, upstream = await joined(stage)
    client.gives(b"abc")
    upstream.gives(b"abcde")
    view = client.protocol.describe()
    assert (view["protocol"], view["state"], view["upstream"]) == ("tcp", "tunnel", "app")
    assert (view["bytes_in"], view["bytes_out"], view["held_by"]) == (3, 0, ["r"])
    assert upstream.protocol.describe()["state"] == "tunnel"


# --- faults


@pytest.mark.parametrize(("kind", "how"), [("reset", "aborted"), ("close", "ended")])
async def test_a_rule_reaches_what_is_open(kind: str, how: str) -> None:
    stage = scene()
    client, upstream = await joined(stage)
    stage.change_rules(rule(kind))
    stage.timers.advance(1)
    assert getattr(client, how)
    for transport in (client, upstream):
        assert transport.closing or transport.ended
        transport.lost()
    assert injected(stage) == [1]
    again = stage.client()
    stage.timers.advance(1)
    assert getattr(again, how)
    assert injected(stage) == [2]
    assert len(stage.loop.upstreams) == 1  # what ends at once is not dialled for
    again.lost()
    nothing_left(stage)
    assert {line["outcome"] for line in stage.logged("access")} == {"injected"}
    assert stage.upstream.cells.failures == {}


@pytest.mark.parametrize("on", ["new", "next"])
async def test_a_rule_that_is_not_for_what_is_open(on: str) -> None:
    stage = scene()
    client, _ = await joined(stage)
    stage.change_rules(rule(f"reset: {{on: {on}}}"))
    stage.timers.advance(1)
    assert not client.aborted
    again = stage.client()
    stage.timers.advance(1)
    assert again.aborted


@pytest.mark.parametrize("when", ["before", "while dialled", "after"])
async def test_after_exactly_so_many_bytes(when: str) -> None:
    rules = rule("reset: {at: response_body, after_bytes: 5B}")
    stage = scene(rules if when == "before" else "")
    client = stage.client()
    if when == "while dialled":
        stage.change_rules(rules)
    upstream = await stage.connected()
    if when == "after":
        upstream.gives(b"xxx")
        assert client.taken() == b"xxx"
        stage.change_rules(rules)
    upstream.gives(b"0123456789")
    assert client.taken() == b"01234"
    stage.timers.advance(1)
    assert client.aborted
    assert injected(stage) == [1]


async def test_a_fault_that_waits_for_bytes_is_new_on_old_connections_only_where_it_says_so() -> None:
    stage = scene()
    client, upstream = await joined(stage)
    stage.change_rules(rule("reset: {at: response_body, after_bytes: 1B, on: new}"))
    upstream.gives(b"abc")
    stage.timers.advance(1)
    assert (client.taken(), client.aborted) == (b"abc", False)


async def test_other_rules_that_come_do_not_repeat_it() -> None:
    stage = scene()
    client, upstream = await joined(stage)
    slow = rule("delay: {fixed: 1s, at: response_body}", name="slow")
    stage.change_rules(slow)
    stage.timers.advance(1)
    stage.change_rules(slow + rule("delay: 5s", name="other", more="match: {listener: none},"))
    upstream.gives(b"abc")
    assert client.taken() == b"abc"
    assert injected(stage, "slow") == [1]


async def test_a_rule_that_came_while_accept_was_held() -> None:
    held = rule("delay: {fixed: 1s, at: accept}", name="held")
    stage = scene(held)
    client = stage.client()
    stage.change_rules(held + rule("stall: {at: response_body, for: 2s}"))
    assert stage.loop.upstreams == []
    stage.timers.advance(1)
    upstream = await stage.connected()
    upstream.gives(b"abc")
    stage.timers.advance(2)
    assert client.taken() == b"abc"
    assert injected(stage) == [1]
    assert injected(stage, "held") == [1]


@pytest.mark.parametrize(("fault", "how"), [("reset", "aborted"), ("close", "ended")])
async def test_at_accept_nothing_is_dialled(fault: str, how: str) -> None:
    stage = scene(rule(f"{fault}: {{at: accept}}", more="match: {protocol: [tcp], upstream: [app]},"))
    client = stage.client()
    assert getattr(client, how)
    client.lost()
    await stage.turn()
    assert stage.loop.upstreams == []
    assert injected(stage) == [1]
    nothing_left(stage)


async def test_a_hold_while_the_upstream_is_dialled_holds_the_bytes() -> None:
    stage = scene()
    client = stage.client()
    stage.change_rules(rule("stall: {at: connect, for: 2s}"))
    upstream = await stage.connected()
    upstream.gives(b"hello")
    client.gives(b"there")
    assert (client.taken(), upstream.taken()) == (b"", b"")
    stage.timers.advance(2)
    assert (client.taken(), upstream.taken()) == (b"hello", b"there")
    assert not client.paused
    assert not upstream.paused


async def test_each_direction_has_its_faults() -> None:
    stage = scene(rule("stall: {at: request_body, for: 1s}"))
    client, upstream = await joined(stage)
    upstream.gives(b"first")
    assert client.taken() == b"first"
    client.gives(b"a")
    assert upstream.taken() == b""
    assert client.paused
    upstream.gives(b"more")
    assert client.taken() == b"more"
    stage.timers.advance(1)
    assert upstream.taken() == b"a"


async def test_deleting_the_rule_lets_go() -> None:
    stage = scene(rule("stall: {at: response_body}"))
    client, upstream = await joined(stage)
    upstream.gives(b"abc")
    assert client.taken() == b""
    stage.change_rules("")
    assert client.taken() == b"abc"


async def test_a_client_that_gives_up_on_a_stall_is_noticed() -> None:
    stage = scene(rule("stall: {at: response_body}"))
    client, upstream = await joined(stage)
    upstream.gives(b"abc")
    client.ends()
    assert upstream.closing
    upstream.lost()
    nothing_left(stage)


async def test_a_client_that_gives_up_before_there_is_an_upstream_is_noticed() -> None:
    stage = scene(rule("stall"))
    client = stage.client()
    client.ends()
    nothing_left(stage)
    assert stage.loop.upstreams == []


async def test_a_half_closed_connection_outlives_a_delay() -> None:
    stage = scene(rule("delay: {fixed: 1s, at: request_body}"))
    client, upstream = await joined(stage)
    client.gives(b"all")
    assert client.protocol.eof_received()
    stage.sweep(0.5)
    stage.timers.advance(0.5)
    assert upstream.taken() == b"all"
    assert upstream.ended
    upstream.gives(b"answer")
    assert client.taken() == b"answer"


async def test_rules_by_what_tcp_does_not_have_leave_it_alone() -> None:
    stage = scene(
        rule("reset", more="match: {path: /a},") + rule("reset", name="s", more="match: {method: GET},")
    )
    client, upstream = await joined(stage)
    upstream.gives(b"abc")
    assert client.taken() == b"abc"


async def test_an_answer_has_no_place_here() -> None:
    """A rule for everything that aborts: the connection ends, and nothing is said in another protocol."""
    stage = scene(rule("abort: 503", more=""))
    client = stage.client()
    assert client.taken() == b""
    assert client.ended
    assert stage.logged("access")[0]["status"] == 0


@pytest.mark.parametrize("side", ["upstream", "both"])
async def test_resets_on_the_side_of_the_upstream(side: str) -> None:
    stage = scene(rule(f"reset: {{at: response_body, after_bytes: 1B, side: {side}}}"))
    client, upstream = await joined(stage)
    upstream.gives(b"abc")
    stage.timers.advance(1)
    assert client.taken() == b"a"
    assert client.aborted
    assert upstream.aborted


async def test_close_on_the_side_of_the_upstream() -> None:
    stage = scene(rule("close: {at: response_body, after_bytes: 1B, side: upstream}"))
    client, upstream = await joined(stage)
    upstream.gives(b"abc")
    assert client.taken() == b"a"
    assert client.ended
    assert not client.aborted
    assert upstream.closing


@pytest.mark.parametrize(
    ("failure", "seconds", "how"),
    [
        ("refused", 0, "ended"),
        ("unreachable", 0, "ended"),
        ("timeout", 60, "ended"),
        ("reset", 0, "aborted"),
    ],
)
async def test_an_upstream_that_is_said_to_be_gone(failure: str, seconds: float, how: str) -> None:
    """A time-out takes as long as trying each address as often as is configured."""
    stage = scene(rule(f"connect: {failure}"), endpoints=4, attempts=2)
    client = stage.client()
    if seconds:
        stage.timers.advance(seconds - 0.01)
        assert not client.ended
        stage.timers.advance(0.01)
    assert getattr(client, how)
    client.lost()
    await stage.turn()
    assert stage.loop.upstreams == []
    assert injected(stage) == [1]
    assert stage.upstream.cells.failures == {}
    assert sum(stage.upstream.cells.feigned.values()) == 1
    nothing_left(stage)


async def test_a_connection_that_stands_does_not_care_whether_another_could_be_made() -> None:
    stage = scene()
    client, upstream = await joined(stage)
    stage.change_rules(rule("connect: refused"))
    upstream.gives(b"abc")
    assert (client.taken(), client.closing) == (b"abc", False)


# --- faults that shape bytes


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("way", ["request", "response"])
async def test_a_truncated_direction_ends_and_the_other_goes_on(when: str, way: str) -> None:
    rules = rule(f"truncate: {{after_bytes: 5B, direction: {way}}}")
    stage = scene(rules if when == "before" else "")
    client, upstream = await joined(stage)
    if when == "after":
        stage.change_rules(rules)
    source, sink = (client, upstream) if way == "request" else (upstream, client)
    source.gives(b"0123456789")
    assert (sink.taken(), sink.ended) == (b"01234", True)
    sink.gives(b"abc")
    assert source.taken() == b"abc"
    assert injected(stage) == [1]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", ["throttle: 1KiB/s", "drip: {bytes: 102, every: 100ms}"])
async def test_bytes_come_slowly(when: str, fault: str) -> None:
    stage = scene(rule(fault) if when == "before" else "")
    client, upstream = await joined(stage)
    if when == "after":
        stage.change_rules(rule(fault))
    upstream.gives(b"x" * 2048)
    came = len(client.taken())
    for _ in range(10):
        stage.timers.advance(0.1)
        came += len(client.taken())
    assert 900 <= came <= 1200
    assert injected(stage) == [1]
    stage.change_rules("")
    assert came + len(client.taken()) == 2048
    upstream.gives(b"y")
    assert client.taken() == b"y"


async def test_bytes_that_are_lost_come_late() -> None:
    stage = scene(rule("loss: {percent: 100, rto: 200ms}"))
    client, upstream = await joined(stage)
    upstream.gives(b"x" * 100)
    assert client.taken() == b""
    stage.change_rules("")
    assert client.taken() == b"x" * 100
