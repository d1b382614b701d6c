"""Flow control over HTTP/2, and what waits for it."""

import struct

import pytest

from proxy.wire.h2 import CLIENT, SERVER, H2Settings
from proxy.wire.h2_errors import CANCEL, FLOW_CONTROL_ERROR, PROTOCOL_ERROR
from proxy.wire.h2_streams import Stream
from tests.conformance.peer import (
    CONTINUATION,
    DATA,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW,
    MAX_FRAME,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    frame,
    setting,
)
from tests.wire.h2_drive import OK, Drive, block, resets


def update(sid: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, sid, struct.pack(">L", size))


def sizes(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(f.sid, len(f.payload)) for f in frames if f.kind == DATA]


def updates(frames: list[Frame]) -> list[tuple[int, int]]:
    return [(f.sid, int.from_bytes(f.payload, "big")) for f in frames if f.kind == WINDOW_UPDATE]


def answering(count: int = 1, window: int = 65535) -> tuple[Drive, list[Stream]]:
    """A server with requests whose heads are answered."""
    drive = Drive()
    drive.feed(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, window)))
    streams = [drive.request(2 * place + 1) for place in range(count)]
    for stream in streams:
        drive.connection.send_headers(stream, block(OK))
    drive.written()
    return drive, streams


# -- sending


def test_content_within_the_windows_goes_out_at_once() -> None:
    drive, (stream,) = answering()
    assert drive.connection.send_data(stream, b"x" * 40000) == 0
    assert sizes(drive.written()) == [(1, 16384), (1, 16384), (1, 7232)]
    assert drive.connection.send_data(stream, b"y" * 25535, True) == 0
    frames = drive.written()
    assert frames[-1].flags == END_STREAM
    assert drive.events() == []
    assert stream.closed


def test_content_beyond_the_window_waits_and_is_told() -> None:
    drive, (stream,) = answering(window=10)
    connection = drive.connection
    assert connection.send_data(stream, b"0123456789abcdef") == 6
    assert connection.send_data(stream, b"ghij", True) == 10
    assert connection.held == 10
    assert sizes(drive.written()) == [(1, 10)]
    assert drive.events() == [("writable", 1, 10)]
    assert drive.feed(update(1, 4)) == [("writable", 1, 4)]
    assert drive.feed(update(1, 100)) == [("writable", 1, 6)]
    frames = drive.written()
    assert b"".join(f.payload for f in frames) == b"abcdefghij"
    assert frames[-1].flags == END_STREAM
    assert stream.closed
    assert (connection.held, stream.queued) == (0, 0)


def test_what_went_out_in_several_frames_at_once_is_not_told_again() -> None:
    drive, (stream,) = answering()
    assert drive.connection.send_data(stream, b"x" * 60000) == 0
    assert drive.events() == []
    assert drive.connection.send_data(stream, b"x" * 6000) == 465
    assert drive.events() == [("writable", 1, 5535)]


def test_trailers_wait_for_the_content() -> None:
    drive, (stream,) = answering(window=3)
    drive.connection.send_data(stream, b"12345")
    drive.connection.send_trailers(stream, block([("grpc-status", "0")]))
    assert sizes(drive.written()) == [(1, 3)]
    drive.feed(update(1, 9))
    data, trailers = drive.written()
    assert (data.flags, trailers.kind, trailers.flags) == (0, HEADERS, 5)
    assert stream.closed


def test_trailers_without_content_to_wait_for() -> None:
    drive, (stream,) = answering()
    drive.connection.send_trailers(stream, block([("x", "y")]), b"\x00\x01a\x01b")
    (frame_out,) = drive.written()
    assert drive.decoded(frame_out.payload)[-1] == (b"a", b"b")
    assert stream.closed


def test_an_empty_end_needs_no_window() -> None:
    drive, (stream,) = answering(window=0)
    assert drive.connection.send_data(stream, b"", True) == 0
    assert [(f.kind, f.flags) for f in drive.written()] == [(DATA, END_STREAM)]
    drive, (stream,) = answering(window=5)
    drive.connection.send_data(stream, b"12345")
    drive.feed(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, 0)))  # the window is -5 now
    drive.written()
    assert drive.connection.send_data(stream, b"", True) == 0
    assert [(f.kind, f.flags) for f in drive.written()] == [(DATA, END_STREAM)]


