"""Header compression: the examples of RFC 7541, what is refused, what is remembered, and bounds."""

import pytest

from proxy.wire import hpack_huffman
from proxy.wire.h2_block import REQUEST, RESPONSE, SENDING, Block
from proxy.wire.h2_errors import COMPRESSION_ERROR, H2Error
from proxy.wire.h2_field import INDEXED, NEVER, Field, interned
from proxy.wire.hpack_decode import Decoder
from proxy.wire.hpack_encode import Encoder, integer, literal
from proxy.wire.hpack_huffman import decode_by_byte, decode_by_nibble
from proxy.wire.hpack_tables import HUFFMAN, STATIC

Pairs = list[tuple[bytes, bytes]]


def decoder(rules: int = SENDING, list_size: int = 65536) -> Decoder:
    return Decoder(rules, list_size)


def pairs(block: Block) -> Pairs:
    return [(field.name, field.value) for field in block.fields]


def request(*more: tuple[bytes, bytes]) -> Pairs:
    return [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        *more,
    ]


HTTPS: Pairs = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/index.html"),
    (b":authority", b"www.example.com"),
    (b"custom-key", b"custom-value"),
]
CUSTOM = "0a637573746f6d2d6b6579"
COOKIE = b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"


def response(status: bytes, date: bytes, *more: tuple[bytes, bytes]) -> Pairs:
    place = (b"location", b"https://www.example.com")
    return [(b":status", status), (b"cache-control", b"private"), (b"date", date), place, *more]


DATE, LATER = b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT"
LAST = response(b"200", LATER, (b"content-encoding", b"gzip"), (b"set-cookie", COOKIE))

# RFC 7541, appendix C: name of the example, blocks in their order, what they mean, limit of the table.
EXAMPLES: list[tuple[str, list[tuple[str, Pairs]], int]] = [
    ("C.2.1", [("40" + CUSTOM + "0d637573746f6d2d686561646572", [(b"custom-key", b"custom-header")])], 4096),
    ("C.2.2", [("040c2f73616d706c652f70617468", [(b":path", b"/sample/path")])], 4096),
    ("C.2.3", [("100870617373776f726406736563726574", [(b"password", b"secret")])], 4096),
    ("C.2.4", [("82", [(b":method", b"GET")])], 4096),
    (
        "C.3",
        [
            ("828684410f7777772e6578616d706c652e636f6d", request()),
            ("828684be58086e6f2d6361636865", request((b"cache-control", b"no-cache"))),
            ("828785bf40" + CUSTOM + "0c637573746f6d2d76616c7565", HTTPS),
        ],
        4096,
    ),
    (
        "C.4",
        [
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", request()),
            ("828684be5886a8eb10649cbf", request((b"cache-control", b"no-cache"))),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", HTTPS),
        ],
        4096,
    ),
    (
        "C.5",
        [
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
                "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                response(b"302", DATE),
            ),
            ("4803333037c1c0bf", response(b"307", DATE)),
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f"
                "6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b"
                "2076657273696f6e3d31",
                LAST,
            ),
        ],
        256,
    ),
    (
        "C.6",
        [
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad17186"
                "3c78f0b97c8e9ae82ae43d3",
                response(b"302", DATE),
            ),
            ("4883640effc1c0bf", response(b"307", DATE)),
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b3"
                "35dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                LAST,
            ),
        ],
        256,
    ),
]


@pytest.mark.parametrize(("name", "blocks", "limit"), EXAMPLES, ids=[name for name, _, _ in EXAMPLES])
def test_the_examples_of_the_rfc(name: str, blocks: list[tuple[str, Pairs]], limit: int) -> None:
    reader = decoder()
    if limit != 4096:
        reader.decode(integer(limit, 31, 0x20))
    for coded, meaning in blocks:
        assert pairs(reader.decode(bytes.fromhex(coded))) == meaning


def test_a_field_that_must_not_be_indexed_stays_so() -> None:
    block = decoder().decode(bytes.fromhex("100870617373776f726406736563726574"))
    assert block.fields[0].sensitive
    assert block.fields[0].writing == NEVER
    encoder = Encoder()
    coded = [encoder.encode(block) for _ in range(4)]
    assert set(coded) == {bytes.fromhex("100870617373776f726406736563726574")}


# -- Huffman


def huffman(text: bytes) -> bytes:
    """Encode by the table as it is printed, padded with ones."""
    bits = "".join(f"{code:0{length}b}" for code, length in (HUFFMAN[byte] for byte in text))
    bits += "1" * (-len(bits) % 8)
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize("decode", [decode_by_byte, decode_by_nibble])
@pytest.mark.parametrize("byte", range(256))
def test_each_symbol_alone_and_among_others(decode: object, byte: int) -> None:
    assert callable(decode)
    for text in (bytes((byte,)), bytes((byte,)) * 3, b"a" + bytes((byte,)) + b"~z"):
        assert decode(huffman(text)) == text


