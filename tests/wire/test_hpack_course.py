"""Blocks written as the one before, but for fields of their own, mean what they mean when read in full."""

import random

import pytest
from hpack import Decoder as TheirDecoder
from hpack import HPACKDecodingError
from hpack.hpack import encode_integer

from proxy.wire.h2_block import REQUEST, RESPONSE, Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.hpack_decode import Decoder
from proxy.wire.hpack_tables import STATIC
from tests.wire.test_hpack_alike import described

LIST_SIZE = 65536
STATIC_FIELDS = list(STATIC)
REQUEST_FIELDS = [
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"shop.example"),
]
KEPT = [(b"x-kept-%d" % number, b"v" * (number * 7 % 60)) for number in range(9)]


class Client:
    """Writes blocks with a table of its own, mostly as the one before; ``chance`` decides where not."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.table: list[tuple[bytes, bytes]] = []  # newest first
        self.limit = 4096
        self.fields = [
            *REQUEST_FIELDS,
            *self.chance.sample(KEPT, 5),
            *[(b"x-own-%d" % n, b"") for n in range(2)],
        ]
        self.count = 0

    def block(self) -> bytes:
        """Write the next block."""
        chance = self.chance
        coded = b""
        if chance.random() < 0.02:
            self.limit = chance.choice([0, 64, 200, 700, 4096])
            coded = self._integer(self.limit, 5, 0x20)
            self._evict(0)
        if chance.random() < 0.1:
            at = chance.randrange(4, len(self.fields))
            if chance.random() < 0.5 and len(self.fields) > 7:
                del self.fields[at]
            else:
                self.fields.insert(at, chance.choice([*KEPT, (b"x-own-3", b"")]))
        return coded + b"".join([self._field(name, value) for name, value in self.fields])

    def _field(self, name: bytes, value: bytes) -> bytes:
        chance = self.chance
        if name.startswith(b"x-own") or (name == b":path" and chance.random() < 0.1):
            if chance.random() < 0.9:
                self.count += 1
            value = b"/%d" % (self.count * 7919)
        if chance.random() < 0.03:
            return self._literal(name, value, 4, chance.choice([0x00, 0x10]))
        known = [*STATIC_FIELDS, *self.table]
        if (name, value) in known:
            return self._integer(known.index((name, value)) + 1, 7, 0x80)
        coded = self._literal(name, value, 6, 0x40)
        size = len(name) + len(value) + 32
        self._evict(size)
        if size <= self.limit:
            self.table.insert(0, (name, value))
        return coded

    def _literal(self, name: bytes, value: bytes, bits: int, first: int) -> bytes:
        names = [known for known, _ in [*STATIC_FIELDS, *self.table]]
        if name in names and self.chance.random() < 0.9:
            begun = self._integer(names.index(name) + 1, bits, first)
        else:
            begun = bytes((first, len(name))) + name
        return begun + bytes((len(value),)) + value

    def _evict(self, room: int) -> None:
        while self.table and sum(len(n) + len(v) + 32 for n, v in self.table) + room > self.limit:
            self.table.pop()

    @staticmethod
    def _integer(value: int, bits: int, first: int) -> bytes:
        coded = encode_integer(value, bits)
        coded[0] |= first
        return bytes(coded)


def pairs(block: Block) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in block.fields]


@pytest.mark.parametrize("rules", [REQUEST, RESPONSE])
def test_blocks_mean_what_another_decoder_says(rules: int) -> None:
    followed = 0
    for seed in range(30):
        client, ours, theirs = Client(seed), Decoder(rules, LIST_SIZE), TheirDecoder()
        for _ in range(60):
            coded = client.block()
            course = ours._course
            block = ours.decode(coded)
            wanted = [(bytes(name), bytes(value)) for name, value in theirs.decode(coded, raw=True)]
            assert pairs(block) == wanted
            assert described(block) == described(Block(block.fields, rules))
            followed += course is not None and ours._course is course
    assert followed > 30 * 60 / 4, "or nothing of this is tested"


def literal(name: bytes, value: bytes) -> bytes:
    return b"\x40" + bytes((len(name),)) + name + bytes((len(value),)) + value


def both(*blocks: bytes) -> list[tuple[bytes, bytes]] | None:
    """Decode blocks; give the fields of the last one, None when it is refused: so by both decoders."""
    ours, theirs = Decoder(RESPONSE, LIST_SIZE), TheirDecoder()
    for coded in blocks[:-1]:
        ours.decode(coded)
        theirs.decode(coded)
    try:
        wanted = [(bytes(name), bytes(value)) for name, value in theirs.decode(blocks[-1], raw=True)]
    except HPACKDecodingError:
        with pytest.raises(H2Error):
            ours.decode(blocks[-1])
        return None
    assert pairs(ours.decode(blocks[-1])) == wanted
    return wanted


def test_an_index_moves_with_each_field_that_was_put_in() -> None:
    opening = literal(b"a", b"1") + literal(b"b", b"2")
    first = b"\xbf\xbe" + literal(b"t", b"x")  # a, b, and one of its own
    assert both(opening, first, b"\xc0\xbf" + literal(b"t", b"y")) == [
        (b"a", b"1"),
        (b"b", b"2"),
        (b"t", b"y"),
    ]
    assert both(opening, first, b"\xbf\xbe" + literal(b"t", b"y")) == [
        (b"b", b"2"),
        (b"t", b"x"),
        (b"t", b"y"),
    ]


def test_a_run_behind_a_field_that_was_not_put_in_this_time() -> None:
    opening = literal(b"a", b"1") + literal(b"b", b"2")
    first = literal(b"t", b"x") + b"\xc0\xbf"
    indexed = b"\xbe" + b"\xc0\xbf"  # t by its index: so a and b have not moved
    assert both(opening, first, indexed) == [(b"t", b"x"), (b"a", b"1"), (b"b", b"2")]
    plain = b"\x00\x01t\x01y" + b"\xc0\xbf"
    assert both(opening, first, plain) == [(b"t", b"y"), (b"a", b"1"), (b"b", b"2")]
    moved = b"\x00\x01t\x01y" + b"\xc1\xc0"
    assert both(opening, first, moved) is None


def test_a_field_that_was_pushed_out_is_not_there_any_more() -> None:
    opening = literal(b"a", b"1" * 100)
    block = literal(b"t", b"x" * 120)
    blocks = [opening, *[b"%c%b" % (0xBE + turn, block) for turn in range(30)]]
    for count in range(2, len(blocks)):
        found = both(*blocks[:count])
        assert found is None or found[0] == (b"a", b"1" * 100)
        if found is None:
            break
    assert 20 < count < 30, "or the table held it to the end"


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_block_that_ends_within_a_field(cut: int) -> None:
    opening = literal(b"a", b"1") + literal(b"b", b"2")
    first = b"\xbf\xbe" + literal(b"t", b"x") + b"\xc0"
    assert len(first) == 8
    whole = b"\xc0\xbf" + literal(b"t", b"y") + b"\xc1"
    both(opening, first, whole[:cut])


def test_a_block_that_was_cut_is_no_course_for_the_next() -> None:
    """Of a block beyond the limit the first fields alone are kept, but all of its bytes were read."""
    ours = Decoder(REQUEST, 330)
    ours.decode(b"".join([literal(b"x-%d" % number, b"v" * 60) for number in range(6)]))
    long = b"\xc3\xc2\xc1\xc0\xbf\xbe"
    for number in range(3):  # indices move by one each time
        moved = bytes([byte + number for byte in long])
        block = ours.decode(moved + literal(b"own", b"%d" % number))
        assert block.error == "head_too_large"
        assert [field.name for field in block.fields] == [b"x-0", b"x-1", b"x-2"]
    short = bytes([byte + 3 for byte in long[:2]])
    assert [field.name for field in ours.decode(short).fields] == [b"x-0", b"x-1"]