def test_streams_take_turns_for_the_window_of_the_connection() -> None:
    drive, streams = answering(3, 1 << 20)
    for stream in streams:
        drive.connection.send_data(stream, b"x" * 100000)
    first = sizes(drive.written())
    assert sum(size for _, size in first) == 65535
    drive.feed(update(0, 16384 * 3))
    assert sizes(drive.written()) == [(1, 16384), (3, 16384), (5, 16384)]
    drive.feed(update(0, 16384 * 2))
    assert sizes(drive.written()) == [(1, 16384), (3, 16384)]
    drive.feed(update(0, 16384 * 2))
    assert sizes(drive.written()) == [(5, 16384), (1, 1697), (3, 14687)]


def test_a_stream_that_is_stuck_holds_back_no_other() -> None:
    drive, (stuck, free) = answering(2, 100)
    assert drive.connection.send_data(stuck, b"x" * 1000) == 900
    assert drive.connection.send_data(free, b"y" * 100) == 0
    assert sizes(drive.written()) == [(1, 100), (3, 100)]


def test_settings_change_the_windows_of_open_streams() -> None:
    drive, (stream,) = answering(window=10)
    drive.connection.send_data(stream, b"x" * 30)
    drive.feed(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, 25)))
    frames = drive.written()
    assert [(f.kind, len(f.payload)) for f in frames] == [(DATA, 10), (SETTINGS, 0), (DATA, 15)]
    drive.feed(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, 5)))
    assert stream.send_window == -20
    drive.feed(update(1, 22))
    assert sizes(drive.written()) == [(1, 2)]


def test_larger_frames_where_the_peer_takes_them() -> None:
    drive, (stream,) = answering(window=1 << 20)
    drive.feed(frame(SETTINGS, 0, 0, setting(MAX_FRAME, 50000)))
    drive.written()
    assert drive.connection.send_data(stream, b"x" * 60000) == 0
    assert sizes(drive.written()) == [(1, 50000), (1, 10000)]


def test_a_paused_transport_lets_content_wait() -> None:
    drive, (stream,) = answering()
    connection = drive.connection
    connection.pause()
    assert connection.send_data(stream, b"12345") == 5
    assert connection.send_data(stream, b"6", True) == 6
    assert not connection.wants_write
    connection.resume()
    assert drive.events() == [("writable", 1, 6)]
    assert b"".join(f.payload for f in drive.written()) == b"123456"


def test_a_reset_drops_what_waits() -> None:
    for ours in (True, False):
        drive, (stream,) = answering(window=1)
        drive.connection.send_data(stream, b"12345")
        assert drive.connection.held == 4
        if ours:
            drive.connection.reset(stream, CANCEL)
            assert resets(drive.written()) == [(1, CANCEL)]
            assert drive.events() == []
        else:
            assert drive.events() == [("writable", 1, 1)]
            assert drive.feed(frame(RST_STREAM, 0, 1, b"\0\0\0\x08")) == [("reset", 1, "", CANCEL)]
        assert drive.connection.held == 0
        assert drive.connection.send_data(stream, b"more") == 0
        assert drive.feed(update(0, 100)) == []


def test_nothing_is_sent_after_the_end() -> None:
    drive, (stream,) = answering()
    drive.connection.send_data(stream, b"x", True)
    drive.written()
    drive.connection.send_data(stream, b"y")
    drive.connection.send_data(stream, b"y" * 100000, True)
    drive.connection.send_trailers(stream, block([("x", "y")]))
    drive.connection.send_headers(stream, block(OK))
    drive.connection.reset(stream, CANCEL)
    assert not drive.connection.wants_write


def test_content_is_padded_on_request() -> None:
    drive, (stream,) = answering(window=100)
    drive.connection.padding = 9
    assert drive.connection.send_data(stream, b"abc") == 0
    (padded,) = drive.written()
    assert (padded.flags, padded.payload) == (8, b"\x09abc" + bytes(9))
    assert stream.send_window == 100 - 13
    assert drive.connection.send_data(stream, b"x" * 90, True) == 13
    assert [len(f.payload) for f in drive.written()] == [87]
    drive.feed(update(1, 1000))
    (rest,) = drive.written()
    assert (rest.flags, len(rest.payload)) == (9, 13 + 10)


@pytest.mark.parametrize(("padding", "overhead"), [(0, 0), (255, 256)])
def test_frames_are_as_small_as_asked(padding: int, overhead: int) -> None:
    drive, (stream,) = answering(window=2 * (5 + overhead))
    drive.connection.frame_size = 5
    drive.connection.padding = padding
    assert drive.connection.send_data(stream, b"abcde") == 0
    assert drive.connection.send_data(stream, b"fghijkl", True) == 2
    drive.feed(update(1, 1000))
    frames = drive.written()
    begin = 1 if padding else 0
    assert b"".join(f.payload[begin : len(f.payload) - padding] for f in frames) == b"abcdefghijkl"
    assert [len(f.payload) for f in frames] == [5 + overhead, 5 + overhead, 2 + overhead]
    assert [f.flags & 1 for f in frames] == [0, 0, 1]


