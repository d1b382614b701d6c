"""Requests that differ in little are decoded and encoded around that, with the same result."""

import pytest
from hpack import Decoder as TheirDecoder
from hpack import Encoder as TheirEncoder
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple
from hypothesis import given
from hypothesis import strategies as st

from proxy.http2.heads import request_head
from proxy.wire.h1_head import Names
from proxy.wire.h2_block import REQUEST, Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.hpack_decode import Decoder
from proxy.wire.hpack_encode import Encoder

ATTRIBUTES = (
    *("error", "trailer_error", "method", "scheme", "path", "authority", "protocol", "status", "length"),
    *("host", "content_type", "expect", "size", "seen", "trailer_lines", "trailers_pass"),
)
HEAD = (
    *("method", "target", "origin", "path", "query", "authority", "host", "length", "framing"),
    *("fields", "grpc", "expect_continue"),
)
NAMES = Names(frozenset({b"x-user"}), frozenset({b"via"}))
FIELDS = [
    (":scheme", "http"),
    (":authority", "shop.example:8080"),
    ("x-user", "gold"),
    ("content-type", "application/grpc+proto"),
    ("expect", "100-continue"),
    ("content-length", "17"),
]
PLAIN = ["/", "/a", "/a?b=c", "/a/b?c", "/" + "x" * 200, "/?", "/%20", "//", "/" * 130]
PATHS = [*PLAIN, "/é", "*", "", "a", "/a b", "/a#b", "/\x7f"]


class Peer:
    """Encodes what a client sends: all but the path from the table."""

    def __init__(self, huffman: bool, never: bool) -> None:
        self.encoder = TheirEncoder()
        self.huffman = huffman
        self.never = never

    def request(self, path: str, *more: tuple[str, str], method: str = "POST") -> bytes:
        kept = NeverIndexedHeaderTuple(":path", path)
        fields = [HeaderTuple(":method", method), kept, *(HeaderTuple(*one) for one in [*FIELDS, *more])]
        coded: bytes = self.encoder.encode(fields, huffman=self.huffman)
        return coded if self.never else coded.replace(b"\x14", b"\x04", 1)


def described(block: Block) -> list[object]:
    fields = [(field.name, field.value, field.writing, field.meaning, field.fault) for field in block.fields]
    return [fields, *(getattr(block, name) for name in ATTRIBUTES)]


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("never", [False, True])
def test_decoded_as_in_full(huffman: bool, never: bool) -> None:
    peer, warm = Peer(huffman, never), Decoder(REQUEST, 65536)
    opening = peer.request("/opening")
    warm.decode(opening)
    warm.decode(peer.request("/second"))
    around = 0
    for path in PATHS:
        coded = peer.request(path)
        fresh = Decoder(REQUEST, 65536)
        fresh.decode(opening)
        block, wanted = warm.decode(coded), fresh.decode(coded)
        assert described(block) == described(wanted)
        around += block.like is not None
    assert around >= 8, "or nothing of this is tested"


def test_a_change_of_the_table_ends_it() -> None:
    """An index means something else then."""
    peer, warm = Peer(False, False), Decoder(REQUEST, 65536)
    for path in ("/a", "/b", "/c"):
        last = warm.decode(peer.request(path))
    assert last.like is not None
    warm.decode(peer.request("/d", ("x-more", "1")))
    after = warm.decode(peer.request("/e"))
    assert (after.path, after.like) == (b"/e", None)
    assert [field.value for field in after.fields if field.name == b"x-user"] == [b"gold"]


def test_bounds_hold() -> None:
    peer, warm = Peer(False, False), Decoder(REQUEST, 600)
    for path in ("/a", "/b", "/c"):
        warm.decode(peer.request(path))
    assert warm.decode(peer.request("/" + "x" * 500)).error == "head_too_large"


@pytest.mark.parametrize("cut", range(1, 12))
def test_broken_blocks_are_refused(cut: int) -> None:
    peer, warm, fresh = Peer(False, False), Decoder(REQUEST, 65536), Decoder(REQUEST, 65536)
    for decoder in (warm, fresh):
        sender = Peer(False, False)
        decoder.decode(sender.request("/a"))
    for path in ("/b", "/c"):
        peer.request("/a")
        warm.decode(peer.request(path))
    whole = peer.request("/abcdef")
    coded = whole[: len(whole) - cut] if cut < len(whole) else b""
    outcomes = []
    for decoder in (warm, fresh):
        try:
            outcomes.append(described(decoder.decode(coded)))
        except H2Error as error:
            outcomes.append([error.kind])
    assert outcomes[0] == outcomes[1]


