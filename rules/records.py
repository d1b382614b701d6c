"""Lists, mappings and tables of parameters: each collects everything that is wrong below it."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from rules.params import ALONE, BadValue, Context, Param, Path, Schema, Trouble, nearest, shorten, show

T = TypeVar("T")
Values = dict[str, Any]

MAX_TROUBLES: Final = 1_000  # a document that is all wrong is not read to its end


class _Required:
    """The mark of a field without which a record is not whole."""


REQUIRED: Final = _Required()


class Field:
    """One key of a record: its parameter, what it is for, and its default as one would write it.

    Default ``REQUIRED``: the key must be there.  Default None: it may be absent, and is None then.
    """

    __slots__ = ("default", "doc", "param", "required", "value")

    def __init__(self, param: Param[Any], default: object = REQUIRED, doc: str = "") -> None:
        self.param = param
        self.doc = doc
        self.required = default is REQUIRED
        self.default = None if self.required else default  # as written
        self.value = None if self.default is None else param.parse(default)  # as read

    def schema(self) -> Schema:
        """Describe the value, with its default and what it is for."""
        schema = dict(self.param.schema())
        if self.default is not None:
            schema["default"] = self.default
        if self.doc:
            schema["description"] = self.doc
        return schema


class Record(Param[T], Generic[T]):
    """A mapping with known keys, read to a dictionary with every key of the table, then through ``make``.

    ``short`` names the field that a value which is no mapping stands for (``delay: 100ms``).  ``later``
    has keys that mean something, but not in this version: key to a word on why.  ``make`` may raise
    BadValue for what only shows when all fields are there; its paths start at the record.
    """

    def __init__(
        self,
        fields: Mapping[str, Field],
        make: Callable[[Values], T] | None = None,
        short: str = "",
        later: Mapping[str, str] | None = None,
        human: str = "a mapping",
    ) -> None:
        self.fields = dict(fields)
        self.make = make
        self.short = short
        self.later = dict(later or {})
        self.human = human
        self._defaults: Values = {name: field.value for name, field in self.fields.items()}
        self._required = [name for name, field in self.fields.items() if field.required]

    def parse(self, value: object, context: Context = ALONE) -> T:
        """Read the fields; raises BadValue with what is wrong in all of them."""
        read = self.read(value, context)
        return read if self.make is None else self.make(read)  # type: ignore[return-value]

    def read(self, value: object, context: Context = ALONE) -> Values:
        """Read the fields to a dictionary that has each key of the table."""
        values, troubles = self.collect(value, context)
        if troubles:
            raise BadValue(troubles)
        return values

    def collect(self, value: object, context: Context = ALONE) -> tuple[Values, list[Trouble]]:
        """Read the fields, with defaults for those that cannot be read, and all that is wrong in them.

        Raises BadValue only for a value that is no mapping (nor a short form of one).
        """
        if type(value) is not dict:
            return self._from_short(value, context), []
        values = self._defaults.copy()
        troubles: list[Trouble] = []
        for key, item in value.items():
            field = self.fields.get(key)
            if field is None:
                if len(troubles) < MAX_TROUBLES:
                    troubles.append(self._unknown(key))
                continue
            try:
                values[key] = field.param.parse(item, context)
            except BadValue as bad:
                troubles.extend(trouble.under(key) for trouble in bad.troubles)
        for name in self._required:
            if name not in value:
                troubles.append(Trouble((), f'"{name}" is missing: {self.fields[name].param.human}'))
        return values, troubles

    def _from_short(self, value: object, context: Context) -> Values:
        """Read a value that is no mapping: nothing, or the one field that may stand alone."""
        values = self._defaults.copy()
        if value is None and not self._required:
            return values
        if not self.short or value is None or isinstance(value, list):
            raise self.wrong(value)
        values[self.short] = self.fields[self.short].param.parse(value, context)
        missing = [name for name in self._required if name != self.short]
        if missing:
            raise self.wrong(value)
        return values

    def _unknown(self, key: str) -> Trouble:
        later = self.later.get(key)
        if later is not None:
            return Trouble((key,), f'"{key}" is not supported by this version ({later})', True)
        return Trouble((key,), unknown_key(key, self.fields), True)

    def schema(self) -> Schema:
        """Describe the mapping, and its short form where it has one."""
        properties = {name: field.schema() for name, field in self.fields.items()}
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if self._required:
            schema["required"] = list(self._required)
        forms = [schema]
        if self.short:
            forms.insert(0, self.fields[self.short].param.schema())
        if not self._required:
            forms.append({"type": "null"})
        return schema if len(forms) == 1 else {"anyOf": forms}


def unknown_key(key: str, known: Mapping[str, object]) -> str:
    """Say that a key is unknown and which known one is nearest; where none is near, which there are."""
    near = nearest(key, list(known))
    hint = f'did you mean "{near}"?' if near else f"known keys: {', '.join(sorted(known))}"
    return f'unknown key "{shorten(key)}"; {hint}'


class ListOf(Param[tuple[T, ...]]):
    """A list of values of one kind.  ``single``: one value stands for a list of it."""

    def __init__(self, item: Param[T], single: bool = False, low: int = 0) -> None:
        self.item = item
        self.single = single
        self.low = low
        self.human = f"a list, each {item.human}"

    def parse(self, value: object, context: Context = ALONE) -> tuple[T, ...]:
        """Read each item; raises BadValue with what is wrong in all of them."""
        if not isinstance(value, list):
            if self.single and value is not None:
                return (self.item.parse(value, context),)
            raise self.wrong(value)
        if len(value) < self.low:
            raise BadValue(f"expected {self.human}, got {'an empty list' if not value else len(value)}")
        items: list[T] = []
        troubles: list[Trouble] = []
        for number, item in enumerate(value):
            try:
                items.append(self.item.parse(item, context))
            except BadValue as bad:
                troubles.extend(trouble.under(number) for trouble in bad.troubles)
                if len(troubles) >= MAX_TROUBLES:
                    troubles.append(Trouble((number,), "too many mistakes: reading stopped here"))
                    break
        if troubles:
            raise BadValue(troubles)
        return tuple(items)

    def schema(self) -> Schema:
        """Describe the list, and the single value where that is allowed."""
        schema: Schema = {"type": "array", "items": self.item.schema()}
        if self.low:
            schema["minItems"] = self.low
        return {"anyOf": [self.item.schema(), schema]} if self.single else schema


class MapOf(Param[tuple[tuple[str, T], ...]]):
    """A mapping with keys of the user's own: keys through ``key``, values through ``item``, in order."""

    def __init__(self, key: Param[str], item: Param[T], human: str = "a mapping") -> None:
        self.key = key
        self.item = item
        self.human = human

    def parse(self, value: object, context: Context = ALONE) -> tuple[tuple[str, T], ...]:
        """Read keys and values; two keys that read alike (``X-A`` and ``x-a``) are an error."""
        if type(value) is not dict:
            raise self.wrong(value)
        pairs: dict[str, T] = {}
        troubles: list[Trouble] = []
        for key, item in value.items():
            if len(troubles) >= MAX_TROUBLES:
                break
            try:
                name = self.key.parse(key, context)
                if name in pairs:
                    troubles.append(Trouble((key,), f'"{shorten(name)}" is given twice', True))
            except BadValue as bad:
                troubles.extend(Trouble((key,), trouble.message, True) for trouble in bad.troubles)
                continue
            try:
                pairs[name] = self.item.parse(item, context)
            except BadValue as bad:
                troubles.extend(trouble.under(key) for trouble in bad.troubles)
        if troubles:
            raise BadValue(troubles)
        return tuple(pairs.items())

    def schema(self) -> Schema:
        """Describe the mapping."""
        names = {name: rule for name, rule in self.key.schema().items() if name != "type"}
        return {"type": "object", "additionalProperties": self.item.schema(), "propertyNames": names}


