"""How a header block was written: runs of fields that are one byte each, and others between them.

Requests that have fields of their own, as tracing has them, put these into the table: no block comes twice,
and with each field that was put in every index of the others moves by one.  But for that, most of a block is
as it was in the one before.  So it is compared run by run, not looked up field by field.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_block import Block
from proxy.wire.h2_field import Field

FIRST_DYNAMIC: Final = 62  # the index of the newest field in the dynamic table (RFC 7541, section 2.3.3)
INDEX: Final = 128  # from this byte on a field is an index and no more (RFC 7541, section 6.1):
STATIC: Final = INDEX + 1  # of the static table,
DYNAMIC: Final = INDEX + FIRST_DYNAMIC  # of the dynamic one; 128 is none,
LONG: Final = 255  # and this begins one of several bytes

_NO_FIELD: Final[i64] = 1 << 60  # above all numbers of insertions


def _moved_by(shift: int) -> bytes:
    """Make the table of ``bytes.translate`` that takes back what so many insertions did to indices.

    All that is no index of one byte becomes 0, and so do those of fields that were not there before.
    """
    table = bytearray(256)
    table[STATIC:DYNAMIC] = bytes(range(STATIC, DYNAMIC))
    table[DYNAMIC + shift : LONG] = bytes(range(DYNAMIC, LONG - shift))
    return bytes(table)


MOVED_BY: Final[list[bytes]] = [_moved_by(shift) for shift in range(LONG - DYNAMIC)]


class Run:
    """Fields that came as one byte each, one behind the other."""

    __slots__ = ("coded", "fields", "inserted", "oldest")

    def __init__(self, coded: bytes, fields: list[Field], inserted: i64) -> None:
        self.coded: bytes = coded
        self.fields: list[Field] = fields
        self.inserted: i64 = inserted  # fields into the table, before it
        self.oldest: i64 = _NO_FIELD  # of those that it takes from there, by the number of its insertion
        highest: i64 = max(coded) if coded else 0
        if highest >= DYNAMIC:
            self.oldest = inserted - 1 - (highest - DYNAMIC)


class Course:
    """The course of a block: runs, with one other field behind each but the last.

    ``others``: of each of these the place of its first byte, that behind its last, and how many fields had
    been put into the table with it.  ``inserted``: the same count before the block.
    """

    __slots__ = ("base", "inserted", "places", "runs")

    def __init__(
        self, coded: bytes, fields: list[Field], others: list[tuple[int, int, int]], inserted: i64
    ) -> None:
        self.inserted: i64 = inserted
        self.runs: list[Run] = []
        self.places: list[int] = []  # of the others among the fields
        self.base: Block | None = None  # a block with the same fields but in these places, see Block.but_for
        at = place = 0
        for start, end, so_many in others:
            behind = place + start - at
            self.runs.append(Run(coded[at:start], fields[place:behind], inserted))
            self.places.append(behind)
            at, place, inserted = end, behind + 1, so_many
        self.runs.append(Run(coded[at:], fields[place:], inserted))
