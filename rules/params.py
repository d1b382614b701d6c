"""Parameters: how one written value is read, described to people and to editors.

A parameter turns a plain value (what YAML or JSON gave: dict, list, str, int, float, bool or
None) into a value of an exact type, or raises ``BadValue`` with everything that is wrong in it, each trouble
with the path from this value to the place of the mistake.  ``schema`` gives the same rules as JSON Schema
2020-12.  Tables of parameters (``Record``) are in ``rules.records``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Path = tuple[str | int, ...]
Schema = dict[str, Any]

SHOWN: Final = 60  # so much of a wrong value is quoted in a message
DAY: Final = 86_400.0
YEAR: Final = 365 * DAY


@dataclass(frozen=True)
class Trouble:
    """One mistake: where it is under the value that was read, and what it is.

    ``at_key`` says that the last part of ``path`` is a key that itself is wrong (unknown, twice).
    """

    path: Path
    message: str
    at_key: bool = False

    def under(self, key: str | int) -> "Trouble":
        """Give the same trouble as seen from one level up."""
        return Trouble((key, *self.path), self.message, self.at_key)


class BadValue(Exception):
    """What was written cannot be read; ``troubles`` has every reason."""

    def __init__(self, troubles: str | list[Trouble]) -> None:
        self.troubles: list[Trouble] = [Trouble((), troubles)] if isinstance(troubles, str) else troubles
        super().__init__("; ".join(t.message for t in self.troubles))


class Context:
    """What reading may lean on besides the value itself: by default nothing at all.

    ``api`` is True for what came over the admin endpoint; ``read_file`` serves parameters that name a file.
    """

    api: bool = False

    def read_file(self, path: str) -> bytes:
        """Give the bytes of a file that a value names; raises BadValue where that is not allowed."""
        raise BadValue(f'no file can be read from here, so "{shorten(path)}" cannot be named')


ALONE: Final = Context()


class Param(Generic[T_co]):
    """One kind of value.  ``human`` completes the sentence "expected …"."""

    human: str = "a value"

    def parse(self, value: object, context: Context = ALONE) -> T_co:
        """Read a plain value; raises BadValue."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """Describe the values that ``parse`` accepts as JSON Schema 2020-12."""
        raise NotImplementedError

    def wrong(self, value: object) -> BadValue:
        """Say what was expected and what was found."""
        return BadValue(f"expected {self.human}, got {show(value)}")


def shorten(text: str) -> str:
    """Cut a text to what fits into a message, and into one line of it."""
    return printable(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def printable(text: str) -> str:
    """Keep a text on its line: what ends lines, steers a terminal or is not seen is escaped as in JSON."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def check_unicode(text: str) -> None:
    """Refuse half of a surrogate pair: it is no character, and no bytes can be made of it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue("half of a surrogate pair is no character") from None


def show(value: object) -> str:
    """Name a plain value in a message."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{shorten(value)}"'
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence):
        return "a list"
    return shorten(repr(value))


class Bool(Param[bool]):
    """True or false, and nothing that only looks like it."""

    human = "true or false"

    def parse(self, value: object, context: Context = ALONE) -> bool:
        """Read true or false."""
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("yes", "no", "on", "off", "true", "false"):
            raise BadValue(f'expected true or false, got the string "{value}"')
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "boolean"}


class Integer(Param[int]):
    """A whole number from ``low`` to ``high``."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high
        self.human = f"a whole number from {low} to {high}"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read a whole number; 5.0 is not one."""
        if type(value) is int and self.low <= value <= self.high:
            return value
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Status(Integer):
    """A final HTTP status code (RFC 9110 section 15): 1xx are interim and no answer."""

    def __init__(self) -> None:
        super().__init__(200, 599)
        self.human = "an HTTP status from 200 to 599"


class Number(Param[float]):
    """A finite number from ``low`` to ``high``; ``above``: ``low`` itself is left out."""

    def __init__(self, low: float, high: float, above: bool = False) -> None:
        self.low = low
        self.high = high
        self.above = above
        self.human = f"a number {'above' if above else 'from'} {low:g} {'up ' if above else ''}to {high:g}"

    def parse(self, value: object, context: Context = ALONE) -> float:
        """Read a number as a float."""
        if type(value) is int or type(value) is float:
            if self.low <= value <= self.high and not (self.above and value == self.low):
                return float(value)
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe it."""
        return {
            "type": "number",
            "exclusiveMinimum" if self.above else "minimum": self.low,
            "maximum": self.high,
        }


class Percent(Param[int]):
    """A share from 0 to 100, to 0.0001; read as millionths (12.5 gives 125_000)."""

    human = "a percentage from 0 to 100"

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read a percentage as millionths."""
        if not (type(value) is int or type(value) is float) or not 0 <= value <= 100:
            raise self.wrong(value)
        millionths = Decimal(repr(value)) * 10_000
        if millionths != int(millionths):
            raise BadValue(f"a percentage goes down to 0.0001, {show(value)} is finer")
        return int(millionths)

    def schema(self) -> Schema:
        """Describe it; the step is left to the reader, as binary fractions upset ``multipleOf``."""
        return {"type": "number", "minimum": 0, "maximum": 100}


_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_DURATION_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_DURATION_HINT: Final = "a duration such as 100ms, 1.5s, 10m or 1h"


@lru_cache(maxsize=1024)
def _milliseconds(text: str) -> Decimal | None:
    """Give the milliseconds of a written duration, None where it is none."""
    found = _DURATION.fullmatch(text)
    return None if found is None else Decimal(found[1]) * _DURATION_UNITS[found[2]]


