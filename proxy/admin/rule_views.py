"""Views of the rules: show, change, explain, reset."""

import asyncio
import time
from typing import Any, Final

from proxy.admin.calls import Call, Reply, reply
from proxy.admin.explaining import facts_of
from proxy.admin.problem import Refusal, invalid_rules
from proxy.admin.types import (
    Changed,
    ExplainRequest,
    Explanation,
    FaultCounts,
    LimitCounts,
    ReloadView,
    ResetDone,
    RuleCounts,
    RuleSet,
    RuleView,
    ScheduleView,
)
from proxy.changes import Ask, Changes, Done
from proxy.history import SOURCE, Asker
from proxy.logs import timestamp
from proxy.reader import read_documents
from rules import phases, store
from rules.compiled import CompiledRule
from rules.explain import explain
from rules.limits import VERDICTS
from rules.model import Place, Rule
from rules.opening import STATES
from rules.parse import RuleContext, RuleParam, parse_rule
from rules.sample import FaultState
from rules.schedule import describe
from rules.store import ADMIN, Change, Store, merge_patch
from rules.text import Problem, RulesError, read

PRECONDITION: Final = "precondition"  # a kind of refusal beside those of the store
SLICE: Final = 0.005  # seconds of building an answer between two turns of the loop
_RULE: Final = RuleParam()
_THERE: Final = "If-None-Match: * asks for what is not there yet, and this is there"
_NOT_THERE: Final = "If-Match: * asks for what is there already, and this is not"
_STATUS: Final = {
    store.UNKNOWN_RULE: (404, "unknown-rule"),
    store.ONLY_IN_FILE: (409, "only-in-file"),
    store.ALREADY_THERE: (409, "already-there"),
    store.VERSION_CONFLICT: (412, "version-conflict"),
    store.NOT_KEPT: (507, "not-kept"),
    PRECONDITION: (412, "precondition-failed"),
}


async def get_rules(call: Call) -> Reply:
    """Show the rule set in force."""
    changes = call.proxy.changes
    snapshot, layers = changes.store.snapshot, _Layers(changes.store)
    rules: list[RuleView] = []
    until = time.perf_counter() + SLICE
    for rule in snapshot.by_name.values():
        rules.append(_view(rule, layers))
        if time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + SLICE
    return reply(
        RuleSet(
            snapshot.version,
            snapshot.sha256,
            timestamp(snapshot.created),
            snapshot.source,
            call.proxy.worker.live.stopped,
            reload_view(changes),
            rules,
        ),
        version=snapshot.version,
    )


async def get_rule(call: Call) -> Reply:
    """Show one rule."""
    kept = call.proxy.changes.store
    rule = kept.snapshot.by_name.get(call.params["name"])
    if rule is None:
        raise unknown_rule(call.params["name"])
    return reply(_view(rule, _Layers(kept)), version=kept.version)


async def put_rules(call: Call) -> Reply:
    """Replace the admin layer as a whole."""
    documents = await _read_rules(call)
    expected = call.expected
    return await make_change(
        call, lambda kept, now: kept.replace_admin(documents, now, source_of(call), expected)
    )


async def post_rule(call: Call) -> Reply:
    """Add a rule that is not there yet."""
    rule, expected = _read_rule(call), call.expected
    kept = call.proxy.changes.store
    if kept.layer_of(rule.name) == store.FILE:
        where = kept.rule(rule.name)
        text = f'a file has a rule "{rule.name}" ({where and where.place.source}): PUT takes its place'
        raise Refusal(409, "already-there", text)
    made = await make_change(
        call, lambda kept, now: kept.add(rule, now, source_of(call), expected), status=201
    )
    if made.status == 201:  # and no dry run
        made.headers["Location"] = f"/v1/rules/{rule.name}"
    return made


async def put_rule(call: Call) -> Reply:
    """Make a rule, or put it in the place of the one of this name."""
    rule, expected = _read_rule(call, call.params["name"]), call.expected
    return await make_change(
        call, lambda kept, now: kept.put(rule, now, source_of(call), expected), rule=rule.name
    )


