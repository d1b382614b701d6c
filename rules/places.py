"""Where each part of a document stands: trees of spots beside the plain values."""

import re
from bisect import bisect_right
from typing import Final

MAX_DEPTH: Final = 32  # lists and mappings within each other; rules need less than ten
MAX_NODES: Final = 1_000_000  # values of one document, with each use of an alias counted as if written out


class Broken(Exception):
    """The document cannot be read any further; line and column from 1, 0 where unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


class Spot:
    """The place of one value, and of what it holds: of a list its items, of a mapping keys and values."""

    __slots__ = ("column", "items", "keys", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.items: list[Spot] | None = None
        self.keys: dict[str, tuple[int, int, Spot]] | None = None

    def find(self, path: tuple[str | int, ...], at_key: bool) -> tuple[int, int]:
        """Give line and column at a path, of as much of it as is there; ``at_key``: of its last key."""
        here = self
        for number, part in enumerate(path):
            if isinstance(part, str):
                entry = here.keys.get(part) if here.keys is not None else None
                if entry is None:
                    break
                if at_key and number == len(path) - 1:
                    return entry[0], entry[1]
                here = entry[2]
            else:
                if here.items is None or part >= len(here.items):
                    break
                here = here.items[part]
        return here.line, here.column


class Twice:
    """A key that a mapping has twice: where the second stands, and the path of the mapping."""

    __slots__ = ("column", "first_line", "key", "line", "path")

    def __init__(
        self, path: tuple[str | int, ...], key: str, line: int, column: int, first_line: int
    ) -> None:
        self.path = path
        self.key = key
        self.line = line
        self.column = column
        self.first_line = first_line


_JSON_TOKEN: Final = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s{}\[\],:"]+', re.DOTALL)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Give line and column, from 1 and in characters, of an offset."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


class JsonPlaces:
    """Finds the places of a JSON text that a parser has accepted (so that it is well-formed and shallow).

    The parser on the fast path gives values only; this reads again, and only when there is an error.
    """

    def __init__(self, text: str) -> None:
        self.twice: list[Twice] = []
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._tokens = _JSON_TOKEN.finditer(text)
        self._token = ""
        self._offset = 0
        self._next()

    def read(self, path: tuple[str | int, ...] = ()) -> Spot:
        """Give the spot of the next value."""
        spot = Spot(*self._place())
        token = self._token
        self._next()
        if token == "[":
            spot.items = []
            while self._token != "]":
                spot.items.append(self.read((*path, len(spot.items))))
                self._skip_comma()
            self._next()
        elif token == "{":
            spot.keys = {}
            while self._token != "}":
                self._member(spot.keys, path)
                self._skip_comma()
            self._next()
        return spot

    def _member(self, keys: dict[str, tuple[int, int, Spot]], path: tuple[str | int, ...]) -> None:
        line, column = self._place()
        key = _unquote(self._token)
        if key in keys:
            self.twice.append(Twice(path, key, line, column, keys[key][0]))
        self._next()  # the key
        self._next()  # the colon
        keys[key] = (line, column, self.read((*path, key)))

    def _skip_comma(self) -> None:
        if self._token == ",":
            self._next()

    def _next(self) -> None:
        found = next(self._tokens, None)
        self._token = "" if found is None else found[0]
        self._offset = self._offset if found is None else found.start()

    def _place(self) -> tuple[int, int]:
        line = bisect_right(self._starts, self._offset)
        return line, self._offset - self._starts[line - 1] + 1


def _unquote(token: str) -> str:
    """Read a JSON string token."""
    from json import loads  # only errors come here

    return str(loads(token, strict=False))
