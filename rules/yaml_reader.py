"""YAML 1.2 with the core schema, from the events of PyYAML's parser (libyaml where it is built in).

PyYAML's own loaders resolve by YAML 1.1 (``on``, ``12:30`` and dates are special), take the last of two
equal keys, and expand aliases without bound; so only its parser is used, and the rest is here (YAML 1.2.2,
section 10.3).  What is left of 1.1: the parser folds U+0085, U+2028 and U+2029 in strings as line breaks.
"""

import re
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from rules.places import MAX_DEPTH, MAX_NODES, Broken, Spot, Twice, line_and_column

MAX_ALIASES: Final = 10_000

_LONGEST_NUMBER: Final = 400  # digits; what is longer is text
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_START: Final = frozenset("0123456789+-.")
_WORDS: Final[dict[str, object]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
    **{f"{sign}.{inf}": float(f"{sign}inf") for sign in ("", "+", "-") for inf in ("inf", "Inf", "INF")},
}  # fmt: skip
_TAG: Final = "tag:yaml.org,2002:"


class _PlainParser(Reader, Scanner, Parser):
    """PyYAML's parser in Python, for where libyaml is not built in."""

    def __init__(self, stream: bytes) -> None:
        Reader.__init__(self, stream)
        Scanner.__init__(self)
        Parser.__init__(self)

    def dispose(self) -> None:
        """Nothing is held outside Python."""


def _parser(data: bytes, native: bool) -> Any:
    if native and yaml.__with_libyaml__:
        from yaml._yaml import CParser

        return CParser(data)
    return _PlainParser(data)


