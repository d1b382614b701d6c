"""The rule set in force, its layers, and changes that are made ready aside.

Two layers: "file" (the documents in the order of their paths) and, after it, "admin" (what came over
the admin endpoint).  An admin rule with a file rule's name takes that rule's place; deleting it uncovers
the file's.

A change is made in three steps: ask for it (``replace_files``, ``put`` …: a ``Change``, or a ``Refusal``
that says in words what stands in the way), let it compile (``Change.step`` in slices, or
``Change.finish``), ``commit`` it.  Until the last step nothing has changed: a dry run is a change that
is never committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rules.compile import Compilation, compile_rules
from rules.model import Rule
from rules.snapshot import Snapshot

FILE: Final = "file"
ADMIN: Final = "admin"

# Why a change is refused.
UNKNOWN_RULE: Final = "unknown_rule"
ONLY_IN_FILE: Final = "only_in_file"
ALREADY_THERE: Final = "already_there"
VERSION_CONFLICT: Final = "version_conflict"
INVALID: Final = "invalid"
NOT_KEPT: Final = "not_kept"  # it could not be written where it is to outlive a restart


@dataclass(frozen=True)
class Refusal:
    """A change that cannot be made, and why; ``version`` is the one in force."""

    kind: str
    text: str
    version: int


@dataclass(frozen=True)
class Document:
    """One rule file: its path (or other source) and its rules in order."""

    source: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class AdminRule:
    """A rule of the admin layer and the unix time at which it ends by itself (0: never)."""

    rule: Rule
    ends: float = 0.0


@dataclass(frozen=True)
class Layers:
    """What the layers hold."""

    files: tuple[Document, ...] = ()
    admin: tuple[AdminRule, ...] = ()

    def merged(self) -> list[Rule]:
        """Give the rules in order, each name once: admin rules in place of file rules, the others behind."""
        covering = {made.rule.name: made.rule for made in self.admin}
        rules = [covering.pop(rule.name, rule) for document in self.files for rule in document.rules]
        return rules + list(covering.values())

    def file_rule(self, name: str) -> Rule | None:
        """Find a file's rule."""
        found = (rule for document in self.files for rule in document.rules if rule.name == name)
        return next(found, None)

    def admin_rule(self, name: str) -> AdminRule | None:
        """Find an admin rule."""
        return next((made for made in self.admin if made.rule.name == name), None)


@dataclass
class Change:
    """A set that is made ready aside: ``step`` until True; ``snapshot`` is what a commit puts in force."""

    layers: Layers
    base: int  # the version that it was asked against
    compilation: Compilation = field(repr=False)

    def step(self, rules: int = 50) -> bool:
        """Compile so many rules more; True once all is ready."""
        return self.compilation.step(rules)

    def finish(self) -> Snapshot:
        """Compile what is left and give the snapshot."""
        return self.compilation.result()

    @property
    def snapshot(self) -> Snapshot:
        """The new set, compiled to the end."""
        return self.compilation.result()


