"""Each action at each phase: what the client sees, when, and what is counted, logged and given back."""

import pytest

from tests.support.fakes import FakeTransport, Stage

POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
UPGRADE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


@pytest.mark.timeout(10)
@pytest.mark.parametrize("at", ["request_body", "response_body"])
@pytest.mark.parametrize("how", ["deleted", "stopped"])
async def test_a_fault_that_waits_in_a_body_is_gone_with_its_rule(at: str, how: str) -> None:
    rule = f"  - {{name: r, sample: {{first: 1}}, faults: [stall: {{at: {at}, after_bytes: 2B}}]}}"
    stage = Stage(rule)
    client = stage.client()
    client.gives(POST)
    upstream = await stage.connected()
    state = stage.snapshot.by_name["r"].state
    assert state.fired == 1
    stage.change_rules(rule if how == "stopped" else "", how == "stopped")
    client.gives(b"hello")
    assert upstream.taken().endswith(b"hello")
    upstream.gives(HELLO)
    assert client.taken().endswith(b"hello")
    assert (state.injected, state.fired, state.active) == ([0], 0, 0)


@pytest.mark.timeout(10)
async def test_a_fault_that_waits_in_a_tunnel_is_gone_with_its_rule() -> None:
    rule = "  - {name: r, faults: [stall: {at: request_body, after_bytes: 2B}]}"
    stage = Stage(rule)
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH)
    upstream.taken()
    stage.change_rules(rule, stopped=True)
    client.gives(b"hello")
    assert upstream.taken() == b"hello"


# --- every action at every phase

PHASES = ["request_head", "request_body", "resolve", "connect", "response_head", "response_body", "end"]
DELAYED = [phase for phase in PHASES if phase not in ("resolve", "end")]
ENDS = [("reset", True, False), ("close", False, True)]


def rule(*faults: str, name: str = "r", more: str = "") -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


async def played(stage: Stage, serve: bool = True) -> FakeTransport:
    """A client asks with a body, and an upstream answers when it has it all."""
    client = stage.client()
    client.gives(POST + b"hello")
    if serve:
        await served(stage)
    return client


async def served(stage: Stage) -> None:
    """Let the upstreams answer what was asked so far."""
    await stage.turn()
    for upstream in stage.loop.upstreams:
        if upstream.taken().endswith(b"hello") and not upstream.closing:
            upstream.gives(HELLO)


def nothing_is_left(stage: Stage) -> None:
    cells = stage.worker.cells
    assert cells.internal_errors == 0
    assert (cells.waiting, len(stage.worker.waiting)) == (0, 0)
    assert (cells.route("web", "app").active, sum(cells.route("web", "app").statuses)) == (0, 1)
    for name in stage.snapshot.by_name:
        assert stage.snapshot.by_name[name].state.active == 0


def whole(answer: bytes) -> bool:
    return answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("phase", DELAYED)
async def test_a_delay_lasts_as_long_as_it_says(phase: str) -> None:
    stage = Stage(rule(f"delay: {{fixed: 1500ms, at: {phase}}}"))
    client = await played(stage)
    stage.timers.advance(1.499)
    await served(stage)
    before = client.taken()
    assert not whole(before)
    assert stage.worker.cells.waiting == 1
    stage.timers.advance(0.001)
    await served(stage)
    answer = before + client.taken()
    assert whole(answer)
    what = "at=response_body" if phase == "response_body" else "ms=1500"
    assert f"x-misrule: rule=r; fault=delay; {what}; version=1\r\n".encode() in answer
    nothing_is_left(stage)
    (line,) = stage.logged("injection")
    assert (line["phase"], line["ms"], line["upstream"]) == (phase, 1500, "app")
    (access,) = stage.logged("access")
    assert (access["ms"], access["ms_own"], access["outcome"]) == (1500, 0, "injected")
    cells = stage.worker.cells.route("web", "app")
    assert (cells.injected_gross.total, cells.injected_net.total) == (1.5, 0)


@pytest.mark.parametrize("phase", DELAYED)
async def test_a_delay_of_nothing_is_an_injection_without_a_timer(phase: str) -> None:
    stage = Stage(rule(f"delay: {{fixed: 0ms, at: {phase}}}"))
    client = await played(stage)
    assert whole(client.taken())
    assert (stage.timers.waiting, stage.snapshot.by_name["r"].state.injected) == ([], [1])
    nothing_is_left(stage)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("fault", "aborted", "ended"), ENDS)
