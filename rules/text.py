"""Reading documents: YAML and JSON to plain values that know where they stand.

The three steps of every reader of files in this project (rules and the configuration)::

    node = read(data, "rules.yaml")        # raises RulesError where it is no YAML or JSON at all
    value = node.get(PARAM, default)       # a table of rules.params; mistakes are noted, not raised
    node.document.check()                  # raises RulesError with every mistake, in order of place

or all at once: ``value = read_as(data, "rules.yaml", PARAM)``.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from rules.model import Place
from rules.params import ALONE, BadValue, Context, Param, Path, Trouble, printable, show
from rules.places import MAX_DEPTH, MAX_NODES, Broken, JsonPlaces, Spot, Twice, line_and_column
from rules.records import MAX_TROUBLES, unknown_key
from rules.yaml_reader import read_yaml

T = TypeVar("T")

MAX_SIZE: Final = 16 << 20  # bytes of one document
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_BYTE: Final = re.compile(r"\(byte ([0-9]+)\)")
_BOM: Final = b"\xef\xbb\xbf"
_JSON_KEYS: Final = re.compile(rb'"[ \t\r\n]*:')


@dataclass(frozen=True)
class Problem:
    """One mistake in a document: where, at which key, what."""

    place: Place
    path: str  # such as "rules[3].match.path", "" for the document as a whole
    message: str

    def __str__(self) -> str:
        """Write it as ``file:line:column: path: message``, without what is unknown."""
        where = self.place.source
        if self.place.line:
            where += f":{self.place.line}:{self.place.column}"
        return ": ".join(part for part in (where, self.path, self.message) if part)


class RulesError(Exception):
    """A document with mistakes; ``problems`` has all of them, in order of place."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def path_text(path: Path) -> str:
    """Write a path the way problems show it; keys that are no plain words are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{printable(json.dumps(part[:80], ensure_ascii=False))}]"
    return text


class Document:
    """What was read: its source, the places of its parts, and the problems noted so far."""

    def __init__(self, source: str, spot: Spot | None = None, json_data: bytes | None = None) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._spot = spot
        self._json = json_data  # JSON is scanned for places only once one is asked for

    def locate(self, path: Path, at_key: bool = False) -> Place:
        """Give the place of the value (or of its key) at a path, or of the nearest thing around it."""
        if self._spot is None and self._json is not None:
            self._spot = JsonPlaces(self._json.decode()).read()
        if self._spot is None:
            return Place(self.source)
        return Place(self.source, *self._spot.find(path, at_key))

    def known_place(self, path: Path) -> Place:
        """Give the place of a value as far as it is known without reading again: in JSON only the source."""
        return Place(self.source) if self._spot is None else self.locate(path)

    def note(self, path: Path, message: str, at_key: bool = False) -> None:
        """Note a problem."""
        self.problems.append(Problem(self.locate(path, at_key), path_text(path), printable(message)))

    def note_all(self, path: Path, troubles: list[Trouble]) -> None:
        """Note what a parameter found wrong in the value at ``path``."""
        for trouble in troubles[: MAX_TROUBLES + 1]:
            self.note((*path, *trouble.path), trouble.message, trouble.at_key)

    def check(self) -> None:
        """Raise RulesError if anything was noted."""
        if self.problems:
            raise RulesError(sorted(self.problems, key=_order))


def _order(problem: Problem) -> tuple[int, int]:
    return problem.place.line, problem.place.column


class Node:
    """One value of a document, its path and its document; mistakes in it are noted there."""

    __slots__ = ("document", "path", "value")

    def __init__(self, value: object, path: Path, document: Document) -> None:
        self.value = value
        self.path = path
        self.document = document

    @property
    def place(self) -> Place:
        """Where the value stands."""
        return self.document.locate(self.path)

    @property
    def key_place(self) -> Place:
        """Where the key of the value stands (the value itself, in a list)."""
        return self.document.locate(self.path, True)

    def problem(self, message: str, at_key: bool = False) -> None:
        """Note a mistake in this value (or in its key)."""
        self.document.note(self.path, message, at_key)

    def get(self, param: Param[T], default: T, context: Context = ALONE) -> T:
        """Read the value by a parameter; mistakes are noted, and ``default`` stands in."""
        try:
            return param.parse(self.value, context)
        except BadValue as bad:
            self.document.note_all(self.path, bad.troubles)
            return default

    def mapping(self, known: Collection[str] | None = None) -> "dict[str, Node]":
        """Give the nodes of a mapping by key; notes a value that is none, and keys that are not ``known``."""
        if not isinstance(self.value, dict):
            self.problem(f"expected a mapping, got {show(self.value)}")
            return {}
        nodes = {key: Node(item, (*self.path, key), self.document) for key, item in self.value.items()}
        if known is not None:
            names = dict.fromkeys(known)
            for key in [key for key in nodes if key not in names]:
                nodes.pop(key).problem(unknown_key(key, names), at_key=True)
        return nodes

    def sequence(self) -> "list[Node]":
        """Give the nodes of a list; notes a value that is none."""
        if not isinstance(self.value, list):
            self.problem(f"expected a list, got {show(self.value)}")
            return []
        return [Node(item, (*self.path, number), self.document) for number, item in enumerate(self.value)]


def read(data: bytes, source: str) -> Node:
    """Read a YAML or JSON document; ``source`` is the file's name (or what else problems shall say).

    Raises RulesError where the text is no such document.  Keys given twice are noted in the document.
    """
    problem = _unreadable(data)
    if problem is not None:
        raise _fatal(source, problem)
    data = data.removeprefix(_BOM)
    broken_json: Broken | None = None
    if looks_like_json(data):
        try:
            return _read_json(data, source)
        except Broken as broken:
            broken_json = broken  # YAML allows more (comments, a comma at the end): let it try
    try:
        value, spot, twice = read_yaml(data)
    except Broken as broken:
        as_json = broken_json is not None and source.endswith(".json")
        raise _fatal(source, broken_json if as_json and broken_json is not None else broken) from None
    document = Document(source, spot)
    _note_twice(document, twice)
    return Node(value, (), document)


def looks_like_json(data: bytes) -> bool:
    """Tell whether a document is read as JSON first; it may still be YAML in flow style."""
    return data.removeprefix(_BOM).lstrip()[:1] in (b"{", b"[")


def read_value(value: object, source: str) -> Node:
    """Make a node of a plain value that came without a text, so that its problems have no lines."""
    return Node(value, (), Document(source))


def read_as(data: bytes, source: str, param: Param[T], context: Context = ALONE) -> T:
    """Read a document by a parameter; raises RulesError with every mistake in it."""
    node = read(data, source)
    value: T | None = None
    try:
        value = param.parse(node.value, context)
    except BadValue as bad:
        node.document.note_all((), bad.troubles)
    node.document.check()
    return value  # type: ignore[return-value]


def _fatal(source: str, broken: Broken) -> RulesError:
    return RulesError([Problem(Place(source, broken.line, broken.column), "", printable(broken.message))])


def _unreadable(data: bytes) -> Broken | None:
    """Say what is wrong with a text before it is looked at: its size and its encoding."""
    if len(data) > MAX_SIZE:
        return Broken(f"{len(data)} bytes are too many, the limit is {MAX_SIZE >> 20} MiB")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        return Broken(f"not UTF-8: {error.reason}", *line_and_column(good, len(good)))
    return None


def _read_json(data: bytes, source: str) -> Node:
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise Broken(f"lists and mappings nest more than {MAX_DEPTH} deep") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise _broken_json(data, error) from None
    members = _count_members(value)
    document = Document(source, None, data)
    # A key given twice is one member less than the text has keys.  A string that looks like a key only
    # makes the count of the text larger: then the careful reader has the last word.
    if len(_JSON_KEYS.findall(data)) != members:
        places = JsonPlaces(data.decode())
        document = Document(source, places.read())
        _note_twice(document, places.twice)
    return Node(value, (), document)


def _broken_json(data: bytes, error: Exception) -> Broken:
    found = _BYTE.search(str(error))
    offset = int(found[1]) if found else len(data)
    before = data[:offset].decode(errors="ignore")
    message = str(error)[: found.start()].strip() if found else str(error)
    return Broken(f"not JSON: {message}", *line_and_column(before, len(before)))


def _count_members(root: Any) -> int:
    """Count the members of all mappings; raises Broken where lists and mappings nest too deep."""
    members = 0
    nodes = 0
    level = [root] if type(root) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return members
        below: list[Any] = []
        for container in level:
            nodes += len(container)
            if type(container) is dict:
                members += len(container)
                below += [item for item in container.values() if type(item) is dict or type(item) is list]
            else:
                below += [item for item in container if type(item) is dict or type(item) is list]
        if nodes > MAX_NODES:
            raise Broken(f"more than {MAX_NODES} values")
        level = below
    if level:
        raise Broken(f"lists and mappings nest more than {MAX_DEPTH} deep")
    return members


def _note_twice(document: Document, twice: list[Twice]) -> None:
    for double in twice[:MAX_TROUBLES]:
        place = Place(document.source, double.line, double.column)
        message = f"this key is given twice; first in line {double.first_line}"
        document.problems.append(Problem(place, path_text((*double.path, double.key)), message))


__all__ = ["Document", "Node", "Problem", "RulesError", "path_text", "read", "read_as", "read_value"]
