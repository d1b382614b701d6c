"""Views of the versions of the rules: list them, show one with what it changed, put one back."""

import asyncio

from proxy.admin.calls import Call, Reply, reply
from proxy.admin.problem import Refusal
from proxy.admin.rule_views import make_change, source_of
from proxy.admin.types import RollBack, VersionDetail, VersionList, VersionRule, VersionView
from proxy.history import Head, History, Version, to_roll_back
from proxy.logs import timestamp
from rules import store
from rules.difference import compare
from rules.store import Change, Store


async def get_versions(call: Call) -> Reply:
    """List the versions of the rules that are kept, newest first."""
    limit = call.number("limit", 1000, 1, 100_000)
    now = call.proxy.changes.store.version
    history = _history(call)
    heads = [_view(head) for head in reversed(history.heads.values())][:limit]
    return reply(VersionList(now, history.lasting, heads), version=now)


async def get_version(call: Call) -> Reply:
    """Show a version of the rules, and how it differs from the one before."""
    history = _history(call)
    found = _find(call, history, call.params["version"])
    before = history.before(found.version)
    against = history.version(before) if before else None
    lines = await asyncio.to_thread(_difference, against, found)
    rules = [VersionRule(layer, rule) for layer, rule in found.merged()]
    view = VersionDetail(_view(found), rules, before or None, lines)
    return reply(view, version=call.proxy.changes.store.version)


async def roll_back(call: Call) -> Reply:
    """Put the rules of a version in force again, as a new version."""
    wanted = call.read(RollBack)
    found = _find(call, _history(call), str(wanted.version))
    expected = call.expected

    def ask(kept: Store, now: float) -> Change | store.Refusal:
        source = f"{source_of(call)} to version {wanted.version}"
        return kept.replace_admin(to_roll_back(found, kept.layers), now, source, expected)

    return await make_change(call, ask, to=str(wanted.version))


def _history(call: Call) -> History:
    history = call.proxy.changes.history
    assert history is not None  # there is one wherever there is an admin endpoint
    return history


def _find(call: Call, history: History, number: str) -> Version:
    found = history.version(int(number)) if number.isdecimal() and len(number) <= 15 else None
    if found is None:
        kept = f"{min(history.heads)} to {max(history.heads)}" if history.heads else "none"
        text = f"version {number[:40]} is not kept; those that are: {kept}"
        raise Refusal(404, "unknown-version", text, version=call.proxy.changes.store.version)
    return found


def _view(head: Head) -> VersionView:
    return VersionView(
        head.version,
        head.sha256,
        timestamp(head.created),
        head.author,
        head.client,
        head.source,
        head.layer,
        head.added,
        head.changed,
        head.removed,
    )


def _difference(before: Version | None, after: Version) -> list[str]:
    """Write the difference to the version before, as unified diff of each rule; without one: nothing."""
    if before is None:
        return []
    difference = compare(
        [rule for _, rule in after.merged()], [rule for _, rule in before.merged()], by_meaning=False
    )
    words = ("removed", "added")
    names = (f"version {before.version}", f"version {after.version}")
    return list(difference.lines(*names, words)) if difference else []
