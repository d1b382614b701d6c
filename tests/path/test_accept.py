"""Phase accept: faults of a connection, before its first request and while it is open."""

import pytest
from hyperframe.frame import SettingsFrame

from proxy.wire.h2_frames import PREFACE
from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import Peer, frames, goaways

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhi"


def rule(*faults: str, name: str = "r", more: str = "") -> str:
    return f"  - {{name: {name}, {more} faults: [{', '.join(faults)}]}}\n"


def injected(stage: Stage, name: str = "r") -> list[int]:
    return stage.snapshot.by_name[name].state.injected


def phase_lines(stage: Stage) -> list[tuple[str, str]]:
    return [(line["fault"], line["phase"]) for line in stage.logged("injection")]


# --- listeners for one protocol


@pytest.mark.parametrize("junk", [GET, b"INVALID CONNECTION PREFACE\r\n\r\n", b"\0", PREFACE[:-1] + b"!"])
async def test_a_listener_for_http2_answers_anything_else_by_goaway(junk: bytes) -> None:
    stage = Stage(protocol="http2")
    client = stage.client()
    client.gives(junk)
    came = client.taken()
    assert isinstance(frames(came)[0], SettingsFrame)  # RFC 9113, section 3.4
    assert [(last, code) for last, code, _ in goaways(came)] == [(0, 1)]  # PROTOCOL_ERROR
    assert client.ended
    assert stage.listener.cells.failures["bad_preface"] == 1
    client.ends()
    assert (stage.listener.cells.open, stage.worker.connections) == (0, {})


async def test_a_listener_for_http2_serves_it() -> None:
    stage = Stage(protocol="http2")
    client = Peer(stage.client(), True)
    sid = client.ask("/a")
    (await stage.connected()).gives(OK)
    assert client.sync().body(sid) == b"hi"


async def test_a_listener_for_http2_turns_away_by_goaway() -> None:
    stage = Stage(protocol="http2", max_connections_in=0)
    client = stage.client()
    assert goaways(client.taken()) == [(0, 0, b"")]
    assert client.ended
    assert stage.listener.cells.failures["too_many_connections"] == 1
    client.ends()
    assert stage.listener.cells.open == 0


async def test_a_listener_for_http2_says_nothing_before_its_faults() -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: accept}"), protocol="http2")
    client = stage.client()
    client.gives(PREFACE + bytes(3) + b"\4" + bytes(5))
    assert client.taken() == b""
    stage.timers.advance(1)
    assert isinstance(frames(client.taken())[0], SettingsFrame)


async def test_a_client_that_was_held_with_too_much_is_read_on_in_http2() -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: accept}"), head_size=200_000)
    client = stage.client()
    client.gives(PREFACE + bytes(3) + b"\4" + bytes(5) + (b"\0\0\1\x7f" + bytes(6)) * 7000)
    assert client.paused
    stage.timers.advance(1)
    assert not client.paused


async def test_a_listener_for_http1_refuses_the_preface() -> None:
    stage = Stage(protocol="http1")
    client = stage.client()
    client.gives(PREFACE)
    assert client.taken().startswith(b"HTTP/1.1 505 ")
    other = stage.client()
    other.gives(GET)
    (await stage.connected()).gives(OK)
    assert other.taken() == OK


# --- before the first request


async def test_a_delay_keeps_the_first_request_waiting_and_is_proved_once() -> None:
    stage = Stage(rule("delay: {fixed: 300ms, at: accept}"))
    client = stage.client()
    client.gives(GET + GET)
    assert stage.worker.cells.waiting == 1
    stage.timers.advance(0.299)
    await stage.turn()
    assert stage.loop.upstreams == []
    stage.timers.advance(0.001)
    upstream = await stage.connected()
    upstream.gives(OK)
    assert b"x-misrule: rule=r; fault=delay; ms=300; version=1\r\n" in client.taken()
    upstream.gives(OK)
    assert client.taken() == OK
    assert stage.worker.cells.waiting == 0
    (line,) = stage.logged("injection")
    assert (line["phase"], line["ms"], line["client"]) == ("accept", 300, "192.0.2.7")
    assert injected(stage) == [1]


async def test_a_reset_comes_at_once() -> None:
    stage = Stage(rule("reset: {at: accept}"))
    client = stage.client()
    assert client.aborted
    client.lost(None)
    assert (injected(stage), stage.listener.cells.open, stage.listener.cells.accepted) == ([1], 0, 1)
    assert not stage.worker.connections