WRONG_STRINGS = {
    "eight bits of padding": huffman(b"o1") + b"\xff",
    "padding of zeroes": b"\x00",
    "the end of the string": bytes.fromhex("ffffffff"),
    "a code cut short": bytes.fromhex("fe"),
}


@pytest.mark.parametrize("decode", [decode_by_byte, decode_by_nibble])
@pytest.mark.parametrize("coded", WRONG_STRINGS.values(), ids=WRONG_STRINGS)
def test_wrong_strings(decode: object, coded: bytes) -> None:
    assert callable(decode)
    with pytest.raises(H2Error) as caught:
        decode(coded)
    assert caught.value.code == COMPRESSION_ERROR


def test_strings_that_are_remembered_are_bounded() -> None:
    for number in range(6000):
        hpack_huffman.decode(huffman(b"%d" % number))
    assert len(hpack_huffman._strings) <= 4096
    long = huffman(b"long " * 100)
    assert hpack_huffman.decode(long) == b"long " * 100
    assert long not in hpack_huffman._strings


# -- what cannot be decoded

WRONG_BLOCKS = {
    "index 0": "80",
    "an index beyond the static table": "be",
    "an index far beyond": "ffffffff0f",
    "a name index beyond": "7f00",
    "a literal without its name": "40",
    "a literal without its value": "400161",
    "a string longer than its block": "40016105",
    "an integer without its end": "ff",
    "an integer that goes on": "ffffffffffffffff01",
    "a size update after a field": "8220",
    "a size update that is too large": "3fe21f",
    "a size update without its end": "3f",
    "a Huffman string that is wrong": "00016182ffff",
}


@pytest.mark.parametrize("coded", WRONG_BLOCKS.values(), ids=WRONG_BLOCKS)
def test_blocks_that_cannot_be_decoded(coded: str) -> None:
    with pytest.raises(H2Error) as caught:
        decoder().decode(bytes.fromhex(coded))
    assert caught.value.code == COMPRESSION_ERROR
    assert caught.value.kind == "bad_compression"


def test_integers_of_each_length() -> None:
    for value in (0, 1, 30, 31, 32, 126, 127, 128, 254, 255, 16383, 16384, 2**21, 2**28 - 1):
        for mask in (15, 31, 63, 127):
            reader = decoder()
            assert reader._integer(integer(value, mask, 0), mask) == value
    assert integer(1337, 31, 0) == bytes.fromhex("1f9a0a")  # C.1.2


# -- the table


def test_a_field_larger_than_the_table_empties_it() -> None:
    reader = decoder()
    reader.decode(literal_indexed(b"a", b"b"))
    reader.decode(literal_indexed(b"large", b"x" * 5000))
    with pytest.raises(H2Error):
        reader.decode(b"\xbe")


def literal_indexed(name: bytes, value: bytes) -> bytes:
    return b"\x40" + integer(len(name), 127, 0) + name + integer(len(value), 127, 0) + value


def test_the_table_forgets_the_oldest_for_ever() -> None:
    reader = decoder()
    for number in range(3000):
        reader.decode(literal_indexed(b"name", b"%04d" % number))
    kept = 4096 // 40
    assert pairs(reader.decode(integer(62, 127, 128))) == [(b"name", b"2999")]
    assert pairs(reader.decode(integer(61 + kept, 127, 128))) == [(b"name", b"%04d" % (3000 - kept))]
    with pytest.raises(H2Error):
        reader.decode(integer(62 + kept, 127, 128))


# -- what is remembered


def test_the_same_bytes_are_the_same_block_until_the_table_changes() -> None:
    reader = decoder(REQUEST)
    coded = bytes.fromhex("828684410f7777772e6578616d706c652e636f6d")
    first = reader.decode(coded)
    assert reader.decode(coded) is not first  # it is for the table, so it means something new each time
    stable = bytes.fromhex("828684be")
    known = reader.decode(stable)
    assert pairs(known) == request()
    assert reader.decode(stable) is known
    reader.decode(literal_indexed(b"a", b"b"))
    later = bytes.fromhex("828684bf")
    assert pairs(reader.decode(later)) == request()
    assert reader.decode(later) is not known


def test_what_is_remembered_is_bounded_in_number_and_size() -> None:
    reader = decoder()
    for number in range(5000):
        reader.decode(literal(b"x-number", b"%d" % number))
    assert len(reader.blocks) <= 1024
    for number in range(2000):
        reader.decode(literal(b"x-number", b"%d " % number * 300 + b"x"))
    held = sum(len(coded) + block.size for coded, block in reader.blocks.items())
    assert held <= 1 << 19
    large = literal(b"x", b"y" * 9000)
    assert reader.decode(large) is not reader.decode(large)


