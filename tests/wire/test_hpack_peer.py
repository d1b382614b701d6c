"""Header compression against the `hpack` library: each reads what the other writes, whatever it is.

Where they differ, on purpose:

- `hpack` reads integers of any length; ours stops at 28 bits beyond the prefix, where no index, length or
  table size can be right any more;
- `hpack` refuses a list of more than 65536 bytes by an exception; ours cuts it, so that the connection lives.
"""

import pytest
from hpack import Decoder as PeerDecoder
from hpack import Encoder as PeerEncoder
from hpack.exceptions import HPACKError
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.h2_block import SENDING, Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.h2_field import LITERAL, NEVER, Field, interned
from proxy.wire.hpack_decode import Decoder
from proxy.wire.hpack_encode import Encoder
from proxy.wire.hpack_huffman import decode_by_byte, decode_by_nibble

NAMES = st.sampled_from(
    [b":path", b":status", b"accept", b"cookie", b"x-a", b"x-b", b"x-long-name-of-a-field"]
)
VALUES = st.one_of(
    st.sampled_from([b"", b"/", b"200", b"gzip, deflate", b"a" * 200, b"b" * 3000]), st.binary(max_size=40)
)
FIELDS = st.lists(st.tuples(NAMES, VALUES, st.sampled_from(["indexed", "literal", "never"])), max_size=8)
LIMITS = st.one_of(st.none(), st.sampled_from([0, 64, 256, 4096]))
BLOCKS = st.lists(st.tuples(LIMITS, FIELDS), max_size=12)

Blocks = list[tuple[int | None, list[tuple[bytes, bytes, str]]]]


def made(name: bytes, value: bytes, writing: str) -> Field:
    if writing == "indexed":
        return interned(name, value)
    return Field(name, value, NEVER if writing == "never" else LITERAL)


@given(BLOCKS)
def test_the_library_reads_what_we_write(blocks: Blocks) -> None:
    ours, theirs = Encoder(), PeerDecoder(max_header_list_size=1 << 20)
    for limit, fields in blocks:
        if limit is not None:
            theirs.max_allowed_table_size = limit
            ours.set_limit(limit)
        block = Block.of([made(*field) for field in fields])
        for _ in range(3):  # the second time fields are indexed, the third it is remembered
            read = theirs.decode(ours.encode(block), raw=True)
            assert [tuple(field) for field in read] == [(name, value) for name, value, _ in fields]
            never = [isinstance(field, NeverIndexedHeaderTuple) for field in read]
            wanted = [writing == "never" for _, _, writing in fields]
            assert all(got >= want for got, want in zip(never, wanted, strict=True))


@given(BLOCKS, st.booleans())
def test_we_read_what_the_library_writes(blocks: Blocks, huffman: bool) -> None:
    ours, theirs = Decoder(SENDING, 1 << 20), PeerEncoder()
    for limit, fields in blocks:
        if limit is not None:
            theirs.header_table_size = limit
        tuples = [
            NeverIndexedHeaderTuple(name, value) if writing == "never" else HeaderTuple(name, value)
            for name, value, writing in fields
        ]
        for _ in range(2):
            block = ours.decode(theirs.encode(tuples, huffman=huffman))
            assert [(field.name, field.value) for field in block.fields] == [
                (name, value) for name, value, _ in fields
            ]
            never = [field.sensitive for field in block.fields]
            wanted = [writing == "never" for _, _, writing in fields]  # or indexed: it was in a table
            assert all(got <= want for got, want in zip(never, wanted, strict=True))


# Bytes that look like blocks: representations with indices that exist, and anything.
PIECES = st.one_of(
    st.integers(128, 255).map(lambda byte: bytes((byte,))),
    st.sampled_from(
        [b"\x40\x01a\x01b", b"\x00\x01a\x01b", b"\x10\x01c\x00", b"\x41\x02xy", b"\x20", b"\x3f\xe1\x1f"]
    ),
    st.sampled_from([b"\x00\x01a\x82\x1c\x64", b"\x40\x82\x1c\x64\x82\x1c\x64"]),
    st.binary(max_size=4),
)


@given(st.lists(st.lists(PIECES, max_size=8).map(b"".join), max_size=6))
def test_both_read_any_bytes_alike(blocks: list[bytes]) -> None:
    ours, theirs = Decoder(SENDING, 65536), PeerDecoder()
    for coded in blocks:
        try:
            wanted = [tuple(field) for field in theirs.decode(coded, raw=True)]
        except HPACKError:
            with pytest.raises(H2Error):
                ours.decode(coded)
            return
        assert [(field.name, field.value) for field in ours.decode(coded).fields] == wanted


@given(st.binary(max_size=24))
def test_both_bodies_read_huffman_strings_alike(coded: bytes) -> None:
    results = []
    for decode in (decode_by_byte, decode_by_nibble):
        try:
            results.append(decode(coded))
        except H2Error as error:
            results.append(error.text.encode())
    assert results[0] == results[1]
