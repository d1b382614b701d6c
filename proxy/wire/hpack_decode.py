"""Decodes header blocks (RFC 7541).

A block that leaves the dynamic table alone means the same until the table changes: it is remembered by its
bytes, together with all that was found out about it.  A peer that repeats itself costs one look-up a message.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_block import RESPONSE, Block
from proxy.wire.h2_errors import H2Error, h2_error
from proxy.wire.h2_field import LITERAL, NEVER, STATIC_FIELDS, Field, interned
from proxy.wire.h2_names import PATH
from proxy.wire.hpack_huffman import decode as decode_huffman
from proxy.wire.hpack_huffman import decode_new

TABLE_SIZE: Final = 4096  # bytes: what we offer, and never change

_FIRST_DYNAMIC: Final = 62
_INDEX: Final = 128  # from this byte on a field is an index and no more (RFC 7541, section 6.1):
_STATIC: Final = _INDEX + 1  # of the static table,
_DYNAMIC: Final = _INDEX + _FIRST_DYNAMIC  # of the dynamic one; 128 is none, 255 begins a longer one

# What is remembered of one connection: blocks, their bytes encoded and decoded in all, and in one of them.
_KEPT: Final = 1024
_KEPT_SIZE: Final = 1 << 19
_BLOCK_SIZE: Final = 8192

# Bytes, when decoded, of the smallest block that is taken for a bomb.
_BOMB: Final = 262144
_CHUNK: Final = 512  # bytes of a block that are decoded before its size is looked at again
_LONG_INTEGER: Final = 28  # bits: no length or index that is longer is good for anything


def _wrong(text: str) -> H2Error:
    return h2_error("bad_compression", text)


# So many blocks of which only the path changes are known at once, and so many are made in vain at most.
_KEPT_ALIKE: Final = 4
_TRIES: Final = 64


class _Alike:
    """A request's block that comes with one path after the other: what stands around the path's string."""

    __slots__ = ("before", "behind", "block", "places", "writing")

    def __init__(self, before: bytes, behind: bytes, block: Block, writing: i64) -> None:
        self.before: bytes = before
        self.behind: bytes = behind
        self.block: Block = block
        place = 0
        while block.fields[place].meaning != PATH:
            place += 1
        self.places: list[int] = [place]  # of the path among its fields
        self.writing: i64 = writing  # of the path's field


class Decoder:
    """The decoding half of one connection.

    ``rules``: how blocks are judged (h2_block).  ``list_size``: bytes of the largest list of fields that is
    decoded (RFC 9113, section 6.5.2); of a longer one the rest is read for the sake of the table alone.
    ``most_fields``: see Block.count.
    """

    def __init__(self, rules: int, list_size: int, most_fields: int = 1 << 20) -> None:
        self.blocks: dict[bytes, Block] = {}  # those that are remembered
        self._blocks_size: i64 = 0
        self._rules: int = rules
        self._list_size: i64 = list_size
        self._most_fields: i64 = most_fields
        # What is too large is read to its end, for the table's sake; no honest block is so much too large.
        self._bomb: i64 = max(4 * list_size, _BOMB)
        self._table: list[Field] = []  # oldest first; those before _first are gone
        self._first: i64 = 0
        self._size: i64 = 0
        self._limit: i64 = TABLE_SIZE
        self._at: i64 = 0
        self._stable: bool = True  # the block being decoded leaves the table alone
        self._last: Block | None = None  # of requests: the next one may be alike
        # the literal that is the path of the block being decoded: where its string begins and ends
        self._path_at: i64 = 0
        self._path_end: i64 = 0
        self._path_writing: i64 = LITERAL
        self._alikes: list[_Alike] = []
        self._tries: i64 = _TRIES

    def decode(self, coded: bytes) -> Block:
        """Decode a whole block; raises H2Error, after which the connection cannot go on."""
        known = self.blocks.get(coded)
        if known is not None:
            return known
        for alike in self._alikes:
            block = self._like(coded, alike)
            if block is not None:
                return block
        return self._decode(coded)

    def _decode(self, coded: bytes) -> Block:
        """Decode a block field by field."""
        self._path_at = 0
        self._at = 0
        self._stable = True
        size: i64 = len(coded)
        if size and coded[0] & 0xE0 == 0x20:
            self._size_updates(coded, size)
            self._stable = False
        fields: list[Field] = []
        while self._at < size:
            if fields and _size_of(fields) > self._bomb:
                raise _bomb()
            self._read_on(coded, min(size, self._at + _CHUNK), fields)
        block = self._block_of(fields)
        self._remember(coded, block, self._stable)
        if self._path_at and self._stable:
            self._expect_more(coded, block)
        return block

    def _block_of(self, fields: list[Field]) -> Block:
        """Make a block of fields; most are but for few fields like one that came before."""
        last = self._last
        block = None if last is None else last.alike(fields)
        if block is None:
            block = Block(fields, self._rules)
            if self._rules != RESPONSE:
                self._last = block
        if block.size > self._list_size or len(fields) > self._most_fields:
            block = self._too_much(block)
        return block

    def _read_on(self, coded: bytes, stop: i64, fields: list[Field]) -> None:
        """Read the fields that begin before ``stop``."""
        table = self._table
        at = self._at
        # where in the table the field of a byte is, but for the byte; and the oldest that is there
        past: i64 = len(table) + _FIRST_DYNAMIC + _INDEX - 1
        oldest = self._first
        while at < stop:
            first: i64 = coded[at]
            if first >= _DYNAMIC and first != 255:
                at += 1
                place = past - first
                fields.append(table[place] if place >= oldest else self._entry(first - _INDEX))
            elif first <= _INDEX or first == 255:
                self._at = at
                fields.append(self._other(coded, first))
                at = self._at
                if first & 192 == 64:
                    self._stable = False
                    past = len(table) + _FIRST_DYNAMIC + _INDEX - 1
                    oldest = self._first
            else:
                at += 1
                fields.append(STATIC_FIELDS[first - _STATIC])
        self._at = at

    def _too_much(self, block: Block) -> Block:
        """Judge a block that is too large, or may have too many fields; gives what is kept of it."""
        if block.size > self._list_size:
            if block.size > self._bomb:
                raise _bomb()
            block = Block(_first_of(block.fields, self._list_size), self._rules)
            block.error = block.trailer_error = "head_too_large"
        elif block.count() > self._most_fields:
            block.error = block.error or "too_many_fields"
            block.trailer_error = block.trailer_error or "too_many_trailers"
        return block

    def _expect_more(self, coded: bytes, block: Block) -> None:
        """Look out for blocks that are like this one, in the place of the oldest such."""
        if self._tries == 0 or block.error or block.path[:1] != b"/":
            return
        like = block.like
        if like is not None:
            if len(block.places) != 1 or like.fields[block.places[0]].meaning != PATH:
                return
            block = like
        alike = _Alike(coded[: self._path_at], coded[self._path_end :], block, self._path_writing)
        self._tries -= 1
        if len(self._alikes) >= _KEPT_ALIKE:
            self._alikes.pop(0)
        self._alikes.append(alike)

    def _like(self, coded: bytes, alike: _Alike) -> Block | None:
        """Decode a block of which only the path is new; None when it is not so, or its path no plain one."""
        if not (coded.startswith(alike.before) and coded.endswith(alike.behind)):
            return None
        at: i64 = len(alike.before)
        end: i64 = len(coded) - len(alike.behind)
        if at >= end:
            return None
        first: i64 = coded[at]
        at += 1
        if first & 127 == 127:
            self._at = at - 1
            size = self._integer(coded, 127)
            at = self._at
        else:
            size = first & 127
        if at + size != end:
            return None
        text = coded[at:end]
        path = Field(b":path", decode_new(text) if first & 128 else text, alike.writing)
        base = alike.block
        if (
            path.fault
            or path.value[:1] != b"/"
            or base.size + path.size - base.fields[alike.places[0]].size > self._list_size
        ):
            return None
        self._tries = _TRIES
        block = base.with_path(path, alike.places)
        self._remember(coded, block, True)
        return block

    def _remember(self, coded: bytes, block: Block, stable: bool) -> None:
        """Keep a block that left the table alone; forget all when it did not."""
        size = block.size + len(coded)
        if not stable:
            if self.blocks:
                self.blocks = {}
                self._blocks_size = 0
            if self._alikes:
                self._alikes = []
        elif size <= _BLOCK_SIZE:
            if len(self.blocks) >= _KEPT or self._blocks_size + size > _KEPT_SIZE:
                self.blocks = {}
                self._blocks_size = 0
            self._blocks_size += size
            self.blocks[coded] = block

    def _entry(self, index: i64) -> Field:
        """Give the field at an index of both tables (RFC 7541, section 2.3.3)."""
        if index < _FIRST_DYNAMIC:
            if index == 0:
                raise _wrong("index 0")
            return STATIC_FIELDS[index - 1]
        at: i64 = len(self._table) - (index - _FIRST_DYNAMIC + 1)
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
        index: i64 = coded[self._at] & 63
        if index == 63:
            index = self._integer(coded, 63)
        else:
            self._at += 1
        name = self._entry(index).name if index else self._string(coded)
        field = interned(name, self._string(coded, False))
        size = self._size + field.size
        if size > self._limit:
            self._evict(max(0, self._limit - field.size))
            size = self._size + field.size
        if size <= self._limit:
            self._table.append(field)
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
        """Drop the oldest entries until the table holds no more than ``limit`` bytes."""
        while self._size > limit:
            self._size -= self._table[self._first].size
            self._first += 1
        if self._first > 256:
            del self._table[: self._first]
            self._first = 0

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


def _bomb() -> H2Error:
    return h2_error("header_bomb", "a header block that is a multiple of what is allowed")


def _size_of(fields: list[Field]) -> int:
    return sum([field.size for field in fields])


def _first_of(fields: list[Field], size: i64) -> list[Field]:
    """Give those fields that a list of so many bytes holds."""
    kept: list[Field] = []
    for field in fields:
        size -= field.size
        if size >= 0:
            kept.append(field)
    return kept