class Store:
    """Holds the layers and the snapshot in force.  All times are unix seconds and come in as arguments."""

    def __init__(self, listeners: Sequence[str] = (), created: float = 0.0) -> None:
        """Begin with version 0 and no rules; the index for ``listeners`` is made ready with each set."""
        self._listeners = tuple(listeners)
        self.layers = Layers()
        self._taken = 0  # numbers up to this one had their versions before a restart
        self.snapshot: Snapshot = compile_rules([], None, 0, created, "start", self._listeners)

    @property
    def version(self) -> int:
        """The version in force."""
        return self.snapshot.version

    def restore(self, admin: Sequence[AdminRule], highest: int) -> None:
        """Before the first change: begin with this admin layer, and number on from ``highest``.

        The rules come into force with that change.
        """
        self.layers = Layers(self.layers.files, tuple(admin))
        self._taken = highest

    def layer_of(self, name: str) -> str:
        """Say which layer's rule of this name is in force: "file", "admin", or "" if there is none."""
        if self.layers.admin_rule(name) is not None:
            return ADMIN
        return FILE if self.layers.file_rule(name) is not None else ""

    def rule(self, name: str) -> Rule | None:
        """Give the rule of this name that is in force (also a disabled one)."""
        compiled = self.snapshot.by_name.get(name)
        return None if compiled is None else compiled.rule

    def ends(self, name: str) -> float:
        """Say when a rule ends by itself (unix time; 0: never)."""
        made = self.layers.admin_rule(name)
        return 0.0 if made is None else made.ends

    # Changes.  ``expected`` is the version that the asker last saw (``If-Match``); None: any.

    def prepare(
        self, layer: str, rules: Sequence[Rule], now: float, source: str, expected: int | None = None
    ) -> Change | Refusal:
        """Replace a layer as a whole by these rules."""
        if layer == FILE:
            return self.replace_files([Document(source, tuple(rules))], now, source, expected)
        return self.replace_admin(rules, now, source, expected)

    def replace_files(
        self, documents: Sequence[Document], now: float, source: str, expected: int | None = None
    ) -> Change | Refusal:
        """Replace the file layer."""
        for document in documents:
            for rule in document.rules:
                if rule.ttl is not None:
                    text = f"{_where(rule)}: ttl is for rules made over the admin endpoint; delete it here"
                    return self._refuse(INVALID, text)
        return self._change(Layers(tuple(documents), self.layers.admin), now, source, expected)

    def replace_admin(
        self, rules: Sequence[Rule], now: float, source: str, expected: int | None = None
    ) -> Change | Refusal:
        """Replace the admin layer; each ``ttl`` starts now."""
        made = tuple(_made(rule, now) for rule in rules)
        return self._change(Layers(self.layers.files, made), now, source, expected)

    def add(self, rule: Rule, now: float, source: str, expected: int | None = None) -> Change | Refusal:
        """Add an admin rule whose name the admin layer does not hold yet; a file's rule it covers."""
        if self.layers.admin_rule(rule.name) is not None:
            return self._refuse(
                ALREADY_THERE, f'there is a rule "{rule.name}" already: PUT or PATCH it to change it'
            )
        return self.put(rule, now, source, expected)

    def put(self, rule: Rule, now: float, source: str, expected: int | None = None) -> Change | Refusal:
        """Add an admin rule, or put it in the place of the admin rule of the same name."""
        new = _made(rule, now)
        if self.layers.admin_rule(rule.name) is None:
            admin = (*self.layers.admin, new)
        else:
            admin = tuple(new if made.rule.name == rule.name else made for made in self.layers.admin)
        return self._change(Layers(self.layers.files, admin), now, source, expected)

    def delete(self, name: str, now: float, source: str, expected: int | None = None) -> Change | Refusal:
        """Delete an admin rule; a file's rule of the same name is then in force again."""
        if self.layers.admin_rule(name) is None:
            in_file = self.layers.file_rule(name)
            if in_file is None:
                return self._refuse(UNKNOWN_RULE, f'there is no rule "{name}"')
            return self._refuse(
                ONLY_IN_FILE,
                f'the rule "{name}" stands in {in_file.place.source} and cannot be deleted from here; '
                'PATCH it with {"enabled": false} to put it out of force, or edit the file',
            )
        admin = tuple(made for made in self.layers.admin if made.rule.name != name)
        return self._change(Layers(self.layers.files, admin), now, source, expected)

    def expire(self, now: float) -> Change | None:
        """Drop the admin rules whose time has come; None if there is none."""
        admin = tuple(made for made in self.layers.admin if not made.ends or made.ends > now)
        if len(admin) == len(self.layers.admin):
            return None
        change = self._change(Layers(self.layers.files, admin), now, "ttl", None)
        assert isinstance(change, Change)  # fewer rules cannot clash
        return change

    def next_expiry(self) -> float:
        """Say when ``expire`` is next of use (unix time; 0: never)."""
        return min((made.ends for made in self.layers.admin if made.ends), default=0.0)

    def commit(self, change: Change) -> Snapshot | Refusal:
        """Put a change in force and give its snapshot; refused if another one came in between."""
        if change.base != self.version:
            return self._refuse(
                VERSION_CONFLICT,
                f"the rules were changed meanwhile: version {change.base} was expected, "
                f"version {self.version} is in force",
            )
        snapshot = change.finish()
        if snapshot.turn <= self.snapshot.turn:
            snapshot.come_after(self.snapshot.turn)
        self.layers = change.layers
        self.snapshot = snapshot
        return snapshot

    def turn(self) -> Snapshot:
        """Give the set in force as a new snapshot: the schedule of a rule lets it act, or does no more."""
        self.snapshot = self.snapshot.turned()
        return self.snapshot

    def reset(self, name: str) -> Refusal | None:
        """Start a rule's state anew: ordinals, ``first``, schedule, dice memory, counts.  No new version."""
        compiled = self.snapshot.by_name.get(name)
        if compiled is None:
            return self._refuse(UNKNOWN_RULE, f'there is no rule "{name}"')
        compiled.state.reset()
        return None

    def _refuse(self, kind: str, text: str) -> Refusal:
        return Refusal(kind, text, self.version)

    def _change(self, layers: Layers, now: float, source: str, expected: int | None) -> Change | Refusal:
        if expected is not None and expected != self.version:
            return self._refuse(
                VERSION_CONFLICT, f"version {expected} was expected, version {self.version} is in force"
            )
        twice = _twice([rule for document in layers.files for rule in document.rules])
        twice += _twice([made.rule for made in layers.admin])
        if twice:
            return self._refuse(INVALID, "\n".join(twice))
        compilation = Compilation(
            layers.merged(),
            self.snapshot,
            max(self.version, self._taken) + 1,
            now,
            source,
            self._listeners,
        )
        return Change(layers, self.version, compilation)


def _made(rule: Rule, now: float) -> AdminRule:
    return AdminRule(rule, 0.0 if rule.ttl is None else now + rule.ttl)


def _where(rule: Rule) -> str:
    place = rule.place
    at = f"{place.source}:{place.line}:{place.column}" if place.line else place.source
    return f'{at}: rule "{rule.name}"'


def _twice(rules: Sequence[Rule]) -> list[str]:
    """Describe each rule whose name stood before within the same layer."""
    first: dict[str, Rule] = {}
    found: list[str] = []
    for rule in rules:
        before = first.setdefault(rule.name, rule)
        if before is not rule:
            found.append(f"{_where(rule)} has the name of another one: {_where(before)}")
    return found


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396): what PATCH does to a rule as written; null deletes."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
