"""Waiting without Tasks: a callback after so many seconds, never early.

uvloop's timers have steps of a millisecond and count from the time at which the loop last woke:
they may fire up to 1.4 ms early (measured on uvloop 0.23).  A delay must never be shorter than
asked, so each timer looks at the clock when it fires and waits on for what is left.
"""

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Final

from mypy_extensions import mypyc_attr

# What is left below this is waited for by turning the loop: a further timer would overshoot by a millisecond.
_SPIN: Final = 0.0006

# A machine that has slept for long wakes up late, and the loop counts from when it last woke: a longer wait
# (seconds) ends with a short one of about so much, which begins on a machine that is awake.
_LONG: Final = 0.01
_REST: Final = 0.003


@mypyc_attr(allow_interpreted_subclasses=True)
class Callback:
    """Something to call once when its time has come."""

    def fire(self) -> None:
        """Do what was waited for."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Timer:
    """A callback that waits; ``cancel`` may be called at any time, also after it fired."""

    def cancel(self) -> None:
        """Make sure that the callback is not called any more."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Timers:
    """The seam between the data plane and time: the real one below, a fake one in tests."""

    def now(self) -> float:
        """Give the monotonic time in seconds."""
        raise NotImplementedError

    def clock_itself(self) -> Callable[[], float]:
        """Give what tells the time, for those who ask at every exchange."""
        return self.now

    def after(self, seconds: float, callback: Callback) -> Timer:
        """Call ``callback.fire()`` once, ``seconds`` from now or up to a millisecond later, never earlier."""
        raise NotImplementedError


class LoopTimer(Timer):
    """One waiting callback on the event loop."""

    def __init__(self, timers: "LoopTimers", when: float, callback: Callback) -> None:
        self.timers: LoopTimers = timers
        self.when: float = when
        self.callback: Callback | None = callback
        self.handle: asyncio.Handle | None = None

    def arm(self) -> None:
        """Wait for what is left, and call back when nothing is."""
        callback = self.callback
        if callback is None:
            return
        left = self.when - self.timers.clock()
        if left <= 0.0:
            self.callback = None
            callback.fire()
        elif left < _SPIN:
            self.handle = self.timers.loop.call_soon(self.arm)
        elif left > _LONG:
            self.handle = self.timers.loop.call_later(left - _REST, self.arm)
        else:
            self.handle = self.timers.loop.call_later(ceil(left * 1000.0 - 0.6) / 1000.0, self.arm)

    def cancel(self) -> None:
        self.callback = None
        handle = self.handle
        if handle is not None:
            handle.cancel()


class LoopTimers(Timers):
    """Timers on asyncio's or uvloop's event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.clock: Callable[[], float] = clock

    def now(self) -> float:
        return self.clock()

    def clock_itself(self) -> Callable[[], float]:
        return self.clock

    def after(self, seconds: float, callback: Callback) -> Timer:
        timer = LoopTimer(self, self.clock() + seconds, callback)
        timer.handle = self.loop.call_soon(timer.arm) if seconds <= 0.0 else None
        if timer.handle is None:
            timer.arm()
        return timer
