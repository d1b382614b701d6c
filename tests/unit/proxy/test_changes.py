"""One door: one change at a time, counted, and rules that end by themselves."""

import asyncio
import io
from typing import Any

import pytest

from proxy.changes import Changes, Done
from proxy.events import Events, Subscription
from proxy.logs import Log
from rules.model import Rule
from rules.parse import parse_rule
from rules.snapshot import Snapshot
from rules.store import INVALID, VERSION_CONFLICT, Refusal, Store
from rules.text import RulesError
from tests.unit.proxy.stalls import Stalls


def rule(name: str, **more: object) -> Rule:
    return parse_rule({"name": name, "faults": [{"delay": "1s"}], **more}, "test")


class Clock:
    """Unix time that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Door:
    """Changes, with what they installed and logged."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.installed: list[Snapshot] = []
        self.events = Events()
        self.log = Log(stream=io.StringIO(), events=self.events)
        self.reader: Subscription = self.events.subscribe()
        self.changes = Changes(Store(["web"], 1.0), self.installed.append, self.log, self.clock)

    async def event(self, kind: str) -> dict[str, Any]:
        """Wait for an event of a kind."""
        async with asyncio.timeout(5):
            while True:
                _, found, fields = await self.reader.next()
                if found == kind:
                    return fields

    async def put(self, *rules: Rule, dry_run: bool = False, expected: int | None = None) -> object:
        return await self.changes.make(
            "admin", lambda store, now: store.replace_admin(rules, now, "test", expected), dry_run
        )


@pytest.fixture
def door() -> Door:
    return Door()


async def test_a_change_is_in_force_when_it_returns(door: Door) -> None:
    done = await door.put(rule("a"), rule("b"))
    assert isinstance(done, Done)
    assert door.installed == [done.after] == [door.changes.store.snapshot]
    assert (done.before.version, done.after.version) == (0, 1)
    done = await door.put(rule("a", priority=1), rule("c"))
    assert isinstance(done, Done)
    assert (done.added, done.changed, done.removed) == (["c"], ["a"], ["b"])
    assert door.changes.reloads.results["admin", "success"] == 2


async def test_a_dry_run_changes_and_counts_nothing(door: Door) -> None:
    done = await door.put(rule("a"), dry_run=True)
    assert isinstance(done, Done)
    assert (done.added, done.dry_run) == (["a"], True)
    assert door.installed == []
    assert door.changes.store.version == 0
    assert sum(door.changes.reloads.results.values()) == 0


async def test_a_refused_change_is_counted(door: Door) -> None:
    first = await door.put(rule("a"), rule("a"))
    second = await door.put(rule("a"), expected=5)
    assert isinstance(first, Refusal)
    assert isinstance(second, Refusal)
    assert (first.kind, second.kind) == (INVALID, VERSION_CONFLICT)
    assert door.changes.reloads.results["admin", "failure"] == 2
    assert door.installed == []


async def test_a_change_that_cannot_even_be_asked_for_is_counted(door: Door) -> None:
    def ask(store: Store, now: float) -> Refusal:
        parse_rule({"name": "A"}, "test")  # as where a patch makes a rule that is none
        raise AssertionError("that was no rule")

    with pytest.raises(RulesError):
        await door.changes.make("admin", ask, dry_run=True)
    assert sum(door.changes.reloads.results.values()) == 0
    with pytest.raises(RulesError):
        await door.changes.make("admin", ask)
    assert door.changes.reloads.results["admin", "failure"] == 1
    assert door.installed == []


async def test_changes_asked_for_at_once_follow_each_other(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.changes.SLICE", 0.0)  # each gives way to the others whenever it can
    rules = [rule(f"r{number}") for number in range(300)]
    results = await asyncio.gather(*(door.put(*rules[: 30 * n]) for n in range(1, 11)))
    assert [done.after.version for done in results if isinstance(done, Done)] == list(range(1, 11))
    assert [len(snapshot.by_name) for snapshot in door.installed] == [30 * n for n in range(1, 11)]


async def test_one_of_two_with_the_same_expectation_wins(door: Door) -> None:
    results = await asyncio.gather(door.put(rule("a"), expected=0), door.put(rule("b"), expected=0))
    assert [type(result).__name__ for result in results] == ["Done", "Refusal"]


async def test_a_large_set_leaves_the_loop_free(door: Door) -> None:
    rules = [
        rule(f"r{n}", match={"host": f"h{n}.example", "path": {"regex": f"^/{n}/"}}, sample={"percent": 50})
        for n in range(2000)
    ]
    with Stalls() as stalls:
        assert isinstance(await door.put(*rules), Done)
    print(f"compiling 2,000 rules: {stalls}")
    assert stalls.worst_cpu < 0.05


async def test_a_rule_ends_when_its_time_has_come(door: Door) -> None:
    await door.put(rule("short", ttl="1ms"), rule("long", ttl="1h"), rule("ever"))
    door.clock.now += 1
    fields = await door.event("rules_expired")
    assert (fields["rules"], fields["version"]) == (["short"], 2)
    assert list(door.changes.store.snapshot.by_name) == ["long", "ever"]
    door.changes.close()


async def test_what_goes_wrong_only_delays_the_end_of_a_rule(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.changes.EXPIRE_AGAIN", 0.001)
    broken = [True, False]

    def install(snapshot: Snapshot) -> None:
        door.installed.append(snapshot)
        if broken.pop():
            raise KeyError("unthinkable")

    await door.put(rule("short", ttl="1ms"), rule("long", ttl="1s"))
    monkeypatch.setattr(door.changes, "_install", install)
    keep = door.changes._make
    trouble = ["no memory"]

    async def make(*given: Any) -> Any:
        if trouble:
            raise MemoryError(trouble.pop())
        return await keep(*given)

    monkeypatch.setattr(door.changes, "_make", make)
    door.clock.now += 0.5
    assert "no memory" in (await door.event("internal_error"))["error"]
    assert (await door.event("rules_expired"))["rules"] == ["short"]
    door.clock.now += 0.6
    assert "unthinkable" in (await door.event("internal_error"))["error"]
    assert list(door.changes.store.snapshot.by_name) == []
    door.changes.close()


async def test_time_set_back_only_delays_the_end(door: Door) -> None:
    await door.put(rule("short", ttl="1ms"))
    assert door.changes._expiry is not None
    door.changes._expiry.cancel()
    door.changes._begin_expiry()  # the timer fires, but the clock stands still
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "short" in door.changes.store.snapshot.by_name
    door.clock.now += 1
    await door.event("rules_expired")
    door.changes.close()


async def test_a_replaced_rule_does_not_end(door: Door) -> None:
    await door.put(rule("a", ttl="1h"))
    await door.put(rule("a"))
    assert door.changes.store.next_expiry() == 0
    assert door.changes._expiry is None
