"""Each good message of the table is read alike however it comes, and is passed on as the table says."""

import pytest

from proxy.wire.h1 import REQUEST, RESPONSE
from proxy.wire.h1_write import request_head, response_head
from tests.wire.cases import CASES, Case
from tests.wire.drive import Outcome, read, same, splits

TAILS = {
    REQUEST: b"GET /tail HTTP/1.1\r\nHost: tail\r\n\r\n",
    RESPONSE: b"HTTP/1.1 201 Tail\r\nContent-Length: 1\r\n\r\nT",
}

each_case = pytest.mark.parametrize("case", CASES, ids=str)
both_modes = pytest.mark.parametrize("raw", [False, True], ids=["content", "raw"])


def in_one(case: Case, raw: bool) -> Outcome:
    return read(case.role, [case.data], raw=raw, eof=case.eof, to_head=case.to_head)


@each_case
@both_modes
def test_what_it_says(case: Case, raw: bool) -> None:
    out = in_one(case, raw)
    assert out.error is None
    [message] = out.messages
    assert {name: getattr(message.head, name) for name in case.says} == case.says
    assert message.head.raw == case.head
    if raw:
        assert message.body == (case.body if case.raw is None else case.raw)
    else:
        assert message.body == case.content
    assert message.trailers == case.trailers
    assert message.content == len(case.content)
    assert message.ended
    assert out.idle
    assert out.buffered == 0


@each_case
@both_modes
def test_any_split_says_the_same(case: Case, raw: bool) -> None:
    whole = in_one(case, raw)
    for pieces in splits(case.data):
        same(whole, read(case.role, pieces, raw=raw, eof=case.eof, to_head=case.to_head))
        same(whole, read(case.role, pieces, raw=raw, eof=case.eof, to_head=case.to_head, at_once=True))


@pytest.mark.parametrize("case", [c for c in CASES if not c.eof and not c.to_head], ids=str)
@both_modes
def test_with_a_tail(case: Case, raw: bool) -> None:
    """What follows a message is the next message, not a byte of this one."""
    alone = in_one(case, raw)
    tail = TAILS[case.role]
    expected = Outcome(alone.messages + read(case.role, [tail], raw=raw).messages)
    for pieces in ([case.data + tail], [case.data, tail], [case.data + tail[:1], tail[1:]]):
        same(expected, read(case.role, pieces, raw=raw))
    whole = case.data + tail
    same(expected, read(case.role, [whole[i : i + 1] for i in range(len(whole))], raw=raw))


@each_case
def test_what_is_passed_on(case: Case) -> None:
    head = in_one(case, raw=True).messages[0].head
    if case.role == REQUEST:
        assert request_head(head, b"", upgrade=False) == case.passed
    else:
        assert response_head(head, head.framing, close=False, extra=b"") == case.passed


@each_case
def test_what_is_passed_on_is_read_alike(case: Case) -> None:
    """The next hop sees the same message: nothing was left in or out that could part the two."""
    first = in_one(case, raw=True).messages[0]
    if case.role == REQUEST:
        sent = request_head(first.head, b"", upgrade=False, authority=b"up")
    else:
        sent = response_head(first.head, first.head.framing, close=False, extra=b"")
    out = read(case.role, [sent + first.body], eof=case.eof, to_head=case.to_head)
    assert out.error is None
    [again] = out.messages
    assert again.body == case.content
    assert again.trailers == case.trailers
    for name in ("method", "origin", "path", "query", "status", "reason", "framing", "length"):
        assert getattr(again.head, name) == getattr(first.head, name), name
    assert again.head.host == (first.head.host or (b"up" if case.role == REQUEST else b""))


def test_the_names_are_unique() -> None:
    assert len({(case.role, case.name) for case in CASES}) == len(CASES)