async def test_an_end_at_each_phase(phase: str, fault: str, aborted: bool, ended: bool) -> None:
    stage = Stage(rule(f"{fault}: {{at: {phase}}}"))
    client = await played(stage)
    stage.timers.advance(0.1)
    assert (client.aborted, client.ended) == (aborted, ended)
    assert whole(client.taken()) == (phase == "end")
    assert stage.snapshot.by_name["r"].state.injected == [1]
    nothing_is_left(stage)
    assert stage.logged("injection")[0]["phase"] == phase
    assert stage.upstream.cells.failures == {}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("then", "aborted", "ended"), ENDS)
async def test_a_stall_and_then_an_end_at_each_phase(
    phase: str, then: str, aborted: bool, ended: bool
) -> None:
    stage = Stage(rule(f"stall: {{at: {phase}, for: 2s, then: {then}}}"))
    client = await played(stage)
    stage.timers.advance(1.9)
    assert (client.aborted, client.ended, stage.worker.cells.waiting) == (False, False, 1)
    stage.timers.advance(0.2)
    assert (client.aborted, client.ended) == (aborted, ended)
    nothing_is_left(stage)
    assert stage.logged("injection")[0]["ms"] == 2000


@pytest.mark.parametrize("phase", PHASES[:5])
async def test_a_stall_and_then_an_answer(phase: str) -> None:
    stage = Stage(rule(f"stall: {{at: {phase}, for: 2s, then: abort, abort: 503}}"))
    client = await played(stage)
    stage.timers.advance(2)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"x-misrule: rule=r; fault=stall; ms=2000; version=1\r\n" in answer
    assert (client.closing, client.ended) == (False, False)
    nothing_is_left(stage)


@pytest.mark.parametrize("phase", PHASES)
async def test_a_stall_and_then_on(phase: str) -> None:
    stage = Stage(rule(f"stall: {{at: {phase}, for: 2s}}"))
    client = await played(stage)
    before = client.taken()
    stage.timers.advance(2)
    await served(stage)
    assert whole(before + client.taken())
    nothing_is_left(stage)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["fin", "reset"])
async def test_a_client_that_leaves_while_it_is_held_ends_its_exchange(phase: str, how: str) -> None:
    stage = Stage(rule(f"stall: {{at: {phase}}}", "delay: {fixed: 1s, at: response_head}"))
    client = await played(stage)
    stage.timers.advance(1)
    if how == "fin":
        client.ends()
    else:
        client.lost(ConnectionResetError())
    nothing_is_left(stage)
    assert stage.timers.armed == 0
    assert stage.logged("access")[0]["outcome"] == "client_closed"
    assert all(upstream.closing == (phase != "end") for upstream in stage.loop.upstreams)
    await stage.turn()
    assert stage.upstream.cells.queued == 0


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("how", ["deleted", "disabled", "stopped"])
async def test_what_is_held_goes_on_when_its_rule_goes(phase: str, how: str) -> None:
    faults = (f"stall: {{at: {phase}, for: 9s, then: continue}}", "reset: {at: end}")
    stage = Stage(rule(*faults))
    client = await played(stage)
    before = client.taken()
    stage.timers.advance(1)
    now = {"deleted": "", "disabled": rule(*faults, more="enabled: false,")}
    stage.change_rules(now.get(how, rule(*faults)), how == "stopped")
    await served(stage)
    assert whole(before + client.taken())
    assert (client.aborted, client.ended) == (False, False)
    nothing_is_left(stage)
    assert [(line["fault"], line["ms"]) for line in stage.logged("injection")] == [("stall", 1000)]


@pytest.mark.parametrize("then", ["reset", "close", "continue"])
async def test_who_is_let_go_goes_on_whatever_was_to_come_then(then: str) -> None:
    stage = Stage(rule(f"stall: {{for: 9s, then: {then}}}"))
    client = await played(stage)
    stage.change_rules("")
    await served(stage)
    assert whole(client.taken())


async def test_a_rule_that_was_replaced_by_one_of_its_name_keeps_its_hold() -> None:
    stage = Stage(rule("delay: 2s"))
    client = await played(stage)
    stage.change_rules(rule("delay: 5s"))
    stage.timers.advance(1.9)
    await served(stage)
    assert stage.loop.upstreams == []
    stage.timers.advance(0.1)
    await served(stage)
    assert b"version=1\r\n" in client.taken()


@pytest.mark.parametrize("phase", PHASES)
async def test_no_time_out_runs_while_a_fault_holds(phase: str) -> None:
    stage = Stage(rule(f"stall: {{at: {phase}, for: 20m}}"), response_timeout=2.0)
    client = await played(stage)
    before = client.taken()
    stage.sweep(1199)
    assert (client.closing, client.ended) == (False, False)
    stage.timers.advance(1)
    await served(stage)
    assert whole(before + client.taken())


