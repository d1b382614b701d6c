"""Header blocks are decoded before the turn of their frames, and nobody can tell."""

import random

import pytest

from proxy.wire.h2 import H2Connection
from proxy.wire.h2_errors import COMPRESSION_ERROR, H2Error
from tests.conformance.peer import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
)
from tests.wire.h2_drive import GET, POST, Drive, Event, goaways

BAD = b"\xff\xff\xff\xff\xff\xff\x0f"  # an index that no table has


class Client:
    """Gives frames as a busy client sends them, now and then one that ends the connection."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.drive = Drive()  # for its encoder
        self.sid = -1

    def frames(self) -> list[bytes]:
        return [piece for n in range(60) for piece in (self._headers() if n < 5 else self._some())]

    def _some(self) -> list[bytes]:
        roll = self.chance.random()
        if roll < 0.62:
            return self._headers()
        some = self.chance.randrange(1, self.sid + 1) | 1
        if roll < 0.75:
            return [frame(DATA, self.chance.choice([0, 0, 1]), some, b"x" * self.chance.randrange(1, 40))]
        if roll < 0.82:
            return [frame(DATA, PADDED, some, b"\x03abc\0\0\0")]
        if roll < 0.88:
            return [frame(PING, 0, 0, bytes(8)), frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x09")]
        if roll < 0.94:
            return [frame(RST_STREAM, 0, some, b"\0\0\0\x08")]
        if roll < 0.99:
            return [frame(PRIORITY, 0, some, bytes(5)), frame(0x16, 0, 0, b"unknown")]
        return [
            self.chance.choice(
                [frame(HEADERS, END_HEADERS, self.sid + 2, BAD), frame(CONTINUATION, 4, 1, b"")]
            )
        ]

    def _headers(self) -> list[bytes]:
        chance = self.chance
        self.sid += 2
        fields = [*(POST if chance.random() < 0.3 else GET), ("x-id", f"{chance.getrandbits(64):x}")]
        coded = self.drive.encoder.encode(fields)
        ends = int(fields[0] == GET[0])
        way = chance.random()
        if way < 0.8:
            return [frame(HEADERS, END_HEADERS | ends, self.sid, coded)]
        if way < 0.87:
            return [frame(HEADERS, END_HEADERS | PADDED | ends, self.sid, b"\2" + coded + b"\0\0")]
        if way < 0.94:
            return [frame(HEADERS, END_HEADERS | WITH_PRIORITY | ends, self.sid, bytes(5) + coded)]
        return [frame(HEADERS, ends, self.sid, coded[:3]), frame(CONTINUATION, 4, self.sid, coded[3:])]


@pytest.mark.parametrize("seed", range(40))
def test_frames_at_once_give_the_events_of_frames_one_by_one(seed: int) -> None:
    frames = Client(seed).frames()
    single, whole = Drive(), Drive()
    wanted: list[Event] = []
    for piece in frames:
        wanted += single.feed(piece)
        if single.error is not None:
            break
    assert whole.feed(b"".join(frames)) == wanted
    assert [f.kind for f in whole.written()] == [f.kind for f in single.written()]
    assert sum(event[0] == "head" for event in wanted) > 3


def test_an_error_waits_for_its_frame() -> None:
    drive = Drive()
    before = [drive.headers([*GET, ("x-id", str(sid))], sid) for sid in (1, 3, 5)]
    bad = frame(HEADERS, END_HEADERS | 1, 7, BAD)
    events = drive.feed(b"".join([*before, frame(DATA, 0, 9, b""), bad]))
    assert [event[:2] for event in events[:3]] == [("head", 1), ("head", 3), ("head", 5)]
    assert events[3][0] == "error", "DATA on an idle stream comes first"
    assert events[3][1] == "idle_stream"
    drive = Drive()
    before = [drive.headers([*GET, ("x-id", str(sid))], sid) for sid in (1, 3, 5)]
    events = drive.feed(b"".join([*before, bad, drive.headers(GET, 9)]))
    assert [event[:2] for event in events[:3]] == [("head", 1), ("head", 3), ("head", 5)]
    assert events[3:] == [("error", "bad_compression", COMPRESSION_ERROR)]
    assert goaways(drive.written()) == [COMPRESSION_ERROR]
    with pytest.raises(H2Error):
        drive.connection.next()


def test_only_so_many_blocks_are_decoded_before_their_turn() -> None:
    drive = Drive()
    data = b"".join([drive.headers([*GET, ("x-id", str(sid))], sid) for sid in range(1, 201, 2)])
    drive.connection.feed(data, drive.now)
    assert drive.connection.next()
    assert waiting(drive.connection) == 32
    assert len(drive.events()) == 99
    assert waiting(drive.connection) == 0


def waiting(connection: H2Connection) -> int:
    return len(connection._ahead)
