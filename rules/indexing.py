"""How an index is made: each rule under the most selective of its keys.

Two walks over the rules, both in slices: the first counts how many rules share each key, the
second puts each under the key that the fewest share.  So ten thousand rules for one host stand under
their paths, and ten thousand for one path under their hosts.
"""

from typing import Final

from rules.compiled import CompiledRule
from rules.index import (
    FEWEST_FOR_SET,
    LEAST_MEMORY,
    PATTERNS_IN_SET,
    POOL_MEMORY,
    SET_MEMORY,
    HeaderTable,
    Index,
    PatternPool,
    PrefixTree,
)
from rules.model import Match, Text

# Kinds of keys; where the fewest share two keys, the lower kind wins.
PATH: Final = 0
HEADER_VALUE: Final = 1
HOST: Final = 2
PATH_PREFIX: Final = 3
PATH_SUFFIX: Final = 4
HOST_SUFFIX: Final = 5
HOST_PREFIX: Final = 6
HEADER_PRESENT: Final = 7

# A beginning or an end so short ("/", ".") tells next to nothing apart.
SHORTEST_LITERAL: Final = 2

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-:=@%,~ ")
_QUANTIFIERS: Final = frozenset("*+?{")


def literal_head(pattern: str) -> str:
    r"""Give the literal text with which every match of an RE2 expression must begin, "" if unknown.

    Only what is plain to see: ``^`` and a run of literals (also ``\.``), in an expression without
    alternatives and without flags.
    """
    if not pattern.startswith("^") or "|" in pattern or "(?" in pattern:
        return ""
    head: list[str] = []
    at = 1
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and pattern[at + 1 : at + 2] == ".":
            char = "."
            at += 1
        elif char not in _PLAIN:
            break
        head.append(char)
        at += 1
    if head and at < len(pattern) and pattern[at] in _QUANTIFIERS:
        head.pop()  # the last one may come any number of times
    return "".join(head)


class Key:
    """What a rule could stand under: a kind, a header's name if it is one, a value."""

    __slots__ = ("kind", "name", "value")

    def __init__(self, kind: int, name: bytes, value: bytes) -> None:
        self.kind: int = kind
        self.name: bytes = name
        self.value: bytes = value


def _path_key(text: Text) -> Key | None:
    value = text.value
    if text.how == "exact":
        return Key(PATH, b"", value.encode())
    if text.how == "suffix" and len(value) >= SHORTEST_LITERAL:
        return Key(PATH_SUFFIX, b"", value.encode()[::-1])
    if text.how == "template":
        value = value.partition("{")[0]
    elif text.how == "regex":
        value = literal_head(value)
    elif text.how != "prefix":
        return None
    return Key(PATH_PREFIX, b"", value.encode()) if len(value) >= SHORTEST_LITERAL else None


def _host_key(text: Text) -> Key | None:
    value = text.value.lower()
    if text.how == "exact":
        return Key(HOST, b"", value.encode())
    if text.how == "prefix" and len(value) >= SHORTEST_LITERAL:
        return Key(HOST_PREFIX, b"", value.encode())
    if text.how == "suffix" and len(value) >= SHORTEST_LITERAL:
        return Key(HOST_SUFFIX, b"", value.encode()[::-1])
    return None


def _header_key(name: str, text: Text) -> Key | None:
    if text.how == "exact":
        return Key(HEADER_VALUE, name.lower().encode(), text.value.encode())
    if text.how in ("prefix", "suffix", "regex") or (text.how == "present" and text.wanted):
        return Key(HEADER_PRESENT, name.lower().encode(), b"")
    return None


def _grpc_key(match: Match) -> Key | None:
    service = match.grpc_service
    method = match.grpc_method
    if service is None or service.how != "exact":
        return None
    if method is not None and method.how == "exact":
        return Key(PATH, b"", f"/{service.value}/{method.value}".encode())
    return Key(PATH_PREFIX, b"", f"/{service.value}/".encode())


def keys_of(match: Match) -> list[Key]:
    """List the keys that a rule could stand under: whatever it matches has each of them."""
    keys: list[Key | None] = [_grpc_key(match)]
    if match.path is not None:
        keys.append(_path_key(match.path))
    if match.host is not None:
        keys.append(_host_key(match.host))
    for name, text in match.headers:
        keys.append(_header_key(name, text))
    return [key for key in keys if key is not None]


