"""One header field of HTTP/2 (RFC 9113, section 8.2): judged once, when it is made.

Those that are, or may be, in tables of HPACK are the same object wherever the same bytes come.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_names import (
    GUARDED,
    JUDGED,
    PATH,
    fault_of,
    fault_of_value,
    meaning_of,
    path_is_valid,
)
from proxy.wire.hpack_tables import STATIC

# How a field may be written (RFC 7541, sections 6.2 and 7.1).
LITERAL: Final = 0  # it came as a literal that was not indexed: write it so
INDEXED: Final = 1  # it came from a table or for one: indexing it may pay
NEVER: Final = 2  # it came as never to be indexed: it must stay so

# Bytes of name and value of all fields that are interned at most, and of one of them.
_INTERNED_SIZE: Final = 1 << 20
_FIELD_SIZE: Final = 1024
# Values of one name: with so many it is one that has a new value each time, as the id of a request.
_VALUES: Final = 512


class Field:
    """One field.  ``size`` is what it counts in tables and limits (RFC 7541, section 4.1).

    ``fault`` names what is wrong with it, a name of ``STREAM_KINDS``; "" when nothing is.  A field that is
    ``special`` has a meaning of its own, or a fault.
    """

    __slots__ = ("fault", "meaning", "name", "number", "seen", "size", "special", "value", "writing")

    def __init__(self, name: bytes, value: bytes, writing: int) -> None:
        self.name: bytes = name
        self.value: bytes = value
        self.writing: i64 = writing  # LITERAL, INDEXED or NEVER
        self.number: i64 = 0  # its index in the static table, 0 where it is not there
        self.seen: i64 = 0  # how often an encoder thought about indexing it
        self.size: i64 = len(name) + len(value) + 32
        meaning = meaning_of(name)
        self.meaning: i64 = meaning  # bits of h2_names
        self.fault: str = ""
        self.special: bool = False
        if meaning == PATH and path_is_valid(value):  # which is stricter than what holds for all values
            self.special = True
        elif fault_of_value(value):
            self.fault = "bad_field_value"
            self.special = True
        elif meaning != 0 and meaning != GUARDED:
            self.special = True
            if meaning & JUDGED:
                self.fault = fault_of(meaning, value)

    @property
    def sensitive(self) -> bool:
        """Whether it must never be indexed (RFC 7541, section 7.1.3)."""
        return self.writing == NEVER


def _static_fields() -> list[Field]:
    """Make the fields of the static table (RFC 7541, appendix A)."""
    fields: list[Field] = []
    for name, value in STATIC:
        field = Field(name, value, INDEXED)
        fields.append(field)
        field.number = len(fields)
    return fields


STATIC_FIELDS: Final[list[Field]] = _static_fields()


_fields: Final[dict[bytes, dict[bytes, Field]]] = {}  # those that are interned, by name, by value


class _Interned:
    """Which fields are, or may be, in dynamic tables: the same bytes are the same object everywhere."""

    def __init__(self) -> None:
        self.size: i64 = 0
        self.clear()

    def clear(self) -> None:
        """Forget all but the static table."""
        _fields.clear()
        self.size = 0
        for field in STATIC_FIELDS:
            self.put(field)

    def add(self, field: Field) -> None:
        if field.size > _FIELD_SIZE:
            return
        if self.size + field.size > _INTERNED_SIZE:
            self.clear()
        self.size += field.size
        self.put(field)

    def put(self, field: Field) -> None:
        of_name = _fields.get(field.name)
        if of_name is None:
            _fields[field.name] = {field.value: field}
        else:
            of_name[field.value] = field


_interned: Final = _Interned()


def interned(name: bytes, value: bytes) -> Field:
    """Give the field that stands for this name and value in all tables; it may be indexed."""
    of_name = _fields.get(name)
    if of_name is None:
        field = Field(name, value, INDEXED)
        _interned.add(field)
        return field
    known = of_name.get(value)
    if known is not None:
        return known
    field = Field(name, value, INDEXED)
    size = field.size
    if len(of_name) >= _VALUES:
        return field
    if size <= _FIELD_SIZE and _interned.size + size <= _INTERNED_SIZE:
        _interned.size += size
        of_name[value] = field
    else:
        _interned.add(field)
    return field
