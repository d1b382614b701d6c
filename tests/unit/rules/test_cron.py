"""Ticks of cron expressions: fields, time zones, and what summer time does to them."""

from datetime import UTC, datetime

import pytest

from rules.cron import Ticks


def at(text: str) -> float:
    """Read a time; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def said(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def following(text: str, zone: str, begin: str, count: int) -> list[str]:
    ticks, moment, found = Ticks(text, zone), at(begin), []
    for _ in range(count):
        moment = ticks.after(moment)
        found.append(said(moment))
    return found


def test_fields() -> None:
    quarters = "*/15 9-17 * * 1-5"
    friday = following(quarters, "UTC", "2026-11-20 17:29:59", 3)
    assert friday == ["2026-11-20 17:30:00", "2026-11-20 17:45:00", "2026-11-23 09:00:00"]
    assert following("0 0 29 2 *", "UTC", "2026-01-01", 1) == ["2028-02-29 00:00:00"]
    assert following("30 12 1 JAN,jul *", "UTC", "2026-01-02", 1) == ["2026-07-01 12:30:00"]
    assert following("0 0 * * 7", "UTC", "2026-11-21", 1) == ["2026-11-22 00:00:00"]


def test_a_tick_at_this_very_second_is_the_last_one_and_not_the_next() -> None:
    ticks = Ticks("0 9 * * *", "UTC")
    nine = at("2026-11-21 09:00:00")
    assert ticks.last(nine) == nine
    assert ticks.last(nine + 0.25) == nine
    assert ticks.last(nine - 0.001) == nine - 86_400
    assert ticks.after(nine) == nine + 86_400
    assert ticks.after(nine - 0.001) == nine


def test_a_time_zone() -> None:
    found = following("0 9 * * *", "Asia/Kolkata", "2026-11-21", 1)
    assert found == ["2026-11-21 03:30:00"]
    found = following("0 9 * * *", "America/New_York", "2026-03-07", 2)
    assert found == ["2026-03-07 14:00:00", "2026-03-08 13:00:00"], "on the 8th summer time begins"


def test_what_the_clock_skips_comes_at_once() -> None:
    """In Berlin 02:30 is no time on 29 March 2026: the clock goes from 02:00 to 03:00."""
    found = following("30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", 3)
    assert found == ["2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00"]


def test_what_the_clock_repeats_comes_once() -> None:
    """In Berlin 02:30 is twice on 25 October 2026."""
    found = following("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", 2)
    assert found == ["2026-10-25 00:30:00", "2026-10-26 01:30:00"]


def test_with_stars_elapsed_time_counts() -> None:
    found = following("*/30 * * * *", "Europe/Berlin", "2026-10-25 00:00", 4)
    assert found == [f"2026-10-25 {clock}:00" for clock in ("00:30", "01:00", "01:30", "02:00")]


@pytest.mark.parametrize("text", ["61 * * * *", "* * * * 1,2,x", "5-1 * * * *", "* * * * 1#6", "-1 * * * *"])
def test_bad_expressions(text: str) -> None:
    with pytest.raises(ValueError, match="bad "):
        Ticks(text, "UTC").after(0.0)


def test_a_day_that_never_comes() -> None:
    with pytest.raises(ValueError, match="bad day-of-month"):
        Ticks("0 0 30 2 *", "UTC").after(0.0)
