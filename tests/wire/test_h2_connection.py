"""The connection itself: preface, settings, small frames, wrong frames, hooks for faults."""

import os
import subprocess
import sys

import pytest

from proxy.wire.h2 import CLIENT, SERVER, H2Connection, H2Settings
from proxy.wire.h2_errors import (
    CODES,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    H2_KINDS,
    PROTOCOL_ERROR,
    STREAM_KINDS,
    H2Error,
)
from proxy.wire.h2_frames import Output
from tests.conformance.peer import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
    setting,
)
from tests.house import ROOT
from tests.wire.h2_drive import GET, OK, Drive, Event, block, goaways, parse, resets

SETTINGS_FRAME = frame(SETTINGS, 0, 0, b"")


def test_a_server_begins_with_its_settings() -> None:
    settings, update = Drive().preface
    assert settings.payload == setting(4, 131072) + setting(6, 65536) + setting(3, 100)
    assert (update.sid, update.payload) == (0, (2**24 - 65535).to_bytes(4, "big"))


def test_a_client_begins_with_the_preface() -> None:
    connection = H2Connection(CLIENT, H2Settings(initial_window=100, connection_window=65535))
    connection.start()
    whole = connection.take()
    assert isinstance(whole, bytes)
    assert whole.startswith(PREFACE)
    (settings,) = parse(whole)
    assert settings.payload == setting(4, 100) + setting(6, 65536) + setting(2, 0)


@pytest.mark.parametrize("step", [0, 1, 5])
def test_another_preface(step: int) -> None:
    for wrong in (b"GET / HTTP/1.1\r\n", PREFACE[:-1] + b"x", b"\x16\x03\x01\x02\x00\x01"):
        drive = Drive(begin=False)
        assert drive.feed(wrong, step)[0] == ("error", "bad_preface", PROTOCOL_ERROR)
        assert goaways(drive.written()) == [PROTOCOL_ERROR]


@pytest.mark.parametrize("role", [SERVER, CLIENT])
@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK, 0, b"")])
def test_settings_come_first(role: int, first: bytes) -> None:
    drive = Drive(role, begin=False)
    events = drive.feed((PREFACE if role == SERVER else b"") + first)
    assert events == [("error", "missing_settings", PROTOCOL_ERROR)]


def test_an_error_is_told_again_and_the_goaway_once() -> None:
    drive = Drive()
    drive.request(5)
    drive.feed(frame(PING, 0, 0, b"short"))
    assert drive.error is not None
    assert (drive.error.kind, drive.error.code) == ("bad_frame_size", FRAME_SIZE_ERROR)
    (goaway,) = drive.written()
    assert goaway.payload == b"\0\0\0\5\0\0\0\6" + drive.error.text.encode()
    with pytest.raises(H2Error) as again:
        drive.connection.next()
    assert again.value.text == drive.error.text
    assert drive.written() == []
    assert drive.connection.open(0.0) is None


REQUEST = Drive(begin=False).headers(GET)

