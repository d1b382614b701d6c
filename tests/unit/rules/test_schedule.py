"""Schedules with a clock that the test holds: windows, ramps, what begins them anew, and what they say."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rules.compile import compile_rules
from rules.compiled import CompiledRule
from rules.explain import explain
from rules.model import Rule, Sample, Schedule
from rules.opening import ACTIVE, ENDED, WAITING, Opening
from rules.schedule import describe, move, words
from rules.snapshot import Snapshot
from rules.store import Document, Store
from tests.support import builders
from tests.support.builders import facts, plan

NINE = datetime(2026, 11, 23, 9, 0, tzinfo=UTC).timestamp()  # a Monday
OFFSET = NINE - 1000.0  # so that the clock says 1000 at nine


def of(schedule: Schedule, **parts: object) -> Rule:
    return replace(builders.rule(**parts), schedule=schedule)  # type: ignore[arg-type]


def only(compiled: Snapshot) -> tuple[CompiledRule, Opening]:
    (rule,) = compiled.scheduled
    assert rule.state.opening is not None
    return rule, rule.state.opening


def stand(schedule: Schedule, times: list[float], began: float = 0.0) -> list[tuple[bool, int, float]]:
    """Tell at each time whether it acts, its state, and when that changes."""
    rule, opening = only(builders.snapshot(of(schedule)))
    move(rule, began, OFFSET)
    found = []
    for now in times:
        move(rule, now, OFFSET)
        found.append((rule.state.awake, opening.state, opening.edge))
    return found


def test_without_a_schedule_a_rule_acts_and_nothing_is_kept() -> None:
    compiled = builders.snapshot(builders.rule())
    assert compiled.scheduled == []
    assert compiled.rules[0].state.opening is None
    assert compiled.in_force("r")
    assert words(compiled.rules[0]) == []
    assert not move(compiled.rules[0], 0.0, 0.0)


def test_start_and_end() -> None:
    seen = stand(
        Schedule(start_after=30.0, duration=600.0), [100.0, 129.999, 130.0, 729.999, 730.0, 1e6], 100.0
    )
    waiting, active, ended = (False, WAITING, 130.0), (True, ACTIVE, 730.0), (False, ENDED, 0.0)
    assert seen == [waiting, waiting, active, active, ended, ended]
    assert stand(Schedule(duration=5.0), [0.0, 5.0]) == [(True, ACTIVE, 5.0), (False, ENDED, 0.0)]
    assert stand(Schedule(start_after=5.0), [4.0, 5.0]) == [(False, WAITING, 5.0), (True, ACTIVE, 0.0)]


def test_cron() -> None:
    """A window of five minutes at nine and at ten."""
    seen = stand(
        Schedule(cron="0 9-10 * * 1-5", duration=300.0),
        [999.0, 1000.0, 1299.9, 1300.0, 4600.0, 4900.0],
        900.0,
    )
    assert seen[:4] == [
        (False, WAITING, 1000.0), (True, ACTIVE, 1300.0), (True, ACTIVE, 1300.0), (False, WAITING, 4600.0)
    ]  # fmt: skip
    assert seen[4:] == [(True, ACTIVE, 4900.0), (False, WAITING, 1000.0 + 86_400.0)]


def test_who_comes_in_the_middle_of_a_window_is_in_it() -> None:
    rule, opening = only(builders.snapshot(of(Schedule(cron="0 9 * * *", duration=300.0, ramp=200.0))))
    assert move(rule, 1100.0, OFFSET)
    assert (rule.state.awake, opening.opened) == (True, 1000.0)
    opening.clock = lambda: 1100.0
    assert opening.share(500_000) == 250_000, "all replicas have climbed as far"


def test_a_tick_in_an_open_window_opens_the_next_one() -> None:
    rule, opening = only(builders.snapshot(of(Schedule(cron="0 * * * *", duration=7200.0))))
    assert move(rule, 1000.0, OFFSET)
    assert opening.edge == 4600.0
    assert not move(rule, 4599.0, OFFSET)
    assert move(rule, 4600.0, OFFSET)
    assert rule.state.awake
    assert opening.opened == 4600.0


def test_cron_behind_a_start() -> None:
    """Loaded at five to nine, to start in ten minutes: from five past on, as long as the window is open."""
    schedule = Schedule(cron="0 9 * * *", duration=600.0, start_after=600.0)
    seen = stand(schedule, [1000.0, 1299.0, 1300.0, 1599.0, 1600.0], 700.0)
    assert [awake for awake, _, _ in seen] == [False, False, True, True, False]
    assert [edge for _, _, edge in seen] == [1300.0, 1300.0, 1600.0, 1600.0, 1000.0 + 86_400.0]


def test_a_clock_that_is_set_does_not_open_the_same_window_again() -> None:
    rule, _ = only(builders.snapshot(of(Schedule(cron="0 9 * * *", duration=300.0))))
    assert move(rule, 1010.0, OFFSET)
    assert not move(rule, 1020.0, OFFSET + 0.003)
    assert not move(rule, 1030.0, OFFSET - 2.0)
    assert move(rule, 1040.0, OFFSET + 7200.0), "it is past eleven now"
    assert not rule.state.awake


def test_summer_time() -> None:
    """Nine in New York is 14:00 UTC on Saturday, 13:00 UTC on Sunday, 8 March 2026."""
    rule, opening = only(
        builders.snapshot(of(Schedule(cron="0 9 * * *", duration=60.0, timezone="America/New_York")))
    )
    saturday = datetime(2026, 3, 7, 14, 0, 30, tzinfo=UTC).timestamp()
    assert move(rule, saturday, 0.0)
    assert describe(opening) == (saturday - 30 + 23 * 3600, saturday + 30)


@pytest.mark.parametrize(
    ("passed", "share"), [(0.0, 0), (30.0, 12_500), (150.0, 62_500), (299.99, 124_995), (300.0, 125_000)]
)
def test_the_ramp_climbs(passed: float, share: int) -> None:
    rule, opening = only(builders.snapshot(of(Schedule(start_after=10.0, ramp=300.0))))
    move(rule, 0.0, 0.0)
    move(rule, 10.5, 0.0)  # the timer was late
    opening.clock = lambda: 10.0 + passed
    assert opening.share(125_000) == share


def test_outside_a_window_nothing_is_drawn_or_counted() -> None:
    """The schedule comes first: ``every`` counts only what it lets through."""
    compiled = builders.snapshot(of(Schedule(start_after=10.0), sample=Sample(every=2)))
    rule, _ = only(compiled)
    move(rule, 0.0, 0.0)
    assert not compiled.in_force("r")
    assert plan(compiled, facts()) is None
    assert rule.state.matches == 0
    move(rule, 10.0, 0.0)
    assert compiled.in_force("r")
    assert [plan(compiled, facts()) is not None for _ in range(4)] == [False, True, False, True]


def test_a_ramp_comes_to_its_percentage_and_keeps_who_was_hit() -> None:
    compiled = builders.snapshot(of(Schedule(ramp=100.0), sample=Sample(percent=500_000, sticky="path")))
    rule, opening = only(compiled)
    move(rule, 0.0, 0.0)
    hit: list[set[int]] = []
    for now in (0.0, 25.0, 50.0, 100.0, 200.0):
        opening.clock = lambda now=now: now
        hit.append({user for user in range(1000) if plan(compiled, facts(f"/{user}")) is not None})
    assert hit[0] == set()
    assert hit[0] < hit[1] < hit[2] < hit[3] == hit[4]
    assert 80 < len(hit[1]) < 175
    assert 430 < len(hit[3]) < 570


def test_the_state_is_kept_by_an_unchanged_schedule_alone() -> None:
    schedule = Schedule(start_after=10.0)
    before = builders.snapshot(of(schedule))
    move(only(before)[0], 0.0, 0.0)
    same = builders.snapshot(of(schedule, note="other words"), previous=before)
    assert only(same)[1] is only(before)[1]
    assert move(only(same)[0], 10.0, 0.0), "it counts from when the rule came into force"
    other = builders.snapshot(of(Schedule(start_after=11.0)), previous=same)
    assert only(other)[1].began < 0


def test_a_rule_that_was_disabled_comes_into_force_anew() -> None:
    schedule = Schedule(duration=10.0)
    first = builders.snapshot(of(schedule))
    move(only(first)[0], 0.0, 0.0)
    move(only(first)[0], 10.0, 0.0)
    assert not first.in_force("r")
    off = builders.snapshot(of(schedule, enabled=False), previous=first)
    assert off.scheduled == []
    again = builders.snapshot(of(schedule), previous=off)
    assert move(only(again)[0], 20.0, 0.0)
    assert again.in_force("r")


def test_a_reset_begins_it_anew() -> None:
    store = Store()
    change = store.replace_files([Document("f", (of(Schedule(duration=10.0)),))], 0.0, "f")
    compiled = store.commit(change)  # type: ignore[arg-type]
    assert isinstance(compiled, Snapshot)
    rule, _ = only(compiled)
    move(rule, 0.0, 0.0)
    move(rule, 10.0, 0.0)
    assert not rule.state.awake
    assert store.reset("r") is None
    assert move(rule, 20.0, 0.0)
    assert rule.state.awake


def test_turns_come_between_sets() -> None:
    """A window that opens while a set is being compiled: its connections are older than that set's rules."""
    store = Store()
    one, two = builders.rule("one"), builders.rule("two")
    store.commit(store.replace_files([Document("f", (one,))], 0.0, "f"))  # type: ignore[arg-type]
    change = store.replace_files([Document("f", (one, two))], 0.0, "f")
    turned = store.turn()
    assert (turned.version, turned.turn, turned.sha256) == (1, 2, turned.sha256)
    assert turned.rules == store.snapshot.rules
    after = store.commit(change)  # type: ignore[arg-type]
    assert isinstance(after, Snapshot)
    assert (after.version, after.turn) == (2, 3)
    assert [rule.since_turn for rule in after.rules] == [1, 3]
    assert compile_rules([], after, 3, 0.0, "x").turn == 4


