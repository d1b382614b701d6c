"""The edges of schedules, on the path and with a clock that the test holds: what they release and begin."""

from tests.support.fakes import FakeTransport, Stage
from tests.unit.proxy.test_performer import HELLO, POST, SWITCH, UPGRADE

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
DENIED = b"HTTP/1.1 503 "


def rule(schedule: str, fault: str = "abort: 503", more: str = "") -> str:
    return f"  - {{name: r, {more} schedule: {{{schedule}}}, faults: [{fault}]}}\n"


async def asked(stage: Stage, number: int) -> bool:
    """Ask once over a new connection; tell whether the rule has answered."""
    client = stage.client()
    client.gives(GET)
    if client.taken().startswith(DENIED):
        return True
    upstream = await stage.connected(number)
    upstream.gives(HELLO)
    client.ends()
    return False


async def test_a_window_opens_and_closes_by_itself() -> None:
    stage = Stage(rule("start_after: 10s, duration: 20s"))
    assert not await asked(stage, 0)
    stage.timers.advance(9.999)
    assert stage.snapshot.turn == 1
    stage.timers.advance(0.001)
    assert (stage.snapshot.turn, stage.snapshot.version) == (2, 1)
    assert await asked(stage, 1)
    stage.timers.advance(19.9)
    assert await asked(stage, 1)
    stage.timers.advance(0.1)
    assert stage.timers.armed == 0, "nothing is left to wait for"
    state = stage.snapshot.by_name["r"].state
    assert (state.matches, state.injected, state.awake) == (2, [2], False)
    assert [record["state"] for record in stage.logged("rule_window_opened")] == ["active"]
    (closed,) = stage.logged("rule_window_closed")
    assert (closed["rule"], closed["state"]) == ("r", "ended")
    assert "opens" not in closed


async def test_rules_without_a_schedule_wait_for_nothing() -> None:
    stage = Stage("  - {name: r, faults: [delay: 1s]}")
    assert stage.timers.waiting == []
    assert stage.schedules.timer is None


async def test_what_it_holds_is_released_when_its_window_closes() -> None:
    stage = Stage(rule("duration: 30s", "stall"))
    client = stage.client()
    client.gives(POST + b"hello")
    await stage.turn()
    assert stage.worker.cells.waiting == 1
    stage.timers.advance(30.0)
    assert stage.worker.cells.waiting == 0
    upstream = await stage.connected()
    upstream.gives(HELLO)
    assert client.taken().endswith(b"hello")


async def tunnel(stage: Stage) -> tuple[FakeTransport, FakeTransport]:
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH)
    client.taken()
    upstream.taken()
    return client, upstream


async def test_a_tunnel_plans_anew_at_each_edge() -> None:
    """Nine to five past nine and so on: it stalls in each window, and flows between."""
    stage = Stage(rule("cron: '0 * * * *', duration: 5m", "stall: {at: response_body}"), access="none")
    client, upstream = await tunnel(stage)
    for hour in range(3):
        stage.timers.advance((3600.0 - stage.timers.time) % 3600.0)
        upstream.gives(b"held")
        assert client.taken() == b"", hour
        stage.timers.advance(300.0)
        assert client.taken() == b"held", hour
        upstream.gives(b"free")
        assert client.taken() == b"free", hour
    assert stage.snapshot.by_name["r"].state.injected == [3]


async def test_on_open_acts_when_the_window_opens() -> None:
    """What was connected before, at once; with ``on: new`` only what is connected from then on."""
    stage = Stage(rule("start_after: 10s", "reset: {on: open}"))
    client, _ = await tunnel(stage)
    stage.timers.advance(10.0)
    assert stage.snapshot.by_name["r"].state.injected == [1]
    stage.timers.advance(6.0)  # an RST waits for what was sent before
    assert client.aborted
    stage = Stage(rule("start_after: 10s", "reset: {on: new}"))
    old = stage.client()
    stage.timers.advance(10.0)
    old.gives(GET)
    upstream = await stage.connected()
    upstream.gives(HELLO)
    assert old.taken().endswith(b"hello")
    new = stage.client()
    new.gives(GET)
    assert stage.snapshot.by_name["r"].state.injected == [1]
    assert new.taken() == b""


async def test_tcp_is_cut_when_the_window_opens_and_flows_when_it_closes() -> None:
    stage = Stage(rule("start_after: 5s, duration: 5s", "stall", "match: {protocol: [tcp]},"), protocol="tcp")
    client = stage.client()
    upstream = await stage.connected()
    stage.timers.advance(5.0)
    client.gives(b"ping")
    upstream.gives(b"pong")
    assert (upstream.taken(), client.taken()) == (b"", b"")
    stage.timers.advance(5.0)
    assert (upstream.taken(), client.taken()) == (b"ping", b"pong")


async def test_a_change_of_other_rules_leaves_the_schedule_alone() -> None:
    mine = rule("duration: 30s")
    stage = Stage(mine)
    stage.timers.advance(20.0)
    stage.change_rules(
        mine + "  - {name: other, match: {path: /x}, faults: [abort]}".replace("abort", "reset")
    )
    stage.timers.advance(9.9)
    assert await asked(stage, 0)
    stage.timers.advance(0.1)
    assert not await asked(stage, 0)
    stage.change_rules("")
    assert stage.timers.armed == 0
    stage.change_rules(mine)
    assert await asked(stage, 0), "a rule that was gone begins anew"


async def test_unix_time_that_is_set_is_found_out_within_half_a_minute() -> None:
    stage = Stage(rule("cron: '0 9 * * *', duration: 1h"))
    assert not stage.snapshot.in_force("r")
    stage.wall_offset = 9 * 3600.0
    stage.timers.advance(30.0)
    assert stage.snapshot.in_force("r")


async def test_a_reset_begins_the_schedule_anew() -> None:
    stage = Stage(rule("duration: 10s"))
    stage.timers.advance(10.0)
    assert not stage.snapshot.in_force("r")
    stage.snapshot.by_name["r"].state.reset()
    stage.schedules.look()
    assert stage.snapshot.in_force("r")
    stage.timers.advance(10.0)
    assert not stage.snapshot.in_force("r")


async def test_stopped_faults_stay_stopped_when_a_window_opens() -> None:
    stage = Stage(rule("start_after: 10s"))
    stage.worker.install(stage.snapshot, True)
    stage.timers.advance(10.0)
    assert stage.worker.live.stopped
    assert not await asked(stage, 0)


async def test_a_ramp_climbs() -> None:
    stage = Stage(rule("ramp: 100s", more="sample: {sticky: source},"))
    hit = []
    for _ in range(3):
        seen = 0
        for user in range(200):
            client = stage.client(f"192.0.2.{user}")
            client.gives(GET)
            seen += client.taken().startswith(DENIED)
            client.lost()
        hit.append(seen)
        stage.timers.advance(50.0)
    assert hit[0] == 0
    assert 60 < hit[1] < 140
    assert hit[2] == 200
