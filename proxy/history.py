"""The versions of the rules so far: who made them, out of what, and what they were.

Bounded: the newest ``MOST`` versions, fewer where they are large.  With a ``state_dir`` each is on disk
before the change that makes it comes into force; the newest gives the admin layer back after a restart.
"""

import asyncio
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from proxy.logs import Log
from proxy.state import StateDir, StateError, name_of
from rules.model import Rule
from rules.parse import parse_rule
from rules.snapshot import Snapshot
from rules.store import AdminRule, Layers, Store
from rules.text import RulesError

MOST: Final = 100
LARGE: Final = 16 << 20  # bytes that all versions together may have as JSON
LEAST: Final = 2  # versions that are kept however large they are
Names = tuple[list[str], list[str], list[str]]  # of rules that were added, changed and removed

SOURCE: Final = "body"  # what problems call a rule that came over the admin endpoint


class Asker(Struct, frozen=True):
    """Who asks for a change of the rules."""

    who: str
    client: str = ""  # from where
    call: str = ""  # by what
    what: dict[str, str] = {}  # more about it, for the audit line


class Head(Struct, frozen=True):
    """One version, without its rules."""

    version: int
    sha256: str
    created: float  # unix time
    author: str
    client: str
    source: str
    layer: str
    added: list[str]
    changed: list[str]
    removed: list[str]


class KeptRule(Struct, frozen=True, omit_defaults=True):
    """A rule of the admin layer."""

    rule: dict[str, Any]
    ends: Annotated[float, Meta(description="Unix time; 0: never")] = 0.0
    source: str = ""  # the rule file beside which its answers stand; mostly there is none


class KeptDocument(Struct, frozen=True):
    """A rule file."""

    source: str
    rules: list[dict[str, Any]]


class Version(Head, frozen=True):
    """One version, whole."""

    files: list[KeptDocument]
    admin: list[KeptRule]

    def merged(self) -> list[tuple[str, dict[str, Any]]]:
        """Give the rules in force as written, each with its layer, in their order."""
        covering = {kept.rule["name"]: kept.rule for kept in self.admin}
        found: list[tuple[str, dict[str, Any]]] = []
        for rule in (rule for document in self.files for rule in document.rules):
            cover = covering.pop(rule["name"], None)
            found.append(("file", rule) if cover is None else ("admin", cover))
        return found + [("admin", rule) for rule in covering.values()]


class History:
    """What is kept.  ``load`` first."""

    def __init__(self, log: Log, state: StateDir | None = None) -> None:
        self.heads: dict[int, Head] = {}  # oldest first
        self._log = log
        self._state = state
        self._data: dict[int, bytes] = {}
        self._size = 0

    @property
    def lasting(self) -> bool:
        """Versions outlive a restart."""
        return self._state is not None

    @property
    def highest(self) -> int:
        """The highest number that a version ever had, as far as is known."""
        return max(self._state.highest if self._state is not None else 0, *self.heads, 0)

    def load(self) -> Version | None:
        """Read what is on disk; gives the newest version."""
        state = self._state
        if state is None:
            return None
        for number, data in state.read():
            try:
                whole = msgspec.json.decode(data, type=Version)
                if whole.version != number:
                    raise ValueError(f"it says that it is version {whole.version}")
                self._take(msgspec.json.decode(data, type=Head), data)
            except (msgspec.DecodeError, ValueError) as error:
                state.set_aside(name_of(number), str(error))
        state.remove(self._evict())
        return self.version(max(self.heads)) if self.heads else None

    def version(self, number: int) -> Version | None:
        """Give a version whole; None: it is not kept."""
        data = self._data.get(number)
        return None if data is None else msgspec.json.decode(data, type=Version)

    def before(self, number: int) -> int:
        """Give the version before one, of those that are kept; 0: none."""
        return max((one for one in self.heads if one < number), default=0)

    def since(self, layers: Layers) -> Names:
        """Name the rules that were added, changed and removed since the newest version that is kept."""
        newest = self.version(max(self.heads)) if self.heads else None
        before = {rule["name"]: rule for _, rule in newest.merged()} if newest is not None else {}
        after = {rule.name: rule.written for rule in layers.merged()}
        return (
            [name for name in after if name not in before],
            [name for name in after if name in before and before[name] != after[name]],
            [name for name in before if name not in after],
        )

    async def keep(self, version: Version) -> str:
        """Keep a version, on disk too where there is a state directory; "" or why that could not be."""
        try:
            data = await asyncio.to_thread(self._write, version)
        except StateError as error:
            self._log.event("error", "state_not_written", message=str(error), version=version.version)
            return str(error)
        self._take(_head_of(version), data)
        stale = self._evict()
        if stale and self._state is not None:
            await asyncio.to_thread(self._state.remove, stale)
        return ""

    def close(self) -> None:
        """Let others have the state directory."""
        if self._state is not None:
            self._state.close()

    def _write(self, version: Version) -> bytes:
        try:
            data = msgspec.json.encode(version)
        except (TypeError, ValueError) as error:
            raise StateError(f"the rules cannot be written as JSON: {error}") from None
        if self._state is not None:
            self._state.write(version.version, data)
        return data

    def _take(self, head: Head, data: bytes) -> None:
        self._size += len(data) - len(self._data.get(head.version, b""))
        self.heads[head.version] = head
        self._data[head.version] = data

    def _evict(self) -> list[int]:
        stale: list[int] = []
        while len(self.heads) > LEAST and (len(self.heads) > MOST or self._size > LARGE):
            number = next(iter(self.heads))
            del self.heads[number]
            self._size -= len(self._data.pop(number))
            stale.append(number)
        return stale


