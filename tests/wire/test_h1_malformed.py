"""Each malformed message is refused for its reason, however its bytes come, and at once."""

import pytest

from proxy.wire.errors import KINDS, ProtocolError
from proxy.wire.h1 import HEAD, NEED, REQUEST, H1Reader
from tests.wire.drive import FIELDS, HEAD_SIZE, read, splits
from tests.wire.malformed import LARGE, SMALL, Bad

both_modes = pytest.mark.parametrize("raw", [False, True], ids=["content", "raw"])


@pytest.mark.parametrize("bad", SMALL, ids=str)
@both_modes
def test_any_split_is_refused_alike(bad: Bad, raw: bool) -> None:
    heads = len(read(bad.role, [bad.data], raw=raw, eof=bad.eof).messages)
    for pieces in splits(bad.data):
        out = read(bad.role, pieces, raw=raw, eof=bad.eof)
        assert out.error == (KINDS[bad.kind], bad.kind)
        assert len(out.messages) == heads
        assert not out.idle


@pytest.mark.parametrize("bad", LARGE, ids=str)
@both_modes
def test_large_ones_too(bad: Bad, raw: bool) -> None:
    data = bad.data
    for size in (len(data), 1, 7, 1000, HEAD_SIZE - 1, HEAD_SIZE, HEAD_SIZE + 1):
        out = read(bad.role, [data[i : i + size] for i in range(0, len(data), size)], raw=raw)
        assert out.error == (KINDS[bad.kind], bad.kind)


def test_there_are_enough_of_them() -> None:
    assert len({(bad.role, bad.data, bad.eof) for bad in SMALL + LARGE}) >= 300


def test_each_kind_of_refusal_has_a_case() -> None:
    assert {bad.kind for bad in SMALL + LARGE} == set(KINDS)


@pytest.mark.parametrize("bad", [b for b in SMALL if b.role == REQUEST and not b.eof], ids=str)
def test_after_a_good_message_it_is_refused_alike(bad: Bad) -> None:
    good = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
    out = read(REQUEST, [good + bad.data])
    assert out.error == (KINDS[bad.kind], bad.kind)
    assert out.messages[0].body == b"abc"
    assert out.messages[0].ended


def test_it_stays_refused() -> None:
    reader = H1Reader(REQUEST, HEAD_SIZE, FIELDS)
    reader.feed(b"\n")
    for _ in range(3):
        with pytest.raises(ProtocolError) as refused:
            reader.next()
        assert (refused.value.status, refused.value.kind) == (400, "bare_lf")
        reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


@pytest.mark.parametrize(
    "start",
    [
        b"GET / HTTP/1.1\nHost: a",
        b"GET / HTTP/1.1\r\nHost: a\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX",
    ],
)
def test_what_can_never_be_a_head_does_not_wait_for_its_end(start: bytes) -> None:
    assert read(REQUEST, [start]).error is not None


def test_a_head_of_just_the_limit_is_read() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
    head = start + b"a" * (HEAD_SIZE - len(start) - 4) + b"\r\n\r\n"
    assert len(head) == HEAD_SIZE
    for pieces in ([head], [head[:-1], head[-1:]], [head[i : i + 1] for i in range(len(head))]):
        out = read(REQUEST, pieces)
        assert out.error is None
        assert out.messages[0].ended


def test_as_many_fields_as_the_limit_are_read() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * (FIELDS - 1) + b"\r\n"
    assert read(REQUEST, [head]).error is None


def test_a_few_empty_lines_before_a_request_are_dropped() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for pieces in splits(b"\r\n" * 4 + head):
        out = read(REQUEST, pieces)
        assert out.error is None
        assert out.messages[0].head.raw == head


def test_empty_lines_alone_leave_it_idle() -> None:
    reader = H1Reader(REQUEST, HEAD_SIZE, FIELDS)
    reader.feed(b"\r\n")
    assert reader.next() == NEED
    assert reader.idle
    reader.feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert reader.next() == HEAD
