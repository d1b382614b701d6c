"""What the owner of a reader relies on: marks, what is held, what is not copied, what follows HTTP."""

import time
import tracemalloc

import pytest

from proxy.wire.errors import ProtocolError
from proxy.wire.h1 import BODY, END, HEAD, MARK, NEED, REQUEST, RESPONSE, H1Reader, Names
from proxy.wire.h1_head import KNOWN_HEADS, KNOWN_SIZE
from tests.wire.drive import FIELDS, HEAD_SIZE, read, splits

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"4\r\n0123\r\n3;x\r\n456\r\n3\r\n789\r\n0\r\nX: 1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\n\r\n"


def reader(role: int = REQUEST) -> H1Reader:
    return H1Reader(role, HEAD_SIZE, FIELDS)


# -- marks


@pytest.mark.parametrize("mark", range(12))
@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize(
    ("role", "data"),
    [
        (REQUEST, POST + b"0123456789"),
        (REQUEST, CHUNKED + CHUNKS),
        (RESPONSE, OK + b"0123456789"),
        (RESPONSE, CLOSED + b"0123456789"),
    ],
)
def test_a_mark_is_exact_at_any_split(role: int, data: bytes, raw: bool, mark: int) -> None:
    for pieces in splits(data):
        out = read(role, pieces, raw=raw, mark=mark, eof=True)
        assert out.messages[0].marks == ([mark] if mark < 10 else [])
        assert out.messages[0].content == 10
        assert out.messages[0].ended


@pytest.mark.parametrize("mark", range(10))
def test_exactly_so_many_content_bytes_came_before_it(mark: int) -> None:
    for pieces in splits(CHUNKED + CHUNKS):
        r = reader()
        content = b""
        for piece in pieces:
            r.feed(piece)
            while (event := r.next()) not in (NEED, MARK):
                if event == HEAD:
                    r.mark(mark)
                elif event == BODY:
                    content += r.piece
            if event == MARK:
                break
        assert content == b"0123456789"[:mark]
        assert r.content == mark


def test_marks_follow_each_other() -> None:
    r = reader()
    r.feed(POST + b"0123456789")
    assert r.next() == HEAD
    seen: list[bytes | int] = []
    r.mark(3)
    while (event := r.next()) != END:
        if event == MARK:
            seen.append(MARK)
            r.mark(r.content + 4)
        else:
            seen.append(r.piece)
    assert seen == [b"012", MARK, b"3456", MARK, b"789"]


def test_a_mark_that_was_passed_comes_before_the_next_byte() -> None:
    r = reader()
    r.feed(POST + b"01234")
    assert [r.next(), r.next(), r.next()] == [HEAD, BODY, NEED]
    r.mark(2)
    assert r.next() == NEED
    r.feed(b"5")
    assert [r.next(), r.next(), r.next()] == [MARK, BODY, NEED]


@pytest.mark.parametrize("data", [GET, CHUNKED + b"0\r\n\r\n", POST.replace(b"10", b"0")])
def test_an_empty_body_has_no_mark(data: bytes) -> None:
    assert read(REQUEST, [data], mark=0).messages[0].marks == []


def test_a_mark_is_forgotten_with_its_message() -> None:
    r = reader()
    r.feed(GET + POST + b"0123456789")
    assert r.next() == HEAD
    r.mark(5)
    assert [r.next(), r.next(), r.next()] == [END, HEAD, BODY]
    assert r.piece == b"0123456789"


# -- what is copied, and what is held


def test_a_piece_that_is_a_whole_read_is_passed_on_as_it_is() -> None:
    chunk = b"5\r\nhello\r\n"
    for head, body, raw in [(POST, b"01234", False), (POST, b"01234", True), (CHUNKED, chunk, True)]:
        r = reader()
        r.feed(head)
        assert r.next() == HEAD
        r.body_as(raw)
        r.feed(body)
        assert r.next() == BODY
        assert r.piece is body


def test_a_head_that_is_a_whole_read_is_not_copied() -> None:
    r = reader()
    r.names = Names(frozenset())  # which has seen no heads yet
    r.feed(GET)
    assert r.next() == HEAD
    assert r.head.raw is GET


def test_a_head_that_came_before_is_the_same_head() -> None:
    r = reader()
    r.names = Names(frozenset())
    r.feed(GET + GET)
    assert [r.next(), r.next()] == [HEAD, END]
    first = r.head
    assert [r.next(), r.next()] == [HEAD, END]
    assert r.head is first


def test_a_head_that_came_before_is_held_to_the_limits_of_this_reader() -> None:
    head = b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 30 + b"\r\n"
    names = Names(frozenset())
    for most, verdict in ((100, None), (20, "too_many_fields"), (100, None)):
        r = H1Reader(REQUEST, 4096, most)
        r.names = names
        r.feed(head)
        if verdict is None:
            assert r.next() == HEAD
        else:
            with pytest.raises(ProtocolError) as caught:
                r.next()
            assert caught.value.kind == verdict


