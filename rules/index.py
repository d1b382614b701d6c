"""From a request to the few rules that could match it, in a time that does not grow with their number.

Each rule stands under one key: its exact path, a literal beginning or end of its path or host,
its exact host, the value or presence of a header.  A request looks each table up once.  Rules without
any such key (the residue) are asked one by one, or all their expressions at once.

What is found is asked again for its path, host and headers: a request that no rule wants costs no facts.
"""

from bisect import bisect_right
from typing import Final

import re2

from rules.compiled import CompiledRule

# From so many on, path or host expressions of the residue are tested in one pass of a set.
FEWEST_FOR_SET: Final = 3
PATTERNS_IN_SET: Final = 500  # of one automaton; more would compile too long in one go
SET_MEMORY: Final = 8 << 20  # bytes at most for one automaton …
POOL_MEMORY: Final = 64 << 20  # … and for all together
LEAST_MEMORY: Final = 1 << 20


def _rank_of(rule: CompiledRule) -> int:
    return rule.rank


class PrefixTree:
    """Literal beginnings, sorted; each knows the longest other one that it begins with itself.

    The beginnings of a value are the nearest entry at or before it in the order, if it is one, and that
    entry's ancestors: whatever lies between a beginning and the value in the order begins likewise.  So one
    binary search is enough, whatever the number and the lengths of the entries.
    """

    __slots__ = ("buckets", "keys", "parents")

    def __init__(self, table: dict[bytes, list[CompiledRule]]) -> None:
        self.keys: list[bytes] = sorted(table)
        self.buckets: list[list[CompiledRule]] = [table[key] for key in self.keys]
        self.parents: list[int] = []
        for at in range(len(self.keys)):
            key = self.keys[at]
            parent = at - 1
            while parent >= 0 and not key.startswith(self.keys[parent]):
                parent = self.parents[parent]
            self.parents.append(parent)

    def find(self, value: bytes) -> int:
        """Find the longest entry that the value begins with, -1 if none; the others are its ``parents``."""
        at = bisect_right(self.keys, value) - 1
        while at >= 0 and not value.startswith(self.keys[at]):
            at = self.parents[at]
        return at


class PatternSet:
    """Many expressions, tested in one pass."""

    __slots__ = ("_rules", "_set", "_size")

    def __init__(self, patterns: list[str], rules: list[CompiledRule], memory: int) -> None:
        """Compile the expressions, one for each rule; ``re2.error`` if there is no room."""
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        options.max_mem = memory
        self._rules: list[CompiledRule] = rules
        self._size: int = len(patterns)
        self._set: re2.Set = re2.Set.SearchSet(options)
        for pattern in patterns:
            self._set.Add(pattern)
        # An automaton that runs out of memory says "nothing matches".  This one matches everything: if even
        # it is not reported, the answer is worthless.
        self._set.Add("")
        self._set.Compile()

    def find(self, value: bytes) -> list[CompiledRule]:
        """Give the rules whose expressions match, or all of them where there was no room to tell."""
        found: list[int] | None = self._set.Match(value)
        if found is None:
            return self._rules
        return [self._rules[at] for at in found if at < self._size]


class PatternPool:
    """The rules of the residue that have an expression for the same thing (the path, or the host)."""

    __slots__ = ("loose", "sets")

    def __init__(self) -> None:
        self.sets: list[PatternSet] = []
        self.loose: list[CompiledRule] = []  # too large for any set

    def add(self, patterns: list[str], rules: list[CompiledRule], memory: int) -> None:
        """Add expressions as one set, in halves where they are too large for one."""
        try:
            self.sets.append(PatternSet(patterns, rules, memory))
        except re2.error:
            if len(patterns) == 1:
                self.loose.extend(rules)
                return
            half = len(patterns) // 2
            self.add(patterns[:half], rules[:half], memory)
            self.add(patterns[half:], rules[half:], memory)


class HeaderTable:
    """The rules under one header's name: by exact value, and those that only need it to be there."""

    __slots__ = ("present", "values")

    def __init__(self) -> None:
        self.values: dict[bytes, list[CompiledRule]] = {}
        self.present: list[CompiledRule] = []


def _admit(
    found: list[CompiledRule] | None,
    bucket: list[CompiledRule],
    host: bytes,
    path: bytes,
    headers: dict[bytes, list[bytes]] | None,
) -> list[CompiledRule] | None:
    """Add those of the bucket that could match; nothing is made before there is one."""
    for rule in bucket:
        if rule.may_match(host, path, headers):
            if found is None:
                found = [rule]
            else:
                found.append(rule)
    return found


