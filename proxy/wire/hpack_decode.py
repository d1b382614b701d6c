"""Decodes header blocks (RFC 7541).

A block that leaves the dynamic table alone means the same until the table changes: it is remembered by its
bytes, together with all that was found out about it.  A peer that repeats itself costs one look-up a message.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_block import RESPONSE, Block
from proxy.wire.h2_errors import H2Error, h2_error
from proxy.wire.h2_field import Field
from proxy.wire.h2_names import PATH
from proxy.wire.hpack_course import Course
from proxy.wire.hpack_fields import FieldReader
from proxy.wire.hpack_huffman import decode_new

# What is remembered of one connection: blocks, their bytes encoded and decoded in all, and in one of them.
_KEPT: Final = 1024
_KEPT_SIZE: Final = 1 << 19
_BLOCK_SIZE: Final = 8192

# Bytes, when decoded, of the smallest block that is taken for a bomb.
_BOMB: Final = 262144
_CHUNK: Final = 512  # bytes of a block that are decoded before its size is looked at again


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


class Decoder(FieldReader):
    """The decoding half of one connection.

    ``rules``: how blocks are judged (h2_block).  ``list_size``: bytes of the largest list of fields that is
    decoded (RFC 9113, section 6.5.2); of a longer one the rest is read for the sake of the table alone.
    ``most_fields``: see Block.count.
    """

    def __init__(self, rules: int, list_size: int, most_fields: int = 1 << 20) -> None:
        super().__init__()
        self.blocks: dict[bytes, Block] = {}  # those that are remembered
        self._blocks_size: i64 = 0
        self._rules: int = rules
        self._list_size: i64 = list_size
        self._most_fields: i64 = most_fields
        # What is too large is read to its end, for the table's sake; no honest block is so much too large.
        self._bomb: i64 = max(4 * list_size, _BOMB)
        self._last: Block | None = None  # of requests: the next one may be alike
        self._alikes: list[_Alike] = []
        self._tries: i64 = _TRIES
        self._course: Course | None = None  # of the block before

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
        size: i64 = len(coded)
        inserted = self._inserted
        self._begin(coded, size)
        regular = self._stable and size <= _BLOCK_SIZE
        course = self._course if regular else None
        fields: list[Field] = []
        if course is None or not self._follow(course, coded, fields):
            while self._at < size:
                if fields and _size_of(fields) > self._bomb:
                    raise _bomb()
                self._read_on(coded, min(size, self._at + _CHUNK), fields)
            self._course = course = None
        block = self._block_of(fields, course)
        if course is None and regular:
            whole = block.fields is fields  # else the block was cut, and its bytes say more than it
            self._course = self._course_of(coded, block, inserted) if whole else None
        self._remember(coded, block, self._stable)
        if self._path_at and self._stable:
            self._expect_more(coded, block)
        return block

    def _block_of(self, fields: list[Field], course: Course | None) -> Block:
        """Make a block of fields; most are but for few fields like one that came before."""
        last = self._last
        block: Block | None = None
        if last is not None:
            if course is not None and course.base is last:
                block = last.but_for(fields, course.places)
            else:
                block = last.alike(fields)
        if block is None:
            block = Block(fields, self._rules)
            if self._rules != RESPONSE:
                self._last = block
        if block.size > self._list_size or len(fields) > self._most_fields:
            block = self._too_much(block)
        return block

    def _course_of(self, coded: bytes, block: Block, inserted: i64) -> Course | None:
        """Note how a block was written, for the next one."""
        if block.size > _BLOCK_SIZE:
            return None
        course = Course(coded, block.fields, self._others, inserted)
        last = self._last
        if last is block or (last is block.like and set(block.places).issubset(course.places)):
            course.base = last
        return course

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