def explained(compiled: Snapshot) -> tuple[str, list[str]]:
    (entry,) = explain(compiled, facts())
    return entry["outcome"], entry["sample"]


def test_what_is_said_of_it() -> None:
    compiled = builders.snapshot(of(Schedule(start_after=10.0, duration=100.0, ramp=50.0)))
    rule, opening = only(compiled)
    assert explained(compiled) == ("fires", ["schedule: not running here, taken as open"])
    move(rule, 1000.0, OFFSET)
    waits = "schedule: opens 2026-11-23T09:00:10.000Z, does not fire"
    assert explained(compiled) == ("not_sampled", [waits])
    move(rule, 1010.0, OFFSET)
    opening.clock = lambda: 1010.0
    outcome, said = explained(compiled)
    assert outcome == "not_sampled"
    assert said == [
        "schedule: open until 2026-11-23T09:01:50.000Z", "percent: 0 % on the way to 100 %, does not fire"
    ]  # fmt: skip
    opening.clock = lambda: 1060.0
    assert explained(compiled) == ("fires", ["schedule: open until 2026-11-23T09:01:50.000Z"])
    move(rule, 1110.0, OFFSET)
    assert explained(compiled) == ("not_sampled", ["schedule: ended, does not fire"])
    endless = builders.snapshot(of(Schedule(start_after=1.0)))
    move(only(endless)[0], 0.0, 0.0)
    move(only(endless)[0], 1.0, 0.0)
    assert explained(endless) == ("fires", ["schedule: open"])
