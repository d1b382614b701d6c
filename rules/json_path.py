"""Places in JSON texts: a part of JSONPath (RFC 9535), and the change of a value where it stands.

A path is ``$`` with members (``.name``, ``['any name']``), places in lists (``[0]``, from the end ``[-1]``)
and wildcards (``.*``, ``[*]``).  A text is changed at the value alone: white space, the order of members and
the way in which other numbers are written stay as they came.
"""

import json
import re
from typing import Final

# A step: a member by its name, an item by its place, None for all of either.
Step = str | int | None

_STEP: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_\u0080-\U0010FFFF][A-Za-z0-9_\u0080-\U0010FFFF-]*)
      | \[\s*(?P<place>-?(?:0|[1-9][0-9]{0,8}))\s*\]
      | \[\s*'(?P<single>(?:[^'\\]|\\.)*)'\s*\]
      | \[\s*"(?P<double>(?:[^"\\]|\\.)*)"\s*\]
      | (?P<any>\.\*|\[\s*\*\s*\])""",
    re.VERBOSE,
)
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()
_BOM: Final = "\ufeff"


class NotJson(Exception):
    """The text is none that RFC 8259 knows."""


def read_path(text: str) -> list[Step]:
    """Read a path as its steps; ValueError with what is wrong."""
    if not text.startswith("$"):
        raise ValueError("a path begins with $, which is the whole")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f'"{text[at : at + 20]}" is no step: use .name, ["any name"], [0], [-1] or [*]')
        steps.append(_step(found))
        at = found.end()
    return steps


def _step(found: re.Match[str]) -> Step:
    if found["any"] is not None:
        return None
    if found["place"] is not None:
        return int(found["place"])
    if found["name"] is not None:
        return found["name"]
    quoted = found["double"]
    if quoted is None:
        quoted = found["single"].replace("\\'", "'").replace('"', '\\"')
    try:
        name: str = json.loads(f'"{quoted}"')
    except ValueError:
        raise ValueError(f"{found[0]} holds an escape that JSON does not know") from None
    return name


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def replace(text: str, steps: list[Step], value: str, most: int) -> str | None:
    """Put a value (JSON, written) to every place of a path; None where there is none.

    Raises NotJson, and OverflowError where the text would have more than ``most`` characters.
    """
    try:
        json.loads(text.removeprefix(_BOM), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NotJson from None
    places = [_skip(text, 1 if text.startswith(_BOM) else 0)]
    for step in steps:
        places = [child for place in places for child in _children(text, place, step)]
    if not places:
        return None
    if len(text) + len(places) * len(value) > most:
        raise OverflowError
    parts: list[str] = []
    at = 0
    for place in places:
        parts += (text[at:place], value)
        at = _end(text, place)
    return "".join([*parts, text[at:]])


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _end(text: str, at: int) -> int:
    end: int = _DECODER.raw_decode(text, at)[1]
    return end


def _children(text: str, at: int, step: Step) -> list[int]:
    """Give where the values begin that a step leads to from the value at a place."""
    if text[at] == "{" and not isinstance(step, int):
        return _members(text, at, step)
    if text[at] == "[" and not isinstance(step, str):
        items = _items(text, at)
        if step is None:
            return items
        return [items[step]] if -len(items) <= step < len(items) else []
    return []


def _members(text: str, at: int, name: str | None) -> list[int]:
    found: list[int] = []
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)  # behind the colon
        if name is None or key == name:
            found.append(at)
        at = _next(text, at)
    return found


def _items(text: str, at: int) -> list[int]:
    found: list[int] = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        found.append(at)
        at = _next(text, at)
    return found


def _next(text: str, at: int) -> int:
    """Give where what follows a value begins: another member or item, or the end of what holds them."""
    at = _skip(text, _end(text, at))
    return _skip(text, at + 1) if text[at] == "," else at
