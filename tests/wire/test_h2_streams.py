"""The states of a stream: each frame in each state, in both roles, against the table of the RFC."""

import pytest

from proxy.wire.h2 import CLIENT, SERVER
from proxy.wire.h2_errors import CANCEL, NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED
from proxy.wire.h2_streams import STATES
from tests.conformance.peer import (
    DATA,
    GOAWAY,
    PRIORITY,
    RST_STREAM,
    WINDOW_UPDATE,
    frame,
)
from tests.wire.h2_drive import GET, OK, POST, Drive, Event, block, goaways, resets

CODE = b"\0\0\0\x08"


def stream_frames(drive: Drive, sid: int, fields: list[tuple[str, str]]) -> dict[str, bytes]:
    return {
        "DATA": frame(DATA, 0, sid, b"x"),
        "HEADERS": drive.headers(fields, sid),
        "RST_STREAM": frame(RST_STREAM, 0, sid, CODE),
        "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, sid, b"\0\0\1\0"),
        "PRIORITY": frame(PRIORITY, 0, sid, b"\0\0\0\0\x10"),
    }


def server_in(state: str) -> Drive:
    """Make a server whose stream 1 is in a state."""
    drive = Drive()
    if state == "idle":
        return drive
    stream = drive.request(1, end=state in ("ended", "closed"))
    if state == "closed":
        drive.connection.send_headers(stream, block(OK), end=True)
        assert stream.closed
    elif state == "reset":
        drive.connection.reset(stream, CANCEL)
    elif state == "reset by the peer":
        assert drive.feed(frame(RST_STREAM, 0, 1, CODE)) == [("reset", 1, "", CANCEL)]
    else:
        assert STATES[stream.state] == state
    drive.written()
    return drive


def client_in(state: str) -> Drive:
    """Make a client whose stream 1 is in a state."""
    drive = Drive(CLIENT)
    if state == "idle":
        return drive
    stream = drive.ask(GET if state == "closed" else POST, end=state == "closed")
    if state in ("body", "ended", "closed"):
        drive.feed(drive.headers(OK, end=state != "body"))
    elif state == "reset":
        drive.connection.reset(stream, CANCEL)
    elif state == "reset by the peer":
        drive.feed(frame(RST_STREAM, 0, 1, CODE))
    if state in ("head", "body", "ended"):
        assert STATES[stream.state] == state
    drive.written()
    return drive


IDLE: Event = ("error", "idle_stream", PROTOCOL_ERROR)
CLOSED: Event = ("error", "closed_stream", STREAM_CLOSED)
ENDED: Event = ("reset", 1, "ended_stream", STREAM_CLOSED)
RESET: Event = ("reset", 1, "", CANCEL)
DATA_CAME: Event = ("data", 1, b"x", 1, False)

# What each frame gives in each state; nothing where it is not there.
SERVER_TABLE: dict[str, dict[str, Event]] = {
    "idle": {
        "DATA": IDLE,
        "HEADERS": ("head", 1),
        "RST_STREAM": IDLE,
        "WINDOW_UPDATE": IDLE,
    },
    "body": {"DATA": DATA_CAME, "HEADERS": ("trailers", 1), "RST_STREAM": RESET},
    "ended": {"DATA": ENDED, "HEADERS": ENDED, "RST_STREAM": RESET},
    "closed": {"DATA": CLOSED, "HEADERS": CLOSED},
    "reset": {},
    "reset by the peer": {"DATA": CLOSED, "HEADERS": CLOSED},
}
EARLY: Event = ("reset", 1, "body_before_head", PROTOCOL_ERROR)
NOT_OPENED: Event = ("error", "bad_stream_id", PROTOCOL_ERROR)
CLIENT_TABLE: dict[str, dict[str, Event]] = {
    "idle": {"DATA": IDLE, "HEADERS": NOT_OPENED, "RST_STREAM": IDLE, "WINDOW_UPDATE": IDLE},
    "head": {"DATA": EARLY, "HEADERS": ("head", 1), "RST_STREAM": RESET},
    "body": {"DATA": DATA_CAME, "HEADERS": ("trailers", 1), "RST_STREAM": RESET},
    "ended": {"DATA": ENDED, "HEADERS": ENDED, "RST_STREAM": RESET},
    "closed": {"DATA": CLOSED, "HEADERS": CLOSED},
    "reset": {},
    "reset by the peer": {"DATA": CLOSED, "HEADERS": CLOSED},
}
FRAMES = ("DATA", "HEADERS", "RST_STREAM", "WINDOW_UPDATE", "PRIORITY")


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_each_frame_in_each_state(role: int, name: str) -> None:
    for state, row in (SERVER_TABLE if role == SERVER else CLIENT_TABLE).items():
        drive = server_in(state) if role == SERVER else client_in(state)
        trailers = state == "body"
        fields = [("x", "y")] if trailers else (GET if role == SERVER else OK)
        events = drive.feed(stream_frames(drive, 1, fields)[name])
        wanted = row.get(name)
        got = [event[: len(wanted)] for event in events] if wanted is not None else events
        assert got == ([] if wanted is None else [wanted]), state
        assert (drive.error is None) == (wanted is None or wanted[0] != "error"), state
        if wanted in (ENDED, EARLY):
            assert resets(drive.written()) == [(1, wanted[3])]