def test_heads_are_the_same() -> None:
    peer, warm = Peer(True, False), Decoder(REQUEST, 65536)
    opening = peer.request("/opening")
    warm.decode(opening)
    for path in ("/b", "/c?d=e", "/f"):
        coded = peer.request(path)
        fresh = Decoder(REQUEST, 65536)
        fresh.decode(opening)
        for ended in (False, True):
            made = request_head(warm.decode(coded), NAMES, ended)
            wanted = request_head(fresh.decode(coded), NAMES, ended)
            for name in HEAD:
                assert getattr(made, name) == getattr(wanted, name), name
            assert made.block is not None


def test_encoded_so_that_it_means_the_same() -> None:
    peer, warm, encoder, reader = Peer(True, False), Decoder(REQUEST, 65536), Encoder(), TheirDecoder()
    sizes = []
    for number in range(40):
        more = [("x-odd", str(number))] if number % 13 == 12 else []
        block = warm.decode(peer.request(f"/item/{number}", *more, method="GET" if number % 5 else "PUT"))
        coded = encoder.encode(block)
        assert [(field.name, field.value) for field in block.fields] == [
            (field[0], field[1]) for field in reader.decode(coded, raw=True)
        ]
        sizes.append(len(coded))
    assert min(sizes) <= 1 + 2 + len("/item/39") + len(FIELDS) + 1
    encoder.set_limit(100)
    block = warm.decode(peer.request("/last"))
    assert [field[1] for field in reader.decode(encoder.encode(block), raw=True)][1] == b"/last"


# What changes from request to request: fields without a meaning, the path; and some that matter.
CHANGES = st.one_of(
    st.tuples(st.just("x-trace-id"), st.text("0123456789abcdef", min_size=1, max_size=32)),
    st.tuples(st.just("x-span-id"), st.sampled_from(["1", "2", "bad\x01", " bad", ""])),
    st.tuples(st.just(":path"), st.sampled_from(["/", "/a?b", "/c", "bad", "", "*", "/é"])),
    st.tuples(st.just("x-user"), st.sampled_from(["gold", "tin"])),
    st.tuples(st.just("cookie"), st.sampled_from(["a=1", "session=0123456789abcdef0123"])),
    st.tuples(st.just("content-length"), st.sampled_from(["17", "18", "x"])),
    st.tuples(st.just("content-type"), st.sampled_from(["application/grpc", "text/plain"])),
    st.tuples(st.just("x-more"), st.sampled_from(["", "1"])),  # "": it is not there
    st.tuples(st.just("x-wide"), st.sampled_from(["a" * 1500, "b" * 1500])),  # throws others out of the table
)


@given(st.lists(st.lists(CHANGES, max_size=3), max_size=12), st.booleans(), st.sampled_from([0, 200, 4096]))
def test_requests_with_other_values(requests: list[list[tuple[str, str]]], huffman: bool, kept: int) -> None:
    """A block, a head and what is written are what they were if nothing had come before."""
    theirs, reader, decoder, encoder = TheirEncoder(), TheirDecoder(), Decoder(REQUEST, 65536), Encoder()
    theirs.header_table_size = reader.max_allowed_table_size = kept
    encoder.set_limit(kept)
    now = dict([(":method", "POST"), (":path", "/"), *FIELDS, ("x-trace-id", "1"), ("x-span-id", "1")])
    for changes in requests:
        now.update(changes)
        sent = [(name, value) for name, value in now.items() if value or name != "x-more"]
        block = decoder.decode(theirs.encode([HeaderTuple(*one) for one in sent], huffman=huffman))
        wanted = Block(block.fields, REQUEST)
        assert [(field.name.decode(), field.value.decode()) for field in block.fields] == sent
        assert described(block) == described(wanted)
        if not block.error:
            read = [(bytes(one[0]), bytes(one[1])) for one in reader.decode(encoder.encode(block), raw=True)]
            assert read == [(field.name, field.value) for field in block.fields]
            for ended in (False, True):
                made, plain = (request_head(one, NAMES, ended) for one in (block, wanted))
                for name in HEAD:
                    assert getattr(made, name) == getattr(plain, name), name
