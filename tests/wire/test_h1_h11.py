"""Held against h11: the same message, or a refusal that docs/http1.md lists as stricter."""

import re
from pathlib import Path

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.wire.errors import KINDS, ProtocolError
from proxy.wire.h1 import BODY, END, HEAD, NEED, REQUEST, RESPONSE, H1Reader
from tests.wire.cases import CASES, Case
from tests.wire.corpus import REQUESTS, RESPONSES, mutated
from tests.wire.drive import FIELDS, HEAD_SIZE
from tests.wire.malformed import SMALL

PAGE = Path(__file__).parents[2] / "docs" / "http1.md"

# What h11 takes and we refuse, each with an example.
STRICTER: dict[str, tuple[int, bytes]] = {
    "bare_lf": (REQUEST, b"GET / HTTP/1.1\nHost: a\n\n"),
    "control_character": (REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"),
    "obs_fold": (REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n"),
    "bad_target": (REQUEST, b"GET a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "bad_version": (REQUEST, b"GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
    "http2_preface": (REQUEST, b"PRI * HTTP/2.0\r\n\r\n"),
    "connect": (REQUEST, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "missing_host": (REQUEST, b"GET / HTTP/1.5\r\n\r\n"),
    "bad_host": (REQUEST, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "nominated_field": (REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n"),
    "bad_expectation": (REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"),
    "bad_content_length": (REQUEST, b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"),
    "repeated_content_length": (
        RESPONSE,
        b"HTTP/1.1 200 x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
    ),
    "length_and_coding": (
        RESPONSE,
        b"HTTP/1.1 200 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "coding_in_http10": (RESPONSE, b"HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "bad_chunk_size": (RESPONSE, b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n"),
    "bad_chunk_extension": (
        RESPONSE,
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1;a\x00\r\na\r\n",
    ),
    "chunk_line_too_long": (
        RESPONSE,
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 2000 + b"\r\na\r\n",
    ),
    "too_many_fields": (RESPONSE, b"HTTP/1.1 200 x\r\n" + b"X: 1\r\n" * (FIELDS + 1) + b"\r\n"),
    "too_many_trailers": (
        RESPONSE,
        b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: 1\r\n" * (FIELDS + 1) + b"\r\n",
    ),
}


class Seen:
    """What a parser made of the first message in its input."""

    def __init__(self) -> None:
        self.first: tuple[object, ...] = ()
        self.fields: list[tuple[bytes, bytes]] = []
        self.waits: bool = False
        self.keep_alive: bool | None = None
        self.content: bytes = b""
        self.trailers: list[tuple[bytes, bytes]] | None = None  # None: the message has no end here
        self.rest: bytes = b""


def ours(role: int, data: bytes, eof: bool) -> Seen:
    """Read with our reader; raises ProtocolError."""
    reader = H1Reader(role, HEAD_SIZE, FIELDS)
    reader.feed(data)
    if eof:
        reader.feed_eof()
    seen = Seen()
    while (event := reader.next()) != NEED:
        if event == HEAD:
            head = reader.head
            if role == REQUEST:
                seen.first = (head.method, head.target)
            else:
                seen.first = (head.status, head.reason)
            seen.fields = field_lines(head.raw.partition(b"\r\n")[2][:-2])
            seen.waits = head.expect_continue
            seen.keep_alive = head.keep_alive if head.raw[: head.line_end].find(b"HTTP/1.1") >= 0 else None
        elif event == BODY:
            seen.content += reader.piece
        elif event == END:
            seen.trailers = field_lines(reader.trailers)
            seen.rest = reader.leftover()
            break
    return seen


def field_lines(lines: bytes) -> list[tuple[bytes, bytes]]:
    pairs = [line.partition(b":") for line in lines.split(b"\r\n") if line]
    return [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]


def theirs(role: int, data: bytes, eof: bool) -> Seen:
    """Read with h11; raises h11.RemoteProtocolError."""
    connection = h11.Connection(h11.SERVER if role == REQUEST else h11.CLIENT)
    if role == RESPONSE:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    if data:  # to h11, no bytes are the end of the connection
        connection.receive_data(data)
    if eof:
        connection.receive_data(b"")
    seen = Seen()
    while not isinstance(event := connection.next_event(), type | h11.ConnectionClosed):
        if isinstance(event, h11.Request):
            seen.first = (event.method, event.target)
            seen.fields = list(event.headers)
            seen.waits = connection.they_are_waiting_for_100_continue
        elif isinstance(event, h11.InformationalResponse | h11.Response):
            seen.first = (event.status_code, event.reason)
            seen.fields = list(event.headers)
            if event.status_code < 200:
                seen.trailers = []
                seen.rest = connection.trailing_data[0]
                return seen
        elif isinstance(event, h11.Data):
            seen.content += event.data
        elif isinstance(event, h11.EndOfMessage):
            seen.trailers = list(event.headers)
            seen.rest = connection.trailing_data[0]
            if connection.their_state in (h11.DONE, h11.MUST_CLOSE):  # not so after an upgrade was offered
                seen.keep_alive = connection.their_state is h11.DONE
            break
    return seen


def looser(role: int, data: bytes) -> bool:
    """What we take and h11 does not.

    Empty lines before a request, a 101 that it did not ask for, and framing fields with any value in
    trailers: those are dropped unread.
    """
    rest = data.partition(b"\r\n\r\n")[2]
    if re.search(rb"(?i)\n(content-length|transfer-encoding):", rest):
        return True
    if role == REQUEST:
        return data.startswith(b"\r\n")
    return re.match(rb"HTTP/1\.[0-9] 101", data) is not None


def refuses(role: int, data: bytes, eof: bool) -> bool:
    """Whether h11 refuses these bytes."""
    try:
        theirs(role, data, eof)
    except h11.RemoteProtocolError:
        return True
    return False


def refused(role: int, data: bytes) -> bool:
    """Whether we refuse these bytes."""
    try:
        ours(role, data, False)
    except ProtocolError:
        return True
    return False


def compare(role: int, data: bytes, eof: bool) -> str:
    """Assert that the two agree; gives the kind of our refusal, or "" where we take the message."""
    try:
        seen = ours(role, data, eof)
    except ProtocolError as refusal:
        kind = refusal.kind
    else:
        kind = ""
    if kind:
        # h11 waits for the end of a head or trailer section before it looks at a byte of it
        sooner = refuses(role, data, eof) or refuses(role, data + b"\r\n\r\n", False)
        assert sooner or kind in STRICTER
        return kind
    if refuses(role, data, eof):
        # h11 looks at the first byte of a line that is not complete
        assert looser(role, data) or (seen.first == () and refused(role, data + b"\r\n\r\n"))
        return ""
    expected = theirs(role, data, eof)
    assert seen.first == expected.first
    # h11 lower-cases the one value of transfer-encoding that it knows
    known = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in seen.fields]
    assert known == expected.fields
    assert seen.waits == expected.waits
    assert seen.content == expected.content
    assert (seen.trailers is None) == (expected.trailers is None)
    assert seen.rest == expected.rest
    if seen.trailers is not None and expected.trailers is not None:
        assert [pair for pair in expected.trailers if pair in seen.trailers] == seen.trailers
        if not eof and None not in (seen.keep_alive, expected.keep_alive):
            assert seen.keep_alive == expected.keep_alive
    return ""


@given(REQUESTS, st.booleans())
@example(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", False)
def test_requests(data: bytes, eof: bool) -> None:
    compare(REQUEST, data, eof)


@given(RESPONSES, st.booleans())
@example(b"HTTP/1.1 200 OK\r\n\r\nuntil close", True)
def test_responses(data: bytes, eof: bool) -> None:
    compare(RESPONSE, data, eof)


@given(mutated(), st.sampled_from([REQUEST, RESPONSE]), st.booleans())
def test_mutated(data: bytes, role: int, eof: bool) -> None:
    compare(role, data, eof)


@pytest.mark.parametrize("case", [case for case in CASES if not case.to_head], ids=str)
def test_the_table_of_good_messages(case: Case) -> None:
    assert compare(case.role, case.data, case.eof) == ""


def test_the_table_of_malformed_messages() -> None:
    for bad in SMALL:
        kind = compare(bad.role, bad.data, bad.eof)
        assert kind == bad.kind or (bad.eof and kind == ""), "only the first message is looked at here"


@pytest.mark.parametrize("kind", STRICTER)
def test_each_strictness_is_one(kind: str) -> None:
    """h11 takes the example and we refuse it for this reason."""
    role, data = STRICTER[kind]
    theirs(role, data, eof=False)
    assert compare(role, data, eof=False) == kind


def test_the_page_lists_each_refusal_and_each_strictness() -> None:
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.MULTILINE))
    assert {kind: int(status) for kind, status in rows.items()} == KINDS
    section = text.partition("## Stricter than h11")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", section)) & set(KINDS) == set(STRICTER)