WRONG_FRAMES: dict[str, tuple[bytes, str]] = {
    "too large": (frame(DATA, 0, 1, bytes(16385)), "frame_too_large"),
    "too large, of which only the head came": (b"\x00\x40\x01\x00\x00\0\0\0\1", "frame_too_large"),
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), "bad_stream_id"),
    "HEADERS on stream 0": (frame(HEADERS, 5, 0, b"\x82"), "bad_stream_id"),
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), "bad_stream_id"),
    "RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, bytes(4)), "idle_stream"),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1, b""), "bad_stream_id"),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), "bad_stream_id"),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), "bad_stream_id"),
    "DATA without the length of its padding": (REQUEST + frame(DATA, PADDED, 1, b""), "bad_frame_size"),
    "DATA with too much padding": (REQUEST + frame(DATA, PADDED, 1, b"\x02a"), "bad_padding"),
    "HEADERS without the length of its padding": (frame(HEADERS, PADDED | 4, 1, b""), "bad_frame_size"),
    "HEADERS with too much padding": (frame(HEADERS, PADDED | 4, 1, b"\x01"), "bad_padding"),
    "HEADERS with too short a priority": (frame(HEADERS, WITH_PRIORITY | 4, 1, bytes(4)), "bad_frame_size"),
    "PRIORITY of 4 bytes on an idle stream": (frame(PRIORITY, 0, 1, bytes(4)), "bad_frame_size"),
    "PRIORITY of an idle stream on itself": (frame(PRIORITY, 0, 3, b"\0\0\0\3\0"), "idle_stream"),
    "RST_STREAM of 5 bytes": (REQUEST + frame(RST_STREAM, 0, 1, bytes(5)), "bad_frame_size"),
    "SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, bytes(5)), "bad_frame_size"),
    "an acknowledgement with content": (frame(SETTINGS, ACK, 0, bytes(6)), "bad_frame_size"),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, 4, 1, b"\0\0\0\2\x82"), "push"),
    "PING of 7 bytes": (frame(PING, 0, 0, bytes(7)), "bad_frame_size"),
    "GOAWAY of 7 bytes": (frame(GOAWAY, 0, 0, bytes(7)), "bad_frame_size"),
    "WINDOW_UPDATE of 3 bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), "bad_frame_size"),
    "CONTINUATION of nothing": (frame(CONTINUATION, 4, 1, b""), "bad_continuation"),
    "CONTINUATION on another stream": (
        frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 4, 3, b""),
        "bad_continuation",
    ),
    "PING within a block": (frame(HEADERS, 0, 1, b"\x82") + frame(PING, 0, 0, bytes(8)), "bad_continuation"),
    "ENABLE_PUSH of 2": (frame(SETTINGS, 0, 0, setting(2, 2)), "bad_setting"),
    "MAX_FRAME_SIZE below 16384": (frame(SETTINGS, 0, 0, setting(5, 16383)), "bad_setting"),
    "MAX_FRAME_SIZE beyond 16777215": (frame(SETTINGS, 0, 0, setting(5, 1 << 24)), "bad_setting"),
    "ENABLE_CONNECT_PROTOCOL of 2": (frame(SETTINGS, 0, 0, setting(8, 2)), "bad_setting"),
    "ENABLE_CONNECT_PROTOCOL taken back": (
        frame(SETTINGS, 0, 0, setting(8, 1) + setting(8, 0)),
        "bad_setting",
    ),
    "INITIAL_WINDOW_SIZE beyond 2^31-1": (frame(SETTINGS, 0, 0, setting(4, 1 << 31)), "bad_window_setting"),
    "a block that cannot be decoded": (frame(HEADERS, 5, 1, b"\x80"), "bad_compression"),
}


@pytest.mark.parametrize(("data", "kind"), WRONG_FRAMES.values(), ids=WRONG_FRAMES)
@pytest.mark.parametrize("step", [0, 1])
def test_wrong_frames_end_the_connection(data: bytes, kind: str, step: int) -> None:
    drive = Drive()
    assert drive.feed(data, step)[-1] == ("error", kind, H2_KINDS[kind])
    assert goaways(drive.written()) == [H2_KINDS[kind]]


def test_a_server_must_not_enable_pushes() -> None:
    assert Drive().feed(frame(SETTINGS, 0, 0, setting(2, 1))) == []
    drive = Drive(CLIENT)
    assert drive.feed(frame(SETTINGS, 0, 0, setting(2, 1))) == [("error", "bad_setting", PROTOCOL_ERROR)]


def test_what_is_unknown_is_ignored() -> None:
    drive = Drive()
    data = frame(0x16, 0xFF, 0, b"x" * 50) + frame(0xFF, 0, 77, b"") + frame(PING, 0xFE, 1 << 31, bytes(8))
    assert drive.feed(data + frame(SETTINGS, 0xFE, 0, setting(0x99, 5))) == []
    assert [(f.kind, f.flags) for f in drive.written()] == [(PING, ACK), (SETTINGS, ACK)]


