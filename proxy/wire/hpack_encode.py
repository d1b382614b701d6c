"""Encodes header blocks (RFC 7541): fast before small.

The dynamic table is filled, then frozen: while it does not change the index of an entry does not either, and
what a block was encoded to can be used again.  A field is put into the table at second sight.  When many
fields found no place any more the table is emptied and filled anew.  Strings are never Huffman coded: that
costs more than the bytes that it saves on a connection between neighbours.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_block import NOWHERE, Block
from proxy.wire.h2_field import INDEXED, LITERAL, NEVER, Field
from proxy.wire.h2_names import GUARDED, PATH
from proxy.wire.hpack_tables import STATIC

_TABLE_SIZE: Final = 4096  # bytes at most, also where the peer would keep more
_FIRST_DYNAMIC: Final = 62
_SKIPPED: Final = 4096  # fields that found no place before the table is filled anew
_KEPT: Final = 4096  # encoded fields that are remembered,
_KEPT_FRAMES: Final = 64
_KEPT_BLOCKS: Final = 256  # and blocks, of at most
_BLOCK_SIZE: Final = 8192  # bytes

_PLAIN: Final = 0x00  # literal without indexing (RFC 7541, section 6.2)
_INDEXING: Final = 0x40
_NEVER: Final = 0x10

# What an attacker who can send requests on the same connection must not guess by the size of blocks
# (RFC 7541, section 7.1): GUARDED fields are never indexed, cookies where they are short.
_SHORT_COOKIE: Final = 20

_BYTES: Final[list[bytes]] = [bytes((value,)) for value in range(256)]


def _numbers() -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    for number, (name, _) in enumerate(STATIC, 1):
        found.setdefault(name, number)
    return found


_NUMBER_OF_NAME: Final[dict[bytes, int]] = _numbers()


def integer(value: i64, mask: i64, first: i64) -> bytes:
    """Encode an integer whose first byte has the bits of ``mask`` for it (RFC 7541, section 5.1)."""
    if value < mask:
        return _BYTES[first | value]
    out = bytearray((first | mask,))
    value -= mask
    while value >= 128:
        out.append(int(value & 127 | 128))
        value >>= 7
    out.append(int(value))
    return bytes(out)


# Names as they begin a literal that is not indexed: the same few come again and again.
_KEPT_NAMES: Final = 1024
_LONG_NAME: Final = 64
_plain_names: Final[dict[bytes, bytes]] = {}


def _plain_name(name: bytes) -> bytes:
    number = _NUMBER_OF_NAME.get(name)
    if number is not None:
        coded = integer(number, 15, _PLAIN)
    else:
        coded = _BYTES[_PLAIN] + integer(len(name), 127, 0) + name
    if len(name) <= _LONG_NAME:
        if len(_plain_names) >= _KEPT_NAMES:
            _plain_names.clear()
        _plain_names[name] = coded
    return coded


def literal(name: bytes, value: bytes) -> bytes:
    """Encode a field so that it depends on no table: also for ``extra`` of send_headers."""
    coded = _plain_names.get(name)
    if coded is None:
        coded = _plain_name(name)
    size: i64 = len(value)
    return coded + (_BYTES[size] if size < 127 else integer(size, 127, 0)) + value


def _literal(name: bytes, value: bytes, first: i64, mask: i64) -> bytes:
    number = _NUMBER_OF_NAME.get(name)
    if number is not None:
        return integer(number, mask, first) + integer(len(value), 127, 0) + value
    return _BYTES[first] + integer(len(name), 127, 0) + name + integer(len(value), 127, 0) + value


class _Frame:
    """What the fields of a block are encoded to, where that is the same for the next one that is like it."""

    __slots__ = ("before", "behind", "holes", "parts", "path", "places")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.holes: list[int] = []  # the places of the others
        self.places: list[int] = NOWHERE  # of what may differ: those that were last found to hold all holes
        self.path: int = -1  # the place of a path that alone may change
        self.before: bytes = b""  # all before it
        self.behind: bytes = b""


class Encoder:
    """The encoding half of one connection."""

    def __init__(self) -> None:
        self._indices: dict[Field, int] = {}  # fields in the table, by the number of their insertion
        self._inserted: i64 = 0
        self._size: i64 = 0
        self._limit: i64 = _TABLE_SIZE
        self._known: dict[Field, bytes] = {}  # fields as they are encoded while the table is as it is
        self._blocks: dict[Block, bytes] = {}  # and blocks that other encoders took in hand before
        self._frames: dict[Block, _Frame] = {}
        self._epoch: i64 = 1  # counts the changes of the table
        self._skipped: i64 = 0
        self._prefix: bytes = b""  # changes of the table's size that the next block must begin with
        self._unstable: bool = False  # this block would be encoded otherwise the next time

    def set_limit(self, limit: i64) -> None:
        """Take in how large a table the peer keeps (RFC 7541, section 4.2)."""
        if limit > _TABLE_SIZE:
            limit = _TABLE_SIZE
        if limit != self._limit:
            self._limit = limit
            self._empty()

    def _empty(self) -> None:
        self._indices = {}
        self._inserted = 0
        self._size = 0
        self._skipped = 0
        self._changed()
        self._prefix = b"\x20" + (integer(self._limit, 31, 0x20) if self._limit else b"")

    def _changed(self) -> None:
        """Forget what was encoded with the table as it was."""
        self._known = {}
        if self._blocks:
            self._blocks = {}
        self._epoch += 1
        self._unstable = True
        if self._frames:
            self._frames = {}

    def encode(self, block: Block) -> bytes:
        """Encode a block."""
        if block.encoded_by is self:
            if block.encoded_epoch == self._epoch:
                return block.encoded
        elif self._blocks:
            coded = self._blocks.get(block)
            if coded is not None:
                return coded
        if self._skipped > _SKIPPED:
            self._empty()
        if block.like is not None and not self._prefix:
            coded = self._encode_like(block, block.like)
            if coded:
                return coded
        self._unstable = False
        parts: list[bytes] = []
        if self._prefix:
            parts.append(self._prefix)
            self._prefix = b""
            self._unstable = True
        for field in block.fields:
            coded = self._known.get(field)
            parts.append(self._encode(field) if coded is None else coded)
        whole = b"".join(parts)
        if not self._unstable:
            self._remember(block, whole)
        return whole

    def _encode_like(self, block: Block, base: Block) -> bytes:
        """Encode a block that is another one but for a few fields; b"" when that cannot be used yet."""
        frame = self._frames.get(base)
        if frame is None:
            frame = self._frame(base)
        places = block.places
        if frame.path >= 0 and len(places) == 1 and places[0] == frame.path:
            return frame.before + literal(b":path", block.path) + frame.behind
        if frame.places is not places:
            for hole in frame.holes:
                if hole not in places:
                    del self._frames[base]  # by the next time it may have been filled
                    return b""
            frame.places = places
        fields = block.fields
        parts = frame.parts.copy()
        for place in places:
            field = fields[place]
            coded = self._known.get(field)
            if coded is None:
                coded = self._literal_now(field)
                if not coded:
                    return b""
            parts[place] = coded
        return b"".join(parts)

    def _literal_now(self, field: Field) -> bytes:
        """Encode a field that is not known and would not be put into the table now; b"" where it might be."""
        if field.writing != LITERAL:
            if field.writing == NEVER or field.number:
                return b""
            if field.seen:
                if self._size + field.size <= self._limit:
                    return b""
                self._skipped += 1
            field.seen = 1
        return literal(field.name, field.value)

    def _frame(self, base: Block) -> _Frame:
        """Put together what has its place in a table, or will never have one."""
        frame = _Frame()
        for field in base.fields:
            coded = self._known.get(field)
            if coded is None:
                if field.writing == LITERAL:
                    coded = literal(field.name, field.value)
                else:
                    frame.holes.append(len(frame.parts))
                    coded = b""
            if field.meaning == PATH and field.writing == LITERAL:
                frame.path = len(frame.parts)
            frame.parts.append(coded)
        if frame.holes:
            frame.path = -1
        elif frame.path >= 0:
            frame.before = b"".join(frame.parts[: frame.path])
            frame.behind = b"".join(frame.parts[frame.path + 1 :])
        if len(self._frames) >= _KEPT_FRAMES:
            self._frames = {}
        self._frames[base] = frame
        return frame

    def _remember(self, block: Block, coded: bytes) -> None:
        """Keep what a block was encoded to: with the block for the first encoder, here for the others."""
        if block.encoded_by is None or block.encoded_by is self:
            block.encoded_by = self
            block.encoded_epoch = self._epoch
            block.encoded = coded
        elif block.size <= _BLOCK_SIZE:
            if len(self._blocks) >= _KEPT_BLOCKS:
                self._blocks = {}
            self._blocks[block] = coded

    def _encode(self, field: Field) -> bytes:
        name = field.name
        value = field.value
        if field.writing != INDEXED:
            return _literal(name, value, _NEVER, 15) if field.writing == NEVER else literal(name, value)
        if field.number:
            return self._keep(field, integer(field.number, 127, 0x80))
        inserted = self._indices.get(field)
        if inserted is not None:
            return self._keep(field, integer(_FIRST_DYNAMIC + self._inserted - 1 - inserted, 127, 0x80))
        if field.meaning == GUARDED and (name != b"cookie" or len(value) < _SHORT_COOKIE):
            return self._keep(field, _literal(name, value, _NEVER, 15))
        field.seen += 1
        if field.seen < 2:
            self._unstable = True
            return literal(name, value)
        if self._size + field.size <= self._limit:
            return self._insert(field)
        self._skipped += 1
        return literal(name, value)

    def _insert(self, field: Field) -> bytes:
        """Put a field into the table; all indices shift."""
        self._indices[field] = self._inserted
        self._inserted += 1
        self._size += field.size
        self._changed()
        return _literal(field.name, field.value, _INDEXING, 63)

    def _keep(self, field: Field, coded: bytes) -> bytes:
        if len(self._known) >= _KEPT:
            self._known = {}
        self._known[field] = coded
        return coded
