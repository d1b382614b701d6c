"""Why a request matches a rule, or why not, and what would be done.  Nothing is charged.

The result is plain data, ready for JSON: one entry for each rule by rank, the disabled ones last.
"""

from typing import Any, Final

from rules.compiled import OF_EXCHANGE, CompiledRule, SampledFault
from rules.conditions import Condition
from rules.draw import MILLION
from rules.facts import Facts
from rules.limits import LimitFigures, Limits
from rules.phases import END, NAMES, RESPONSE_HEAD, TLS
from rules.plan import eligible
from rules.sample import FIRES, NO_KEY, NOT_DRAWN, NOT_THIS_ONE, TOO_MANY_ACTIVE, Sampling, Tally, unit_of
from rules.schedule import wakes, words
from rules.snapshot import Snapshot

# Outcomes of a rule.
DISABLED: Final = "disabled"
NO_MATCH: Final = "no_match"
NOT_SAMPLED: Final = "not_sampled"
FIRES_NOW: Final = "fires"
SHADOWS: Final = "shadow"
ON_CONNECTION: Final = "on_connection"  # it has nothing to do with requests, but with their connection
WAITS: Final = "needs_response"  # all that can be known at the request holds
PASSED_OVER: Final = "passed_over"  # a final rule before it fires

# Of faults of a rule that looks at what may be in the trailers.
TRAILERS_ONLY: Final = "only where the answer is trailers alone: else its gRPC status comes too late"
BEHIND_BODY: Final = "behind the body, where the gRPC status is known"


class _Planned:
    """One fault that would be planned, for the order of all."""

    def __init__(self, rule: CompiledRule, fault: SampledFault, entry: dict[str, Any]) -> None:
        self.rule = rule
        self.fault = fault
        self.entry = entry

    def position(self) -> tuple[int, int, int]:
        """Order by phase, rank, place."""
        return self.fault.fault.phase, self.rule.rank, self.fault.number


def explain(snapshot: Snapshot, facts: Facts, opened_turn: int | None = None) -> list[dict[str, Any]]:
    """Explain a request against each rule.

    Entries hold ``rule``, ``outcome``, ``conditions`` (part, wanted, seen, holds; the parts after the first
    that fails are judged too), ``failed`` (the first that does not hold, or None), ``sample`` (each part in
    words) and ``faults`` (kind, phase, ``note`` on its time, ``order`` among all that would be done
    from 1, ``cancelled_by`` a rule that ends the exchange before).  Without an answer in the facts
    (``response_status`` 0) rules that look at it are reported as far as they can be known.
    """
    opened = snapshot.turn if opened_turn is None else opened_turn
    entries: list[dict[str, Any]] = []
    planned: list[_Planned] = []
    final = ""
    for rule in snapshot.rules:
        entry = _entry(rule, facts, opened)
        if final:
            entry["outcome"] = PASSED_OVER
            entry["passed_over_by"] = final
        elif entry["outcome"] in (FIRES_NOW, SHADOWS):
            planned += _plan(rule, facts, opened, entry)
            if rule.final and not rule.shadow and any(item["fires"] for item in entry["faults"]):
                final = rule.name
        entries.append(entry)
    _order(planned)
    for rule in snapshot.by_name.values():
        if not rule.enabled:
            entries.append(_entry(rule, facts, opened) | {"outcome": DISABLED})
    return entries


def _entry(rule: CompiledRule, facts: Facts, opened: int) -> dict[str, Any]:
    known = rule.conditions + (rule.response if facts.response_status else [])
    conditions = [_judge(condition, facts) for condition in known]
    failed = next((judged for judged in conditions if not judged["holds"]), None)
    percent = rule.sampling.percent
    if rule.state.opening is not None:
        percent = rule.state.opening.share(percent)
    verdict, sample = _sample(rule.sampling, rule.state.tally, rule.state.matches + 1, facts, None, percent)
    sample = words(rule) + sample
    if failed is not None:
        outcome = NO_MATCH
    elif rule.response and not facts.response_status:
        outcome = WAITS
    elif not rule.exchange:
        outcome = ON_CONNECTION
    elif not wakes(rule) or verdict != FIRES or not eligible(rule, OF_EXCHANGE, opened):
        outcome = NOT_SAMPLED
    else:
        outcome = SHADOWS if rule.shadow else FIRES_NOW
    faults = [
        _fault(fault, rule.of_trailers, rule.state.faults[fault.number].limits) for fault in _in_place(rule)
    ]
    if outcome == ON_CONNECTION:
        for fault, item in zip(_in_place(rule), faults, strict=True):
            item["why_not"] = _when(fault)
    return {
        "rule": rule.name,
        "priority": rule.priority,
        "outcome": outcome,
        "conditions": conditions,
        "failed": failed,
        "sample": sample,
        "faults": faults,
    }


def _when(fault: SampledFault) -> str:
    """Say when a fault acts that does not at a request."""
    if fault.fault.phase == TLS:
        return "acts on the handshake of new connections with TLS"
    if fault.fault.phase < TLS:
        return "acts on new connections"
    return "acts on connections opened after the rule came into force"


def _judge(condition: Condition, facts: Facts) -> dict[str, Any]:
    return {
        "part": condition.part,
        "wanted": condition.wanted,
        "seen": condition.seen(facts),
        "holds": condition.holds(facts),
    }