class Index:
    """The rules of one listener that have faults for exchanges, by their keys."""

    def __init__(self) -> None:
        self.size: int = 0
        self.paths: dict[bytes, list[CompiledRule]] = {}
        self.hosts: dict[bytes, list[CompiledRule]] = {}
        self.headers: dict[bytes, HeaderTable] = {}
        self.header_names: list[bytes] = []
        self.path_prefixes: PrefixTree | None = None
        self.path_suffixes: PrefixTree | None = None  # turned round
        self.host_prefixes: PrefixTree | None = None
        self.host_suffixes: PrefixTree | None = None  # turned round
        self.path_patterns: PatternPool | None = None
        self.host_patterns: PatternPool | None = None
        self.rarer: bool = False  # there are suffixes, prefixes of hosts, or expressions
        self.residue: list[CompiledRule] = []

    def candidates(
        self, host: bytes, path: bytes, headers: dict[bytes, list[bytes]] | None
    ) -> list[CompiledRule] | None:
        """Give the rules that could match, by priority and order; None if there is none.

        Host (lower case, no port) and path are as they came, header names in lower case; ``headers`` holds at
        least the names that the snapshot asks for.
        """
        found: list[CompiledRule] | None = None
        if self.paths:
            bucket = self.paths.get(path)
            if bucket is not None:
                found = _admit(found, bucket, host, path, headers)
        if self.path_prefixes is not None:
            found = self._admit_tree(found, self.path_prefixes, path, host, path, headers)
        if self.hosts:
            bucket = self.hosts.get(host)
            if bucket is not None:
                found = _admit(found, bucket, host, path, headers)
        if self.header_names and headers:
            found = self._admit_headers(found, host, path, headers)
        if self.rarer:
            found = self._admit_rarer(found, host, path, headers)
        if self.residue:
            found = _admit(found, self.residue, host, path, headers)
        if found is not None and len(found) > 1:
            found.sort(key=_rank_of)
        return found

    def _admit_rarer(
        self,
        found: list[CompiledRule] | None,
        host: bytes,
        path: bytes,
        headers: dict[bytes, list[bytes]] | None,
    ) -> list[CompiledRule] | None:
        if self.path_suffixes is not None:
            found = self._admit_tree(found, self.path_suffixes, path[::-1], host, path, headers)
        if self.host_suffixes is not None:
            found = self._admit_tree(found, self.host_suffixes, host[::-1], host, path, headers)
        if self.host_prefixes is not None:
            found = self._admit_tree(found, self.host_prefixes, host, host, path, headers)
        if self.path_patterns is not None:
            found = self._admit_patterns(found, self.path_patterns, path, host, path, headers)
        if self.host_patterns is not None:
            found = self._admit_patterns(found, self.host_patterns, host, host, path, headers)
        return found

    def _admit_tree(
        self,
        found: list[CompiledRule] | None,
        tree: PrefixTree,
        value: bytes,
        host: bytes,
        path: bytes,
        headers: dict[bytes, list[bytes]] | None,
    ) -> list[CompiledRule] | None:
        at = tree.find(value)
        while at >= 0:
            found = _admit(found, tree.buckets[at], host, path, headers)
            at = tree.parents[at]
        return found

    def _admit_patterns(
        self,
        found: list[CompiledRule] | None,
        pool: PatternPool,
        value: bytes,
        host: bytes,
        path: bytes,
        headers: dict[bytes, list[bytes]] | None,
    ) -> list[CompiledRule] | None:
        for patterns in pool.sets:
            bucket = patterns.find(value)
            if bucket:
                found = _admit(found, bucket, host, path, headers)
        if pool.loose:
            found = _admit(found, pool.loose, host, path, headers)
        return found

    def _admit_headers(
        self, found: list[CompiledRule] | None, host: bytes, path: bytes, headers: dict[bytes, list[bytes]]
    ) -> list[CompiledRule] | None:
        # Walk the shorter of the two lists of names.
        if len(self.header_names) <= len(headers):
            for name in self.header_names:
                values = headers.get(name)
                if values:
                    found = self._admit_header(found, self.headers[name], values, host, path, headers)
        else:
            for name, values in headers.items():
                table = self.headers.get(name)
                if table is not None and values:
                    found = self._admit_header(found, table, values, host, path, headers)
        return found

    def _admit_header(
        self,
        found: list[CompiledRule] | None,
        table: HeaderTable,
        values: list[bytes],
        host: bytes,
        path: bytes,
        headers: dict[bytes, list[bytes]],
    ) -> list[CompiledRule] | None:
        if table.present:
            found = _admit(found, table.present, host, path, headers)
        if len(values) == 1:
            bucket = table.values.get(values[0])
            return found if bucket is None else _admit(found, bucket, host, path, headers)
        for at in range(len(values)):
            bucket = table.values.get(values[at])
            if bucket is not None and values[at] not in values[:at]:  # a value that comes twice counts once
                found = _admit(found, bucket, host, path, headers)
        return found
