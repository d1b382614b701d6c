"""Whatever comes: a message or a ProtocolError, the same for any split.  Any other exception is a bug."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.errors import KINDS, ProtocolError
from proxy.wire.h1 import REQUEST, RESPONSE, H1Reader
from proxy.wire.h1_write import request_head, response_head
from tests.wire.cases import CASES, Case
from tests.wire.corpus import REQUESTS, RESPONSES, mutated, pieces
from tests.wire.drive import FIELDS, HEAD_SIZE, Outcome, read, same

ROLES = st.sampled_from([REQUEST, RESPONSE])
INPUTS = st.one_of(st.binary(max_size=80), mutated(), REQUESTS, RESPONSES)


def well_formed(out: Outcome) -> None:
    """What holds of any outcome."""
    if out.error is not None:
        assert out.error[0] == KINDS[out.error[1]]
    for message in out.messages[:-1]:
        assert message.ended


@given(st.data(), ROLES, INPUTS, st.booleans(), st.booleans())
def test_any_bytes_in_any_pieces(data: st.DataObject, role: int, given: bytes, raw: bool, eof: bool) -> None:
    whole = read(role, [given], raw=raw, eof=eof)
    well_formed(whole)
    same(whole, read(role, data.draw(pieces(given)), raw=raw, eof=eof))
    same(whole, read(role, [given[i : i + 1] for i in range(len(given))], raw=raw, eof=eof))


@given(st.data(), st.sampled_from([case for case in CASES if case.body]), st.booleans())
def test_an_owner_may_pull_when_it_likes(data: st.DataObject, case: Case, raw: bool) -> None:
    """Events are the same when reads pile up before they are looked at, and when new ones come then."""
    given = case.data + case.data
    whole = read(case.role, [given], raw=raw)
    reads = [given[i : i + 9] for i in range(0, len(given), 9)]
    pulls = data.draw(st.lists(st.integers(0, 2), min_size=len(reads), max_size=len(reads)))
    same(whole, read(case.role, reads, raw=raw, pulls=pulls))


@given(ROLES, INPUTS)
def test_raw_and_content_agree(role: int, given: bytes) -> None:
    """What is passed on as it came is read by the next hop as the content that we saw."""
    raw = read(role, [given], raw=True)
    content = read(role, [given], raw=False)
    assert raw.error == content.error
    for one, other in zip(raw.messages, content.messages, strict=True):
        if not one.ended:
            continue
        assert one.content == other.content == len(other.body)
        again = read(role, [passed(role, one.head.raw) + one.body], to_head=False)
        assert again.error is None
        assert again.messages[0].body == other.body
        assert again.messages[0].trailers == other.trailers == one.trailers
        assert len(again.messages) == 1, "not a byte more than the message"


def passed(role: int, head: bytes) -> bytes:
    """A head as the writers pass it on."""
    [message] = read(role, [head]).messages
    if role == REQUEST:
        return request_head(message.head, b"x-own: 1\r\n", upgrade=True, authority=b"up")
    return response_head(message.head, message.head.framing, close=False, extra=b"x-own: 1\r\n")


@given(ROLES, mutated(), st.integers(0, 30), st.booleans())
def test_a_mark_changes_nothing_but_where_pieces_end(role: int, given: bytes, mark: int, raw: bool) -> None:
    plain = read(role, [given], raw=raw)
    marked = read(role, [given], raw=raw, mark=mark)
    assert marked.error == plain.error
    for one, other in zip(plain.messages, marked.messages, strict=True):
        if one.ended:
            assert (one.body, one.content) == (other.body, other.content)
            assert other.marks == ([mark] if one.content > mark else [])


@given(INPUTS, ROLES)
def test_nothing_is_lost_or_made_up(given: bytes, role: int) -> None:
    """Without a refusal, what came is what was delivered and what is still held."""
    reader = H1Reader(role, HEAD_SIZE, FIELDS)
    reader.feed(given)
    assert reader.buffered == len(given)
    taken = 0
    try:
        while reader.next():
            taken = len(given) - reader.buffered
            assert taken >= 0
    except ProtocolError:
        return
    held = reader.buffered
    assert given.endswith(reader.leftover()) or role == REQUEST  # empty lines before a request are dropped
    assert held <= len(given) - taken
    assert reader.buffered == 0


@pytest.mark.parametrize("role", [REQUEST, RESPONSE])
@pytest.mark.parametrize("byte", range(256))
def test_each_byte_at_each_place_of_a_small_message(role: int, byte: int) -> None:
    good = (
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nb\r\n0\r\nX: 1\r\n\r\n"
        if role == REQUEST
        else b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nb\r\n0\r\nX: 1\r\n\r\n"
    )
    for at in range(len(good)):
        data = good[:at] + bytes([byte]) + good[at + 1 :]
        whole = read(role, [data])
        well_formed(whole)
        same(whole, read(role, [data[:at], data[at:]]))
        same(whole, read(role, [data[: at + 1], data[at + 1 :]]))
