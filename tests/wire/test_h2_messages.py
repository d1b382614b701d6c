"""Messages over HTTP/2: which heads and trailers are good, and what they do to their streams."""

import pytest

from proxy.wire.h2 import CLIENT, SERVER, H2Settings
from proxy.wire.h2_errors import PROTOCOL_ERROR, STREAM_KINDS
from tests.conformance.peer import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, frame
from tests.wire.h2_drive import GET, OK, POST, Drive, block, resets

Fields = list[tuple[str, str]]


def changed(**pseudo: str) -> Fields:
    """A request with other values of its pseudo-headers."""
    return [(name, pseudo.get(name[1:], value)) for name, value in GET]


GOOD_REQUESTS: dict[str, Fields] = {
    "the usual": GET,
    "with fields": [*GET, ("te", "trailers"), ("cookie", "a=1"), ("cookie", "b=2"), ("x", "")],
    "TE in another case": [*GET, ("te", "Trailers")],
    "a host that agrees": [*GET, ("host", "A.example")],
    "a host instead of an authority": [*GET[:3], ("host", "a.example")],
    "the asterisk": changed(method="OPTIONS", path="*"),
    "another scheme": changed(scheme="https"),
    "a query": changed(path="/a?b=c&d=%20"),
    "CONNECT": [(":method", "CONNECT"), (":authority", "a.example:443")],
    "an own method": changed(method="PROPFIND"),
    "a tab and high bytes in a value": [*GET, ("x", "a\tb\xe9")],
    "an address": changed(authority="[::1]:8080"),
    "empty content": [*GET, ("content-length", "0")],
}

BAD_REQUESTS: dict[str, tuple[Fields, str]] = {
    "no method": (GET[1:], "missing_pseudo"),
    "no scheme": ([GET[0], *GET[2:]], "missing_pseudo"),
    "no path": ([*GET[:2], GET[3]], "missing_pseudo"),
    "nothing": ([], "missing_pseudo"),
    "no authority": (GET[:3], "missing_authority"),
    "an empty path": (changed(path=""), "bad_path"),
    "a path that is none": (changed(path="a"), "bad_path"),
    "a path with a space": (changed(path="/a HTTP/1.1"), "bad_path"),
    "a path with a fragment": (changed(path="/a#b"), "bad_path"),
    "a path with high bytes": (changed(path="/\xe9"), "bad_path"),
    "the asterisk of GET": (changed(path="*"), "bad_path"),
    "an empty method": (changed(method=""), "bad_method"),
    "a method with a space": (changed(method="GET /"), "bad_method"),
    "an empty scheme": (changed(scheme=""), "bad_scheme"),
    "a scheme in upper case": (changed(scheme="HTTP"), "bad_scheme"),
    "an empty authority": (changed(authority=""), "bad_authority"),
    "user information": (changed(authority="u@a.example"), "bad_authority"),
    "an authority with a path": (changed(authority="a.example/x"), "bad_authority"),
    "another host": ([*GET, ("host", "b.example")], "host_differs"),
    "two hosts": ([*GET, ("host", "a.example"), ("host", "a.example")], "repeated_host"),
    "a bad host": ([*GET[:3], ("host", "a b")], "bad_authority"),
    "a repeated pseudo-header": ([*GET, GET[0]], "repeated_pseudo"),
    "a pseudo-header after a field": ([("x", "y"), *GET], "late_pseudo"),
    "a status": ([*GET, (":status", "200")], "wrong_pseudo"),
    "an unknown pseudo-header": ([*GET, (":x", "y")], "unknown_pseudo"),
    "a protocol without CONNECT": ([*GET, (":protocol", "websocket")], "wrong_pseudo"),
    "CONNECT with a path": (changed(method="CONNECT"), "wrong_pseudo"),
    "CONNECT without an authority": ([(":method", "CONNECT")], "missing_authority"),
    "extended CONNECT that was not offered": (
        [*changed(method="CONNECT"), (":protocol", "websocket")],
        "wrong_pseudo",
    ),
    "upper case": ([*GET, ("X", "y")], "bad_field_name"),
    "an empty name": ([*GET, ("", "y")], "bad_field_name"),
    "a name with a space": ([*GET, ("x ", "y")], "bad_field_name"),
    "a name with a colon": ([*GET, ("x:y", "z")], "bad_field_name"),
    "a name with a high byte": ([*GET, ("x\xe9", "z")], "bad_field_name"),
    "a line feed in a value": ([*GET, ("x", "a\nb: c")], "bad_field_value"),
    "a carriage return in a value": ([*GET, ("x", "a\rb")], "bad_field_value"),
    "a NUL in a value": ([*GET, ("x", "a\0b")], "bad_field_value"),
    "a control character in a value": ([*GET, ("x", "a\x01b")], "bad_field_value"),
    "DEL in a value": ([*GET, ("x", "a\x7fb")], "bad_field_value"),
    "a space before a value": ([*GET, ("x", " a")], "bad_field_value"),
    "a tab after a value": ([*GET, ("x", "a\t")], "bad_field_value"),
    "connection": ([*GET, ("connection", "close")], "connection_field"),
    "keep-alive": ([*GET, ("keep-alive", "1")], "connection_field"),
    "proxy-connection": ([*GET, ("proxy-connection", "close")], "connection_field"),
    "transfer-encoding": ([*GET, ("transfer-encoding", "chunked")], "connection_field"),
    "upgrade": ([*GET, ("upgrade", "h2c")], "connection_field"),
    "TE": ([*GET, ("te", "gzip")], "bad_te"),
    "no number as content-length": ([*GET, ("content-length", "1a")], "bad_content_length"),
    "a negative content-length": ([*GET, ("content-length", "-1")], "bad_content_length"),
    "two content-lengths": (
        [*GET, ("content-length", "0"), ("content-length", "0")],
        "repeated_content_length",
    ),
    "content that is not there": ([*GET, ("content-length", "5")], "length_mismatch"),
}


