"""Which of the matches fire: the parts of a sample in their order."""

import pytest

from rules.draw import MILLION, Draws
from rules.facts import Facts
from rules.sample import (
    FIRES,
    NO_KEY,
    NOT_DRAWN,
    NOT_THIS_ONE,
    TOO_MANY_ACTIVE,
    USED_UP,
    VERDICTS,
    RuleState,
    Sampling,
    StickyKey,
    Tally,
    unit_of,
)
from tests.support.builders import facts


def sampling(
    percent: int = MILLION, sticky: str = "", every: int = 0, first: int = -1, max_active: int = -1
) -> Sampling:
    key = StickyKey(sticky) if sticky else None
    return Sampling(Draws("0", "r", -1), percent, key, every, first, max_active)


def verdicts(one: Sampling, count: int) -> list[int]:
    return [one.verdict(Tally(), at, b"#%d" % at) for at in range(1, count + 1)]


def test_an_empty_sample_always_fires() -> None:
    assert verdicts(sampling(), 100) == [FIRES] * 100


def test_every() -> None:
    fired = [at for at, verdict in enumerate(verdicts(sampling(every=10), 35), 1) if verdict == FIRES]
    assert fired == [10, 20, 30]
    assert verdicts(sampling(every=1), 3) == [FIRES] * 3


def test_percent_zero_never_fires_and_a_hundred_always() -> None:
    assert set(verdicts(sampling(percent=0), 5_000)) == {NOT_DRAWN}
    assert set(verdicts(sampling(percent=MILLION), 5_000)) == {FIRES}


def test_the_smallest_percentage_is_a_millionth() -> None:
    draws = Draws("0", "r", -1)
    lowest = min(range(200_000), key=lambda at: draws.millionth(b"#%d" % at))
    number = draws.millionth(b"#%d" % lowest)
    assert number < 100
    assert sampling(percent=number).verdict(Tally(), lowest, b"#%d" % lowest) == NOT_DRAWN
    assert sampling(percent=number + 1).verdict(Tally(), lowest, b"#%d" % lowest) == FIRES


def test_raising_percent_keeps_those_already_hit() -> None:
    hit: set[bytes] = set()
    for percent in (10_000, 100_000, 125_000, 500_000, 990_000, MILLION):
        now = {
            b"=user%d" % at
            for at in range(3_000)
            if sampling(percent=percent).verdict(Tally(), 1, b"=user%d" % at) == FIRES
        }
        assert hit < now
        hit = now
    assert len(hit) == 3_000


def test_max_active_and_first_have_bounds() -> None:
    tally = Tally()
    one = sampling(max_active=2, first=3)
    tally.active, tally.fired = 1, 2
    assert one.verdict(tally, 1, b"#1") == FIRES
    tally.active = 2
    assert one.verdict(tally, 1, b"#1") == TOO_MANY_ACTIVE
    tally.active, tally.fired = 0, 3
    assert one.verdict(tally, 1, b"#1") == USED_UP
    assert sampling(first=0).verdict(Tally(), 1, b"#1") == USED_UP
    assert sampling(max_active=0).verdict(Tally(), 1, b"#1") == TOO_MANY_ACTIVE


def test_the_parts_are_asked_in_order() -> None:
    full = Tally()
    full.active = full.fired = 9
    one = sampling(every=2, percent=0, max_active=1, first=1)
    assert one.verdict(full, 1, b"") == NOT_THIS_ONE
    assert one.verdict(full, 2, b"") == NO_KEY
    assert one.verdict(full, 2, b"=k") == NOT_DRAWN
    assert sampling(every=2, max_active=1, first=1).verdict(full, 2, b"=k") == TOO_MANY_ACTIVE
    assert sampling(every=2, max_active=10, first=1).verdict(full, 2, b"=k") == USED_UP


def looked_up(*names: bytes) -> Facts:
    seen = facts()
    seen.names = list(names)
    return seen


def test_a_verdict_changes_nothing() -> None:
    tally = Tally()
    one = sampling(every=2, percent=500_000, max_active=1, first=1)
    assert len({one.verdict(tally, 4, b"#4") for _ in range(10)}) == 1
    assert (tally.seen, tally.fired, tally.active) == (0, 0, 0)


@pytest.mark.parametrize(
    ("place", "seen", "key"),
    [
        ("header:x-user", facts(headers={"x-user": ["u1", "u2"]}), b"u1"),
        ("header:X-User", facts(headers={"x-user": ["u1"]}), b"u1"),
        ("header:x-user", facts(), b""),
        ("header:x-user", facts(headers={"x-user": [""]}), b""),
        ("cookie:sid", facts(headers={"cookie": ["a=1; sid=s"]}), b"s"),
        ("cookie:SID", facts(headers={"cookie": ["sid=s"]}), b""),
        ("query:id", facts(query="x=1&id=a%20b&id=c"), b"a b"),
        ("query:id", facts(query="x=1"), b""),
        ("source", facts(source="192.0.2.7"), b"192.0.2.7"),
        ("source", facts(source=""), b""),
        ("path", facts("/a"), b"/a"),
        ("name", looked_up(b"shop.test", b"other.test"), b"shop.test"),
        ("name", facts(), b""),
    ],
)
def test_sticky_keys(place: str, seen: Facts, key: bytes) -> None:
    assert StickyKey(place).find(seen) == key
    assert unit_of(StickyKey(place), 5, seen) == (b"=" + key if key else b"")


def test_without_a_sticky_key_the_ordinal_counts() -> None:
    assert unit_of(None, 5, facts()) == b"#5"


@pytest.mark.parametrize("place", ["", "header", "header:", "source:x", "path:x", "name:x", "ip"])
def test_unknown_places_of_keys(place: str) -> None:
    with pytest.raises(ValueError, match="sticky key"):
        StickyKey(place)


def test_the_headers_that_must_be_read_for_a_key() -> None:
    places = ("header:X-A", "cookie:c", "query:q", "source", "path")
    assert [StickyKey(place).header for place in places] == [b"x-a", b"cookie", b"", b"", b""]


def test_verdicts_have_names() -> None:
    assert [VERDICTS[v] for v in (FIRES, NOT_THIS_ONE, NO_KEY, NOT_DRAWN, TOO_MANY_ACTIVE, USED_UP)] == [
        "fires",
        "every",
        "sticky",
        "percent",
        "max_active",
        "first",
    ]


def test_a_reset_state_keeps_only_what_is_under_way() -> None:
    state = RuleState(2)
    state.matches = state.keyless = 3
    state.tally.fired = state.tally.active = 2
    state.faults[1].tally.seen = state.faults[1].tally.fired = state.faults[1].tally.active = 1
    state.faults[1].memory.append(1.0)
    state.injected[0] = state.shadowed[1] = 4
    state.reset()
    assert (state.matches, state.keyless, state.fired, state.active, state.era) == (0, 0, 0, 2, 1)
    assert (state.injected, state.shadowed) == ([0, 0], [0, 0])
    fault = state.faults[1]
    assert (fault.tally.seen, fault.tally.fired, fault.tally.active, fault.memory) == (0, 0, 1, [])
