"""Waiting without Tasks: a callback after so many seconds, never early.

uvloop's timers have steps of a millisecond and count from the time at which the loop last woke:
they may fire up to 1.4 ms early (measured on uvloop 0.23) and are on the average half a step late.
A delay must never be shorter than asked, so each timer looks at the clock when it fires and waits on
for what is left; and it should be hardly longer, so an alarm that knows no steps ends the wait.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from math import ceil
from typing import Final

from mypy_extensions import mypyc_attr

from proxy.net.alarm import Alarm

# Without an alarm, what is left below this is waited for by turning the loop: a further timer would overshoot
# by a millisecond.
_SPIN: Final = 0.0006

# A machine that has slept for long wakes up late, and the loop counts from when it last woke: a longer wait
# (seconds) ends with a short one of about so much, which begins on a machine that is awake.
_LONG: Final = 0.01
_REST: Final = 0.003

# A processor that sleeps is late, too, by a tenth of a millisecond or two: the alarm is set earlier by as
# much as it was late before, at most so many seconds; what is then left is waited for by turning the loop.
_MOST_LEAD: Final = 0.00025
_LEARN: Final = 0.25  # how much the last lateness counts among those before


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
        """Call ``callback.fire()`` once, ``seconds`` from now or up to a millisecond later, never earlier.

        Nor before this returns: who asks may keep the timer, and forget it when it fires.
        """
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
        else:
            self.wait(left)

    def wait(self, left: float) -> None:
        """Let the loop or the alarm call ``arm`` when so many seconds are over."""
        if left > _LONG:
            self.handle = self.timers.loop.call_later(left - _REST, self.arm)
        elif self.timers.alarm is not None:
            self.timers.ring_for(self, left)
        elif left < _SPIN:
            self.handle = self.timers.loop.call_soon(self.arm)
        else:
            self.handle = self.timers.loop.call_later(ceil(left * 1000.0 - 0.6) / 1000.0, self.arm)

    def cancel(self) -> None:
        self.callback = None
        handle = self.handle
        if handle is not None:
            handle.cancel()


class LoopTimers(Timers):
    """Timers on asyncio's or uvloop's event loop; ``alarm`` ends the last milliseconds of each wait."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], alarm: Alarm | None = None
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.clock: Callable[[], float] = clock
        self.alarm: Alarm | None = alarm
        # A heap: when, a number that tells apart what is due together, what is due.
        self._soon: list[tuple[float, int, LoopTimer]] = []
        self._number: int = 0
        self._ringing: bool = False
        self._due: float = 0.0  # when the alarm is to ring, 0: it is not
        self._lead: float = 0.0  # seconds, see _MOST_LEAD
        self._turning: asyncio.Handle | None = None
        if alarm is not None:
            alarm.start(self._ring)

    def now(self) -> float:
        return self.clock()

    def clock_itself(self) -> Callable[[], float]:
        return self.clock

    def after(self, seconds: float, callback: Callback) -> Timer:
        timer = LoopTimer(self, self.clock() + seconds, callback)
        if seconds <= 0.0:
            timer.handle = self.loop.call_soon(timer.arm)
        else:
            timer.wait(seconds)  # a look at the clock might find that it is over, were the machine busy
        return timer

    def ring_for(self, timer: LoopTimer, left: float) -> None:
        """Let the alarm end a wait of which so many seconds are left."""
        self._number += 1
        heappush(self._soon, (timer.when, self._number, timer))
        if self._soon[0][2] is timer and not self._ringing:
            self._wait_for_first(left)

    def _ring(self) -> None:
        """The alarm rings."""
        now = self.clock()
        if self._due:  # else it was told not to in this very turn of the loop
            late = min(max(now - self._due, 0.0), _MOST_LEAD)
            self._lead += (late - self._lead) * _LEARN
        self._fire(now)

    def _turn(self) -> None:
        """The loop has turned."""
        self._turning = None
        self._fire(self.clock())

    def _fire(self, now: float) -> None:
        """End the waits that are over, and wait for the first of the others."""
        soon = self._soon
        self._ringing = True
        try:
            while soon and soon[0][0] <= now:
                heappop(soon)[2].arm()
        finally:  # also when a callback raised: the others are still waited for
            self._ringing = False
            if soon:
                self._wait_for_first(soon[0][0] - self.clock())
            else:
                self._quieten()

    def _wait_for_first(self, left: float) -> None:
        if left > self._lead and self.alarm is not None:
            left -= self._lead
            self._due = self.clock() + left
            self.alarm.set(left)
        else:
            self._quieten()
            if self._turning is None:
                self._turning = self.loop.call_soon(self._turn)

    def _quieten(self) -> None:
        """Let the alarm ring no more."""
        if self._due and self.alarm is not None:
            self._due = 0.0
            self.alarm.clear()

    def close(self) -> None:
        """Give the alarm back; nothing is waited for any more."""
        self._soon.clear()
        if self._turning is not None:
            self._turning.cancel()
        if self.alarm is not None:
            self.alarm.close()
            self.alarm = None