def _in_place(rule: CompiledRule) -> list[SampledFault]:
    return sorted(rule.connection + rule.handshake + rule.exchange, key=lambda fault: fault.number)


def _stand_of_limit(figures: LimitFigures, limits: Limits | None) -> str:
    """Say how far a limit is used up, over all keys."""
    connections, requests, waiting = (0, 0, 0) if limits is None else limits.under_way()
    parts = []
    if figures.connections >= 0:
        parts.append(f"{connections} of {figures.connections} connections")
    if figures.requests >= 0:
        parts.append(f"{requests} of {figures.requests} requests at once")
    if figures.rate_count:
        seconds = figures.rate_unit // 1_000_000
        parts.append(f"{figures.rate_count} in {seconds} s, bursts of {figures.burst}")
    if figures.queue:
        parts.append(f"{waiting} of {figures.queue} wait")
    return ", ".join(parts)


def _fault(fault: SampledFault, of_trailers: bool, limits: Limits | None) -> dict[str, Any]:
    note = ""
    if fault.fault.limit is not None:
        note = _stand_of_limit(fault.fault.limit, limits)
    elif of_trailers and RESPONSE_HEAD <= fault.fault.phase < END:
        note = BEHIND_BODY if fault.fault.at_end else TRAILERS_ONLY
    elif fault.fault.both:
        note = f"and at {NAMES[fault.fault.second]}"
    return {
        "number": fault.number,
        "kind": fault.fault.KIND,
        "phase": NAMES[fault.fault.phase],
        "fires": False,
        "order": None,
        "cancelled_by": None,
        "why_not": "",
        "note": note,
    }


def percent_text(millionths: int) -> str:
    """Write a percentage in millionths as people do: 125_000 is ``12.5 %``."""
    return f"{millionths / 10_000:.4f}".rstrip("0").rstrip(".") + " %"


def _sample(
    sampling: Sampling, tally: Tally, ordinal: int, facts: Facts, inherited: bytes | None, percent: int
) -> tuple[int, list[str]]:
    """Give the verdict on this request, were it the next, and each part of the sample in words."""
    unit = inherited if inherited is not None and sampling.sticky is None else None
    if unit is None:
        unit = unit_of(sampling.sticky, ordinal, facts)
    verdict = sampling.verdict(tally, ordinal, unit, percent)
    said: list[str] = []
    if sampling.every > 1:
        said.append(f"every {sampling.every}: this would be number {ordinal}{_hit(verdict == NOT_THIS_ONE)}")
    if sampling.sticky is not None:
        key = "no key" if not unit else f'key "{unit[1:].decode("utf-8", "backslashreplace")}"'
        said.append(f"sticky {sampling.sticky.text}: {key}{_hit(verdict == NO_KEY)}")
    if percent < sampling.percent:
        ramp = f"{percent_text(percent)} on the way to {percent_text(sampling.percent)}"
        said.append(f"percent: {ramp}{_hit(verdict == NOT_DRAWN)}")
    elif percent < MILLION:
        said.append(f"percent: {percent_text(percent)}{_hit(verdict == NOT_DRAWN)}")
    if sampling.max_active >= 0:
        said.append(
            f"max_active: {tally.active} of {sampling.max_active} under way{_hit(verdict == TOO_MANY_ACTIVE)}"
        )
    if sampling.first >= 0:
        said.append(f"first: {tally.fired} of {sampling.first} used{_hit(tally.fired >= sampling.first)}")
    return verdict, said


def _hit(stops: bool) -> str:
    return ", does not fire" if stops else ""


def _plan(rule: CompiledRule, facts: Facts, opened: int, entry: dict[str, Any]) -> list[_Planned]:
    """Mark the faults of a rule that fires, and list those that would be done."""
    ordinal = rule.state.matches + 1
    unit = unit_of(rule.sampling.sticky, ordinal, facts)
    able = eligible(rule, OF_EXCHANGE, opened)
    planned: list[_Planned] = []
    for fault in _in_place(rule):
        item = next(item for item in entry["faults"] if item["number"] == fault.number)
        if fault not in able:
            item["why_not"] = _when(fault)
            continue
        if fault.sampling is not None:
            tally = rule.state.faults[fault.number].tally
            own = fault.sampling
            verdict, item["sample"] = _sample(own, tally, tally.seen + 1, facts, unit, own.percent)
            if verdict != FIRES:
                item["why_not"] = "its own sample does not let it fire"
                continue
        if rule.response and fault.fault.phase < RESPONSE_HEAD:
            item["why_not"] = "acts before the answer that the rule looks at"
            continue
        item["fires"] = True
        planned.append(_Planned(rule, fault, item))
    return planned


def _order(planned: list[_Planned]) -> None:
    """Number what would be done (shadows have no number); name the rule that cancels what comes after."""
    ended = ""
    order = 0
    for item in sorted(planned, key=_Planned.position):
        if ended:
            item.entry["cancelled_by"] = ended
            continue
        if item.rule.shadow:
            continue
        order += 1
        item.entry["order"] = order
        # An ending after so many bytes may never come to act: what follows is still to be reckoned with.
        if item.fault.fault.ends_exchange and not item.fault.fault.after_bytes:
            ended = item.rule.name