class IndexBuilder:
    """Makes an index for one listener, so many rules at a time."""

    def __init__(self, listener: str, rules: list[CompiledRule]) -> None:
        """Start; ``rules`` are the enabled ones by rank."""
        self._listener: str = listener
        self._rules: list[CompiledRule] = rules
        self._fitting: list[CompiledRule] = []
        self._keys: list[list[Key]] = []
        self._shared: dict[tuple[int, bytes, bytes], int] = {}
        self._read: int = 0
        self._placed: int = 0
        self._index: Index = Index()
        self._trees: dict[int, dict[bytes, list[CompiledRule]]] = {
            PATH_PREFIX: {},
            PATH_SUFFIX: {},
            HOST_PREFIX: {},
            HOST_SUFFIX: {},
        }
        self._path_patterns: list[CompiledRule] = []
        self._host_patterns: list[CompiledRule] = []
        self._pooled: int = 0
        self._planted: bool = False

    def step(self, rules: int) -> bool:
        """Work on the next ``rules`` rules; True once the index is ready."""
        if self._read < len(self._rules):
            self._read_some(rules)
            return False
        if self._placed < len(self._fitting):
            self._place_some(rules)
            return False
        if not self._planted:
            self._plant()
            return False
        return self._pool_some()

    def finish(self) -> Index:
        """Do all that is left and give the index."""
        while not self.step(1000):
            pass
        return self._index

    def _read_some(self, rules: int) -> None:
        end = min(self._read + rules, len(self._rules))
        for at in range(self._read, end):
            rule = self._rules[at]
            match = rule.rule.match
            if not rule.exchange or (match.listener and self._listener not in match.listener):
                continue
            keys = keys_of(match)
            for key in keys:
                who = (key.kind, key.name, key.value)
                self._shared[who] = self._shared.get(who, 0) + 1
            self._fitting.append(rule)
            self._keys.append(keys)
        self._read = end

    def _place_some(self, rules: int) -> None:
        end = min(self._placed + rules, len(self._fitting))
        for at in range(self._placed, end):
            best: Key | None = None
            fewest = 0
            for key in self._keys[at]:
                shared = self._shared[(key.kind, key.name, key.value)]
                if best is None or shared < fewest or (shared == fewest and key.kind < best.kind):
                    best = key
                    fewest = shared
            self._place(self._fitting[at], best)
        self._placed = end

    def _place(self, rule: CompiledRule, key: Key | None) -> None:
        index = self._index
        index.size += 1
        if key is None:
            self._place_without_key(rule)
        elif key.kind == PATH:
            index.paths.setdefault(key.value, []).append(rule)
        elif key.kind == HOST:
            index.hosts.setdefault(key.value, []).append(rule)
        elif key.kind in (HEADER_VALUE, HEADER_PRESENT):
            table = index.headers.get(key.name)
            if table is None:
                table = HeaderTable()
                index.headers[key.name] = table
                index.header_names.append(key.name)
            if key.kind == HEADER_VALUE:
                table.values.setdefault(key.value, []).append(rule)
            else:
                table.present.append(rule)
        else:
            self._trees[key.kind].setdefault(key.value, []).append(rule)

    def _place_without_key(self, rule: CompiledRule) -> None:
        match = rule.rule.match
        if match.path is not None and match.path.how == "regex":
            self._path_patterns.append(rule)
        elif match.host is not None and match.host.how == "regex":
            self._host_patterns.append(rule)
        else:
            self._index.residue.append(rule)

    def _plant(self) -> None:
        self._planted = True
        index = self._index
        if self._trees[PATH_PREFIX]:
            index.path_prefixes = PrefixTree(self._trees[PATH_PREFIX])
        if self._trees[PATH_SUFFIX]:
            index.path_suffixes = PrefixTree(self._trees[PATH_SUFFIX])
        if self._trees[HOST_PREFIX]:
            index.host_prefixes = PrefixTree(self._trees[HOST_PREFIX])
        if self._trees[HOST_SUFFIX]:
            index.host_suffixes = PrefixTree(self._trees[HOST_SUFFIX])
        if len(self._path_patterns) >= FEWEST_FOR_SET:
            index.path_patterns = PatternPool()
        else:
            index.residue.extend(self._path_patterns)
            self._path_patterns = []
        if len(self._host_patterns) >= FEWEST_FOR_SET:
            index.host_patterns = PatternPool()
        else:
            index.residue.extend(self._host_patterns)
            self._host_patterns = []
        rare = (index.path_suffixes, index.host_prefixes, index.host_suffixes)
        patterns = (index.path_patterns, index.host_patterns)
        index.rarer = any(one is not None for one in (*rare, *patterns))

    def _pool_some(self) -> bool:
        paths = len(self._path_patterns)
        total = paths + len(self._host_patterns)
        if self._pooled >= total:
            return True
        sets = total // PATTERNS_IN_SET + 2
        memory = min(SET_MEMORY, max(LEAST_MEMORY, POOL_MEMORY // sets))
        is_path = self._pooled < paths
        start = self._pooled if is_path else self._pooled - paths
        rules = (self._path_patterns if is_path else self._host_patterns)[start : start + PATTERNS_IN_SET]
        pool = self._index.path_patterns if is_path else self._index.host_patterns
        assert pool is not None
        pool.add([_pattern(rule, is_path) for rule in rules], rules, memory)
        self._pooled += len(rules)
        return self._pooled >= total


def _pattern(rule: CompiledRule, of_path: bool) -> str:
    text = rule.rule.match.path if of_path else rule.rule.match.host
    assert text is not None
    return text.value
