"""How two rule sets differ: by name and meaning, shown as unified diff of each rule's own lines."""

import difflib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rules.model import Place
from rules.parse import parse_rule
from rules.text import RulesError

Written = dict[str, Any]


class Difference:
    """Rules that only the file has, only the running set has, or both have in two ways; and the order."""

    def __init__(self) -> None:
        self.added: list[Written] = []  # only in the file
        self.removed: list[Written] = []  # only running
        self.changed: list[tuple[Written, Written]] = []  # (running, file)
        self.order: tuple[list[str], list[str]] = ([], [])  # names that both have: running, file

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.order[0] != self.order[1])

    def plain(self) -> dict[str, Any]:
        """Give it for machines."""
        return {
            "added": self.added,
            "removed": self.removed,
            "changed": [{"name": new["name"], "running": old, "file": new} for old, new in self.changed],
            "order_differs": self.order[0] != self.order[1],
        }

    def lines(
        self, running: str, source: str, words: tuple[str, str] = ("only running", "only in the file")
    ) -> Iterator[str]:
        """Give it for people; ``words`` say what becomes of a rule that one of the two alone has."""
        yield f"--- {running}"
        yield f"+++ {source}"
        for rule in self.removed:
            yield from _hunk(f"{rule['name']}: {words[0]}", rule, None)
        for rule in self.added:
            yield from _hunk(f"{rule['name']}: {words[1]}", None, rule)
        for old, new in self.changed:
            yield from _hunk(f"{new['name']}: changed", old, new)
        if self.order[0] != self.order[1]:
            yield "@@ order @@"
            yield f"-{', '.join(self.order[0])}"
            yield f"+{', '.join(self.order[1])}"


def compare(wanted: Sequence[Written], running: Sequence[Written], by_meaning: bool = True) -> Difference:
    """Compare rules as written; two that read the same are the same, unless they are not to be read."""
    found = Difference()
    now = {rule["name"]: rule for rule in running}
    then = {rule["name"]: rule for rule in wanted}
    for name, rule in then.items():
        if name not in now:
            found.added.append(rule)
        elif rule != now[name] and not (by_meaning and meaning(rule) == meaning(now[name])):
            found.changed.append((now[name], rule))
    found.removed = [rule for name, rule in now.items() if name not in then]
    found.order = ([name for name in now if name in then], [name for name in then if name in now])
    return found


def meaning(written: Written) -> object:
    """Give what a rule comes to, however it is written; of one that cannot be read here, the text itself."""
    try:
        rule = parse_rule(written, "rule", api="ttl" in written)
    except RulesError:
        return written
    faults = [
        (planned.fault.KIND, planned.fault.PARAMS.read(_options(entry)), planned.sample)
        for planned, entry in zip(rule.faults, written["faults"], strict=True)
    ]
    return replace(rule, place=Place(""), written={}, faults=()), faults


def _options(entry: object) -> object:
    """Give what stands under a fault's kind, without the sample of its own."""
    value = next(iter(entry.values())) if isinstance(entry, dict) else None
    return {key: item for key, item in value.items() if key != "sample"} if isinstance(value, dict) else value


def _hunk(title: str, old: Written | None, new: Written | None) -> Iterator[str]:
    yield f"@@ {title} @@"
    yield from list(difflib.unified_diff(_lines(old), _lines(new), lineterm="", n=2))[3:]


def _lines(rule: Written | None) -> list[str]:
    return [] if rule is None else json.dumps(rule, indent=2, ensure_ascii=False).splitlines()