async def test_a_close_is_a_fin_and_what_comes_is_thrown_away() -> None:
    stage = Stage(rule("close: {at: accept}"))
    client = stage.client()
    assert (client.ended, client.aborted, client.taken()) == (True, False, b"")
    client.gives(GET)
    await stage.turn()
    assert stage.loop.upstreams == []
    client.ends()
    assert not stage.worker.connections


@pytest.mark.parametrize("patience", ["stall: {at: accept}", "stall: {at: accept, until: client_gives_up}"])
async def test_a_stall_lasts_until_the_client_leaves(patience: str) -> None:
    stage = Stage(rule(patience, more="sample: {max_active: 1},"))
    client = stage.client()
    client.gives(GET)
    stage.sweep(500)  # nothing of ours ends it: not the idle time, not the time for a head
    assert (client.closing, client.taken(), stage.loop.upstreams) == (False, b"", [])
    state = stage.snapshot.by_name["r"].state
    assert state.active == 1
    client.ends()
    assert (state.active, state.injected, stage.worker.cells.waiting) == (0, [1], 0)
    assert not stage.worker.waiting
    assert stage.logged("injection")[0]["ms"] == 500_000


@pytest.mark.parametrize(
    ("then", "aborted", "ended"), [("reset", True, False), ("close", False, True), ("continue", False, False)]
)
async def test_a_stall_and_then(then: str, aborted: bool, ended: bool) -> None:
    stage = Stage(rule(f"stall: {{at: accept, for: 2s, then: {then}}}"))
    client = stage.client()
    client.gives(GET)
    stage.timers.advance(1.99)
    assert (client.aborted, client.ended) == (False, False)
    stage.timers.advance(0.01)
    assert (client.aborted, client.ended) == (aborted, ended)
    await stage.turn()
    assert len(stage.loop.upstreams) == (then == "continue")


async def test_several_act_in_their_order_and_nothing_after_an_end() -> None:
    stage = Stage(
        rule("delay: {fixed: 1s, at: accept}", "delay: {fixed: 2s, at: accept}")
        + rule("reset: {at: accept}", name="end")
        + rule("delay: {fixed: 1s, at: accept}", name="late", more="sample: {first: 1},")
    )
    client = stage.client()
    stage.timers.advance(2.9)
    assert (client.aborted, client.ended) == (False, False)
    stage.timers.advance(0.1)
    assert (client.aborted, client.ended) == (True, False)
    assert (injected(stage), injected(stage, "end"), injected(stage, "late")) == ([1, 1], [1], [0])
    assert stage.snapshot.by_name["late"].state.fired == 0
    assert [line["rule"] for line in stage.logged("injection")] == ["r", "r", "end"]


@pytest.mark.parametrize("how", ["deleted", "disabled", "stopped"])
async def test_a_rule_that_goes_lets_go_and_what_it_planned_does_not_come(how: str) -> None:
    faults = ("delay: {fixed: 10s, at: accept}", "reset: {at: accept}")
    stage = Stage(rule(*faults))
    client = stage.client()
    client.gives(GET)
    stage.timers.advance(1)
    other = rule("delay: 0ms", name="other")
    now = {"deleted": other, "disabled": other + rule(*faults, more="enabled: false,")}
    stage.change_rules(now.get(how, rule(*faults)), how == "stopped")
    (await stage.connected()).gives(OK)
    assert client.taken().startswith(b"HTTP/1.1 200 ")
    assert stage.logged("injection")[0]["ms"] == 1000
    assert stage.worker.cells.waiting == 0


async def test_a_shadow_leaves_its_line() -> None:
    stage = Stage(rule("reset: {at: accept}", more="mode: shadow,"))
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    assert client.taken() == OK
    (line,) = stage.logged("shadow")
    assert (line["rule"], line["fault"], line["phase"]) == ("r", "reset", "accept")
    assert stage.snapshot.by_name["r"].state.shadowed == [1]


async def test_rules_of_a_connection_see_who_connects() -> None:
    stage = Stage(rule("reset: {at: accept}", more="match: {source: [198.51.100.0/24], listener: [web]},"))
    assert not stage.client().aborted
    assert stage.client("198.51.100.9").aborted


async def test_no_fault_while_the_button_is_pressed() -> None:
    stage = Stage(rule("reset: {at: accept}"))
    stage.worker.install(stage.snapshot, True)
    assert not stage.client().aborted
    stage.worker.install(stage.snapshot, False)
    assert stage.client().aborted


async def test_more_connections_than_allowed_are_told_so() -> None:
    stage = Stage(rule("delay: {fixed: 1s, at: accept}"), max_connections_in=1)
    stage.client()
    client = stage.client()
    assert client.taken().startswith(b"HTTP/1.1 503 ")
    assert client.ended
    cells = stage.listener.cells
    assert (cells.accepted, cells.refused, cells.failures) == (2, 1, {"too_many_connections": 1})
    client.ends()
    assert cells.open == 1


