"""Moves a rule along its schedule, and says where it stands.  The time comes in.

``now`` counts seconds as the clock of the data plane does, which nobody sets; ``offset`` is what has to be
added for unix time, by which cron goes.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from rules.compiled import CompiledRule
from rules.cron import NeverComes, Ticks
from rules.model import Schedule
from rules.opening import ACTIVE, ENDED, WAITING, Opening

_NEVER: Final = 0.0


@lru_cache(maxsize=1024)
def _ticks(text: str, timezone: str) -> Ticks:
    return Ticks(text, timezone)


def move(rule: CompiledRule, now: float, offset: float) -> bool:
    """Move a rule in force to where its schedule is now; True: a window has opened or closed."""
    state = rule.state
    opening = state.opening
    if opening is None:
        return False
    if opening.began < 0.0 or opening.since_turn != rule.since_turn:
        opening.since_turn = rule.since_turn
        opening.began = now
        opening.window = -1.0
    stand = _stand(opening.schedule, opening.began, now, offset)
    changed = (stand.state == ACTIVE) != state.awake or (state.awake and stand.window != opening.window)
    opening.state = stand.state
    opening.edge = stand.edge
    opening.offset = offset
    state.awake = stand.state == ACTIVE
    if state.awake and stand.window != opening.window:
        opening.window = stand.window
        opening.opened = stand.opened
    return changed


class _Stand:
    """Where a schedule is: its state, the next edge, which window is open and since when."""

    def __init__(self, state: int, edge: float, window: float = -1.0, opened: float = 0.0) -> None:
        self.state = state
        self.edge = edge
        self.window = window
        self.opened = opened


def _stand(schedule: Schedule, began: float, now: float, offset: float) -> _Stand:
    start = began + schedule.start_after
    if schedule.cron:
        return _stand_of_cron(schedule, start, now, offset)
    if now < start:
        return _Stand(WAITING, start)
    if not schedule.duration:
        return _Stand(ACTIVE, _NEVER, start, start)
    end = start + schedule.duration
    return _Stand(ACTIVE, end, start, start) if now < end else _Stand(ENDED, _NEVER)


def _stand_of_cron(schedule: Schedule, start: float, now: float, offset: float) -> _Stand:
    """Each tick opens a window, also where the one before is still open."""
    ticks = _ticks(schedule.cron, schedule.timezone)
    at = max(now, start)
    tick = _or_never(ticks.last, at + offset)
    following = _or_never(ticks.after, at + offset)
    close = tick + schedule.duration - offset if tick else _NEVER
    if at >= close:
        return _Stand(WAITING, following - offset if following else _NEVER)
    if now < start:
        return _Stand(WAITING, start)
    opened = tick - offset
    edge = min(close, following - offset) if following else close
    return _Stand(ACTIVE, edge, tick, max(opened, start) if schedule.start_after else opened)


def _or_never(ask: Callable[[float], float], moment: float) -> float:
    try:
        return ask(moment)
    except NeverComes:
        return _NEVER


def describe(opening: Opening) -> tuple[float, float]:
    """Give when the next window opens and when this one closes, as unix times; 0.0: never."""
    edge = opening.edge + opening.offset if opening.edge else _NEVER
    schedule = opening.schedule
    if opening.state == WAITING:
        return edge, _NEVER
    if opening.state == ENDED or not schedule.cron:
        return _NEVER, edge
    return _or_never(_ticks(schedule.cron, schedule.timezone).after, edge - 1e-3), edge


def wakes(rule: CompiledRule) -> bool:
    """Say whether the schedule of a rule lets it act; where none is being run, it does."""
    opening = rule.state.opening
    return rule.state.awake or (opening is not None and opening.began < 0.0)


def words(rule: CompiledRule) -> list[str]:
    """Say in words where a rule with a schedule stands; [] for one without."""
    opening = rule.state.opening
    if opening is None:
        return []
    if opening.began < 0.0:
        return ["schedule: not running here, taken as open"]
    opens, closes = describe(opening)
    if opening.state == ENDED:
        return ["schedule: ended, does not fire"]
    if opening.state == WAITING:
        return [
            f"schedule: opens {written(opens)}, does not fire" if opens else "schedule: closed, does not fire"
        ]
    return [f"schedule: open until {written(closes)}" if closes else "schedule: open"]


def written(moment: float) -> str:
    """Write a unix time for people."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