def test_a_list_that_is_too_large_is_cut_and_the_tables_still_agree() -> None:
    reader = decoder(REQUEST, 1000)
    block = reader.decode(literal_indexed(b"a", b"x" * 900) + b"\xbe" * 60 + literal_indexed(b"b", b"c"))
    assert block.error == "head_too_large"
    assert block.trailer_error == "head_too_large"
    assert len(block.fields) == 1
    assert pairs(reader.decode(b"\xbe")) == [(b"b", b"c")]


def test_interned_fields_are_bounded() -> None:
    from proxy.wire import h2_field

    for number in range(20000):
        interned(b"x-%d" % (number % 300), b"%d" % number * 8)
    assert h2_field._interned.size <= 1 << 20
    assert interned(b"long", b"x" * 2000) is not interned(b"long", b"x" * 2000)
    assert interned(b"short", b"x") is interned(b"short", b"x")


def test_a_name_with_a_new_value_each_time_does_not_fill_the_memory() -> None:
    from proxy.wire import h2_field

    before = h2_field._interned.size
    fields = [interned(b"x-request-number", b"%020d" % number) for number in range(5000)]
    assert h2_field._interned.size - before <= 600 * (32 + 16 + 20)
    assert interned(b"x-request-number", b"%020d" % 1) is fields[1]
    assert interned(b"x-request-number", b"%020d" % 4999) is not fields[4999]
    assert interned(b"x-other", b"1") is interned(b"x-other", b"1")


# -- encoding


def test_a_field_is_indexed_at_second_sight_and_then_stays() -> None:
    encoder = Encoder()
    block = Block.of([interned(b":status", b"200"), interned(b"x-second-sight", b"once")])
    first, second, third, fourth = (encoder.encode(block) for _ in range(4))
    assert first == b"\x88" + literal(b"x-second-sight", b"once")
    assert second == b"\x88" + literal_indexed(b"x-second-sight", b"once")
    assert third == fourth == b"\x88\xbe"


def test_a_table_that_is_full_is_frozen_and_filled_anew_after_many_misses() -> None:
    encoder, reader = Encoder(), decoder()
    size = 0
    for number in range(9000):
        block = Block.of([interned(b"x-churn", b"%d" % number)])
        for _ in range(2):
            coded = encoder.encode(block)
            size += len(coded)
            assert pairs(reader.decode(coded)) == pairs(block)
        assert encoder._size <= 4096
    assert encoder.encode(block) == coded


def test_secrets_are_never_indexed() -> None:
    encoder = Encoder()
    fields = [interned(b"authorization", b"Bearer x"), interned(b"cookie", b"short=1")]
    block = Block.of(fields)
    coded = {encoder.encode(block) for _ in range(4)}
    assert len(coded) == 1
    assert [field.writing for field in decoder().decode(coded.pop()).fields] == [NEVER, NEVER]


@pytest.mark.parametrize("limit", [0, 100, 4096, 70000])
def test_the_peer_chooses_a_smaller_table(limit: int) -> None:
    encoder, reader = Encoder(), decoder()
    block = Block.of([interned(b"x-a", b"1" * 30), interned(b"x-b", b"2" * 30)])
    for _ in range(3):
        reader.decode(encoder.encode(block))
    encoder.set_limit(limit)
    for _ in range(4):
        assert pairs(reader.decode(encoder.encode(block))) == pairs(block)
    assert reader._size <= max(limit, 0)


def test_two_encoders_share_a_block() -> None:
    encoders = [Encoder() for _ in range(3)]
    block = Block.of([interned(b"x-shared", b"by three")])
    for _ in range(3):
        for encoder in encoders:
            encoder.encode(block)
    assert {encoder.encode(block) for encoder in encoders} == {b"\xbe"}
    others = [encoder for encoder in encoders if encoder is not block.encoded_by]
    assert len(others) == 2
    assert all(block in encoder._blocks for encoder in others)


def test_what_an_encoder_remembers_is_bounded() -> None:
    first, second = Encoder(), Encoder()
    for number in range(6000):
        block = Block.of([Field(b"x-number", b"%d" % number, 0)])
        first.encode(block)
        second.encode(block)
    assert len(second._blocks) <= 256
    assert len(first._known) <= 4096


def test_the_static_table_is_used() -> None:
    encoder = Encoder()
    for number, (name, value) in enumerate(STATIC, 1):
        if value:
            assert encoder.encode(Block.of([interned(name, value)])) == integer(number, 127, 128)


def test_rules_decide_what_is_wrong() -> None:
    coded = b"\x88"
    assert decoder(RESPONSE).decode(coded).error == ""
    assert decoder(REQUEST).decode(coded).error == "wrong_pseudo"
    assert decoder(SENDING).decode(coded).error == ""
    assert Field(b"a", b"b", INDEXED).fault == ""
