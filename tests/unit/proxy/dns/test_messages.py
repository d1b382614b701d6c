"""Packets of strangers: each is a question, is answered as none, or is dropped; nothing else happens."""

import dns.edns
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dns import messages
from proxy.dns.messages import BadQuery, Query

QUERIES = [
    dns.message.make_query("shop.test", "A").to_wire(),
    dns.message.make_query("shop.test", "AAAA", use_edns=True, payload=1232).to_wire(),
    dns.message.make_query(
        "a.b.c.example",
        "MX",
        use_edns=True,
        options=[dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"12345678")],
    ).to_wire(),
]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A question with some bytes changed, cut off or added."""
    packet = bytearray(draw(st.sampled_from(QUERIES)))
    for place, byte in draw(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 255)), max_size=6)):
        packet[place % len(packet)] = byte
    return bytes(packet[: draw(st.integers(0, 120))]) + draw(st.binary(max_size=20))


def looked_at(packet: bytes) -> tuple[Query | None, bytes | None]:
    """Give the question, or what the sender of none is told."""
    try:
        return messages.read(packet), None
    except BadQuery as bad:
        return None, bad.reply


@given(st.binary(max_size=80) | mangled())
def test_whatever_comes_is_read_or_refused(packet: bytes) -> None:
    query, reply = looked_at(packet)
    if reply is not None:
        assert reply[:2] == packet[:2]
        assert reply[2] & 0x80
    if query is None:
        return
    for answer in (messages.failed(query, "nxdomain"), messages.truncated(query)):
        assert query.answered_by(answer)
    if messages.asks_address(query):
        assert query.answered_by(messages.told(query, ["192.0.2.1", "2001:db8::1"], 5))
    query.name.encode()
    query.kind.encode()


@given(st.binary(max_size=80) | mangled())
def test_whatever_a_resolver_says_is_changed_or_left(packet: bytes) -> None:
    query = messages.read(QUERIES[0])
    made = messages.changed(query, packet, 5, True)
    assert made is None or isinstance(made, bytes)
    query.answered_by(packet)


def ask(name: str = "shop.test", kind: str = "A", **how: object) -> Query:
    return messages.read(dns.message.make_query(name, kind, **how).to_wire())  # type: ignore[arg-type]


def test_what_is_asked() -> None:
    query = ask("Shop.TEST.", "TYPE65280")
    assert (query.name, query.kind, query.payload) == ("shop.test", "TYPE65280", 512)
    assert ask(use_edns=True, payload=4096).payload == 4096
    assert ask(use_edns=True, payload=100).payload == 512  # RFC 6891, section 6.2.3
    assert ask(".", "NS").name == "."


def test_a_question_whose_name_points_elsewhere_is_none() -> None:
    packet = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\xc0\x04\x00\x01\x00\x01"
    with pytest.raises(BadQuery) as refused:
        messages.read(packet)
    assert refused.value.reply is not None
    assert refused.value.reply[3] & 15 == dns.rcode.FORMERR


def test_a_version_of_edns_that_does_not_exist() -> None:
    packet = dns.message.make_query("shop.test", "A", use_edns=1).to_wire()
    with pytest.raises(BadQuery) as refused:
        messages.read(packet)
    assert refused.value.reply is not None
    assert dns.message.from_wire(refused.value.reply).rcode() == dns.rcode.BADVERS


def test_an_answer_must_be_to_the_question() -> None:
    query, other = ask(), ask("other.test")
    right = messages.failed(query, "nxdomain")
    assert query.answered_by(right)
    assert query.answered_by(right.replace(b"shop", b"SHOP"))
    wrong = [
        query.packet,
        right[:11],
        b"\0\0" + right[2:] if right[:2] != b"\0\0" else b"\1\1" + right[2:],
        query.packet[:2] + messages.failed(other, "nxdomain")[2:],
    ]
    assert [packet for packet in wrong if query.answered_by(packet)] == []


@pytest.mark.parametrize(("given", "kept"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_half_of_the_records(given: int, kept: int) -> None:
    query = ask()
    whole = messages.told(query, [f"192.0.2.{n}" for n in range(1, given + 1)], 5)
    made = messages.changed(query, whole, -1, True)
    if given == kept:
        assert made is None
        return
    assert made is not None
    (records,) = dns.message.from_wire(made).answer
    assert sorted(one.to_text() for one in records) == [f"192.0.2.{n}" for n in range(1, kept + 1)]
    assert records.ttl == 5


def test_an_answer_without_records_has_no_time_to_live() -> None:
    query = ask()
    assert messages.changed(query, messages.failed(query, "nodata"), 0, False) is None