# --- connections that are open when a rule comes


async def idle(stage: Stage) -> FakeTransport:
    """A client's connection that had one exchange."""
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK)
    assert client.taken() == OK
    upstream.taken()
    return client


@pytest.mark.parametrize(("fault", "aborted", "ended"), [("reset", True, False), ("close", False, True)])
async def test_open_ends_an_idle_connection_at_once(fault: str, aborted: bool, ended: bool) -> None:
    stage = Stage()
    client = await idle(stage)
    stage.change_rules(rule(f"{fault}: {{on: open}}"))
    assert (client.aborted, client.ended) == (aborted, ended)
    assert injected(stage) == [1]


@pytest.mark.parametrize("phase", ["accept", "request_head", "response_body"])
async def test_open_stalls_an_idle_connection_at_once(phase: str) -> None:
    stage = Stage()
    client = await idle(stage)
    stage.change_rules(rule(f"stall: {{for: 2s, on: open, at: {phase}}}"))
    client.gives(GET)
    upstream = stage.loop.upstreams[0]
    stage.timers.advance(1.9)
    assert upstream.taken() == b""
    stage.timers.advance(0.1)
    assert upstream.taken().startswith(b"GET ")
    upstream.gives(OK)
    assert b"x-misrule: rule=r; fault=stall; ms=2000; version=2\r\n" in client.taken()


async def test_open_acts_once_on_what_is_open_and_then_on_new_connections() -> None:
    stage = Stage()
    client = await idle(stage)
    stage.change_rules(rule("stall: {for: 1s, on: open}"))
    stage.timers.advance(1)
    client.gives(GET)
    upstream = stage.loop.upstreams[0]
    assert upstream.taken().startswith(b"GET ")  # not again
    upstream.gives(OK)
    stage.change_rules(rule("stall: {for: 1s, on: open}") + rule("delay: 0ms", name="other"))
    assert stage.worker.cells.waiting == 0  # it is no news
    new = stage.client()
    new.gives(GET)
    assert (stage.worker.cells.waiting, injected(stage)) == (1, [2])


@pytest.mark.parametrize(("on", "acts"), [("next", True), ("new", False), ("open", False)])
async def test_the_next_exchange_of_a_connection_that_was_open(on: str, acts: bool) -> None:
    stage = Stage()
    client = await idle(stage)
    never = "match: {path: /never}," if on == "open" else ""
    stage.change_rules(rule(f"reset: {{on: {on}}}", more=never))
    assert not client.aborted
    client.gives(GET)
    assert client.aborted == acts


@pytest.mark.parametrize("fault", ["tls: {certificate: expired, on: open}", "reset: {at: tls}"])
async def test_what_belongs_to_a_handshake_leaves_a_connection_without_one_alone(fault: str) -> None:
    stage = Stage()
    client = await idle(stage)
    stage.change_rules(rule(fault))
    assert (client.aborted, client.ended) == (False, False)
    client.gives(GET)
    stage.client().gives(GET)
    await stage.turn()
    assert len(stage.loop.upstreams) >= 1
    assert injected(stage) == [0]


@pytest.mark.parametrize("on", ["next", "new", "open"])
async def test_each_acts_on_connections_that_come_later(on: str) -> None:
    stage = Stage()
    stage.change_rules(rule(f"reset: {{on: {on}}}"))
    client = stage.client()
    client.gives(GET)
    assert client.aborted


@pytest.mark.parametrize("on", ["next", "new", "open"])
async def test_accept_comes_only_before_the_first_byte(on: str) -> None:
    stage = Stage()
    client = await idle(stage)
    stage.change_rules(rule(f"reset: {{on: {on}, at: accept}}"))
    assert client.aborted == (on == "open")
    assert stage.client().aborted


@pytest.mark.parametrize(("fault", "aborted", "ended"), [("reset", True, False), ("close", False, True)])
@pytest.mark.parametrize("where", ["queued", "asked", "uploading", "answering"])
async def test_open_strikes_an_exchange_under_way(fault: str, aborted: bool, ended: bool, where: str) -> None:
    stage = Stage(max_connections=1)
    if where == "queued":
        stage.client().gives(GET)
    client = stage.client()
    client.gives(POST if where == "uploading" else GET)
    upstream = await stage.connected()
    if where == "answering":
        upstream.gives(HALF)
    stage.change_rules(rule(f"{fault}: {{on: open}}", more="match: {source: [192.0.2.7/32]},"))
    stage.timers.advance(0.1)
    assert (client.aborted, client.ended) == (aborted, ended)
    assert upstream.closing
    assert (
        sum(stage.worker.cells.route("web", "app").statuses) == injected(stage)[0] == 1 + (where == "queued")
    )
    assert stage.upstream.cells.queued == 0
    assert stage.worker.cells.route("web", "app").active == 0