def test_a_reader_of_small_frames_is_no_flood() -> None:
    """It gives back each of them twice, as soon as it comes: the frames are so small by our own will."""
    drive, (stream,) = answering(window=5)
    drive.connection.frame_size = 5
    drive.connection.send_data(stream, bytes(50_000), True)
    for _ in range(9_999):
        drive.feed(update(1, 5) + update(0, 5))
    assert len(b"".join(f.payload for f in drive.written())) == 50_000
    assert not drive.connection.goaway_sent


def test_a_window_without_room_for_padding_is_used_without() -> None:
    drive, (stream,) = answering(window=5)
    drive.connection.padding = 200
    assert drive.connection.send_data(stream, b"12345") == 0
    assert sizes(drive.written()) == [(1, 5)]


def test_large_pieces_are_passed_on_as_they_are() -> None:
    drive, streams = answering(20, 1 << 20)
    drive.feed(update(0, 1 << 20))
    piece = b"x" * 16000
    for stream in streams:
        drive.connection.send_data(stream, piece)
    taken = drive.connection.take()
    assert isinstance(taken, list)
    assert any(part is piece for part in taken)
    assert sum(map(len, taken)) == 20 * (16000 + 9)
    assert drive.connection.take() == b""


def test_a_long_head_goes_on_in_continuation() -> None:
    drive, (stream,) = answering(1)
    fields = [(f"x-{number}", "y" * 9000) for number in range(5)]
    drive.connection.send_trailers(stream, block(fields))
    frames = drive.written()
    assert [(f.kind, f.flags) for f in frames] == [(HEADERS, 1), (CONTINUATION, 0), (CONTINUATION, 4)]
    whole = drive.decoded(b"".join(f.payload for f in frames))
    assert whole == [(name.encode(), value.encode()) for name, value in fields]


# -- receiving


def test_the_window_of_a_stream_is_credited_in_quarters_by_its_owner() -> None:
    drive = Drive(settings=H2Settings(initial_window=262144))
    stream = drive.request(1, end=False)
    for _ in range(16):
        drive.feed(frame(DATA, 0, 1, b"x" * 16384))
    assert drive.feed(b"") == []
    assert updates(drive.written()) == []
    drive.connection.credit(stream, 65535)
    assert updates(drive.written()) == []
    drive.connection.credit(stream, 1)
    assert updates(drive.written()) == [(1, 65536)]
    assert drive.feed(frame(DATA, 0, 1, b"x" * 16384))[0][0] == "data"


def test_more_than_the_window_of_a_stream_resets_it() -> None:
    drive = Drive(settings=H2Settings(initial_window=100))
    drive.request(1, end=False)
    drive.feed(frame(DATA, 0, 1, b"x" * 100))
    events = drive.feed(frame(DATA, 0, 1, b"x"))
    assert events == [("reset", 1, "window_exceeded", FLOW_CONTROL_ERROR)]


def test_before_the_settings_are_acknowledged_the_old_window_counts() -> None:
    drive = Drive(settings=H2Settings(initial_window=100), begin=False)
    drive.connection.start()
    drive.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))
    drive.request(1, end=False)
    assert drive.feed(frame(DATA, 0, 1, b"x" * 16384))[0][0] == "data"
    assert drive.feed(frame(SETTINGS, 1, 0, b"")) == []
    assert drive.connection.streams[1].recv_window == 100 - 16384
    assert drive.feed(frame(DATA, 0, 1, b"x"))[0][:3] == ("reset", 1, "window_exceeded")


def test_the_window_of_the_connection_is_credited_on_receipt() -> None:
    drive = Drive(settings=H2Settings(connection_window=1 << 17))
    drive.request(1, end=False)
    for _ in range(4):
        drive.feed(frame(DATA, 0, 1, b"x" * 16384))
    assert updates(drive.written()) == [(0, 32768), (0, 32768)]


def test_more_than_the_window_of_the_connection_ends_it() -> None:
    drive = Drive(settings=H2Settings(connection_window=65535))
    drive.request(1, end=False)
    drive.connection.withhold(None, True)
    for _ in range(3):
        drive.feed(frame(DATA, 0, 1, b"x" * 16384))
    drive.request(3, end=False)
    events = drive.feed(frame(DATA, 0, 3, b"x" * 16384))
    assert events == [("error", "window_exceeded", FLOW_CONTROL_ERROR)]


