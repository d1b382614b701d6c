"""What breakers count in: each outcome once, whatever the rate and wherever it falls."""

import pytest

from rules.breakers.windows import CallWindow, CyclicWindow, FollowingWindow, TimeWindow, Window


def counts(window: Window) -> tuple[int, int, int]:
    return window.calls, window.failures, window.slow


@pytest.mark.parametrize("window", [TimeWindow(10_000_000, 10), FollowingWindow(10_000_000, 10)])
def test_hits_on_the_edges_count_once(window: Window) -> None:
    """20,000 outcomes, ten at each edge between two parts and ten just before it: none is lost or double."""
    recorded = 0
    for edge in range(1_000):
        for _ in range(10):
            window.record(edge * 1_000_000, recorded % 2 == 0, recorded % 5 == 0)
            recorded += 1
        for _ in range(10):
            window.record((edge + 1) * 1_000_000 - 1, recorded % 2 == 0, recorded % 5 == 0)
            recorded += 1
        held = min(recorded, 200)
        assert counts(window) == (held, held // 2, held // 5)


def test_a_bucket_begins_at_its_edge() -> None:
    window = TimeWindow(10, 3)  # edges at 0, 3.33, 6.67, 10
    for now in (3, 4, 6, 7, 9, 10):
        window.record(now, False, False)
    window.move(13)  # in the bucket of 10 to 13.33
    assert window.calls == 5
    window.move(14)
    assert window.calls == 3
    window.move(16)
    assert window.calls == 3
    window.move(17)
    assert window.calls == 1
    window.move(20)
    assert window.calls == 0


def test_time_does_not_go_back() -> None:
    window = TimeWindow(10, 2)
    window.record(20, True, False)
    window.record(3, True, False)
    assert window.calls == 2
    window.move(1_000_000)
    assert counts(window) == (0, 0, 0)


def test_the_last_calls() -> None:
    window = CallWindow(3)
    for number in range(7):
        window.record(0, number % 2 == 0, number >= 5)
    assert counts(window) == (3, 2, 2)
    window.clear(0)
    assert counts(window) == (0, 0, 0)
    window.record(0, True, True)
    assert counts(window) == (1, 1, 1)


def test_another_number_of_calls_keeps_the_newest() -> None:
    window = CallWindow(4)
    for failed in (True, True, False, False, True):
        window.record(0, failed, False)
    smaller = window.reshaped(0, 1, 2, 0)
    assert counts(smaller) == (2, 1, 0)
    larger = window.reshaped(0, 1, 9, 0)
    assert counts(larger) == (4, 2, 0)
    larger.record(0, True, False)
    assert counts(larger) == (5, 3, 0)


@pytest.mark.parametrize("made", [TimeWindow(10_000, 10), FollowingWindow(10_000, 10)])
def test_another_time_keeps_what_is_not_too_old(made: Window) -> None:
    for now in range(0, 10_000, 1_000):
        made.record(now, True, False)
    assert counts(made.reshaped(20_000, 10, 0, 9_999)) == (10, 10, 0)
    halved = made.reshaped(5_000, 5, 0, 9_999)
    assert counts(halved) == (5, 5, 0)
    halved.move(14_000)
    assert halved.calls == 0 if isinstance(made, TimeWindow) else halved.calls <= 1


def test_a_cycle_begins_anew_when_its_time_has_passed() -> None:
    window = CyclicWindow(100, 1_000)
    window.record(1_000, True, False)
    window.move(1_100)
    assert (window.calls, window.cycle) == (1, 0)
    window.move(1_101)
    assert (window.calls, window.cycle, window.began) == (0, 1, 1_101)
    longer = window.reshaped(500, 1, 0, 1_200)
    longer.record(1_200, True, False)
    longer.move(1_601)
    assert longer.calls == 1
    longer.move(1_602)
    assert longer.calls == 0