@pytest.mark.parametrize("where", ["asked", "uploading", "answering"])
async def test_open_stalls_an_exchange_under_way(where: str) -> None:
    stage = Stage()
    client = stage.client()
    client.gives(POST if where == "uploading" else GET)
    upstream = await stage.connected()
    if where == "answering":
        upstream.gives(HALF)
    client.taken()
    upstream.taken()
    stage.change_rules(rule("stall: {for: 2s, on: open}"))
    if where == "uploading":
        client.gives(b"hello")
    upstream.gives(b"oh" if where == "answering" else OK)
    assert (client.taken(), upstream.taken()) == (b"", b"")
    stage.timers.advance(2)
    assert client.taken().endswith(b"oh" if where == "answering" else b"hi")
    assert (injected(stage), stage.worker.cells.waiting) == ([1], 0)
    (access,) = stage.logged("access")
    assert (access["ms"], access["ms_own"], access["injected"]) == (2000, 0, ["r/stall"])


async def test_open_asks_for_the_request_that_is_under_way() -> None:
    stage = Stage()
    client, other = stage.client(), stage.client()
    client.gives(GET)
    other.gives(POST)
    await stage.connected(1)
    stage.change_rules(rule("reset: {on: open}", more="match: {method: POST},"))
    assert (client.aborted, other.aborted) == (False, True)


@pytest.mark.parametrize(("first", "second"), [(10, 1), (1, 10)])
@pytest.mark.parametrize("phase", ["response_head", "response_body"])
async def test_two_stalls_at_once_let_nothing_pass_before_both_are_over(
    first: int, second: int, phase: str
) -> None:
    own = rule(f"stall: {{at: {phase}, for: {first}s}}")
    stage = Stage(own)
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    head = client.taken()
    assert bool(head) == (phase == "response_body")
    stage.change_rules(own + rule(f"stall: {{for: {second}s, on: open}}", name="second"))
    stage.timers.advance(9.9)
    assert client.taken() == b""
    stage.timers.advance(0.1)
    assert (head + client.taken()).endswith(b"\r\n\r\nhi")
    assert stage.worker.cells.waiting == 0


@pytest.mark.parametrize(("first", "second"), [(10, 1), (1, 10)])
async def test_two_stalls_of_a_connection_let_it_go_when_both_are_over(first: int, second: int) -> None:
    own = rule(f"stall: {{at: accept, for: {first}s}}")
    stage = Stage(own)
    client = stage.client()
    stage.change_rules(own + rule(f"stall: {{for: {second}s, on: open}}", name="second"))
    client.gives(GET)
    stage.timers.advance(9.9)
    await stage.turn()
    assert stage.loop.upstreams == []
    stage.timers.advance(0.1)
    await stage.connected()
    assert not stage.worker.waiting


async def test_a_client_that_leaves_takes_all_that_held_it_along() -> None:
    own = rule("stall: {at: accept}")
    stage = Stage(own)
    client = stage.client()
    stage.change_rules(own + rule("stall: {on: open}", name="second"))
    client.ends()
    assert (len(stage.worker.waiting), stage.worker.cells.waiting) == (0, 0)
    assert stage.snapshot.by_name["r"].state.active == stage.snapshot.by_name["second"].state.active == 0


async def test_a_head_that_came_in_part_has_its_time_anew_after_a_stall() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET[:10])
    stage.sweep(8)
    stage.change_rules(rule("stall: {for: 20s, on: open}"))
    stage.sweep(21)
    assert client.taken() == b""
    client.gives(GET[10:])
    (await stage.connected()).gives(OK)
    assert client.taken().startswith(b"HTTP/1.1 200 ")


async def test_a_shadow_that_would_have_struck_leaves_its_line() -> None:
    stage = Stage()
    client = await idle(stage)
    stage.change_rules(rule("reset: {on: open}", more="mode: shadow,"))
    assert (client.aborted, len(stage.logged("shadow"))) == (False, 1)
    client.gives(GET)
    stage.change_rules(
        rule("reset: {on: open}", more="mode: shadow,")
        + rule("close: {on: open}", more="mode: shadow,", name="second")
    )
    assert (client.ended, len(stage.logged("shadow"))) == (False, 2)
