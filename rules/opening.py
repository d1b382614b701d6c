"""Where a rule stands in its schedule.  It is moved at the edges of its windows, by ``rules.schedule``."""

from collections.abc import Callable
from typing import Final

from rules.model import Schedule

WAITING: Final = 0  # for its first window, or the next one
ACTIVE: Final = 1
ENDED: Final = 2
STATES: Final[tuple[str, ...]] = ("waiting", "active", "ended")


class Opening:
    """The window that is open, if any.  Times are seconds of the clock that was handed in.

    ``edge`` is when this changes next, 0.0: never.
    """

    __slots__ = (
        "began", "clock", "edge", "offset", "opened", "ramp", "schedule", "since_turn", "state", "window"
    )  # fmt: skip

    def __init__(self, schedule: Schedule) -> None:
        self.schedule: Schedule = schedule
        self.ramp: float = schedule.ramp
        self.clock: Callable[[], float] | None = None
        self.since_turn: int = -1  # of the snapshot with which the rule came into force
        self.began: float = -1.0  # when it did, below 0: it has not
        self.state: int = WAITING
        self.opened: float = 0.0  # when the window did, for the ramp
        self.window: float = -1.0  # which window it is; below 0: there was none
        self.edge: float = 0.0
        self.offset: float = 0.0  # from these times to unix times

    def share(self, percent: int) -> int:
        """Give how much of a percentage (in millionths) the ramp has climbed to."""
        clock = self.clock
        if self.ramp <= 0.0 or clock is None:
            return percent
        climbed = (clock() - self.opened) / self.ramp
        return percent if climbed >= 1.0 else max(0, int(percent * climbed))