@pytest.mark.parametrize("whole", [True, False])
def test_withheld_windows_are_given_later(whole: bool) -> None:
    drive = Drive(settings=H2Settings(initial_window=1000, connection_window=70000))
    stream = drive.request(1, end=False)
    drive.connection.withhold(None if whole else stream, True)
    drive.feed(frame(DATA, 0, 1, b"x" * 1000))
    drive.connection.credit(stream, 1000)
    assert updates(drive.written()) == []
    drive.connection.withhold(None if whole else stream, False)
    assert updates(drive.written()) == [(1, 1000)]


def test_nothing_is_credited_to_a_stream_that_ended() -> None:
    drive = Drive(settings=H2Settings(initial_window=1000))
    stream = drive.request(1, end=False)
    drive.feed(frame(DATA, END_STREAM, 1, b"x" * 1000))
    drive.connection.credit(stream, 1000)
    assert updates(drive.written()) == []


def test_a_smaller_window_binds_from_its_acknowledgement_on() -> None:
    drive = Drive()
    stream = drive.request(1, end=False)
    drive.connection.settings_change(initial_window=10, max_streams=1)
    (sent,) = drive.written()
    assert sent.payload == setting(4, 10) + setting(3, 1)
    assert drive.feed(frame(DATA, 0, 1, b"x" * 100))[0][0] == "data"
    drive.request(3)
    drive.feed(frame(SETTINGS, 1, 0, b""))
    assert stream.recv_window == 10 - 100
    assert drive.feed(drive.headers([(":method", "GET")], 5))[0][:2] == ("refused", "too_many_streams")
    drive.connection.credit(stream, 100)
    assert updates(drive.written()) == [(1, 100)]


def test_what_was_not_worth_an_update_is_when_the_window_shrinks() -> None:
    drive = Drive()
    stream = drive.request(1, end=False)
    drive.connection.settings_change(initial_window=100)
    drive.feed(frame(DATA, 0, 1, b"x" * 5000))
    drive.connection.credit(stream, 5000)
    assert updates(drive.written()) == []
    drive.feed(frame(SETTINGS, 1, 0, b""))
    assert updates(drive.written()) == [(1, 5000)]
    assert stream.recv_window == 100


# -- wrong updates


@pytest.mark.parametrize("role", [SERVER, CLIENT])
def test_wrong_window_updates(role: int) -> None:
    def fresh() -> Drive:
        drive = Drive(role)
        if role == SERVER:
            drive.request(1, end=False)
        else:
            drive.ask(end=False)
        return drive

    drive = fresh()
    assert drive.feed(update(1, 0)) == [("reset", 1, "zero_increment", PROTOCOL_ERROR)]
    drive = fresh()
    assert drive.feed(update(1, 0x7FFFFFFF)) == [("reset", 1, "window_overflow", FLOW_CONTROL_ERROR)]
    drive = fresh()
    assert drive.feed(update(0, 0)) == [("error", "zero_increment", PROTOCOL_ERROR)]
    drive = fresh()
    assert drive.feed(update(0, 0x7FFFFFFF)) == [("error", "window_overflow", FLOW_CONTROL_ERROR)]
    drive = fresh()
    drive.feed(update(1, 0x7FFFFFFF - 65535))
    events = drive.feed(frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW, 65536)))
    assert events == [("error", "window_overflow", FLOW_CONTROL_ERROR)]


def test_the_rest_of_a_window_is_used_when_it_is_asked_for() -> None:
    """A peer may credit nothing before all of its window is used."""
    drive, (stream,) = answering()
    assert drive.connection.send_data(stream, bytes(65000)) == 0
    assert drive.connection.send_data(stream, bytes(500)) == 0
    drive.written()
    assert drive.connection.send_data(stream, bytes(100)) == 100
    assert sizes(drive.written()) == []
    assert drive.connection.room(stream) == 35
    drive.connection.use_rest()
    assert sizes(drive.written()) == [(1, 35)]
    assert drive.events() == [("writable", 1, 35)]
    assert drive.connection.room(stream) == 0
    drive.feed(update(1, 20) + update(0, 20))
    assert sizes(drive.written()) == []  # and afterwards it is as before


def test_small_pieces_that_wait_are_joined() -> None:
    """An object for each few bytes would be many times their memory."""
    drive, (stream,) = answering(window=0)
    for place in range(4000):
        drive.connection.send_data(stream, b"%04d" % place)
    queue = stream.queue
    assert queue is not None
    assert len(queue) <= 17
    drive.feed(update(1, 20000))
    came = b"".join(f.payload for f in drive.written() if f.kind == DATA)
    assert came == b"".join(b"%04d" % place for place in range(4000))
