"""Reads the fields of header blocks one by one, and keeps the table that they refer to (RFC 7541)."""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_errors import H2Error, h2_error
from proxy.wire.h2_field import LITERAL, NEVER, STATIC_FIELDS, Field, interned
from proxy.wire.h2_names import PATH
from proxy.wire.hpack_course import DYNAMIC, FIRST_DYNAMIC, INDEX, LONG, MOVED_BY, STATIC, Course
from proxy.wire.hpack_huffman import decode as decode_huffman
from proxy.wire.hpack_huffman import decode_new

TABLE_SIZE: Final = 4096  # bytes: what we offer, and never change

_LONG_INTEGER: Final = 28  # bits: no length or index that is longer is good for anything


class FieldReader:
    """The dynamic table of one connection, and where in a block is being read."""

    def __init__(self) -> None:
        self._table: list[Field] = []  # oldest first; those before _first are gone
        self._first: i64 = 0
        self._inserted: i64 = 0  # so many were ever put in
        self._size: i64 = 0
        self._limit: i64 = TABLE_SIZE
        # of the block being read:
        self._at: i64 = 0
        self._stable: bool = True  # it leaves the table alone
        self._others: list[tuple[int, int, int]] = []  # its fields that are more than one byte, see Course
        # the literal that is its path: where its string begins and ends
        self._path_at: i64 = 0
        self._path_end: i64 = 0
        self._path_writing: i64 = LITERAL

    def _begin(self, coded: bytes, size: i64) -> None:
        """Begin to read a block."""
        self._at = 0
        self._path_at = 0
        self._others = []
        self._stable = size == 0 or coded[0] & 0xE0 != 0x20
        if not self._stable:
            self._size_updates(coded, size)

    def _follow(self, course: Course, coded: bytes, fields: list[Field]) -> bool:
        """Read a block as the one before was written, as far as that goes; whether it was so to its end."""
        shift = self._inserted - course.inserted
        if shift >= len(MOVED_BY):
            return False
        moved = coded.translate(MOVED_BY[shift])
        at: i64 = 0
        size: i64 = len(coded)
        left: i64 = len(course.runs)
        better = False  # a run of this block is longer: it is the better one to go by
        for run in course.runs:
            if run.fields:
                gone = self._inserted - len(self._table) + self._first
                if (
                    self._inserted - run.inserted != shift  # not as many fields were put in since it began
                    or run.oldest < gone
                    or not moved.startswith(run.coded, at)
                ):
                    break
                fields += run.fields
                at += len(run.coded)
            left -= 1
            if at == size or left == 0:
                break
            first: i64 = coded[at]
            self._at = at
            fields.append(self._other(coded, first))
            if first < STATIC or first == LONG:
                self._others.append((at, self._at, self._inserted))
            else:
                better = True
            at = self._at
        self._at = at
        return left == 0 and at == size and not better

    def _read_on(self, coded: bytes, stop: i64, fields: list[Field]) -> None:
        """Read the fields that begin before ``stop``."""
        table = self._table
        at = self._at
        # where in the table the field of a byte is, but for the byte; and the oldest that is there
        past: i64 = len(table) + FIRST_DYNAMIC + INDEX - 1
        oldest = self._first
        while at < stop:
            first: i64 = coded[at]
            if first >= DYNAMIC and first != LONG:
                at += 1
                place = past - first
                fields.append(table[place] if place >= oldest else self._entry(first - INDEX))
            elif first <= INDEX or first == LONG:
                self._at = at
                fields.append(self._other(coded, first))
                self._others.append((at, self._at, self._inserted))
                at = self._at
                if first & 192 == 64:
                    past = len(table) + FIRST_DYNAMIC + INDEX - 1
                    oldest = self._first
            else:
                at += 1
                fields.append(STATIC_FIELDS[first - STATIC])
        self._at = at

    def _entry(self, index: i64) -> Field:
        """Give the field at an index of both tables (RFC 7541, section 2.3.3)."""
        if index < FIRST_DYNAMIC:
            if index == 0:
                raise _wrong("index 0")
            return STATIC_FIELDS[index - 1]
        at: i64 = len(self._table) - (index - FIRST_DYNAMIC + 1)
        if at < self._first:
            raise _beyond()
        return self._table[at]

    def _other(self, coded: bytes, first: i64) -> Field:
        """Read a field that is more than one byte (RFC 7541, section 6)."""
        if first & 128:
            return self._entry(self._integer(coded, 127))
        if first & 64:
            return self._indexed_literal(coded)
        if first & 32:
            raise _wrong("a change of the table's size after a field")
        return self._literal(coded, 15, NEVER if first & 16 else LITERAL)

    def _indexed_literal(self, coded: bytes) -> Field:
        """Read a literal and put it into the table (RFC 7541, sections 4.4 and 6.2.1)."""
        self._stable = False
        index: i64 = coded[self._at] & 63
        if index == 63:
            index = self._integer(coded, 63)
        else:
            self._at += 1
        name = self._entry(index).name if index else self._string(coded)
        field = interned(name, self._string(coded, False))
        size = self._size + field.size
        if size > self._limit:
            self._evict(self._limit - field.size)
            size = self._size + field.size
        if size <= self._limit:  # it is not larger than the table
            self._table.append(field)
            self._inserted += 1
            self._size = size
        return field

    def _literal(self, coded: bytes, mask: i64, writing: int) -> Field:
        index: i64 = coded[self._at] & mask
        if index == mask:
            index = self._integer(coded, mask)
        else:
            self._at += 1
        name = self._entry(index).name if index else self._string(coded)
        at = self._at
        field = Field(name, self._string(coded), writing)
        if field.meaning == PATH:
            self._path_at = at
            self._path_end = self._at
            self._path_writing = writing
        return field

    def _evict(self, limit: i64) -> None:
        """Drop the oldest entries until the table holds no more than ``limit`` bytes, or none is left."""
        table = self._table
        first = self._first
        size = self._size
        while size > limit and size:
            size -= table[first].size
            first += 1
        if first > 256:
            del table[:first]
            first = 0
        self._first = first
        self._size = size

    def _size_updates(self, coded: bytes, size: i64) -> None:
        """Read the changes of the table's size that a block may begin with."""
        while self._at < size and coded[self._at] & 0xE0 == 0x20:
            limit = self._integer(coded, 31)
            if limit > TABLE_SIZE:
                raise _wrong("a table larger than was offered")
            self._limit = limit
            self._evict(limit)

    def _integer(self, coded: bytes, mask: i64) -> i64:
        """Read an integer whose first byte has so many bits of it (RFC 7541, section 5.1)."""
        at = self._at
        size: i64 = len(coded)
        if at >= size:
            raise _wrong("a block that ends within a field")
        value: i64 = coded[at] & mask
        at += 1
        if value == mask and at < size and coded[at] < 128:
            value += coded[at]
            at += 1
        elif value == mask:
            shift: i64 = 0
            while True:
                if at >= size:
                    raise _wrong("a block that ends within an integer")
                byte: i64 = coded[at]
                at += 1
                value += (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
                if shift > _LONG_INTEGER:
                    raise _wrong("an integer that is too long")
        self._at = at
        return value

    def _string(self, coded: bytes, again: bool = True) -> bytes:
        """Read a string (RFC 7541, section 5.2); ``again``: the same bytes may well come again."""
        at = self._at
        if at >= len(coded):
            raise _wrong("a block that ends within a field")
        first: i64 = coded[at]
        if first & 127 == 127:
            size = self._integer(coded, 127)
            at = self._at
        else:
            size = first & 127
            at += 1
        end: i64 = at + size
        if end > len(coded):
            raise _wrong("a string longer than its block")
        self._at = end
        text = coded[at:end]
        if first & 128:
            return decode_huffman(text) if again else decode_new(text)
        return text


def _beyond() -> H2Error:
    return _wrong("an index beyond the tables")


def _wrong(text: str) -> H2Error:
    return h2_error("bad_compression", text)
