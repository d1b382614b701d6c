"""Puts the windows of schedules into effect: at each edge the same rule set comes into force as another turn.

So what a rule held when its window closed is released, and what is open plans anew, as with any change.  One
timer for all rules, none where no rule has a schedule.
"""

from collections.abc import Callable
from typing import Final

from proxy.logs import Log, timestamp
from proxy.net.timers import Callback, Timer, Timers
from rules.compiled import CompiledRule
from rules.opening import ACTIVE, STATES
from rules.schedule import describe, move
from rules.snapshot import Snapshot

# Cron goes by unix time, which may be set: so many seconds later at most it is looked at again.
_LOOK_AGAIN: Final = 30.0


class Schedules(Callback):
    """Knows the rules in force that have a schedule.

    ``turn`` makes the next turn of the set in force, ``install`` puts it in force.
    """

    def __init__(
        self,
        timers: Timers,
        wall_clock: Callable[[], float],
        log: Log,
        turn: Callable[[], Snapshot],
        install: Callable[[Snapshot], None],
    ) -> None:
        self.timers = timers
        self.wall_clock = wall_clock
        self.log = log
        self.turn = turn
        self.install = install
        self.rules: list[CompiledRule] = []
        self.timer: Timer | None = None

    def adopt(self, snapshot: Snapshot) -> None:
        """Set the rules of a snapshot, which is about to come into force, to where their schedules are."""
        self.rules = snapshot.scheduled
        _count_from(snapshot, self._moved())
        self._plan()

    def look(self) -> None:
        """Look at the time: a schedule may have begun anew."""
        moved = self._moved()
        if moved:
            snapshot = self.turn()
            _count_from(snapshot, moved)
            self.install(snapshot)
        self._plan()

    def fire(self) -> None:
        self.timer = None
        self.look()

    def close(self) -> None:
        """Look no more."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _moved(self) -> list[CompiledRule]:
        """Move all rules to where they are now; gives those whose window has opened or closed."""
        if not self.rules:
            return []
        now = self.timers.now()
        offset = self.wall_clock() - now
        moved = []
        for rule in self.rules:
            opening = rule.state.opening
            if opening is not None:
                opening.clock = self.timers.clock_itself()
                if move(rule, now, offset):
                    moved.append(rule)
        for rule in moved:
            self._tell(rule)
        return moved

    def _tell(self, rule: CompiledRule) -> None:
        opening = rule.state.opening
        if opening is None:
            return
        opens, closes = describe(opening)
        fields = {"rule": rule.name, "state": STATES[opening.state]}
        if opens:
            fields["opens"] = timestamp(opens)
        if closes:
            fields["closes"] = timestamp(closes)
        name = "rule_window_opened" if opening.state == ACTIVE else "rule_window_closed"
        self.log.event("info", name, **fields)

    def _plan(self) -> None:
        """Wait for the next edge."""
        self.close()
        edges = [rule.state.opening.edge for rule in self.rules if rule.state.opening is not None]
        waits = [max(0.0, edge - self.timers.now()) for edge in edges if edge]
        if waits:
            self.timer = self.timers.after(min(*waits, _LOOK_AGAIN), self)


def _count_from(snapshot: Snapshot, moved: list[CompiledRule]) -> None:
    """Note from which turn on the rules that have just begun to act do so."""
    for rule in moved:
        if rule.state.awake:
            rule.state.turn = snapshot.turn
