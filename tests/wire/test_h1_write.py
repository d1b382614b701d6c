"""What the writers make of a head: cuts, additions, framing; answers of our own."""

import pytest

from proxy.wire.h1 import CHUNKED, LENGTH, NO_BODY, REQUEST, RESPONSE, UNTIL_CLOSE, Head, Names
from proxy.wire.h1_write import (
    CONTINUE,
    LAST_CHUNK,
    answer,
    chunk,
    chunk_start,
    last_chunk,
    request_head,
    response_head,
)
from tests.wire.cases import lines
from tests.wire.drive import read

OWN = Names(frozenset(), frozenset([b"via", b"x-forwarded-for", b"host"]))


def head(role: int, data: bytes, names: Names = OWN, to_head: bool = False) -> Head:
    return read(role, [data], names=names, to_head=to_head).messages[0].head


def test_our_lines_take_the_place_of_those_that_came() -> None:
    names = Names(frozenset(), frozenset([b"via", b"x-forwarded-for"]))
    came = lines("GET / HTTP/1.1", "Via: 1", "Host: a", "X-Forwarded-For: b", "x: 1", "VIA: 2", "via: 3")
    h = head(REQUEST, came, names)
    assert h.fields == {b"via": [b"1", b"2", b"3"], b"x-forwarded-for": [b"b"]}
    assert request_head(h, b"via: own\r\n", upgrade=False) == lines(
        "GET / HTTP/1.1", "Host: a", "x: 1", "via: own"
    )


def test_without_a_cut_the_bytes_are_those_that_came() -> None:
    came = lines("GET / HTTP/1.1", "hOsT:a", "X:  1 ", "x:\t2")
    h = head(REQUEST, came, Names(frozenset()))
    assert request_head(h, b"", upgrade=False) == came
    assert request_head(h, b"y: 3\r\n", upgrade=False) == came[:-2] + b"y: 3\r\n\r\n"


def test_the_host_may_be_our_own() -> None:
    h = head(REQUEST, lines("GET / HTTP/1.1", "Host: a", "x: 1"))
    assert request_head(h, b"host: b\r\n", upgrade=False) == lines("GET / HTTP/1.1", "x: 1", "host: b")


def test_a_request_without_host_gets_one() -> None:
    h = head(REQUEST, lines("GET / HTTP/1.0", "x: 1"))
    assert request_head(h, b"", upgrade=False, authority=b"b:1") == lines(
        "GET / HTTP/1.1", "host: b:1", "x: 1"
    )


def test_an_absolute_target_gives_the_host_once() -> None:
    for names in (Names(frozenset()), OWN):
        h = head(REQUEST, lines("GET http://b/c HTTP/1.1", "Host: a", "Connection: x", "X: 1", "Y: 2"), names)
        assert request_head(h, b"", upgrade=False) == lines("GET /c HTTP/1.1", "host: b", "Y: 2")


@pytest.mark.parametrize(
    ("upgrade", "more"), [(False, []), (True, ["connection: upgrade", "upgrade: websocket"])]
)
def test_an_upgrade_is_passed_on_when_it_is_wanted(upgrade: bool, more: list[str]) -> None:
    h = head(
        REQUEST,
        lines("GET / HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"),
        Names(frozenset()),
    )
    assert request_head(h, b"", upgrade=upgrade) == lines("GET / HTTP/1.1", "Host: a", *more)


def test_no_upgrade_is_made_up() -> None:
    h = head(REQUEST, lines("GET / HTTP/1.1", "Host: a", "Connection: upgrade"), Names(frozenset()))
    assert request_head(h, b"", upgrade=True) == lines("GET / HTTP/1.1", "Host: a")


FRAMES = [
    (["Content-Length: 5"], LENGTH, ["Content-Length: 5"]),
    (["Content-Length: 5"], CHUNKED, ["transfer-encoding: chunked"]),
    (["Content-Length: 5"], UNTIL_CLOSE, []),
    (["Transfer-Encoding: chunked"], CHUNKED, ["Transfer-Encoding: chunked"]),
    (["Transfer-Encoding: chunked"], UNTIL_CLOSE, []),
    ([], UNTIL_CLOSE, []),
    ([], CHUNKED, ["transfer-encoding: chunked"]),
]


@pytest.mark.parametrize(("came", "framing", "sent"), FRAMES)
@pytest.mark.parametrize("close", [False, True])
def test_a_response_is_framed_as_its_client_gets_it(
    came: list[str], framing: int, sent: list[str], close: bool
) -> None:
    h = head(RESPONSE, lines("HTTP/1.1 200 OK", "Via: 1", *came, "x: 1", "Connection: keep-alive"))
    kept = sent if framing == h.framing else []
    added = [] if framing == h.framing else sent
    last = ["connection: close"] if close else []
    assert response_head(h, framing, close, b"y: 2\r\n") == lines(
        "HTTP/1.1 200 OK", *kept, "x: 1", "y: 2", *last, *added
    )


def test_the_answer_to_head_keeps_its_length() -> None:
    h = head(RESPONSE, lines("HTTP/1.1 200 OK", "Content-Length: 5"), to_head=True)
    assert response_head(h, NO_BODY, False, b"") == lines("HTTP/1.1 200 OK", "Content-Length: 5")


def test_our_own_answer() -> None:
    sent = answer(503, [(b"x-a", b"1"), (b"x-a", b"2")], b"hello", close=True, head_request=False)
    assert (
        sent
        == lines(
            "HTTP/1.1 503 Service Unavailable", "x-a: 1", "x-a: 2", "content-length: 5", "connection: close"
        )
        + b"hello"
    )


def test_our_own_answer_to_head_has_no_body() -> None:
    assert answer(200, [], b"hello", False, True) == lines("HTTP/1.1 200 OK", "content-length: 5")


@pytest.mark.parametrize("status", [204, 304])
def test_our_own_answer_without_body(status: int) -> None:
    sent = answer(status, [], b"hello", False, False, b"x: 1\r\n")
    [message] = read(RESPONSE, [sent]).messages
    assert message.head.status == status
    assert message.head.length == -1
    assert message.ended
    assert sent.endswith(b"\r\nx: 1\r\n\r\n")


@pytest.mark.parametrize("status", [200, 299, 418, 599, 999])
def test_our_own_answer_is_read_back(status: int) -> None:
    [message] = read(RESPONSE, [answer(status, [(b"a", b"b")], b"body", False, False)]).messages
    assert (message.head.status, message.body) == (status, b"body")


def test_chunks_are_read_back() -> None:
    start = lines("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    large = b"x" * 70_000
    body = chunk(b"a" * 17) + chunk(b"") + chunk_start(len(large)) + large + b"\r\n" + last_chunk(b"X: 1\r\n")
    [message] = read(RESPONSE, [start + body]).messages
    assert message.body == b"a" * 17 + large
    assert message.trailers == b"X: 1\r\n"
    assert last_chunk(b"") == LAST_CHUNK


def test_continue_is_an_interim_response() -> None:
    [message] = read(RESPONSE, [CONTINUE]).messages
    assert message.head.status == 100