def test_priorities_are_ignored_in_all_states() -> None:
    drive = Drive()
    for sid in (1, 7):
        assert drive.feed(frame(PRIORITY, 0, sid, b"\x80\0\0\5\xff")) == []
    coded = drive.encoder.encode(GET)
    events = drive.feed(frame(HEADERS, WITH_PRIORITY | 5, 1, b"\x80\0\0\0\xff" + coded))
    assert events[0][:2] == ("head", 1)
    assert drive.feed(frame(PRIORITY, 0, 1, b"\0\0\0\0\1")) == []


def test_a_stream_must_not_depend_on_itself() -> None:
    drive = Drive()
    coded = drive.encoder.encode(GET)
    events = drive.feed(frame(HEADERS, WITH_PRIORITY | 5, 1, b"\0\0\0\1\xff" + coded))
    assert events == [("refused", "self_dependency", PROTOCOL_ERROR)]
    drive.request(3)
    assert drive.feed(frame(PRIORITY, 0, 3, b"\0\0\0\3\xff"))[0][:3] == ("reset", 3, "self_dependency")
    drive.request(5)
    assert drive.feed(frame(PRIORITY, 0, 5, b"\0"))[0] == ("reset", 5, "bad_priority_size", FRAME_SIZE_ERROR)
    assert drive.feed(frame(PRIORITY, 0, 5, b"\0")) == []
    assert resets(drive.written()) == [(1, 1), (3, 1), (5, 6)]
    drive = Drive()
    drive.request(1, end=False)
    trailers = drive.encoder.encode([("x", "y")])
    events = drive.feed(frame(HEADERS, WITH_PRIORITY | 5, 1, b"\0\0\0\1\xff" + trailers))
    assert events == [("reset", 1, "self_dependency", PROTOCOL_ERROR)]


def test_a_padded_head_with_priority_in_three_frames() -> None:
    drive = Drive()
    coded = drive.encoder.encode(GET)
    head = b"\x04" + b"\0\0\0\0\x10" + coded[:3] + bytes(4)
    data = frame(HEADERS, PADDED | WITH_PRIORITY | 1, 1, head)
    data += frame(CONTINUATION, 0, 1, coded[3:4]) + frame(CONTINUATION, END_HEADERS, 1, coded[4:])
    assert drive.feed(data)[0][:2] == ("head", 1)
    assert drive.connection.end


# -- small frames


def test_pings_are_answered_and_told() -> None:
    drive = Drive()
    drive.feed(frame(PING, 0, 0, b"12345678"))
    (answer,) = drive.written()
    assert (answer.kind, answer.flags, answer.payload) == (PING, ACK, b"12345678")
    drive.connection.ping(b"abcdefgh")
    (asked,) = drive.written()
    assert (asked.flags, asked.payload) == (0, b"abcdefgh")
    assert drive.feed(frame(PING, ACK, 0, b"abcdefgh")) == [("pong",)]
    assert drive.connection.piece == b"abcdefgh"
    drive.connection.ignore_ping = True
    drive.feed(frame(PING, 0, 0, b"12345678"))
    assert drive.written() == []


def test_settings_of_the_peer_are_kept() -> None:
    drive = Drive(CLIENT)
    wanted = {1: 100, 3: 7, 4: 5000, 5: 20000, 6: 9000, 8: 1}
    payload = b"".join(setting(key, value) for key, value in wanted.items())
    assert drive.feed(frame(SETTINGS, 0, 0, payload)) == [("streams",)]
    connection = drive.connection
    assert connection.peer_max_streams == 7
    assert connection.peer_initial_window == 5000
    assert connection.peer_max_frame == 20000
    assert connection.peer_max_header_list == 9000
    assert connection.peer_connect_protocol
    stream = drive.ask()
    assert stream.send_window == 5000


def test_settings_are_changed_later() -> None:
    drive = Drive()
    drive.connection.settings_change()
    assert drive.written() == []
    drive.connection.settings_change(max_streams=3)
    (sent,) = drive.written()
    assert (sent.kind, sent.payload) == (SETTINGS, setting(3, 3))


def test_what_is_held_is_known() -> None:
    drive = Drive()
    drive.feed(frame(HEADERS, 1, 1, b"\x82") + b"\0\0\x05")
    assert drive.connection.buffered == 4
    assert drive.connection.wants_write is False


