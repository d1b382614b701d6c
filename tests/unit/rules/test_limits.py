"""Limits without a proxy: exact tokens, first come first served, and rooms that are forgotten."""

import random
from fractions import Fraction

import pytest

from rules.limits import (
    ADMITTED,
    MOST_KEYS,
    NO_CONNECTION,
    NO_REQUEST,
    NO_TOKEN,
    LimitFigures,
    Limits,
    Permit,
    Room,
    Waiter,
)

SECOND = 1_000_000


class Someone(Waiter):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def ask_again(self, micros: int) -> None:
        self.asked.append(micros)


def figures(**given: int) -> LimitFigures:
    made = LimitFigures()
    for name, value in given.items():
        setattr(made, name, value)
    return made


def rate(count: int, burst: int, unit: int = SECOND) -> LimitFigures:
    return figures(rate_count=count, rate_unit=unit, burst=burst)


def ask(limits: Limits, room: Room, now: int) -> int:
    return limits.ask(room, now, False, True)


@pytest.mark.parametrize("count", [1, 3, 7, 50, 333, 1_000_000])
@pytest.mark.parametrize("burst", [1, 2, 50])
def test_tokens_are_exact(count: int, burst: int) -> None:
    """Against a bucket of fractions, which loses nothing to rounding: at each call the same verdict."""
    limits = Limits(rate(count, burst))
    room = limits.find(b"", 0)
    dice = random.Random(count * 100 + burst)
    tokens, now = Fraction(burst), 0
    for _ in range(3000):
        step = dice.choice([0, 0, 1, dice.randrange(max(1, 3 * SECOND // count)), SECOND // count])
        now += step
        tokens = min(Fraction(burst), tokens + Fraction(step * count, SECOND))
        expected = NO_TOKEN
        if tokens >= 1:
            tokens -= 1
            expected = ADMITTED
        missing = room.missing(limits.figures, now)
        assert ask(limits, room, now) == expected
        assert (missing == 0) == (expected == ADMITTED)
        if expected == NO_TOKEN:
            assert missing == -((tokens - 1) * SECOND / count // 1), "the first moment"


def test_a_rate_over_an_hour_lets_just_so_many_pass() -> None:
    limits = Limits(rate(100, 10, 60 * SECOND))
    room = limits.find(b"", 0)
    passed = sum(ask(limits, room, now) == ADMITTED for now in range(0, 3600 * SECOND, 50_000))
    assert passed == 10 + 100 * 60 - 1  # the last token comes when the hour has passed


def test_other_figures_keep_what_was_taken() -> None:
    limits = Limits(rate(10, 10))
    room = limits.find(b"", 0)
    for _ in range(10):
        ask(limits, room, 0)
    assert limits.take(rate(5, 10), 1)
    room = limits.find(b"", 0)
    assert room.missing(limits.figures, 0) == SECOND // 5
    assert not limits.take(rate(99, 99), 0), "an older rule set has no say"
    limits.take(figures(requests=100), 2)
    room = limits.find(b"", 0)
    assert ask(limits, room, 0) == ADMITTED
    limits.take(rate(5, 1), 3)
    room = limits.find(b"", SECOND)
    assert ask(limits, room, SECOND) == ADMITTED


def test_verdicts_in_their_order() -> None:
    limits = Limits(figures(connections=1, requests=2, rate_count=3, rate_unit=SECOND, burst=3))
    room = limits.find(b"", 0)
    assert ask(limits, room, 0) == ADMITTED
    assert ask(limits, room, 0) == NO_CONNECTION
    assert limits.ask(room, 0, True, True) == ADMITTED
    assert limits.ask(room, 0, True, True) == NO_REQUEST
    assert limits.ask(room, 0, True, False) == ADMITTED
    assert limits.ask(room, 0, True, False) == NO_TOKEN
    assert limits.under_way() == [1, 2, 0]


def test_a_place_is_given_back_once() -> None:
    limits = Limits(figures(connections=1, requests=1))
    room = limits.find(b"", 0)
    ask(limits, room, 0)
    permit = Permit(limits, room, True, True)
    permit.give_back()
    permit.give_back()
    assert limits.under_way() == [0, 0, 0]
    assert ask(limits, room, 0) == ADMITTED


def test_first_come_first_served() -> None:
    limits = Limits(figures(requests=1, queue=3))
    room = limits.find(b"", 0)
    ask(limits, room, 0)
    waiters = [Someone() for _ in range(4)]
    assert [limits.join(room, one, NO_REQUEST) for one in waiters] == [True, True, True, False]
    assert limits.next(room, 0) is None
    assert limits.leave(room, waiters[0])
    assert not limits.leave(room, waiters[0])
    room.active = 0
    assert limits.next(room, 0) is waiters[1]
    assert limits.next(room, 0) is None
    room.active = 0
    assert limits.next(room, 0) is waiters[2]
    assert room.queued() == 0


def test_the_first_in_line_is_told_when_its_token_comes() -> None:
    limits = Limits(figures(rate_count=4, rate_unit=SECOND, burst=1, queue=9))
    room = limits.find(b"", 0)
    ask(limits, room, 0)
    one, two = Someone(), Someone()
    limits.join(room, one, NO_TOKEN)
    limits.join(room, two, NO_TOKEN)
    assert limits.next(room, 100) is None
    assert one.asked == [249_900]
    assert limits.next(room, 249_999) is None
    assert limits.next(room, 250_000) is one
    assert limits.next(room, 250_000) is None
    assert two.asked == [250_000]


def test_a_connection_at_the_door_goes_on_to_the_line() -> None:
    limits = Limits(figures(connections=1, requests=1, queue=9))
    room = limits.find(b"", 0)
    ask(limits, room, 0)
    one = Someone()
    limits.join(room, one, NO_CONNECTION)
    room.connections = 0
    assert limits.next(room, 0) is None, "its connection has a place now, its request has not"
    assert (one.placed, limits.under_way()) == (True, [1, 1, 1])
    assert limits.leave(room, one)
    assert limits.under_way() == [0, 1, 0]


def test_who_has_a_place_waits_for_no_other() -> None:
    limits = Limits(figures(connections=1, requests=0, queue=9))
    room = limits.find(b"", 0)
    one = Someone()
    one.resident = True
    limits.join(room, one, NO_REQUEST)
    assert limits.under_way() == [0, 0, 1]
    limits.leave(room, one)
    assert limits.under_way() == [0, 0, 0]


def test_rooms_with_nobody_in_them_make_room() -> None:
    limits = Limits(figures(requests=1))
    busy = limits.find(b"busy", 0)
    ask(limits, busy, 0)
    for number in range(MOST_KEYS + 10):
        limits.find(b"%d" % number, 0)
    assert len(limits.rooms) == MOST_KEYS
    assert limits.rooms[b"busy"] is busy
    assert b"0" not in limits.rooms
