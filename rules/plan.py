"""The draw of one rule for one exchange, and what it reserves until the exchange ends."""

from rules.compiled import (
    OF_CONNECTION,
    OF_HANDSHAKE,
    OF_LOOKUP,
    OF_OPEN,
    OF_OPEN_TUNNEL,
    OF_TUNNEL,
    CompiledRule,
    SampledFault,
)
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import ON_NEW, ON_NEXT, Fault
from rules.phases import BODIES
from rules.sample import FIRES, NO_KEY, FaultState, unit_of


class Grant:
    """What a rule that fired holds until the exchange ends: a place in ``active`` and one of ``first``."""

    __slots__ = ("_era", "_rule", "_waiting", "acted")

    def __init__(self, rule: CompiledRule, faults: int) -> None:
        self._rule: CompiledRule = rule
        self._era: int = rule.state.era
        self._waiting: int = faults  # how many of its faults have not been given back
        self.acted: bool = False
        rule.state.tally.fired += 1
        rule.state.tally.active += 1

    def give_back_fault(self, state: FaultState, acted: bool) -> None:
        """Give back what one fault holds, and with the last one what the rule holds."""
        state.tally.active -= 1
        current = self._era == self._rule.state.era
        if not acted and current:
            state.tally.fired -= 1
        self._waiting -= 1
        if self._waiting == 0:
            self._rule.state.tally.active -= 1
            if not self.acted and current:
                self._rule.state.tally.fired -= 1


class Chosen:
    """One fault of one rule, planned for one exchange.

    ``milliseconds`` is the proxy's to write: how much time it injected.  ``cancelled`` says that it must
    not act any more, also where someone still holds it.
    """

    __slots__ = (
        "_given_back",
        "_grant",
        "acted",
        "cancelled",
        "dice",
        "fault",
        "milliseconds",
        "number",
        "rule",
        "since",
    )

    def __init__(self, rule: CompiledRule, fault: SampledFault, dice: Dice, grant: Grant) -> None:
        self.rule: CompiledRule = rule
        self.since: int = rule.since()  # so that what was done in another window is known as such
        self.fault: Fault = fault.fault
        self.number: int = fault.number  # its place in the rule, from 0
        self.dice: Dice = dice
        self.acted: bool = False
        self.cancelled: bool = False
        self.milliseconds: float = 0.0
        self._grant: Grant = grant
        self._given_back: bool = False
        rule.state.faults[fault.number].tally.fired += 1
        rule.state.faults[fault.number].tally.active += 1

    @property
    def pending(self) -> bool:
        """Whether it may still act."""
        return not self.acted and not self.cancelled

    def count_injection(self) -> None:
        """Note that the fault acted; only the first time counts."""
        if self.acted or self.cancelled:
            return
        self.acted = True
        self._grant.acted = True
        self.rule.state.injected[self.number] += 1

    def count_shadow(self) -> None:
        """Note that the fault would have acted; it is charged as if it had."""
        self.acted = True
        self._grant.acted = True
        self.rule.state.shadowed[self.number] += 1

    def cancel(self) -> None:
        """Take the fault out of the exchange."""
        self.cancelled = True
        self.give_back()

    def give_back(self) -> None:
        """Give back what the fault holds; idempotent."""
        if self._given_back:
            return
        self._given_back = True
        self._grant.give_back_fault(self.rule.state.faults[self.number], self.acted)


def rank_of_chosen(chosen: Chosen) -> tuple[int, int]:
    """Order the faults of one phase: by rank of the rule, then by place in it."""
    return chosen.rule.rank, chosen.number


def eligible(rule: CompiledRule, group: int, opened_turn: int) -> list[SampledFault]:
    """List the faults of the rule that may act on such a connection (see ``rules.fault``: ``on``)."""
    if group == OF_CONNECTION:
        return rule.connection
    if group == OF_HANDSHAKE:
        return rule.handshake
    if group == OF_LOOKUP:
        return rule.lookup
    if group == OF_OPEN:
        return rule.open
    if group == OF_OPEN_TUNNEL:
        return [fault for fault in rule.open if fault.fault.phase not in BODIES]
    fresh = opened_turn >= rule.since()
    if group == OF_TUNNEL:
        return [f for f in rule.exchange if f.fault.phase in BODIES and (fresh or f.on != ON_NEW)]
    if not rule.selective or fresh:
        return rule.exchange
    return [fault for fault in rule.exchange if fault.on == ON_NEXT]


def draw(rule: CompiledRule, facts: Facts, group: int, opened_turn: int) -> list[Chosen] | None:
    """Count a match, draw, and reserve what fires: the chosen faults by place, None if nothing fires.

    What the rule's schedule does not let through is not counted.
    """
    faults = eligible(rule, group, opened_turn)
    if not faults:
        return None
    sampling = rule.sampling
    state = rule.state
    if not state.awake:
        return None
    state.matches += 1
    ordinal = state.matches
    unit = unit_of(sampling.sticky, ordinal, facts)
    percent = sampling.percent
    if state.opening is not None:
        percent = state.opening.share(percent)
    verdict = sampling.verdict(state.tally, ordinal, unit, percent)
    if verdict != FIRES:
        if verdict == NO_KEY:
            state.keyless += 1
        return None
    fired: list[SampledFault] = []
    units: list[bytes] = []
    for fault in faults:
        own = _unit_of_fault(rule, fault, facts, ordinal, unit)
        if own:
            fired.append(fault)
            units.append(own)
    if not fired:
        return None
    grant = Grant(rule, len(fired))
    chosen: list[Chosen] = []
    for at in range(len(fired)):
        fault = fired[at]
        dice = fault.draws.dice(units[at], state.faults[fault.number].memory)
        chosen.append(Chosen(rule, fault, dice, grant))
    return chosen


def _unit_of_fault(rule: CompiledRule, fault: SampledFault, facts: Facts, ordinal: int, unit: bytes) -> bytes:
    """Give what the fault's dice are for, b"" if its own sample does not let it fire.

    A sample without a sticky key of its own draws for what the rule drew for: with a sticky rule, the same
    key gets the same faults.
    """
    sampling = fault.sampling
    if sampling is None:
        return unit
    tally = rule.state.faults[fault.number].tally
    tally.seen += 1
    own = unit if sampling.sticky is None else unit_of(sampling.sticky, ordinal, facts)
    verdict = sampling.verdict(tally, tally.seen, own)
    if verdict == NO_KEY:
        rule.state.keyless += 1
    return own if verdict == FIRES else b""