@pytest.mark.parametrize("fields", GOOD_REQUESTS.values(), ids=GOOD_REQUESTS)
def test_good_requests(fields: Fields) -> None:
    drive = Drive()
    for sid in (1, 3, 5):
        events = drive.feed(drive.headers(fields, sid))
        assert [event[:2] for event in events] == [("head", sid)]
    known = {name: value for name, value in fields if name.startswith(":")}
    got = drive.connection.block
    assert got.method.decode() == known[":method"]
    assert got.path.decode() == known.get(":path", "")
    assert got.scheme.decode() == known.get(":scheme", "")
    assert got.authority.decode() in (known.get(":authority"), "a.example")


@pytest.mark.parametrize(("fields", "kind"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_requests_are_reset_and_the_connection_goes_on(fields: Fields, kind: str) -> None:
    """Also the second and third time, when the fields come from the table."""
    drive = Drive()
    for sid in (1, 3, 5):
        assert drive.feed(drive.headers(fields, sid)) == [("refused", kind, PROTOCOL_ERROR)]
        assert resets(drive.written()) == [(sid, PROTOCOL_ERROR)]
    drive.request(7)
    assert not drive.error


def test_extended_connect_where_it_is_offered() -> None:
    drive = Drive(settings=H2Settings(enable_connect_protocol=True))
    assert drive.preface[0].payload[12:].endswith(b"\0\x08\0\0\0\1")
    fields = [*changed(method="CONNECT", path="/chat"), (":protocol", "websocket")]
    (event,) = drive.feed(drive.headers(fields, end=False))
    assert event[0] == "head"
    assert drive.connection.block.protocol == b"websocket"
    assert drive.feed(frame(DATA, 0, 1, b"hello")) == [("data", 1, b"hello", 5, False)]
    for wrong in (changed(method="CONNECT"), [*GET, (":protocol", "websocket")]):
        assert drive.feed(drive.headers(wrong, 3 if wrong[0][1] == "CONNECT" else 5))[0][0] == "refused"


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_trailers_in_a_tunnel(role: int) -> None:
    """RFC 9113, section 8.5: nothing but DATA may come."""
    drive = Drive(role, H2Settings(enable_connect_protocol=True))
    if role == SERVER:
        drive.feed(drive.headers([*changed(method="CONNECT"), (":protocol", "websocket")], 1, end=False))
    else:
        drive.ask([(":method", "CONNECT"), (":authority", "a.example")])
        drive.feed(drive.headers([(":status", "200")], end=False))
    assert drive.feed(drive.headers([("a", "b")])) == [("reset", 1, "head_in_tunnel", PROTOCOL_ERROR)]


GOOD_RESPONSES: dict[str, Fields] = {
    "the usual": OK,
    "with fields": [*OK, ("server", "x"), ("set-cookie", "a"), ("set-cookie", "b")],
    "an unusual status": [(":status", "999")],
}
BAD_RESPONSES: dict[str, tuple[Fields, str]] = {
    "no status": ([("x", "y")], "missing_pseudo"),
    "a status of two digits": ([(":status", "20")], "bad_status"),
    "a status that is no number": ([(":status", "abc")], "bad_status"),
    "a status below 100": ([(":status", "099")], "bad_status"),
    "101": ([(":status", "101")], "bad_status"),
    "two": ([*OK, *OK], "repeated_pseudo"),
    "a path": ([*OK, (":path", "/")], "wrong_pseudo"),
    "connection": ([*OK, ("connection", "close")], "connection_field"),
    "content that is not there": ([*OK, ("content-length", "5")], "length_mismatch"),
}


@pytest.mark.parametrize("fields", GOOD_RESPONSES.values(), ids=GOOD_RESPONSES)
def test_good_responses(fields: Fields) -> None:
    drive = Drive(CLIENT)
    drive.ask()
    (event,) = drive.feed(drive.headers(fields))
    assert event[0] == "head"
    assert drive.connection.block.status == int(fields[0][1])
    assert drive.connection.streams == {}


@pytest.mark.parametrize(("fields", "kind"), BAD_RESPONSES.values(), ids=BAD_RESPONSES)
def test_bad_responses_are_reset(fields: Fields, kind: str) -> None:
    drive = Drive(CLIENT)
    for sid in (1, 3, 5):
        drive.ask()
        assert drive.feed(drive.headers(fields, sid)) == [("reset", sid, kind, PROTOCOL_ERROR)]
        assert resets(drive.written()) == [(sid, PROTOCOL_ERROR)]


def test_interim_heads_come_before_the_final_one() -> None:
    drive = Drive(CLIENT)
    drive.ask()
    early = [(":status", "103"), ("link", "</a>")]
    events = drive.feed(drive.headers([(":status", "100")], end=False) + drive.headers(early, end=False))
    assert [event[0] for event in events] == ["interim", "interim"]
    assert drive.connection.block.status == 103
    assert drive.feed(drive.headers(OK))[0][0] == "head"
    drive.ask()
    events = drive.feed(drive.headers([(":status", "100")], 3))
    assert events == [("reset", 3, "interim_with_end", PROTOCOL_ERROR)]


@pytest.mark.parametrize(
    ("method", "status", "length", "content", "good"),
    [
        ("GET", "200", 4, 4, True),
        ("GET", "200", 4, 3, False),
        ("GET", "200", 4, 5, False),
        ("GET", "200", 0, 1, False),
        ("HEAD", "200", 4, 0, True),
        ("HEAD", "200", 4, 4, False),
        ("GET", "304", 4, 0, True),
        ("GET", "304", 4, 4, False),
        ("GET", "204", 4, 0, True),
        ("CONNECT", "200", 4, 9, True),
        ("CONNECT", "404", 4, 9, False),
        ("CONNECT", "404", 4, 4, True),
    ],
)
def test_content_is_as_long_as_it_says(
    method: str, status: str, length: int, content: int, good: bool
) -> None:
    drive = Drive(CLIENT)
    fields = (
        [(":method", method), (":authority", "a.example")] if method == "CONNECT" else changed(method=method)
    )
    drive.ask(fields)
    head = drive.headers([(":status", status), ("content-length", str(length))], end=not content)
    events = drive.feed(head + (frame(DATA, END_STREAM, 1, b"x" * content) if content else b""))
    assert events[0][0] == "head"
    if good:
        assert events[-1][-1] is True
    else:
        assert events[-1] == ("reset", 1, "length_mismatch", PROTOCOL_ERROR)


def test_too_much_content_is_seen_before_it_ends() -> None:
    drive = Drive()
    drive.feed(drive.headers([*POST, ("content-length", "3")], end=False))
    assert drive.feed(frame(DATA, 0, 1, b"1234")) == [("reset", 1, "length_mismatch", PROTOCOL_ERROR)]


def test_trailers_end_a_message() -> None:
    drive = Drive()
    drive.request(1, end=False)
    events = drive.feed(frame(DATA, 0, 1, b"body") + drive.headers([("grpc-status", "0")]))
    assert events == [("data", 1, b"body", 4, False), ("trailers", 1, [(b"grpc-status", b"0")], True)]
    assert drive.connection.stream.recv_ended


@pytest.mark.parametrize(
    ("fields", "end", "kind"),
    [
        ([(":path", "/")], True, "pseudo_in_trailers"),
        ([("x", "y")], False, "trailers_without_end"),
        ([("X", "y")], True, "bad_field_name"),
        ([("connection", "x")], True, "connection_field"),
    ],
)
def test_bad_trailers(fields: Fields, end: bool, kind: str) -> None:
    for role in (SERVER, CLIENT):
        drive = Drive(role)
        if role == SERVER:
            drive.request(1, end=False)
        else:
            drive.ask()
            drive.feed(drive.headers(OK, end=False))
        events = drive.feed(drive.headers(fields, end=end))
        assert events == [("reset", 1, kind, PROTOCOL_ERROR)]


def test_trailers_check_the_length_too() -> None:
    drive = Drive()
    drive.feed(drive.headers([*POST, ("content-length", "3")], end=False))
    events = drive.feed(drive.headers([("x", "y")]))
    assert events == [("reset", 1, "length_mismatch", PROTOCOL_ERROR)]


def test_the_end_comes_with_the_last_frame_or_alone() -> None:
    drive = Drive()
    drive.request(1, end=False)
    assert drive.feed(frame(DATA, END_STREAM, 1, b"x")) == [("data", 1, b"x", 1, True)]
    drive.request(3, end=False)
    assert drive.feed(frame(DATA, 0, 3, b"x") + frame(DATA, END_STREAM, 3, b"")) == [
        ("data", 3, b"x", 1, False),
        ("end", 3),
    ]
    drive.request(5, end=False)
    padded = frame(DATA, END_STREAM | 8, 5, b"\x03\0\0\0")
    assert drive.feed(padded) == [("end", 5)]


def test_padding_is_counted_and_taken_off() -> None:
    drive = Drive()
    drive.request(1, end=False)
    assert drive.feed(frame(DATA, 8, 1, b"\x03abc\0\0\0")) == [("data", 1, b"abc", 7, False)]


def test_a_head_that_is_too_large_is_answered() -> None:
    drive = Drive()
    large = [*GET, *((f"x-{number}", "y" * 1000) for number in range(70))]
    coded = drive.encoder.encode(large)
    parts = [coded[at : at + 16000] for at in range(0, len(coded), 16000)]
    data = frame(HEADERS, END_STREAM, 1, parts[0])
    for part in parts[1:-1]:
        data += frame(9, 0, 1, part)
    events = drive.feed(data + frame(9, END_HEADERS, 1, parts[-1]))
    assert events == [("refused", "head_too_large", STREAM_KINDS["head_too_large"])]
    (answer,) = drive.written()
    assert (answer.kind, answer.flags, answer.sid) == (HEADERS, END_STREAM | END_HEADERS, 1)
    assert drive.decoded(answer.payload)[0] == (b":status", b"431")
    drive.request(3)


def test_a_head_that_is_too_large_with_a_body_to_come_is_answered_and_reset() -> None:
    drive = Drive(settings=H2Settings(max_header_list=1000))
    events = drive.feed(drive.headers([*POST, ("x", "y" * 1000)], end=False) + frame(DATA, 0, 1, b"late"))
    assert [event[0] for event in events] == ["refused"]
    assert [(f.kind, f.flags) for f in drive.written()] == [(HEADERS, 5), (RST_STREAM, 0)]


def test_what_a_block_gives() -> None:
    got = block([*GET, ("cookie", "a"), ("x", "1"), ("cookie", "b")])
    assert got.get(b"cookie") == b"a"
    assert got.get(b"y") is None
    assert got.all(b"cookie") == [b"a", b"b"]
    assert got.collect(frozenset({b"cookie", b"y"})) == {b"cookie": [b"a", b"b"]}
    assert got.collect(frozenset({b"y"})) is None
    assert got.without(frozenset({b"y"})) is got
    less = got.without(frozenset({b"cookie"}))
    assert less.all(b"cookie") == []
    assert (less.path, less.authority) == (b"/", b"a.example")


CRUMBS = [("cookie", f"a={number}") for number in range(50)]


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ([("x", str(number)) for number in range(9)], False),  # with the authority ten
        ([("x", str(number)) for number in range(10)], True),
        ([*CRUMBS, *[("x", str(number)) for number in range(8)]], False),
        ([*CRUMBS, *[("x", str(number)) for number in range(9)]], True),
    ],
)
def test_more_fields_than_are_allowed_are_answered(fields: list[tuple[str, str]], refused: bool) -> None:
    drive = Drive(settings=H2Settings(max_fields=10))
    for sid in (1, 3):  # the second time the block is remembered
        (event,) = drive.feed(drive.headers([*GET, *fields], sid=sid))
        if refused:
            assert event == ("refused", "too_many_fields", STREAM_KINDS["too_many_fields"])
            answer = drive.written()[0]
            assert drive.decoded(answer.payload)[0] == (b":status", b"431")
        else:
            assert event[0] == "head"


def test_more_trailers_than_are_allowed_reset_the_stream() -> None:
    drive = Drive(settings=H2Settings(max_fields=10))
    drive.request(1, end=False)
    (event,) = drive.feed(drive.headers([("x", str(number)) for number in range(11)], sid=1))
    assert event[:2] == ("reset", 1)
    assert "too_many_trailers" in event


def test_a_larger_limit_lets_larger_blocks_through() -> None:
    """CONTINUATION is bounded by what was offered, too."""
    drive = Drive(settings=H2Settings(max_header_list=1 << 20))
    coded = drive.encoder.encode(
        [*GET, *((f"x-{number}", "y" * 9000) for number in range(100))], huffman=False
    )
    parts = [coded[at : at + 16384] for at in range(0, len(coded), 16384)]
    assert len(parts) > 50
    data = frame(HEADERS, END_STREAM, 1, parts[0])
    for part in parts[1:-1]:
        data += frame(9, 0, 1, part)
    (event,) = drive.feed(data + frame(9, END_HEADERS, 1, parts[-1]))
    assert event[0] == "head"