async def patch_rule(call: Call) -> Reply:
    """Change parts of a rule (RFC 7396); of a file's rule an admin copy is made."""
    name, expected = call.params["name"], call.expected
    patch = call.read(dict[str, Any])
    if patch.get("name", name) != name:
        raise Refusal(422, "invalid-body", "the name of a rule cannot be changed")

    def ask(kept: Store, now: float) -> Change | store.Refusal:
        rule = kept.rule(name)
        if rule is None:
            raise unknown_rule(name)
        return kept.put(_patched(rule, patch), now, source_of(call), expected)

    return await make_change(call, ask, rule=name)


async def delete_rule(call: Call) -> Reply:
    """Delete a rule of the admin layer; a file's rule of this name is in force again."""
    name, expected = call.params["name"], call.expected
    return await make_change(
        call, lambda kept, now: kept.delete(name, now, source_of(call), expected), rule=name
    )


async def reset_rule(call: Call) -> Reply:
    """Start the state of a rule anew: ordinals, first, counts."""
    name = call.params["name"]
    kept = call.proxy.changes.store
    expected = call.expected
    if expected is not None and expected != kept.version:
        raise _conflict(kept.version, expected)
    if call.only_new and kept.rule(name) is not None:
        raise _refused(_unmet(kept, _THERE), None)
    refused = call.proxy.reset_rule(name)
    if refused is not None:
        raise unknown_rule(name)
    call.audit(kept.version, kept.version, rule=name)
    return reply(ResetDone(name, kept.version), version=kept.version)


async def explain_request(call: Call) -> Reply:
    """Say for each rule whether a request matches, and what would be done."""
    snapshot = call.proxy.changes.store.snapshot
    facts = facts_of(call.read(ExplainRequest), call.proxy.config)
    entries = explain(snapshot, facts)
    stopped = call.proxy.worker.live.stopped
    return reply(Explanation(snapshot.version, stopped, facts.upstream, entries), version=snapshot.version)


def reload_view(changes: Changes) -> ReloadView:
    """Show how the rule files stand."""
    reloads = changes.reloads
    moment = timestamp(reloads.last_good_time) if reloads.last_good_time else None
    return ReloadView(reloads.last_good, moment, reloads.problems)


async def make_change(call: Call, ask: Ask, status: int = 200, **what: str) -> Reply:
    """Make a change (or only try it) and answer with what it did."""
    dry_run = call.flag("dry_run")
    try:
        asker = Asker(call.who, call.peer, f"{call.request.method} {call.request.path}", what)
        done = await call.proxy.changes.make(ADMIN, _if_there(call, ask), dry_run, asker)
    except RulesError as error:
        raise invalid_rules(error.problems) from None
    if isinstance(done, store.Refusal):
        raise _refused(done, call.expected)
    assert isinstance(done, Done)  # only time may ask for nothing
    version = done.before.version if dry_run else done.after.version
    result = Changed(version, done.after.sha256, dry_run, done.added, done.changed, done.removed)
    return reply(result, 200 if dry_run else status, version=version)


def _if_there(call: Call, ask: Ask) -> Ask:
    """Ask for a change, and whether what the path names is there as the preconditions want it.

    These count only where the change could be made otherwise (RFC 9110 section 13.2.1).
    """
    only_there, only_new = call.only_there, call.only_new
    name = call.params.get("name")

    def guarded(kept: Store, now: float) -> Change | store.Refusal | None:
        made = ask(kept, now)
        if not isinstance(made, Change):
            return made
        there = name is None or kept.rule(name) is not None  # the set itself always is
        if only_there and not there:
            return _unmet(kept, _NOT_THERE)
        return _unmet(kept, _THERE) if only_new and there else made

    return guarded if only_there or only_new else ask


def _unmet(kept: Store, text: str) -> store.Refusal:
    return store.Refusal(PRECONDITION, text, kept.version)


def source_of(call: Call) -> str:
    """Name the call as the source of a version."""
    return f"admin: {call.request.method} {call.request.path}"


async def _read_rules(call: Call) -> list[Rule]:
    try:
        (rules,) = await read_documents(((SOURCE, call.body),), api=True)
    except RulesError as error:
        raise _count_bad(call, error) from None
    return rules


def _read_rule(call: Call, name: str = "") -> Rule:
    """Read one rule, YAML or JSON; ``name`` is the one that the path says."""
    try:
        node = read(call.body, SOURCE)
        if name and isinstance(node.value, dict):
            node.value.setdefault("name", name)
        rule = node.get(_RULE, None, RuleContext(SOURCE, True))
        if rule is not None and name and rule.name != name:
            node.document.note(("name",), f'the path says "{name}"')
        node.document.check()
    except RulesError as error:
        raise _count_bad(call, error) from None
    assert rule is not None  # else there was something to report
    return rule


