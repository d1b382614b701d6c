"""Conditions on one string, compiled: one small class for each way to compare.

A value is bytes as they came, or None where there is none.  Where a name may come more
than once (headers, query parameters) ``any`` takes all its values: the condition holds if it
holds for one of them.  ``not`` turns that answer round as a whole: it holds if *no* value
does what it names, so that a rule that spares ``x-canary: true`` spares every request that carries it.
"""

from typing import Final

import re2
from mypy_extensions import mypyc_attr

from rules.model import Text

# Above this size the set's automaton might not find room; a search falls back to a slower engine.
LARGEST_SET_PROGRAM: Final = 10_000


@mypyc_attr(allow_interpreted_subclasses=True)
class Matcher:
    """One condition on a string; ``wanted`` says in words what it asks for."""

    def __init__(self, wanted: str) -> None:
        self.wanted: str = wanted

    def test(self, value: bytes | None) -> bool:
        """Say whether the condition holds for this value (None: there is none)."""
        raise NotImplementedError

    def any(self, values: list[bytes] | None) -> bool:
        """Say whether the condition holds for one of the values of a name (None or empty: absent)."""
        if not values:
            return self.test(None)
        for value in values:  # a generator would cost more
            if self.test(value):
                return True
        return False


class Exact(Matcher):
    """The value is this one."""

    def __init__(self, value: bytes, wanted: str) -> None:
        super().__init__(wanted)
        self.value: bytes = value

    def test(self, value: bytes | None) -> bool:
        """Compare byte for byte."""
        return value is not None and value == self.value


class Prefix(Matcher):
    """The value begins so."""

    def __init__(self, value: bytes, wanted: str) -> None:
        super().__init__(wanted)
        self.value: bytes = value

    def test(self, value: bytes | None) -> bool:
        """Compare the beginning."""
        return value is not None and value.startswith(self.value)


class Suffix(Matcher):
    """The value ends so."""

    def __init__(self, value: bytes, wanted: str) -> None:
        super().__init__(wanted)
        self.value: bytes = value

    def test(self, value: bytes | None) -> bool:
        """Compare the end."""
        return value is not None and value.endswith(self.value)


class Regex(Matcher):
    """Some part of the value matches the RE2 expression."""

    def __init__(self, pattern: str, wanted: str) -> None:
        """Compile the expression; ``re2.error`` if it is none."""
        super().__init__(wanted)
        options = re2.Options()
        options.log_errors = False
        options.never_capture = True
        self.pattern: str = pattern
        self._set: re2.Set | None = None
        self._search: object = None
        compiled = re2.compile(pattern, options)
        if compiled.programsize <= LARGEST_SET_PROGRAM:
            # A set of one answers yes or no without making match objects: a quarter of the time of a search.
            self._set = re2.Set.SearchSet(options)
            self._set.Add(pattern)
            self._set.Compile()
        else:
            self._search = compiled

    def test(self, value: bytes | None) -> bool:
        """Search, unanchored, in time linear in the value's length."""
        if value is None:
            return False
        if self._set is not None:
            return self._set.Match(value) is not None
        return self._search.search(value) is not None  # type: ignore[attr-defined]


class Template(Matcher):
    """A path of so many segments, where ``{x}`` is any one segment that is not empty."""

    def __init__(self, template: str, wanted: str) -> None:
        super().__init__(wanted)
        self._segments: list[bytes | None] = []
        for segment in template.split("/"):
            free = len(segment) > 2 and segment.startswith("{") and segment.endswith("}")
            self._segments.append(None if free else segment.encode())

    def test(self, value: bytes | None) -> bool:
        """Compare segment by segment."""
        if value is None:
            return False
        segments = value.split(b"/")
        if len(segments) != len(self._segments):
            return False
        for at in range(len(segments)):
            literal = self._segments[at]
            if literal is None:
                if not segments[at]:
                    return False
            elif literal != segments[at]:
                return False
        return True


class Present(Matcher):
    """There is a value (or there is none)."""

    def __init__(self, wanted_there: bool, wanted: str) -> None:
        super().__init__(wanted)
        self._there: bool = wanted_there

    def test(self, value: bytes | None) -> bool:
        """Look whether there is one; an empty value is one."""
        return (value is not None) == self._there


class Not(Matcher):
    """The other condition does not hold, or there is no value."""

    def __init__(self, negated: Matcher, wanted: str) -> None:
        super().__init__(wanted)
        self._negated: Matcher = negated

    def test(self, value: bytes | None) -> bool:
        """Turn the answer round."""
        return not self._negated.test(value)

    def any(self, values: list[bytes] | None) -> bool:
        """Hold if no value does what is negated."""
        return not self._negated.any(values)


def describe(text: Text) -> str:
    """Say in words what a condition asks for."""
    if text.how == "exact":
        return f'"{text.value}"'
    if text.how == "present":
        return "present" if text.wanted else "absent"
    if text.how == "not" and text.negated is not None:
        return f"not {describe(text.negated)}"
    return f'{text.how} "{text.value}"'


def compile_text(text: Text, fold: bool = False) -> Matcher:
    """Compile a condition; ``fold`` lowers what it compares with, for values that come in lower case (hosts).

    ValueError if the condition is of no known kind, ``re2.error`` if its expression is none.
    """
    wanted = describe(text)
    value = text.value.lower() if fold else text.value
    if text.how == "exact":
        return Exact(value.encode(), wanted)
    if text.how == "prefix":
        return Prefix(value.encode(), wanted)
    if text.how == "suffix":
        return Suffix(value.encode(), wanted)
    if text.how == "regex":
        return Regex(text.value, wanted)
    if text.how == "template":
        return Template(text.value, wanted)
    if text.how == "present":
        return Present(text.wanted, wanted)
    if text.how == "not" and text.negated is not None:
        return Not(compile_text(text.negated, fold), wanted)
    raise ValueError(f"a condition cannot be of the kind {text.how!r}")
