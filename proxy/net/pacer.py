"""Wakes many who wait for short times, over and over, by one timer.

A thousand throttled bodies with a timer each keep the loop busy with timers: nothing new would be read.  Here
all that is due is served in one go, written in one go, and as much time passes before the next one as this
one took, so that half of the loop's time is left for others.  Pieces become larger where there is too much to
do, and no rate is lost (see ``proxy.gates``).
"""

from typing import Final

from proxy.net.pipe import Cork
from proxy.net.timers import Callback, Timer, Timers

# Two goes are so many seconds apart for each one who waits: at most 10,000 callbacks in a second.
_SPACING: Final = 0.0001


class Pacer(Callback):
    """Those who wait, and when each is due: it is called then or later, once for each ``wait``."""

    def __init__(self, timers: Timers, cork: Cork) -> None:
        self.timers: Timers = timers
        self.cork: Cork = cork
        self.waiting: dict[Callback, float] = {}
        self.timer: Timer | None = None
        self.at: float = 0.0  # when the timer fires
        self.earliest: float = 0.0  # the next one may be served
        self.serving: bool = False

    def wait(self, callback: Callback, when: float) -> None:
        """Call back at that time of the clock; instead of what was asked before, if that waits still."""
        self.waiting[callback] = when
        if not self.serving:
            self._arm(when)

    def forget(self, callback: Callback) -> None:
        """Do not call back any more."""
        self.waiting.pop(callback, None)
        if not self.waiting and self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _arm(self, when: float) -> None:
        when = max(when, self.earliest)
        if self.timer is not None:
            if self.at <= when:
                return
            self.timer.cancel()
        self.at = when
        self.timer = self.timers.after(when - self.timers.now(), self)

    def fire(self) -> None:
        self.timer = None
        begun = self.timers.now()
        self.serving = True
        self.cork.closed = True
        for callback in list(self.waiting):
            if self.waiting.get(callback, begun + 1.0) <= begun:
                self.waiting.pop(callback)
                callback.fire()
        self.cork.flush()
        self.serving = False
        ended = self.timers.now()
        self.earliest = max(ended + (ended - begun), begun + _SPACING * len(self.waiting))
        if self.waiting:
            self._arm(min(self.waiting.values()))
