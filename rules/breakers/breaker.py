"""One breaker: its state and its counts.  What makes them change is the policy of its profile."""

from typing import Final

from rules.breakers.figures import ADMISSION, CLOSED, FORCED_NOT, GOBREAKER, POLLY, Figures
from rules.breakers.windows import (
    CALLS,
    CYCLES,
    EVERYTHING,
    FOLLOWING,
    TIME,
    CallWindow,
    CyclicWindow,
    FollowingWindow,
    TimeWindow,
    Window,
)

# What a breaker says to a call.
ADMITTED: Final = 0
IS_OPEN: Final = 1
NO_TRIAL_LEFT: Final = 2  # half open, and the trials that it allows are under way
OVERFLOW: Final = 3  # too many calls under way
SHED: Final = 4  # by chance, as too many calls fail
VERDICTS: Final[tuple[str, ...]] = ("admitted", "open", "half_open", "overflow", "shed")

MOST_TRANSITIONS: Final = 1000  # that wait to be told; what is beyond is only counted


class Transition:
    """A change of state of the breaker of one key, and why."""

    __slots__ = ("after", "before", "key", "reason")

    def __init__(self, key: bytes, before: int, after: int, reason: str) -> None:
        self.key: bytes = key
        self.before: int = before
        self.after: int = after
        self.reason: str = reason


class Journal:
    """The transitions that nobody has been told of yet, and how many there were in all, by the new state."""

    def __init__(self) -> None:
        self.news: list[Transition] = []
        self.counts: list[int] = [0, 0, 0]

    def note(self, transition: Transition) -> None:
        """Take in a transition."""
        self.counts[transition.after] += 1
        if len(self.news) < MOST_TRANSITIONS:
            self.news.append(transition)


class Cluster:
    """What the breakers of all keys of a rule have in common: for a mesh, a key is a host of a cluster."""

    def __init__(self) -> None:
        self.journal: Journal = Journal()
        self.hosts: dict[bytes, Breaker] = {}  # the one that was asked for longest ago comes first
        self.swept: int = -1  # envoy: when they were last looked at; -1: there has been none yet


class Breaker:
    """The state of one key.  Times are microseconds."""

    def __init__(self, key: bytes, figures: Figures, now: int, cluster: Cluster) -> None:
        self.key: bytes = key
        self.cluster: Cluster = cluster
        self.state: int = CLOSED
        self.forced: int = FORCED_NOT  # as it was when it was last asked
        self.since: int = now  # when the state began
        self.generation: int = 0  # counts the states (and gobreaker's cycles)
        self.window: Window = new_window(figures, now)
        self.consecutive: int = 0  # failures without a success between them
        self.started: int = 0  # calls let through since the state began
        self.succeeded: int = 0  # in half open: how the trials ended
        self.failed: int = 0
        self.slow: int = 0
        self.active: int = 0  # calls let through that have not ended
        self.admitted: int = 0
        self.refused: int = 0
        self.ejections: int = 0  # envoy: by how much an ejection is longer than the first
        self.recovered: int = -1  # envoy: when the last ejection ended, -1: there was none
        self.volume: int = 0  # envoy: outcomes since the last sweep, and how many of them were good
        self.good: int = 0
        self.risk: float = 0.0  # admission control: the chance that a call is shed, as it was last asked

    def turn(self, state: int, now: int, reason: str) -> None:
        """Begin another state."""
        self.cluster.journal.note(Transition(self.key, self.state, state, reason))
        self.state = state
        self.since = now
        self.renew()
        if state == CLOSED:
            self.window.clear(now)

    def renew(self) -> None:
        """Start the counts that belong to a state."""
        self.generation += 1
        self.consecutive = 0
        self.started = 0
        self.succeeded = 0
        self.failed = 0
        self.slow = 0

    def fit(self, figures: Figures, now: int) -> None:
        """Give the window the shape that the figures ask for; what has room in it stays counted."""
        window = self.window
        kind = kind_of(figures)
        if kind != window.kind:
            self.window = new_window(figures, now)
        elif not window.fits(figures.window_time, figures.window_buckets, figures.window_calls):
            self.window = window.reshaped(
                figures.window_time, figures.window_buckets, figures.window_calls, now
            )


def kind_of(figures: Figures) -> int:
    """Say which kind of window the figures ask for."""
    if figures.window_calls:
        return CALLS
    if not figures.window_time:
        return EVERYTHING
    if figures.profile in (POLLY, ADMISSION):
        return FOLLOWING
    return CYCLES if figures.profile == GOBREAKER else TIME


def new_window(figures: Figures, now: int) -> Window:
    """Make the window that the figures ask for."""
    kind = kind_of(figures)
    if kind == CALLS:
        return CallWindow(figures.window_calls)
    if kind == TIME:
        return TimeWindow(figures.window_time, figures.window_buckets)
    if kind == FOLLOWING:
        return FollowingWindow(figures.window_time, figures.window_buckets)
    if kind == CYCLES:
        return CyclicWindow(figures.window_time, now)
    return Window()