def take_up(directory: str, store: Store, log: Log, now: float) -> History:
    """Open the history; with a directory, go on where the process before left off.  Raises StateError."""
    history = History(log, StateDir(directory, log) if directory else None)
    newest = history.load()
    if newest is not None:
        admin = restored(newest, now, log)
        store.restore(admin, history.highest)
        said = f"version {newest.version} is taken up: {len(admin)} rules of the admin endpoint"
        log.event("info", "state_restored", message=said, version=newest.version, rules=len(admin))
    return history


def _head_of(version: Version) -> Head:
    return Head(*(getattr(version, name) for name in Head.__struct_fields__))


def describe(snapshot: Snapshot, layers: Layers, layer: str, asker: Asker, names: Names) -> Version:
    """Write a version down."""
    added, changed, removed = names
    return Version(
        snapshot.version,
        snapshot.sha256,
        snapshot.created,
        asker.who,
        asker.client,
        snapshot.source,
        layer,
        added,
        changed,
        removed,
        [KeptDocument(one.source, [rule.written for rule in one.rules]) for one in layers.files],
        [KeptRule(one.rule.written, one.ends, _beside(one.rule)) for one in layers.admin],
    )


def _beside(rule: Rule) -> str:
    """Name the rule file beside which a rule's answers stand: it can be read again only there."""
    return rule.place.source if rule.files else ""


def restored(version: Version, now: float, log: Log) -> list[AdminRule]:
    """Read the admin layer of a version; what has ended or cannot be read any more is left out, and said."""
    made: list[AdminRule] = []
    for kept in version.admin:
        if kept.ends and kept.ends <= now:
            log.event("info", "rules_expired", rules=[kept.rule.get("name")], version=version.version)
            continue
        try:
            made.append(AdminRule(_read(kept), kept.ends))
        except RulesError as error:
            log.event("error", "state_rule_dropped", message=f"a kept rule cannot be read: {error}")
    return made


def to_roll_back(version: Version, now: Layers) -> list[Rule]:
    """Give the admin layer with which the rules of a version are in force again, whatever the files say now.

    Rules of files that were otherwise then are covered by what they were, and those that were not there by
    disabled copies.  Raises RulesError where something cannot be read any more.
    """
    rules = [_read(kept) for kept in version.admin]
    there = {rule.name for rule in rules}
    current = {rule.name: rule for document in now.files for rule in document.rules}
    for document in version.files:
        for written in document.rules:
            name = written["name"]
            if name not in there and (name not in current or current[name].written != written):
                rules.append(_read(KeptRule(written, source=document.source)))
            there.add(name)
    for name, rule in current.items():
        if name not in there:
            rules.append(_read(KeptRule({**rule.written, "enabled": False}, source=rule.place.source)))
    return rules


def _read(kept: KeptRule) -> Rule:
    return parse_rule(kept.rule, kept.source or SOURCE, api=not kept.source)