def test_each_kind_has_a_code() -> None:
    for table in (H2_KINDS, STREAM_KINDS):
        assert set(table.values()) <= set(CODES.values())
    assert sorted(CODES.values()) == list(range(14))
    assert FLOW_CONTROL_ERROR == 3


def test_output_is_one_piece_or_a_list() -> None:
    out = Output()
    assert out.take() == b""
    out.frame(3, 1, 4, 5)
    out.write(b"abc")
    out.word(0xFFFFFFFF)
    assert not out.empty
    assert out.take() == b"\0\0\3\1\4\0\0\0\5abc\xff\xff\xff\xff"
    large = bytes(70000)
    out.write(b"first")
    out.write(large)
    out.write(b"last")
    parts = out.take()
    assert isinstance(parts, list)
    assert b"".join(parts) == b"first" + large + b"last"
    assert any(part is large for part in parts)
    out.write(bytes(5000))
    out.write(b"x")
    assert out.take() == bytes(5000) + b"x"
    assert Output().empty


def test_every_split_gives_the_same_events() -> None:
    """A conversation with all kinds of frames, in every step from one byte to all."""
    peer = Drive(begin=False)
    data = PREFACE + frame(SETTINGS, 0, 0, setting(4, 1000)) + peer.headers(GET)
    data += peer.headers([*GET, ("content-length", "7")], 3, end=False) + frame(
        DATA, PADDED, 3, b"\2abcd\0\0"
    )
    coded = peer.encoder.encode([("x", "y")])
    data += frame(DATA, 0, 3, b"efg") + frame(HEADERS, 1, 3, coded[:2]) + frame(CONTINUATION, 4, 3, coded[2:])
    data += (
        frame(PING, 0, 0, bytes(8)) + frame(WINDOW_UPDATE, 0, 1, b"\0\0\1\0") + peer.headers([("X", "y")], 5)
    )
    data += frame(RST_STREAM, 0, 1, b"\0\0\0\x08") + frame(0x33, 0, 0, b"?") + frame(PING, 0, 1, b"")
    whole: tuple[object, object] | None = None
    for step in range(len(data) + 1):
        drive = Drive(begin=False)
        drive.connection.start()
        events = drive.feed(data, step)
        events = events[: next(i for i, e in enumerate(events) if e[0] == "error") + 1]
        result = (events, [repr(f) for f in drive.written()])
        whole = whole or result
        assert result == whole, step
    assert whole is not None
    assert [event[0] for event in events] == [
        "head",
        "head",
        "data",
        "data",
        "trailers",
        "refused",
        "reset",
        "error",
    ]


def joined(connection: H2Connection) -> bytes:
    taken = connection.take()
    return taken if isinstance(taken, bytes) else b"".join(taken)


def test_a_whole_exchange_between_both_roles() -> None:
    client, server = Drive(CLIENT, begin=False), Drive(begin=False)
    client.connection.start()
    server.connection.start()
    body = bytes(range(256)) * 4000
    asked = client.ask(end=False)
    client.connection.send_data(asked, body, True)
    received = b""
    events: list[Event] = []
    while not events or events[-1] != ("data", 1, b"done", 4, True):
        for event in server.feed(joined(client.connection)):
            if event[0] != "data":
                continue
            assert isinstance(event[2], bytes)
            received += event[2]
            stream = server.connection.stream
            server.connection.credit(stream, len(event[2]))
            if event[4]:
                server.connection.send_headers(stream, block(OK))
                server.connection.send_data(stream, b"done", True)
        coming = joined(server.connection)
        assert coming, "neither side goes on"
        events = client.feed(coming)
    assert received == body
    assert client.connection.streams == server.connection.streams == {}


WITHOUT_LIBRT = """
import sys
sys.modules["librt"] = sys.modules["librt.strings"] = None
from tests.wire.test_h2_connection import test_a_whole_exchange_between_both_roles as exchange
from proxy.wire import h2_frames
assert not h2_frames.NATIVE
exchange()
"""


def test_the_interpreted_build_needs_no_librt() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
