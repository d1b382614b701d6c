"""Gates: how much passes when, told the time and nothing else."""

from itertools import pairwise

import pytest

from proxy.gates import SEGMENT, DripGate, Gate, LossGate, RateGate
from rules.body_actions import Drip, Lose, Throttle
from tests.faults.cases import dice


def walk(gate: Gate, size: int, now: float = 1000.0, late: float = 0.0) -> list[tuple[float, int]]:
    """Let so many bytes pass: when each piece does (from the beginning), and its size.

    ``late``: so much later than asked the timer fires.
    """
    begun = now
    passed = []
    busy = False
    while size:
        piece = gate.next(size, now, busy)
        if gate.when > now:
            now = gate.when + late
        passed.append((now - begun, piece))
        size -= piece
        busy = True
    return passed


def throttled(rate: float, burst: float = 0.0, bucket: list[float] | None = None, slot: int = 0) -> RateGate:
    return RateGate(Throttle(rate, burst), [] if bucket is None else bucket, slot)


@pytest.mark.parametrize("late", [0.0, 0.001, 0.3])
@pytest.mark.parametrize(
    ("rate", "size"), [(1.0, 7), (100.0, 1000), (65536.0, 655360), (1e9, 10_000_000_000)]
)
def test_a_rate_holds_however_late_the_timer_is(rate: float, size: int, late: float) -> None:
    passed = walk(throttled(rate), size, late=late)
    assert passed[-1][0] == pytest.approx(size / rate, rel=1e-6, abs=late + 1e-6)
    assert sum(piece for _, piece in passed) == size
    total = 0
    for when, piece in passed:  # never ahead of the rate
        total += piece
        assert total <= when * rate * (1 + 1e-9) + 1e-3


def test_pieces_are_small() -> None:
    assert {piece for _, piece in walk(throttled(65536.0), 65536)} == {1310, 36}
    assert walk(throttled(1.0), 2) == [(1.0, 1), (2.0, 1)]


def test_a_burst_runs_ahead_at_first_and_after_a_pause() -> None:
    gate = throttled(1000.0, 500.0)
    passed = walk(gate, 1000)
    assert sum(piece for when, piece in passed if when == 0.0) == 500
    assert passed[-1][0] == pytest.approx(0.5)
    passed = walk(gate, 1000, 1000.5 + 0.25)  # a quarter of a second gives half of the bucket
    assert sum(piece for when, piece in passed if when == 0.0) == 240  # in whole pieces
    assert passed[-1][0] == pytest.approx(0.75)


def test_after_a_pause_nothing_is_left_of_it_without_a_burst() -> None:
    gate = throttled(1000.0)
    walk(gate, 100)
    assert walk(gate, 100, 2000.0)[-1][0] == pytest.approx(0.1)


@pytest.mark.parametrize(("gap", "seconds"), [(0.0, 10.0), (0.03, 10.0), (0.09, 10.0), (0.11, 12.0)])
def test_the_time_in_which_more_is_read_is_made_up_for(gap: float, seconds: float) -> None:
    """Ten reads of a second's worth each, whose last piece is late, too.  Never ahead of the rate."""
    gate = throttled(1000.0)
    now = begun = 1000.0
    for number in range(1, 11):
        now += walk(gate, 1000, now, late=gap)[-1][0]
        assert now - begun > number - 1e-6
        gate.drained = now
        now += gap
    assert now - begun == pytest.approx(seconds, abs=2 * gap + 1e-6)


def test_a_source_that_is_slow_saves_up_little() -> None:
    """It sends half of the rate for ten seconds: then a tenth of a second, or two, is all that runs ahead."""
    gate = throttled(1000.0)
    now = 1000.0
    for _ in range(200):
        waited = walk(gate, 25, now)[-1][0]
        if waited:
            gate.drained = now + waited
        now += 0.05
    assert walk(gate, 1000, now)[-1][0] >= 0.8


def test_a_process_that_was_stopped_does_not_burst() -> None:
    gate = throttled(1000.0)
    gate.next(10_000, 1000.0, False)
    total, now = 0, 1500.0
    while gate.when <= now:
        total += gate.next(10_000, now, True)
    assert total == 1020  # a second's worth, and the piece that waits


