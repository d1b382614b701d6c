"""Streams that we have reset: a peer may count them for a moment longer than we do."""

from proxy.wire.h2 import CLIENT
from proxy.wire.h2_errors import CANCEL
from proxy.wire.h2_frames import SETTINGS
from proxy.wire.h2_streams import Stream
from tests.conformance.peer import frame
from tests.wire.h2_drive import OK, Drive

LIMIT = 4


def answered(drive: Drive) -> Stream:
    """Open a stream on which the head of an answer has come."""
    stream = drive.ask()
    drive.feed(drive.headers(OK, stream.sid, end=False))
    return stream


def limited() -> Drive:
    """Make a client whose peer allows four streams, and that has reset two of three."""
    drive = Drive(CLIENT)
    drive.feed(frame(SETTINGS, 0, 0, b"\0\3" + LIMIT.to_bytes(4, "big")))
    for stream in [answered(drive) for _ in range(3)][:2]:
        drive.connection.reset(stream, CANCEL)
    return drive


def test_they_may_count_for_a_second() -> None:
    drive = limited()
    assert drive.connection.room_for_streams(100) == LIMIT - 1
    assert drive.connection.sure_room(drive.now) == LIMIT - 3
    assert drive.connection.sure_room(drive.now + 1.0) == LIMIT - 3
    assert drive.connection.sure_room(drive.now + 1.1) == LIMIT - 1


def test_each_counts_for_a_second_of_its_own() -> None:
    drive = limited()
    drive.now = drive.connection.now = drive.now + 0.6
    drive.connection.reset(answered(drive), CANCEL)
    assert drive.connection.sure_room(drive.now) == LIMIT - 4
    assert drive.connection.sure_room(drive.now + 0.5) == LIMIT - 2
    assert drive.connection.sure_room(drive.now + 1.1) == LIMIT - 1


def test_a_peer_without_a_limit_refuses_none() -> None:
    drive = Drive(CLIENT)
    for _ in range(2000):
        drive.connection.reset(answered(drive), CANCEL)
    assert drive.connection.sure_room(drive.now) > 1_000_000
    assert drive.connection.resets is not None
    assert len(drive.connection.resets) == 1000


def test_what_the_peer_ended_does_not_count() -> None:
    drive = limited()
    drive.ask()
    drive.feed(frame(3, 0, 7, b"\0\0\0\x08"))
    assert drive.connection.sure_room(drive.now) == LIMIT - 3


def test_what_was_not_answered_yet_does_not_count() -> None:
    """A flood of requests that are reset at once is not to open connections."""
    drive = limited()
    drive.connection.reset(drive.ask(), CANCEL)
    assert drive.connection.sure_room(drive.now) == LIMIT - 3
