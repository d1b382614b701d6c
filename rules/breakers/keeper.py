"""The breakers of one rule: one for each key, of which there are so many and no more."""

from typing import Final

from rules.breakers.admission import AdmissionPolicy, sheds
from rules.breakers.breaker import (
    ADMITTED,
    IS_OPEN,
    NO_TRIAL_LEFT,
    SHED,
    Breaker,
    Cluster,
    Journal,
    Transition,
)
from rules.breakers.figures import (
    ADMISSION,
    ENVOY,
    FORCED_NOT,
    GOBREAKER,
    HALF_OPEN,
    HYSTRIX,
    ISTIO,
    OPEN,
    POLLY,
    RESILIENCE4J,
    SENTINEL,
    Figures,
)
from rules.breakers.outliers import OutlierPolicy
from rules.breakers.policies import GobreakerPolicy, Policy, PollyPolicy, Resilience4jPolicy, SentinelPolicy
from rules.breakers.windows import CYCLES

MOST_KEYS: Final = 1000  # the one that was asked for longest ago makes room for another
MOST_CELLS: Final = 1_000_000  # of the windows of all keys: large windows have fewer keys
LEAST_KEYS: Final = 8
FORCED: Final = "forced"
RELEASED: Final = "released"

_OUTLIERS: Final = OutlierPolicy()
_POLICIES: Final[dict[int, Policy]] = {
    ENVOY: _OUTLIERS,
    ISTIO: _OUTLIERS,
    HYSTRIX: Policy(),
    RESILIENCE4J: Resilience4jPolicy(),
    GOBREAKER: GobreakerPolicy(),
    POLLY: PollyPolicy(),
    SENTINEL: SentinelPolicy(),
    ADMISSION: AdmissionPolicy(),
}


class Pass:
    """What a call that was let through hands back when it has ended: once, by ``end`` or by ``drop``."""

    __slots__ = ("_breaker", "_generation", "_keeper", "_since")

    def __init__(self, keeper: "Breakers", breaker: Breaker, since: int) -> None:
        self._keeper: Breakers = keeper
        self._breaker: Breaker = breaker
        self._generation: int = breaker.generation
        self._since: int = since

    def end(self, now: int, status: int, grpc_status: int, trouble: int) -> "Breakers":
        """Say how the call ended, see ``Figures.fails``; gives where there may be news now."""
        figures = self._keeper.figures
        failed = figures.fails(status, grpc_status, trouble)
        self.judge(now, failed, figures.is_slow(now - self._since))
        return self._keeper

    def judge(self, now: int, failed: bool, slow: bool) -> None:
        """Say how the call ended, judged already."""
        b = self._breaker
        b.active -= 1
        figures = self._keeper.figures
        b.fit(figures, now)
        if figures.force != FORCED_NOT:
            b.window.record(now, failed, slow)
        else:
            _POLICIES[figures.profile].ended(b, figures, now, self._generation, failed, slow)

    def drop(self, now: int) -> "Breakers":
        """Say that the caller went away before the end."""
        b = self._breaker
        b.active -= 1
        figures = self._keeper.figures
        b.fit(figures, now)
        if figures.force == FORCED_NOT:
            _POLICIES[figures.profile].dropped(b, figures, now, self._generation)
        return self._keeper


class Breakers:
    """All that a rule's breaker remembers.  Times are whole microseconds."""

    def __init__(self, rule: str, figures: Figures) -> None:
        self.rule: str = rule  # its name
        self.figures: Figures = figures
        self.version: int = -1  # of the rule set that the figures are of
        self.verdict: int = ADMITTED  # of the last call
        self.admitted: int = 0
        self.refused: int = 0
        self.evicted: int = 0  # keys that had to make room
        self.cluster: Cluster = Cluster()
        self.journal: Journal = self.cluster.journal
        self.keys: dict[bytes, Breaker] = self.cluster.hosts

    def take(self, figures: Figures, version: int) -> None:
        """Work with these figures from now on, unless those of a later rule set came before."""
        if version >= self.version:
            self.version = version
            self.figures = figures

    def admit(self, key: bytes, now: int, draw: float = 1.0) -> Pass | None:
        """Let a call through, or not: then ``verdict`` says why not.

        ``draw``, from 0 up to and without 1, decides where calls are shed by chance; with 1 none is.
        """
        b = self._find(key, now)
        figures = self.figures
        if figures.force != FORCED_NOT or b.forced != FORCED_NOT:
            verdict = self._forced(b, now)
        else:
            b.fit(figures, now)
            verdict = _POLICIES[figures.profile].admit(b, figures, now)
            if figures.profile == ADMISSION and b.risk > 0.0 and sheds(b.risk, draw):
                verdict = SHED
        self.verdict = verdict
        if verdict != ADMITTED:
            b.refused += 1
            self.refused += 1
            return None
        b.active += 1
        b.admitted += 1
        self.admitted += 1
        return Pass(self, b, now)

    def _find(self, key: bytes, now: int) -> Breaker:
        """Find the breaker of a key, or make it; the order of the keys is that of their last use."""
        b = self.keys.pop(key, None)
        if b is None:
            most = most_keys(self.figures)
            while len(self.keys) >= most:
                self.evicted += 1
                del self.keys[next(iter(self.keys))]
            if self.cluster.swept < 0:
                self.cluster.swept = now
            b = Breaker(key, self.figures, now, self.cluster)
        self.keys[key] = b
        return b

    def _forced(self, b: Breaker, now: int) -> int:
        """Say what a forced state says, or go back to the state that was left."""
        figures = self.figures
        if b.forced != figures.force:
            before = b.state if b.forced == FORCED_NOT else b.forced
            after = b.state if figures.force == FORCED_NOT else figures.force
            b.forced = figures.force
            if before != after:
                why = RELEASED if figures.force == FORCED_NOT else FORCED
                self.journal.note(Transition(b.key, before, after, why))
        if figures.force == FORCED_NOT:
            b.fit(figures, now)
            return _POLICIES[figures.profile].admit(b, figures, now)
        if figures.force == OPEN:
            return IS_OPEN
        if figures.force == HALF_OPEN and b.active >= figures.half_open_calls:
            return NO_TRIAL_LEFT
        return ADMITTED

    def news(self) -> list[Transition]:
        """Give the transitions that nobody has been told of, once."""
        told = self.journal.news
        if told:
            self.journal.news = []
        return told

    def state_of(self, b: Breaker) -> int:
        """Say in which state a breaker is, or is held."""
        return b.state if self.figures.force == FORCED_NOT else self.figures.force

    def look(self, now: int) -> list[Breaker]:
        """Give all breakers, the one that was asked last first, with windows as they are now."""
        found = list(self.keys.values())
        found.reverse()
        for b in found:
            if b.window.kind != CYCLES:  # a cycle begins anew with a call, not with a look
                b.window.move(now)
        return found

    def states(self) -> list[int]:
        """Count the keys by state."""
        counts = [0, 0, 0]
        for b in self.keys.values():
            counts[self.state_of(b)] += 1
        return counts

    def reset(self) -> None:
        """Forget everything; calls that are under way are not counted when they end."""
        self.cluster = Cluster()
        self.journal = self.cluster.journal
        self.keys = self.cluster.hosts
        self.admitted = 0
        self.refused = 0
        self.evicted = 0


def most_keys(figures: Figures) -> int:
    """Say how many keys a breaker has at most, so that its windows together are bounded."""
    cells = figures.window_calls + 3 * figures.window_buckets
    return max(LEAST_KEYS, min(MOST_KEYS, MOST_CELLS // cells))
