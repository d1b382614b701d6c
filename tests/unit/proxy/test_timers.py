"""Waiting on the loop: never early, not at all once cancelled."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def timers_of(loop: Loop) -> LoopTimers:
    return LoopTimers(loop, lambda: loop.time)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_nothing_to_wait_for_is_the_next_turn_and_not_at_once(seconds: float) -> None:
    loop = Loop()
    noted = Noted(loop)
    timers_of(loop).after(seconds, noted)
    assert noted.times == []
    loop.run()
    assert len(noted.times) == 1


def test_a_cancelled_one_is_not_called() -> None:
    loop = Loop()
    noted = Noted(loop)
    for seconds in (0.0, 0.0003, 0.5):
        timer = timers_of(loop).after(seconds, noted)
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


def test_cancel_after_it_fired_does_nothing() -> None:
    loop = Loop()
    noted = Noted(loop)
    timer = timers_of(loop).after(0.01, noted)
    loop.run()
    timer.cancel()
    assert len(noted.times) == 1


def test_each_fires_once_in_order() -> None:
    loop = Loop()
    noted = [Noted(loop) for _ in range(3)]
    timers = timers_of(loop)
    for seconds, one in zip((0.3, 0.1, 0.2), noted, strict=True):
        timers.after(seconds, one)
    loop.run()
    assert [round(one.times[0] - 100.0, 2) for one in noted] == [0.3, 0.1, 0.2]
    assert timers.now() == loop.time


async def test_on_a_real_loop() -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    fired: asyncio.Future[float] = loop.create_future()

    class Done(Callback):
        def fire(self) -> None:
            fired.set_result(loop.time())

    LoopTimers(loop, loop.time).after(0.005, Done())
    assert await fired - begun >= 0.005