def test_even_and_lower_ids() -> None:
    drive = Drive()
    assert drive.feed(drive.headers(GET, 2)) == [NOT_OPENED]
    drive = Drive()
    drive.request(5)
    assert drive.feed(drive.headers(GET, 3)) == [NOT_OPENED]
    drive = Drive()
    drive.request(7)
    drive.request(9)
    assert drive.feed(drive.headers(GET, 1)) == [NOT_OPENED]
    drive = Drive(CLIENT)
    assert drive.feed(drive.headers(OK, 2)) == [NOT_OPENED]


def test_a_stream_that_we_reset_is_tolerated_for_a_while() -> None:
    drive = server_in("reset")
    late = frame(DATA, 0, 1, b"x") + drive.headers([("x", "y")], 1)
    assert drive.feed(late) == []
    drive.now += 31.0
    assert drive.feed(frame(DATA, 0, 1, b"x")) == [CLOSED]


def test_the_streams_that_are_tolerated_are_bounded() -> None:
    drive = Drive()
    for place in range(1200):
        stream = drive.request(2 * place + 1, end=False)
        stream.faulted = True
        drive.connection.reset(stream, CANCEL)
    assert len(drive.connection._past._resets) == 1000
    assert drive.feed(frame(DATA, 0, 2399, b"x")) == []
    assert drive.feed(frame(DATA, 0, 1, b"x")) == [CLOSED]


def test_late_content_is_credited_to_the_connection_all_the_same() -> None:
    drive = server_in("reset")
    for _ in range(300):
        assert drive.feed(frame(DATA, 0, 1, b"x" * 16000)) == []
    updates = [f for f in drive.written() if f.kind == WINDOW_UPDATE]
    assert {f.sid for f in updates} == {0}
    assert drive.connection._recv_window + drive.connection._uncredited == 1 << 24


# -- streams of our own


def test_ids_are_given_when_the_heads_go_out() -> None:
    connection = Drive(CLIENT).connection
    first, second = connection.open(0.0), connection.open(0.0)
    assert first is not None
    assert second is not None
    assert (first.sid, second.sid, connection.open_streams) == (0, 0, 2)
    connection.send_headers(second, block(GET), end=True)
    connection.send_headers(first, block(GET), end=True)
    assert (first.sid, second.sid, connection.open_streams) == (3, 1, 2)


def test_a_stream_that_was_never_begun_is_given_back() -> None:
    connection = Drive(CLIENT).connection
    stream = connection.open(0.0)
    assert stream is not None
    connection.reset(stream, CANCEL)
    connection.reset(stream, CANCEL)
    assert connection.open_streams == 0
    assert not connection.wants_write
    connection.send_headers(stream, block(GET))
    connection.send_data(stream, b"x", True)
    assert not connection.wants_write


def test_no_more_streams_than_the_peer_allows() -> None:
    drive = Drive(CLIENT)
    connection = drive.connection
    assert drive.feed(frame(4, 0, 0, b"\0\3\0\0\0\2")) == [("streams",)]
    first, second = drive.ask(), drive.ask()
    assert connection.open(0.0) is None
    drive.feed(drive.headers(OK, first.sid))
    assert first.closed
    assert connection.open(0.0) is not None
    assert connection.open(0.0) is None
    assert not second.closed
    assert drive.feed(frame(4, 0, 0, b"\0\3\0\0\0\x09")) == [("streams",)]
    assert connection.open(0.0) is not None


def test_a_goaway_loses_the_streams_beyond_it() -> None:
    drive = Drive(CLIENT)
    first, second, third = drive.ask(), drive.ask(), drive.ask()
    events = drive.feed(frame(GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0bye"))
    assert events[0] == ("goaway",)
    assert sorted(events[1:]) == [("reset", sid, "goaway", REFUSED_STREAM) for sid in (3, 5)]
    connection = drive.connection
    assert (connection.last, connection.goaway_received) == (1, True)
    assert connection.open(0.0) is None
    assert (first.closed, second.closed, third.closed) == (False, True, True)
    assert drive.feed(drive.headers(OK, 1))[0][0] == "head"


def test_the_debug_data_of_a_goaway_is_told() -> None:
    drive = Drive(CLIENT)
    assert drive.feed(frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\x0bcalm")) == [("goaway",)]
    assert (drive.connection.code, drive.connection.piece) == (11, b"calm")


def test_a_connection_that_ends_loses_all_streams() -> None:
    drive = Drive(CLIENT)
    drive.ask()
    drive.ask()
    drive.connection.feed_eof()
    assert sorted(drive.events()) == [("reset", sid, "connection_ended", CANCEL) for sid in (1, 3)]
    assert drive.events() == []


def test_requests_after_a_goaway_are_ignored() -> None:
    drive = Drive()
    drive.request(1)
    drive.connection.shutdown_notice()
    drive.request(3)
    drive.connection.goaway()
    assert goaways(drive.written()) == [NO_ERROR, NO_ERROR]
    events = drive.feed(drive.headers(POST, 5, end=False) + frame(DATA, 0, 5, b"x") + drive.headers(GET, 7))
    assert events == []
    assert sorted(drive.connection.streams) == [1, 3]
    drive.connection.goaway(1, 2, b"why")
    (last,) = drive.written()
    assert last.payload == b"\0\0\0\1\0\0\0\2why"


def test_more_streams_than_allowed_are_refused() -> None:
    drive = Drive()
    for place in range(100):
        drive.request(2 * place + 1)
    assert drive.feed(drive.headers(GET, 201)) == [("refused", "too_many_streams", REFUSED_STREAM)]
    assert resets(drive.written()) == [(201, REFUSED_STREAM)]
    stream = drive.connection.streams[1]
    drive.connection.send_headers(stream, block(OK), end=True)
    drive.request(203)