# --- several faults


async def test_faults_act_by_phase_then_rank_then_place() -> None:
    stage = Stage(
        rule("delay: {fixed: 3s, at: response_head}", "delay: 1s", "delay: 2s", name="low")
        + rule("delay: 4s", "delay: {fixed: 5s, at: connect}", name="high", more="priority: 1,")
    )
    client = await played(stage)
    stage.timers.advance(12)
    await served(stage)
    stage.timers.advance(3)
    assert whole(client.taken())
    lines = [(line["rule"], line["ms"]) for line in stage.logged("injection")]
    assert lines == [("high", 4000), ("low", 1000), ("low", 2000), ("high", 5000), ("low", 3000)]
    assert stage.logged("access")[0]["injected"] == [
        "high/delay",
        "low/delay",
        "low/delay",
        "high/delay",
        "low/delay",
    ]


@pytest.mark.parametrize("end", ["abort: {status: 503, at: response_head}", "reset: {at: response_head}"])
async def test_what_comes_after_an_end_is_cancelled_and_not_charged(end: str) -> None:
    stage = Stage(
        rule(end)
        + rule("delay: {fixed: 1s, at: response_body}", name="late", more="sample: {first: 1},")
        + rule("delay: {fixed: 1s, at: response_head}", name="same", more="sample: {first: 1},")
    )
    await played(stage)
    for name in ("late", "same"):
        state = stage.snapshot.by_name[name].state
        assert (state.injected, state.fired, state.active) == ([0], 0, 0)
    assert [line["rule"] for line in stage.logged("injection")] == ["r"]
    nothing_is_left(stage)


async def test_final_ends_the_search() -> None:
    stage = Stage(rule("delay: 1s", more="final: true,") + rule("abort: 503", name="later"))
    client = await played(stage)
    stage.timers.advance(1)
    await served(stage)
    assert whole(client.taken())
    assert stage.snapshot.by_name["later"].state.matches == 0


async def test_first_is_charged_when_something_acts_and_given_back_when_nothing_does() -> None:
    stage = Stage(rule("reset: {at: response_body, after_bytes: 9B}", more="sample: {first: 2},"))
    state = stage.snapshot.by_name["r"].state
    client = await played(stage)
    assert (whole(client.taken()), state.fired) == (True, 0)
    for fired in (1, 2, 2):
        client = stage.client()
        client.gives(POST + b"hello")
        await stage.turn()
        stage.loop.upstreams[-1].gives(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789")
        assert state.fired == fired
    assert (state.injected, client.taken()[-10:]) == ([2], b"0123456789")


async def test_max_active_counts_what_is_under_way() -> None:
    stage = Stage(rule("stall: {}", more="sample: {max_active: 2},"))
    held = [await played(stage) for _ in range(2)]
    free = await played(stage)
    assert whole(free.taken())
    held[0].ends()
    again = await played(stage)
    assert (again.taken(), stage.worker.cells.waiting) == (b"", 2)


async def test_the_button_stops_all_that_is_held_at_once() -> None:
    stage = Stage(
        rule("stall: {}", more="match: {path: /},")
        + rule("stall: {at: accept}", name="door", more="sample: {first: 1},")
    )
    door = stage.client()
    held = [await played(stage) for _ in range(5)]
    assert stage.worker.cells.waiting == 6
    stage.worker.install(stage.snapshot, True)
    assert stage.worker.cells.waiting == 0
    await served(stage)
    assert all(whole(client.taken()) for client in held)
    stage.worker.install(stage.snapshot, False)
    door.gives(POST + b"hello")
    assert stage.worker.cells.waiting == 1


async def test_who_was_taken_along_by_another_one_is_not_let_go_again() -> None:
    """Two holds on one exchange: the first to be let go ends it, with the other one inside."""
    own = rule("stall: {at: request_body}", "abort: {status: 503, at: response_head}")
    stage = Stage(own)
    client = await played(stage)
    stage.loop.upstreams[0].gives(HELLO)
    assert client.taken().startswith(b"HTTP/1.1 503 ")
    nothing_is_left(stage)
    client.lost()
    client = stage.client()
    client.gives(POST + b"hello")
    await stage.turn()
    late = rule("stall: {on: open}", "close: {on: open}", name="late")
    stage.change_rules(own + late)
    assert stage.worker.cells.waiting == 2
    stage.worker.install(stage.snapshot, True)
    assert stage.worker.cells.waiting == 0
    assert [line["fault"] for line in stage.logged("injection")].count("stall") == 3