def test_an_answer_to_head_is_not_taken_for_the_same_bytes_in_answer_to_get() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    names = Names(frozenset())
    for to_head in (False, True, False):
        r = H1Reader(RESPONSE, 4096, 20)
        r.names = names
        r.expect(to_head)
        r.feed(answer)
        assert r.next() == HEAD
        assert r.next() == (END if to_head else NEED)


def test_heads_that_are_remembered_are_bounded() -> None:
    r = reader()
    r.names = Names(frozenset())
    for number in range(3 * KNOWN_HEADS):
        r.feed(b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n" % number)
        assert [r.next(), r.next()] == [HEAD, END]
        assert len(r.names.requests) <= KNOWN_HEADS
    r.feed(b"GET /%b HTTP/1.1\r\nhost: a\r\n\r\n" % (b"x" * KNOWN_SIZE))
    before = len(r.names.requests)
    assert r.next() == HEAD
    assert len(r.names.requests) == before


def test_rest_gives_a_body_that_is_there_whole_and_ends_the_message() -> None:
    post = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"
    r = reader()
    r.feed(post + b"abc" + post + b"ab")
    assert r.next() == HEAD
    assert r.rest() == b"abc"
    assert r.content == 3
    assert r.next() == HEAD
    assert r.rest() is None  # not all of it
    assert [r.next(), r.piece, r.next()] == [BODY, b"ab", NEED]
    r.feed(b"c")
    assert [r.next(), r.piece, r.next()] == [BODY, b"c", END]
    assert r.idle


def test_raw_pieces_come_a_read_at_a_time() -> None:
    r = reader()
    r.feed(CHUNKED + CHUNKS.replace(b"X: 1\r\n", b""))
    assert r.next() == HEAD
    r.body_as(raw=True)
    assert [r.next(), r.next()] == [BODY, END]
    assert r.piece == b""


def test_held_bytes_are_counted() -> None:
    r = reader()
    assert (r.buffered, r.idle) == (0, True)
    r.feed(GET[:5])
    assert r.buffered == 5
    assert r.next() == NEED
    assert (r.buffered, r.idle) == (5, False)
    r.feed(GET[5:] + GET)
    assert r.buffered == 2 * len(GET)
    assert r.next() == HEAD
    assert r.buffered == len(GET)
    r.feed(GET)
    r.feed(GET)
    assert (r.buffered, r.idle) == (3 * len(GET), False)
    for left in (3, 2, 1, 0):
        assert r.next() == END
        assert (r.buffered, r.idle) == (left * len(GET), left == 0)
        assert r.next() == (HEAD if left else NEED)


def test_held_trailers_are_counted() -> None:
    r = reader()
    r.feed(CHUNKED + b"0\r\nX: 1")
    assert [r.next(), r.next()] == [HEAD, NEED]
    assert r.buffered == 4


def test_it_is_not_idle_within_a_message() -> None:
    r = reader()
    r.feed(POST)
    assert r.next() == HEAD
    assert r.buffered == 0
    assert not r.idle


def test_nothing_is_kept_between_messages() -> None:
    """A connection that waits holds its last head, not its last read."""
    r = reader()
    body = b"x" * 60_000
    r.feed(POST.replace(b"10", b"60000") + body)
    assert [r.next(), r.next(), r.next()] == [HEAD, BODY, END]
    assert r.piece == b""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(100):
        r.feed(GET)
        assert [r.next(), r.next()] == [HEAD, END]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 10_000


def test_a_head_byte_by_byte_costs_no_square() -> None:
    """Four times the bytes may take four times as long, with room for a noisy machine; not sixteen."""

    def cost(size: int) -> float:
        data = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * size + b"\r\n\r\n"
        best = 1e9
        for _ in range(3):
            r = H1Reader(REQUEST, 1 << 20, FIELDS)
            start = time.process_time()
            for i in range(len(data)):
                r.feed(data[i : i + 1])
                r.next()
            best = min(best, time.process_time() - start)
        return best

    assert cost(80_000) < 10 * cost(20_000)


# -- messages one after the other


def test_pipelined_requests_wait_their_turn() -> None:
    r = reader()
    r.feed(GET + POST + b"0123456789" + GET)
    events = []
    while (event := r.next()) != NEED:
        events.append(event)
    assert events == [HEAD, END, HEAD, BODY, END, HEAD, END]


def test_a_response_may_have_interim_ones_before_it() -> None:
    r = reader(RESPONSE)
    r.expect(method_is_head=True)
    r.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
    statuses = []
    for _ in range(3):
        assert r.next() == HEAD
        statuses.append(r.head.status)
        assert r.next() == END
    assert statuses == [100, 103, 200]
    assert r.idle


def test_what_follows_101_is_given_up_as_it_is() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    for pieces in (
        [head + b"\x81\x00abc"],
        [head, b"\x81\x00", b"abc"],
        [head[:9], head[9:] + b"\x81", b"\x00abc"],
    ):
        r = reader(RESPONSE)
        for piece in pieces:
            r.feed(piece)
        assert r.next() == HEAD
        assert r.head.upgrade == b"x"
        assert r.next() == END
        assert r.leftover() == b"\x81\x00abc"
        assert r.leftover() == b""


def test_the_end_of_the_connection_between_messages_is_no_error() -> None:
    r = reader()
    r.feed(GET)
    r.feed_eof()
    assert [r.next(), r.next(), r.next()] == [HEAD, END, NEED]


def test_content_that_came_before_a_break_is_delivered() -> None:
    r = reader(RESPONSE)
    r.feed(OK + b"0123")
    r.feed_eof()
    assert [r.next(), r.next()] == [HEAD, BODY]
    assert r.piece == b"0123"
    with pytest.raises(ProtocolError) as broken:
        r.next()
    assert broken.value.kind == "truncated"


def test_what_is_fed_while_more_is_held_waits_its_turn() -> None:
    r = reader()
    r.feed(POST + b"01")
    r.feed(b"23")
    assert [r.next(), r.next()] == [HEAD, BODY]
    r.feed(b"45")  # the first read is done with, the second is not
    r.feed(b"")
    r.feed(b"6789")
    content = r.piece
    while r.next() == BODY:
        content += r.piece
    assert content == b"0123456789"


def test_a_late_owner_pays_for_no_square() -> None:
    """Back-pressure asks how much is held after each read: that must not count them all again."""
    r = reader()
    r.feed(POST.replace(b"10", b"200000"))
    assert r.next() == HEAD
    start = time.process_time()
    for i in range(100_000):
        r.feed(b"x")
        assert r.buffered == i + 1
    while r.next() == BODY:
        pass
    assert r.content == 100_000
    assert time.process_time() - start < 5.0  # some 0.1 s; 100,000 squared would take minutes


def test_an_empty_line_after_each_request_is_no_flood() -> None:
    r = reader()
    for _ in range(20):
        r.feed(GET)
        assert [r.next(), r.next()] == [HEAD, END]
        r.feed(b"\r\n")
        assert r.next() == NEED
        assert r.idle


# -- names


def test_names_are_collected_and_may_change_between_messages() -> None:
    r = reader()
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nx-b: 2\r\nX-a:\t3 \r\nVia: v\r\nHOSTS: b\r\n\r\n"
    wanted = [
        (Names(frozenset()), None),
        (Names(frozenset([b"x-a"])), {b"x-a": [b"1", b"3"]}),
        (Names(frozenset([b"x-b"]), frozenset([b"via"])), {b"x-b": [b"2"], b"via": [b"v"]}),
        (Names(frozenset([b"host", b"x-none"])), {b"host": [b"a"]}),
        (Names(frozenset(b"x-%d" % i for i in range(200)) | {b"x-a"}), {b"x-a": [b"1", b"3"]}),
    ]
    for names, fields in wanted:
        r.names = names
        r.feed(head)
        assert [r.next(), r.next()] == [HEAD, END]
        assert r.head.fields == fields
        assert r.head.host == b"a"


def test_collected_framing_fields_still_frame() -> None:
    names = Names(frozenset([b"content-length", b"connection", b"upgrade", b"te", b"expect"]))
    head = POST[:-2] + b"Connection: close\r\nTE: trailers\r\nUpgrade: x\r\nExpect: 100-continue\r\n\r\n"
    [message] = read(REQUEST, [head + b"0123456789"], names=names).messages
    assert message.body == b"0123456789"
    assert message.head.expect_continue
    assert not message.head.keep_alive
    assert message.head.fields == {
        b"content-length": [b"10"],
        b"connection": [b"close"],
        b"te": [b"trailers"],
        b"upgrade": [b"x"],
        b"expect": [b"100-continue"],
    }


def test_trailers_that_the_proxy_writes_itself_are_dropped() -> None:
    names = Names(frozenset([b"x-seen"]), frozenset([b"x-request-id"]))
    body = b"0\r\nX-Seen: 1\r\nX-Request-Id: 2\r\ngrpc-status: 0\r\n\r\n"
    [message] = read(REQUEST, [CHUNKED + body], names=names).messages
    assert message.trailers == b"X-Seen: 1\r\ngrpc-status: 0\r\n"