def resolve(text: str) -> object:
    """Read a plain scalar by the core schema: null, booleans and numbers are special, the rest is text."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read_yaml(data: bytes, native: bool = True) -> tuple[object, Spot, list[Twice]]:
    """Read the one document of a text; raises Broken where it cannot go on."""
    try:
        reader = _YamlReader(_parser(data, native))
        return reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part)
        raise Broken(f"not YAML: {words}", *((mark.line + 1, mark.column + 1) if mark else (0, 0))) from None
    except (yaml.YAMLError, ValueError) as error:
        # A character that YAML does not allow, or an escape that is no character.
        raise Broken(
            f"not YAML: {getattr(error, 'reason', error)}", *_offset_place(data, error, native)
        ) from None


def _offset_place(data: bytes, error: Exception, native: bool) -> tuple[int, int]:
    offset = getattr(error, "position", None)
    if not isinstance(offset, int):
        return 0, 0
    if native and yaml.__with_libyaml__:  # counts bytes, the parser in Python characters
        offset = len(data[:offset].decode(errors="ignore"))
    return line_and_column(data.decode(errors="replace"), offset)


class _YamlReader:
    """Builds plain values and spots from events, within bounds of depth, aliases and size."""

    def __init__(self, parser: Any) -> None:
        self._next = parser.get_event
        self._nodes = 0
        self._aliases = 0
        self._deepest = 0
        self._anchors: dict[str, tuple[object, Spot, int, int]] = {}  # value, place, size, height
        self._path: list[str | int] = []
        self.twice: list[Twice] = []

    def document(self) -> tuple[object, Spot, list[Twice]]:
        """Read the stream: one document, or none (an empty text, read as null)."""
        value: object = None
        spot = Spot(1, 1)
        started = False
        while True:
            event = self._next()
            kind = type(event)
            if kind is StreamStartEvent or kind is DocumentEndEvent:
                continue
            if event is None or kind is StreamEndEvent:
                return value, spot, self.twice
            if kind is DocumentStartEvent and started:
                raise _broken("a second document in one file; keep one", event)
            if kind is DocumentStartEvent:
                started = True
                continue
            value, spot = self._node(event, 0)

    def _node(self, event: Event, depth: int) -> tuple[object, Spot]:
        kind = type(event)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _broken(f"more than {MAX_NODES} values (aliases count as if written out)", event)
        if kind is ScalarEvent:
            return self._scalar(event)
        if kind is AliasEvent:
            return self._alias(event, depth)
        if depth >= MAX_DEPTH:
            raise _broken(f"lists and mappings nest more than {MAX_DEPTH} deep", event)
        return self._container(event, depth)

    def _container(self, event: Any, depth: int) -> tuple[object, Spot]:
        spot = _spot(event)
        nodes_before = self._nodes
        deepest_before = self._deepest
        self._deepest = depth
        value: object
        if type(event) is MappingStartEvent:
            self._check_tag(event, "map")
            value = self._mapping(spot, depth + 1)
        else:
            self._check_tag(event, "seq")
            value = self._sequence(spot, depth + 1)
        if event.anchor:
            size = self._nodes - nodes_before + 1
            self._anchors[event.anchor] = (value, spot, size, self._deepest - depth + 1)
        self._deepest = max(self._deepest, deepest_before)
        return value, spot

    def _mapping(self, spot: Spot, depth: int) -> dict[str, object]:
        values: dict[str, object] = {}
        keys: dict[str, tuple[int, int, Spot]] = {}
        spot.keys = keys
        while True:
            event = self._next()
            if type(event) is MappingEndEvent:
                return values
            key = self._key(event)
            mark = event.start_mark
            line, column = mark.line + 1, mark.column + 1
            if key in keys:
                self.twice.append(Twice(tuple(self._path), key, line, column, keys[key][0]))
            self._path.append(key)
            value, where = self._node(self._next(), depth)
            self._path.pop()
            values[key] = value
            keys[key] = (line, column, where)

    def _key(self, event: Any) -> str:
        """Read a key: a scalar, whose text is the key whatever it looks like."""
        if type(event) is AliasEvent:
            value = self._alias(event, 0)[0]
            if isinstance(value, str):
                return value
        if type(event) is not ScalarEvent:
            raise _broken("a key must be a string", event)
        if event.anchor:
            self._anchors[event.anchor] = (event.value, _spot(event), 1, 0)
        return str(event.value)

    def _sequence(self, spot: Spot, depth: int) -> list[object]:
        values: list[object] = []
        spots: list[Spot] = []
        spot.items = spots
        path = self._path
        while True:
            event = self._next()
            if type(event) is SequenceEndEvent:
                return values
            path.append(len(values))
            value, where = self._node(event, depth)
            path.pop()
            values.append(value)
            spots.append(where)

    def _scalar(self, event: Any) -> tuple[object, Spot]:
        tag = event.tag
        value: object = event.value
        if tag is not None and tag != "!":
            value = self._tagged(event)
        elif tag is None and event.implicit[0]:
            value = resolve(event.value)
        spot = _spot(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, spot, 1, 0)
        return value, spot

    def _alias(self, event: Any, depth: int) -> tuple[object, Spot]:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise _broken(f"more than {MAX_ALIASES} aliases", event)
        known = self._anchors.get(event.anchor)
        if known is None:
            raise _broken(f'alias "*{event.anchor}" has no anchor before it that is complete', event)
        value, spot, size, height = known
        self._nodes += size - 1
        self._deepest = max(self._deepest, depth + height - 1)
        if self._deepest >= MAX_DEPTH:
            raise _broken(f"lists and mappings nest more than {MAX_DEPTH} deep", event)
        return value, spot

    def _tagged(self, event: Any) -> object:
        """Read a scalar with a tag of the core schema."""
        text = event.value
        if event.tag == f"{_TAG}str":
            return text
        value = resolve(text)
        kinds: dict[str, tuple[type, ...]] = {
            f"{_TAG}int": (int,), f"{_TAG}float": (float, int), f"{_TAG}bool": (bool,),
            f"{_TAG}null": (type(None),),
        }  # fmt: skip
        wanted = kinds.get(event.tag)
        if wanted is None:
            raise _broken(f"tag {event.tag} is not supported", event)
        if type(value) not in wanted:
            raise _broken(f'"{text[:60]}" is no {event.tag.removeprefix(_TAG)}', event)
        return float(value) if wanted[0] is float else value  # type: ignore[arg-type]

    def _check_tag(self, event: Any, name: str) -> None:
        if event.tag not in (None, "!", _TAG + name):
            raise _broken(f"tag {event.tag} is not supported", event)


def _spot(event: Any) -> Spot:
    mark = event.start_mark
    return Spot(mark.line + 1, mark.column + 1)


def _broken(message: str, event: Any) -> Broken:
    mark = event.start_mark
    return Broken(message, mark.line + 1, mark.column + 1)