def _count_bad(call: Call, error: RulesError) -> Refusal:
    if not call.flag("dry_run"):
        call.proxy.changes.reloads.count(ADMIN, False)
    return invalid_rules(error.problems)


def _patched(rule: Rule, patch: dict[str, Any]) -> Rule:
    written = merge_patch(rule.written, patch)
    # The answers of a file's rule may stand in files beside it; a patch that leaves the faults alone leaves
    # them to it, but none that comes over the endpoint may name a file of its own.
    of_file = bool(rule.files) and "faults" not in patch
    return parse_rule(written, rule.place.source if of_file else SOURCE, api=not of_file)


def _refused(refusal: store.Refusal, expected: int | None) -> Refusal:
    if refusal.kind == store.VERSION_CONFLICT and expected is not None:
        return _conflict(refusal.version, expected)
    if refusal.kind == store.INVALID:
        return invalid_rules([Problem(Place(""), "", line) for line in refusal.text.splitlines()])
    status, kind = _STATUS[refusal.kind]
    headers = {"ETag": f'"{refusal.version}"'} if status == 412 else {}
    return Refusal(status, kind, refusal.text, version=refusal.version, headers=headers)


def _conflict(version: int, expected: int) -> Refusal:
    return Refusal(
        412,
        "version-conflict",
        f"If-Match asks for version {expected if expected >= 0 else '(none that could be)'}, "
        f"but version {version} is in force",
        version=version,
        headers={"ETag": f'"{version}"'},
    )


def unknown_rule(name: str) -> Refusal:
    """Say that there is no such rule."""
    return Refusal(404, "unknown-rule", f'there is no rule "{name}"')


class _Layers:
    """Which layer the rules are of, looked up once for all of them."""

    def __init__(self, kept: Store) -> None:
        self.ends = {made.rule.name: made.ends for made in kept.layers.admin}
        self.files = {rule.name for document in kept.layers.files for rule in document.rules}


def _view(compiled: CompiledRule, layers: _Layers) -> RuleView:
    rule = compiled.rule
    admin = rule.name in layers.ends
    moment = layers.ends.get(rule.name, 0.0)
    place = rule.place
    return RuleView(
        name=rule.name,
        layer=ADMIN if admin else store.FILE,
        source="admin endpoint" if admin else f"{place.source}:{place.line}" if place.line else place.source,
        enabled=rule.enabled,
        mode="shadow" if rule.shadow else "inject",
        rule=rule.written,
        counts=_counts(compiled),
        covers=admin and rule.name in layers.files,
        expires=timestamp(moment) if moment else None,
        schedule=_schedule(compiled),
    )


def _limit(state: FaultState) -> LimitCounts | None:
    limits = state.limits
    if limits is None:
        return None
    asked = dict(zip(VERDICTS, limits.counts, strict=True))
    connections, requests, waiting = limits.under_way()
    return LimitCounts(connections, requests, waiting, len(limits.rooms), asked)


def _schedule(compiled: CompiledRule) -> ScheduleView | None:
    opening = compiled.state.opening
    if opening is None:
        return None
    if not compiled.enabled:
        return ScheduleView("waiting")
    opens, closes = describe(opening)
    sampling = compiled.sampling
    return ScheduleView(
        STATES[opening.state],
        timestamp(opens) if opens else None,
        timestamp(closes) if closes else None,
        opening.share(sampling.percent) / 10_000 if compiled.state.awake else 0.0,
    )


def _counts(compiled: CompiledRule) -> RuleCounts:
    state = compiled.state
    faults = [
        FaultCounts(
            planned.fault.KIND,
            phases.NAMES[planned.fault.phase],
            injected,
            shadowed,
            dict(kept.skipped),
            _limit(kept),
        )
        for planned, injected, shadowed, kept in zip(
            compiled.rule.faults, state.injected, state.shadowed, state.faults, strict=True
        )
    ]
    return RuleCounts(
        state.matches,
        state.keyless,
        state.fired,
        state.active,
        sum(state.injected),
        sum(state.shadowed),
        faults,
    )
