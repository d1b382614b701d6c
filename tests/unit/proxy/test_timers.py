"""Waiting on the loop: never early, not at all once cancelled."""

import asyncio
import ctypes
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.net.alarm import Alarm, alarm_on
from proxy.net.timers import Callback, LoopTimers


class Handle:
    def __init__(self, loop: "Loop", when: float, call: Any) -> None:
        self.when = when
        self.call = call
        self.cancelled = False
        loop.handles.append(self)

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Wakes up ``off`` seconds beside the time that it was asked for; counts the time itself."""

    def __init__(self, off: float = 0.0) -> None:
        self.time = 100.0
        self.off = off
        self.handles: list[Handle] = []
        self.turns = 0

    def call_soon(self, call: Any) -> Handle:
        return Handle(self, self.time, call)

    def call_later(self, seconds: float, call: Any) -> Handle:
        assert seconds >= 0
        return Handle(self, self.time + seconds + self.off, call)

    def run(self, until: float = 1e9) -> None:
        while self.handles:
            handle = min(self.handles, key=lambda one: one.when)
            if handle.when > until:
                break
            self.handles.remove(handle)
            self.time = max(self.time + 0.00001, handle.when)  # a turn takes its time
            self.turns += 1
            if not handle.cancelled:
                handle.call()


class Noted(Callback):
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.times: list[float] = []

    def fire(self) -> None:
        self.times.append(self.loop.time)


class FakeAlarm(Alarm):
    """Rings ``off`` seconds beside the time that it was set to."""

    def __init__(self, loop: Loop, off: float = 0.0) -> None:
        self.loop = loop
        self.off = off
        self.handle: Handle | None = None
        self.closed = False

    def start(self, ring: Callable[[], None]) -> None:
        self.ring = ring

    def set(self, seconds: float) -> None:
        self.clear()
        self.handle = Handle(self.loop, self.loop.time + max(seconds, 0.0) + self.off, self.ring)

    def clear(self) -> None:
        if self.handle is not None:
            self.handle.cancel()

    def close(self) -> None:
        self.closed = True


def timers_of(loop: Loop, alarm: Alarm | None = None) -> LoopTimers:
    return LoopTimers(loop, lambda: loop.time, alarm)  # type: ignore[arg-type]


@pytest.fixture(params=["with an alarm", "without"])
def loop_and_timers(request: pytest.FixtureRequest) -> tuple[Loop, LoopTimers]:
    loop = Loop()
    return loop, timers_of(loop, FakeAlarm(loop) if request.param == "with an alarm" else None)


@given(st.floats(0.0001, 20.0), st.floats(-0.0014, 0.001))
def test_never_early_and_hardly_late(seconds: float, off: float) -> None:
    """uvloop wakes up to 1.4 ms early: what is left is waited for, too."""
    loop = Loop(off)
    noted = Noted(loop)
    timers_of(loop).after(seconds, noted)
    loop.run()
    (fired,) = noted.times
    assert 0.0 <= fired - (100.0 + seconds) <= 0.0021 + max(off, 0.0)
    assert loop.turns < 200


@given(st.floats(0.0001, 20.0), st.floats(-0.0014, 0.001), st.floats(-0.0001, 0.0001))
def test_with_an_alarm_hardly_late_at_all(seconds: float, off: float, off_alarm: float) -> None:
    loop = Loop(off)
    noted = Noted(loop)
    timers_of(loop, FakeAlarm(loop, off_alarm)).after(seconds, noted)
    loop.run()
    (fired,) = noted.times
    assert 0.0 <= fired - (100.0 + seconds) <= max(off_alarm, 0.0) + 0.0001
    assert loop.turns < 20


@given(st.lists(st.tuples(st.floats(0.0003, 0.03), st.floats(-0.0001, 0.0004)), min_size=1, max_size=20))
def test_never_early_however_the_alarm_was_late_before(waits: list[tuple[float, float]]) -> None:
    loop = Loop()
    alarm = FakeAlarm(loop)
    timers = timers_of(loop, alarm)
    for seconds, off in waits:
        alarm.off = off
        noted = Noted(loop)
        due = loop.time + seconds
        timers.after(seconds, noted)
        loop.run()
        (fired,) = noted.times
        assert 0.0 <= fired - due <= max(off, 0.0) + 0.0001


@pytest.mark.parametrize(("off", "rest"), [(0.0002, 0.0), (0.0004, 0.00015)])
def test_an_alarm_that_is_always_late_is_set_earlier_within_limits(off: float, rest: float) -> None:
    """The first waits show by how much; what is left before the time is waited for by turning the loop."""
    loop = Loop()
    timers = timers_of(loop, FakeAlarm(loop, off))
    late: list[float] = []
    for _ in range(30):
        noted = Noted(loop)
        due = loop.time + 0.005
        timers.after(0.005, noted)
        loop.run()
        late += [fired - due for fired in noted.times]
    assert late[0] == pytest.approx(off, abs=0.00002)
    assert late[-1] == pytest.approx(rest, abs=0.00002)
    assert loop.turns < 30 * 30


def test_an_alarm_that_rings_although_it_was_told_not_to_teaches_nothing() -> None:
    """What another socket brought in the same turn of the loop has ended the wait, or begun a shorter one."""
    loop = Loop()
    alarm = FakeAlarm(loop)
    timers = timers_of(loop, alarm)
    for _ in range(10):
        alarm.ring()
    timers.after(0.005, Noted(loop))
    loop.run()
    assert loop.turns == 1  # it was not set earlier


def test_a_wait_that_begins_while_the_loop_turns_for_another_is_not_forgotten() -> None:
    loop = Loop()
    alarm = FakeAlarm(loop, 0.0002)
    timers = timers_of(loop, alarm)
    for _ in range(20):  # it learns
        timers.after(0.005, Noted(loop))
        loop.run()
    alarm.off = 0.0
    first, second, third = Noted(loop), Noted(loop), Noted(loop)
    begun = loop.time
    timers.after(0.002, first)
    loop.run(until=begun + 0.0019)  # the alarm has rung already
    timers.after(0.0003, second)
    timers.after(0.00002, third)
    loop.run()
    assert [len(one.times) for one in (first, second, third)] == [1, 1, 1]
    assert first.times[0] - begun == pytest.approx(0.002, abs=0.00003)
    timers.after(0.00002, first)
    timers.close()
    loop.run()
    assert len(first.times) == 1  # the turn that was due comes no more


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_nothing_to_wait_for_is_the_next_turn_and_not_at_once(seconds: float) -> None:
    loop = Loop()
    noted = Noted(loop)
    timers_of(loop).after(seconds, noted)
    assert noted.times == []
    loop.run()
    assert len(noted.times) == 1


@pytest.mark.parametrize("alarmed", [False, True])
@pytest.mark.parametrize("seconds", [1e-9, 0.0004, 0.001, 0.02])
def test_not_at_once_even_if_the_time_is_over_meanwhile(seconds: float, alarmed: bool) -> None:
    """The machine does something else while the wait begins: who waits has no timer yet to forget."""
    loop = Loop()

    def clock() -> float:
        loop.time += 0.03
        return loop.time

    noted = Noted(loop)
    timers = LoopTimers(loop, clock, FakeAlarm(loop) if alarmed else None)  # type: ignore[arg-type]
    timers.after(seconds, noted)
    assert noted.times == []
    loop.run()
    assert len(noted.times) == 1


def test_a_cancelled_one_is_not_called(loop_and_timers: tuple[Loop, LoopTimers]) -> None:
    loop, timers = loop_and_timers
    noted = Noted(loop)
    for seconds in (0.0, 0.0003, 0.5):
        timer = timers.after(seconds, noted)
        timer.cancel()
        timer.cancel()
    loop.run()
    assert noted.times == []


def test_cancelled_between_two_looks_at_the_clock() -> None:
    loop = Loop(off=-0.0014)
    noted = Noted(loop)
    timer = timers_of(loop).after(0.01, noted)
    loop.run(until=100.0095)
    timer.cancel()
    loop.run()
    assert noted.times == []


def test_cancel_after_it_fired_does_nothing(loop_and_timers: tuple[Loop, LoopTimers]) -> None:
    loop, timers = loop_and_timers
    noted = Noted(loop)
    timer = timers.after(0.01, noted)
    loop.run()
    timer.cancel()
    assert len(noted.times) == 1


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_each_fires_once_in_order(loop_and_timers: tuple[Loop, LoopTimers], scale: float) -> None:
    loop, timers = loop_and_timers
    noted = [Noted(loop) for _ in range(4)]
    for seconds, one in zip((0.3, 0.1, 0.2, 0.1), noted, strict=True):
        timers.after(seconds * scale, one)
    loop.run()
    assert [one.times[0] - 100.0 for one in noted] == pytest.approx(
        [0.3 * scale, 0.1 * scale, 0.2 * scale, 0.1 * scale], abs=0.002
    )
    assert timers.now() == loop.time


def test_what_a_callback_begins_to_wait_for_is_waited_for() -> None:
    loop = Loop()
    timers = timers_of(loop, FakeAlarm(loop))
    noted = Noted(loop)

    class Again(Callback):
        def fire(self) -> None:
            timers.after(0.002, noted)
            timers.after(0.001, noted)

    timers.after(0.005, Again())
    loop.run()
    assert [round(time - 100.005, 4) for time in noted.times] == [0.001, 0.002]


def test_others_are_still_called_where_a_callback_raises() -> None:
    loop = Loop()
    timers = timers_of(loop, FakeAlarm(loop))
    noted = Noted(loop)

    class Bad(Callback):
        def fire(self) -> None:
            raise ZeroDivisionError

    timers.after(0.005, Bad())
    timers.after(0.005, noted)
    timers.after(0.008, noted)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    loop.run()
    assert [round(time - 100.0, 3) for time in noted.times] == [0.005, 0.008]


def test_once_closed_nothing_is_called_and_the_loop_serves_what_comes_later() -> None:
    loop = Loop()
    alarm = FakeAlarm(loop)
    timers = timers_of(loop, alarm)
    noted = Noted(loop)
    timers.after(0.005, noted)
    timers.close()
    assert alarm.closed
    loop.run()
    assert noted.times == []
    timers.after(0.005, noted)
    loop.run()
    assert len(noted.times) == 1


async def all_done(timers: LoopTimers, waits: list[float]) -> list[float]:
    """Wait for each; gives by how much each was late."""
    loop = asyncio.get_running_loop()
    late: list[float] = []
    done = loop.create_future()

    class Done(Callback):
        def __init__(self, seconds: float) -> None:
            self.due = loop.time() + seconds

        def fire(self) -> None:
            late.append(loop.time() - self.due)
            if len(late) == len(waits):
                done.set_result(None)

    for seconds in waits:
        timers.after(seconds, Done(seconds))
    await done
    return late


@pytest.mark.parametrize("alarmed", [True, False])
async def test_on_a_real_loop(alarmed: bool) -> None:
    loop = asyncio.get_running_loop()
    timers = LoopTimers(loop, loop.time, alarm_on(loop) if alarmed else None)
    late = await all_done(timers, [0.0104, 0.003, 0.0121, 0.003, 0.0005])
    timers.close()
    assert min(late) >= 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="there are no such timers on this system")
async def test_the_kernels_alarm_rings_when_it_was_last_set_to() -> None:
    loop = asyncio.get_running_loop()
    alarm = alarm_on(loop)
    assert alarm is not None
    rung: list[float] = []
    over = asyncio.Event()

    def ring() -> None:
        rung.append(loop.time())
        alarm.clear()
        over.set()

    alarm.start(ring)
    begun = loop.time()
    alarm.set(60.0)
    alarm.set(0.002)
    await over.wait()
    alarm.set(0.001)
    alarm.clear()
    await all_done(LoopTimers(loop, loop.time), [0.01])
    alarm.close()
    assert len(rung) == 1
    assert rung[0] - begun >= 0.002


async def test_where_there_are_no_such_timers_there_is_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self, *_: object, **__: object) -> None:
            """A C library without them."""

    monkeypatch.setattr(ctypes, "PyDLL", Library)
    assert alarm_on(asyncio.get_running_loop()) is None