class OneOf(Param[T]):
    """The first of several forms that fits; ``human`` names them all in one sentence."""

    def __init__(self, human: str, *forms: Param[T]) -> None:
        self.human = human
        self.forms = forms

    def parse(self, value: object, context: Context = ALONE) -> T:
        """Read the first form that fits."""
        for form in self.forms:
            try:
                return form.parse(value, context)
            except BadValue:
                continue
        raise self.wrong(value)

    def schema(self) -> Schema:
        """Describe all forms."""
        return {"anyOf": [form.schema() for form in self.forms]}


def exactly_one(values: Mapping[str, object], names: tuple[str, ...]) -> str:
    """Give the one name among ``names`` that has a value; raises BadValue where it is none or several."""
    given = [name for name in names if values[name] is not None]
    if len(given) == 1:
        return given[0]
    found = "none" if not given else " and ".join(given)
    raise BadValue(f"expected exactly one of {', '.join(names)}; got {found}")


def at(path: Path, message: str) -> BadValue:
    """Make a BadValue with one trouble below the value that is read."""
    return BadValue([Trouble(path, message)])


__all__ = [
    "REQUIRED", "Field", "ListOf", "MapOf", "OneOf", "Record", "Values", "at", "exactly_one", "show",
    "unknown_key",
]  # fmt: skip
