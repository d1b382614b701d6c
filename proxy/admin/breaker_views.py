"""Views of the breakers: show them, change their figures, force a state."""

import asyncio
import copy
from typing import Any

from proxy.admin.calls import Call, Reply, reply
from proxy.admin.problem import Refusal
from proxy.admin.rule_views import make_change, source_of, unknown_rule
from proxy.admin.types import BreakerKey, BreakerSet, BreakerView
from proxy.history import SOURCE
from rules.breaker_params import show_figures
from rules.breakers.breaker import Breaker
from rules.breakers.figures import MILLION, STATES, Figures
from rules.breakers.keeper import Breakers
from rules.compiled import CompiledRule
from rules.model import Rule
from rules.parse import parse_rule
from rules.store import Change, Store, merge_patch
from rules.store import Refusal as Refused


async def get_breakers(call: Call) -> Reply:
    """Show the breakers of rules."""
    limit = call.number("limit", 1000, 1, 100_000)
    snapshot = call.proxy.changes.store.snapshot
    now = int(asyncio.get_running_loop().time() * MILLION)
    views = [
        _view(rule, number, _kept(rule, number, planned.fault.figures, snapshot.version), now, limit)
        for rule in snapshot.by_name.values()
        for number, planned in enumerate(rule.rule.faults)
        if planned.fault.figures is not None
    ]
    return reply(
        BreakerSet(snapshot.version, call.proxy.worker.live.stopped, views), version=snapshot.version
    )


async def patch_breaker(call: Call) -> Reply:
    """Change figures of a rule's breaker (RFC 7396), or force a state; what it has counted is kept."""
    name, expected = call.params["name"], call.expected
    patch = call.read(dict[str, Any])

    def ask(kept: Store, now: float) -> Change | Refused:
        rule = kept.rule(name)
        if rule is None:
            raise unknown_rule(name)
        return kept.put(_patched(rule, patch), now, source_of(call), expected)

    return await make_change(call, ask, rule=name)


def _patched(rule: Rule, patch: dict[str, Any]) -> Rule:
    """Give the rule with its one breaker changed; raises Refusal where it has none, or several."""
    found = [n for n, planned in enumerate(rule.faults) if planned.fault.figures is not None]
    if len(found) != 1:
        how_many = "no breaker" if not found else f"{len(found)} breakers: PATCH /v1/rules/{rule.name}"
        raise Refusal(409 if found else 404, "no-breaker", f'the rule "{rule.name}" has {how_many}')
    fault = rule.faults[found[0]].fault
    written = copy.deepcopy(rule.written)
    entry = written["faults"][found[0]]
    own = entry[fault.KIND]
    if not isinstance(own, dict):
        own = {fault.PARAMS.short: own}
    entry[fault.KIND] = merge_patch(own, patch)
    # An answer of a file's rule may stand in a file beside it; none that comes over the endpoint may.
    of_file = bool(rule.files) and "response" not in patch
    return parse_rule(written, rule.place.source if of_file else SOURCE, api=not of_file)


def _kept(rule: CompiledRule, number: int, figures: Figures, version: int) -> Breakers:
    """Give what the rule keeps, or where nobody has asked yet what it would keep."""
    kept = rule.state.faults[number].breakers
    if kept is None:
        return Breakers(rule.name, figures)
    kept.take(figures, version)  # those that nobody has met yet
    return kept


def _view(rule: CompiledRule, number: int, kept: Breakers, now: int, limit: int) -> BreakerView:
    found = kept.look(now)
    return BreakerView(
        rule=rule.name,
        fault=number,
        enabled=rule.enabled,
        figures=show_figures(kept.figures),
        admitted=kept.admitted,
        refused=kept.refused,
        transitions=dict(zip(STATES, kept.journal.counts, strict=True)),
        keys_in_all=len(found),
        evicted=kept.evicted,
        keys=[_key(b, kept, now) for b in found[:limit]],
    )


def _key(b: Breaker, kept: Breakers, now: int) -> BreakerKey:
    return BreakerKey(
        key=b.key.decode("utf-8", "backslashreplace"),
        state=STATES[kept.state_of(b)],
        seconds=round((now - b.since) / MILLION, 3),
        calls=b.window.calls,
        failures=b.window.failures,
        slow=b.window.slow,
        consecutive_failures=b.consecutive,
        active=b.active,
        admitted=b.admitted,
        refused=b.refused,
    )