class Duration(Param[float]):
    """A time with its unit, in whole milliseconds; read as seconds.  ``low`` and ``high`` in seconds."""

    human = _DURATION_HINT

    def __init__(self, low: float = 0.0, high: float = DAY) -> None:
        self.low = low
        self.high = high

    def parse(self, value: object, context: Context = ALONE) -> float:
        """Read a duration as seconds."""
        if type(value) is int or type(value) is float:
            raise BadValue(
                f"expected {self.human}, got {show(value)}; a bare number has no unit: use ms, s, m or h"
            )
        milliseconds = _milliseconds(value) if isinstance(value, str) else None
        if milliseconds is None:
            raise self.wrong(value)
        if milliseconds != int(milliseconds):
            raise BadValue(f"durations are whole milliseconds, {show(value)} is finer")
        seconds = int(milliseconds) / 1_000
        if not self.low <= seconds <= self.high:
            raise BadValue(
                f"expected a duration from {_written(self.low)} to {_written(self.high)}, got {show(value)}"
            )
        return seconds

    def schema(self) -> Schema:
        """Describe it."""
        return {
            "type": "string",
            "pattern": r"^[0-9]{1,12}(\.[0-9]{1,9})?(ms|s|m|h)$",
            "description": _DURATION_HINT,
        }


def _written(seconds: float) -> str:
    """Write seconds the way a rule would."""
    milliseconds = round(seconds * 1_000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(B|kB|KB|MB|GB|KiB|MiB|GiB)")
_SIZE_UNITS: Final = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}  # fmt: skip


class Size(Param[int]):
    """A number of bytes with its unit; read as bytes."""

    human = "a size such as 100B, 64KiB or 1MB"
    units = "B, KB, MB, GB, KiB, MiB or GiB"
    suffix = ""

    def __init__(self, low: int = 0, high: int = 1 << 50) -> None:
        self.low = low
        self.high = high

    def parse(self, value: object, context: Context = ALONE) -> int:
        """Read a size as bytes."""
        if type(value) is int or type(value) is float:
            raise BadValue(
                f"expected {self.human}, got {show(value)}; a bare number has no unit: use {self.units}"
            )
        found = None
        if isinstance(value, str) and value.endswith(self.suffix):
            found = _SIZE.fullmatch(value.removesuffix(self.suffix))
        if found is None:
            raise self.wrong(value)
        size = Decimal(found[1]) * _SIZE_UNITS[found[2]]
        if size != int(size):
            raise BadValue(f"expected whole bytes, {show(value)} is finer")
        if not self.low <= size <= self.high:
            raise BadValue(
                f"expected {self.human} from {self.low}B{self.suffix} to {self.high}B{self.suffix}, "
                f"got {show(value)}"
            )
        return int(size)

    def schema(self) -> Schema:
        """Describe it."""
        return {
            "type": "string",
            "pattern": rf"^[0-9]{{1,15}}(\.[0-9]{{1,9}})?([kKMG]B|[KMG]iB|B){self.suffix}$",
            "description": self.human,
        }


class Rate(Size):
    """Bytes in a second, written as a size with ``/s``; read as bytes per second, at least 1."""

    human = "a rate such as 256KiB/s"
    units = "B/s, KB/s, MB/s, GB/s, KiB/s, MiB/s or GiB/s"
    suffix = "/s"

    def __init__(self, low: int = 1, high: int = 1 << 50) -> None:
        super().__init__(low, high)


class Text(Param[str]):
    """A string; ``pattern``, where given, matches it as a whole; ``human`` says that in words."""

    def __init__(self, human: str = "a string", pattern: str = "", low: int = 0, high: int = 4096) -> None:
        self.human = human
        self.pattern = pattern
        self.low = low
        self.high = high
        self._match = re.compile(pattern) if pattern else None

    def parse(self, value: object, context: Context = ALONE) -> str:
        """Read a string; a number or a truth value is none (quote it)."""
        if isinstance(value, bool | int | float):
            raise BadValue(f"expected {self.human}, got {show(value)}; quote it to make it a string")
        if not isinstance(value, str) or (self._match is not None and self._match.fullmatch(value) is None):
            raise self.wrong(value)
        if len(value) < self.low:
            raise BadValue(f"expected {self.human} of at least {self.low} characters, got {show(value)}")
        if len(value) > self.high:
            raise BadValue(f"expected {self.human} of at most {self.high} characters, got {len(value)}")
        check_unicode(value)
        return value

    def schema(self) -> Schema:
        """Describe it."""
        schema: Schema = {"type": "string", "maxLength": self.high}
        if self.low:
            schema["minLength"] = self.low
        if self.pattern:
            schema["pattern"] = f"^(?:{self.pattern})$"
        return schema


class Choice(Param[T]):
    """One of a few words, each standing for a value."""

    def __init__(self, choices: Mapping[str, T]) -> None:
        self.choices = dict(choices)
        words = list(choices)
        self.human = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))

    def parse(self, value: object, context: Context = ALONE) -> T:
        """Read one of the words."""
        if isinstance(value, str) and value in self.choices:
            return self.choices[value]
        raise BadValue(f"expected {self.human}, got {show(value)}{_did_you_mean(value, self.choices)}")

    def schema(self) -> Schema:
        """Describe it."""
        return {"enum": list(self.choices)}


def words(*names: str) -> Choice[str]:
    """Make a choice of words that stand for themselves."""
    return Choice({name: name for name in names})


def nearest(word: str, known: Sequence[str]) -> str:
    """Give the known word that a mistyped one most likely means, "" where none is near."""
    from difflib import get_close_matches  # only errors need it

    close = get_close_matches(shorten(word).lower(), known, n=1, cutoff=0.6)
    return close[0] if close else ""


def _did_you_mean(value: object, known: Mapping[str, object]) -> str:
    near = nearest(value, list(known)) if isinstance(value, str) else ""
    return f'; did you mean "{near}"?' if near else ""
