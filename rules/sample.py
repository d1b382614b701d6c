"""Which of the matches fire.

The parts of a sample are looked at in the order ``every``, ``percent``, ``max_active``,
``first``, behind the rule's schedule; each sees what the one before let through.  A verdict is pure: it
changes nothing, so that ``explain`` may ask for it; whoever acts on it charges the tallies.
"""

from typing import Final

from rules.breakers.keeper import Breakers
from rules.draw import MILLION, Draws
from rules.facts import Facts
from rules.limits import Limits
from rules.opening import Opening
from rules.reading import cookie_value, query_values

# Verdicts.
FIRES: Final = 0
NOT_THIS_ONE: Final = 1  # every
NO_KEY: Final = 2  # sticky
NOT_DRAWN: Final = 3  # percent
TOO_MANY_ACTIVE: Final = 4  # max_active
USED_UP: Final = 5  # first

VERDICTS: Final[tuple[str, ...]] = ("fires", "every", "sticky", "percent", "max_active", "first")

# Where a sticky key comes from.
_HEADER: Final = 0
_COOKIE: Final = 1
_QUERY: Final = 2
_SOURCE: Final = 3
_PATH: Final = 4
_SNI: Final = 5
_NAME: Final = 6
_KINDS: Final[dict[str, int]] = {
    "header": _HEADER,
    "cookie": _COOKIE,
    "query": _QUERY,
    "source": _SOURCE,
    "path": _PATH,
    "sni": _SNI,
    "name": _NAME,
}


class StickyKey:
    """Where the key stands that keeps a verdict the same: ``header:x-user-id``, ``cookie:sid``, ``path``."""

    __slots__ = ("_kind", "_name", "text")

    def __init__(self, text: str) -> None:
        """Read the key's place; ValueError if there is no such place."""
        kind, _, name = text.partition(":")
        if kind not in _KINDS or (_KINDS[kind] < _SOURCE) != (name != ""):
            raise ValueError(f"a sticky key cannot be found at {text!r}")
        self.text: str = text
        self._kind: int = _KINDS[kind]
        self._name: bytes = name.lower().encode() if self._kind == _HEADER else name.encode()

    @property
    def header(self) -> bytes:
        """The name of the header that must be read for the key, b"" if none."""
        if self._kind == _HEADER:
            return self._name
        return b"cookie" if self._kind == _COOKIE else b""

    def find(self, facts: Facts) -> bytes:
        """Find the key, b"" where it is absent or empty; of several values the first counts."""
        if self._kind == _HEADER:
            values = facts.headers.get(self._name)
            return values[0] if values else b""
        if self._kind == _COOKIE:
            return cookie_value(facts.headers.get(b"cookie"), self._name)
        if self._kind == _QUERY:
            found = query_values(facts.query, self._name)
            return found[0] if found else b""
        if self._kind == _SOURCE:
            return facts.source.encode()
        if self._kind == _SNI:
            return (facts.sni or b"").lower()
        if self._kind == _NAME:
            return facts.names[0] if facts.names else b""
        return facts.path


class Tally:
    """What a sampling has let through: ``fired`` in all (``first``), ``active`` at this moment."""

    __slots__ = ("active", "fired", "seen")

    def __init__(self) -> None:
        self.seen: int = 0  # how many came by
        self.fired: int = 0
        self.active: int = 0


class Sampling:
    """The compiled sample of a rule, or of one of its faults."""

    __slots__ = ("_draws", "every", "first", "max_active", "percent", "sticky")

    def __init__(
        self, draws: Draws, percent: int, sticky: StickyKey | None, every: int, first: int, max_active: int
    ) -> None:
        self._draws: Draws = draws
        self.percent: int = percent  # in millionths
        self.sticky: StickyKey | None = sticky
        self.every: int = every  # 0: no such part
        self.first: int = first  # -1: no bound
        self.max_active: int = max_active  # -1: no bound

    def verdict(self, tally: Tally, ordinal: int, unit: bytes, percent: int = -1) -> int:
        """Say whether the ``ordinal``-th that came by (from 1) fires.

        ``unit`` is what the draw is for, as ``unit_of`` made it; b"" means that a sticky key was missing.
        ``percent`` is in millionths: where a ramp has climbed to, below 0: that of this sampling.
        """
        share = self.percent if percent < 0 else percent
        if self.every > 1 and ordinal % self.every != 0:
            return NOT_THIS_ONE
        if not unit:
            return NO_KEY
        if share < MILLION and (share <= 0 or self._draws.millionth(unit) >= share):
            return NOT_DRAWN
        if self.max_active >= 0 and tally.active >= self.max_active:
            return TOO_MANY_ACTIVE
        if self.first >= 0 and tally.fired >= self.first:
            return USED_UP
        return FIRES


def unit_of(sticky: StickyKey | None, ordinal: int, facts: Facts) -> bytes:
    """Name what a draw is for: the sticky key (b"" if it is missing), else the ordinal of the match."""
    if sticky is None:
        return b"#%d" % ordinal
    key = sticky.find(facts)
    return b"=" + key if key else b""


class FaultState:
    """What outlives the exchanges of one fault of a rule."""

    __slots__ = ("breakers", "limits", "memory", "skipped", "tally")

    def __init__(self) -> None:
        self.tally: Tally = Tally()
        self.skipped: dict[str, int] = {}  # messages that it could not act on, by the reason
        self.memory: list[float] = []
        self.breakers: Breakers | None = None  # what a fault that consults them keeps
        self.limits: Limits | None = None  # ... one that asks them for a place


class RuleState:
    """What outlives the exchanges of a rule; kept over reloads as long as the rule's fingerprint is the same.

    ``matches`` counts the matches (the ordinal of the next is one more), ``keyless`` those that lacked the
    sticky key; ``injected`` and ``shadowed`` count what was done and what would have been, by the fault's
    place.
    """

    __slots__ = (
        "awake", "era", "faults", "injected", "keyless", "matches", "opening", "shadowed", "tally", "turn"
    )  # fmt: skip

    def __init__(self, faults: int, opening: Opening | None = None) -> None:
        self.opening: Opening | None = opening  # where the rule stands in its schedule, None: it has none
        self.awake: bool = opening is None  # its schedule, if any, lets it act now
        self.turn: int = 0  # of the snapshot with which its schedule last began to let it act
        self.era: int = 0  # counts the resets: what was reserved in an older era is not given back
        self.matches: int = 0
        self.keyless: int = 0
        self.tally: Tally = Tally()
        self.faults: list[FaultState] = [FaultState() for _ in range(faults)]
        self.injected: list[int] = [0] * faults
        self.shadowed: list[int] = [0] * faults

    @property
    def fired(self) -> int:
        """How many firings count against ``first``."""
        return self.tally.fired

    @property
    def active(self) -> int:
        """How many exchanges are under way with this rule."""
        return self.tally.active

    def reset(self) -> None:
        """Start anew.  What is under way stays counted in ``active`` until it ends."""
        self.era += 1
        self.matches = 0
        self.keyless = 0
        self.tally.fired = 0
        if self.opening is not None:
            self.opening.began = -1.0
        for at in range(len(self.faults)):
            fault = self.faults[at]
            fault.tally.seen = 0
            fault.tally.fired = 0
            fault.memory.clear()
            fault.skipped.clear()
            if fault.breakers is not None:
                fault.breakers.reset()
            if fault.limits is not None:
                fault.limits.reset()
            self.injected[at] = 0
            self.shadowed[at] = 0