def test_those_who_share_a_bucket_take_turns() -> None:
    bucket: list[float] = []
    one, other = throttled(1000.0, bucket=bucket), throttled(1000.0, bucket=bucket)
    due = []
    for _ in range(5):
        for gate in (one, other):
            gate.next(20, 1000.0, False)
            due.append(round(gate.when - 1000.0, 3))
    assert due == [round(0.02 * n, 3) for n in range(1, 11)]


def test_directions_have_places_of_their_own_in_a_bucket_and_survive_its_reset() -> None:
    bucket: list[float] = []
    down, up = throttled(1000.0, bucket=bucket), throttled(1000.0, bucket=bucket, slot=1)
    assert walk(up, 100)[-1][0] == walk(down, 100)[-1][0] == pytest.approx(0.1)
    bucket.clear()
    assert walk(up, 100)[-1][0] == pytest.approx(0.1)


def test_drops_come_one_by_one() -> None:
    gate = DripGate(Drip(2, 0.01))
    assert [(round(when, 6), piece) for when, piece in walk(gate, 5)] == [(0.0, 2), (0.01, 2), (0.02, 1)]
    ((when, _),) = walk(gate, 2, 1000.025)  # the next one is due soon
    assert when == pytest.approx(0.005)
    assert walk(gate, 2, 2000.0) == [(0.0, 2)]  # or was long ago


def test_drops_do_not_flow_together_when_the_timer_was_late() -> None:
    whens = [when for when, _ in walk(DripGate(Drip(1, 0.01)), 5, late=0.5)]
    assert [round(b - a, 6) for a, b in pairwise(whens)] == [0.51] * 4
    slightly = [when for when, _ in walk(DripGate(Drip(1, 0.01)), 5, late=0.001)]
    assert [round(when, 6) for when in slightly] == [0.0, 0.011, 0.021, 0.031, 0.041]


def losing(share: float, correlation: float = 0.0, number: int = 0) -> LossGate:
    return LossGate(Lose(share, correlation, 0.2, 2.0), dice(number))


def test_nothing_waits_where_nothing_is_lost() -> None:
    assert {when for when, _ in walk(losing(0.0), 100 * SEGMENT)} == {0.0}


def test_as_many_segments_wait_as_are_lost_and_longer_each_time() -> None:
    count = 40_000
    gate = losing(0.1)
    stalls: list[float] = []
    for _ in range(count):
        gate.next(SEGMENT, 1000.0, False)
        stalls.append(gate.when - max(1000.0, sum(stalls) + 1000.0))
    steps = [sum(round(stall, 3) == step for stall in stalls) / count for step in (0.0, 0.2, 0.6, 1.4)]
    assert steps == pytest.approx([0.9, 0.09, 0.009, 0.0009], rel=0.1, abs=3e-4)


def test_a_segment_is_as_long_however_it_comes() -> None:
    whole, split = losing(0.5, number=3), losing(0.5, number=3)
    at_once = walk(whole, 10 * SEGMENT)
    piecemeal = []
    now = 1000.0
    for size in (1, SEGMENT - 2, 2, 3 * SEGMENT + 5, 6 * SEGMENT - 6):
        piecemeal += [(when + now - 1000.0, piece) for when, piece in walk(split, size, now)]
        now = 1000.0 + piecemeal[-1][0]
    assert piecemeal[-1][0] == pytest.approx(at_once[-1][0])


def test_what_is_always_lost_comes_after_the_last_try() -> None:
    gate = losing(1.0)
    gate.next(1, 1000.0, False)
    assert gate.when - 1000.0 == pytest.approx(sum(min(0.2 * 2**n, 120.0) for n in range(15)))


def test_correlated_losses_come_in_bursts_and_are_no_more() -> None:
    def lost(gate: LossGate) -> list[bool]:
        return [gate._lost() for _ in range(20_000)]

    plain, tied = lost(losing(0.2)), lost(losing(0.2, 0.9))
    assert sum(plain) / 20_000 == pytest.approx(0.2, rel=0.05)
    assert sum(tied) / 20_000 == pytest.approx(0.2, rel=0.15)
    pairs = [sum(a and b for a, b in pairwise(seen)) / sum(seen) for seen in (plain, tied)]
    assert pairs[0] == pytest.approx(0.2, rel=0.1)
    assert pairs[1] > 0.5
