"""A drain and the WebSockets that are open: what has begun is finished, then both ends are told 1001."""

import math

import pytest

from proxy.farewell import PATIENCE
from proxy.http2.client import ClientConnection as ClientHttp2
from proxy.wire.websocket import GOING_AWAY, Frames, close_frame
from rules.actions import GoAway
from tests.support.fakes import Stage
from tests.support.tunnels import KINDS, PlainEnd, Tunnelled

GRACE = 10.0
ALL = ["h1-h1", *KINDS]
AWAY = close_frame(GOING_AWAY)
PING = b"\x89\x80\0\0\0\0"


def text(data: bytes, masked: bool = False, first: int = 0x81) -> bytes:
    """Make a frame; a client's has a mask that changes nothing."""
    size = len(data)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes((first, length[0] | (128 if masked else 0))) + length[1:] + b"\0\0\0\0" * masked + data


def unmasked(frame: bytes) -> bytes:
    """Take the mask off a short frame of a client."""
    mask, data = frame[2:6], frame[6:]
    return bytes((frame[0], frame[1] & 127)) + bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))


class Draining:
    """An open WebSocket and a drain that has begun."""

    def __init__(self, tunnelled: Tunnelled) -> None:
        self.stage: Stage = tunnelled.stage
        self.client = tunnelled.client
        self.upstream = tunnelled.upstream
        self.drain()

    def drain(self) -> None:
        """Let the worker drain; the library of an HTTP/2 client gives up at GOAWAY, so that none is sent."""
        worker = self.stage.worker
        for connection in list(worker.connections):
            if isinstance(connection, ClientHttp2):
                connection.noticed = GoAway(graceful=True)
                connection.noticed_until = math.inf
        worker.drain(GRACE)

    def later(self, seconds: float) -> None:
        """Let time pass; the worker is asked again and again."""
        for _ in range(round(seconds / 0.1)):
            self.stage.timers.advance(0.1)
            self.drain()


async def draining(kind: str, from_client: bytes = b"", from_upstream: bytes = b"") -> Draining:
    """Open one, let bytes pass, begin to drain."""
    opened = await Tunnelled(kind).opened()
    opened.upstream.taken()
    opened.client.gives(from_client)
    opened.upstream.gives(from_upstream)
    return Draining(opened)


@pytest.mark.parametrize("kind", ALL)
async def test_a_quiet_one_is_told_on_both_sides(kind: str) -> None:
    it = await draining(kind)
    it.later(0.8)
    assert (it.client.taken(), it.upstream.taken()) == (b"", b"")
    it.later(0.4)
    assert it.client.taken() == AWAY
    assert unmasked(it.upstream.taken()) == AWAY
    assert not it.client.ended()
    it.upstream.gives(AWAY)
    assert it.upstream.ended()
    it.client.gives(close_frame(GOING_AWAY, b"abcd"))
    assert it.client.ended()
    assert it.upstream.taken() == it.client.taken() == b""


@pytest.mark.parametrize("kind", ALL)
async def test_answers_come_back_first(kind: str) -> None:
    it = await draining(kind, text(b"asked", True))
    assert it.upstream.taken() == text(b"asked", True)
    it.later(0.8)
    it.upstream.gives(text(b"answer"))
    it.later(0.8)
    assert it.client.taken() == text(b"answer")
    it.later(0.4)
    assert it.client.taken() == AWAY


@pytest.mark.parametrize("kind", ALL)
async def test_what_has_begun_is_passed_on_and_what_begins_is_not(kind: str) -> None:
    """A message in fragments, split anywhere, with a ping between; the next one is not read."""
    first, second = text(b"a" * 300, True, first=0x01), text(b"b" * 5, True, first=0x80)
    it = await draining(kind, first[:100])
    rest = first[100:] + PING + second + text(b"next", True) + PING + text(b"x" * 200, True)
    passed = it.upstream.taken()
    for at in range(0, len(rest), 7):
        it.client.gives(rest[at : at + 7])
        passed += it.upstream.taken()
    assert passed == first + PING + second + PING
    it.later(1.2)
    assert it.client.taken() == AWAY


async def test_a_message_under_way_is_waited_for_until_half_of_the_grace() -> None:
    it = await draining("h1-h1", b"", text(b"begun", first=0x01))
    assert it.client.taken() == text(b"begun", first=0x01)
    it.later(4.8)
    assert it.client.taken() == b""
    it.later(0.4)
    assert it.client.taken() == AWAY  # between two of its frames


async def test_one_that_is_never_quiet_is_told_at_half_of_the_grace() -> None:
    it = await draining("h1-h1")
    for _ in range(9):
        it.later(0.5)
        it.upstream.gives(text(b"news"))
    assert it.client.taken() == text(b"news") * 9
    it.later(0.6)
    assert it.client.taken() == AWAY
    it.upstream.gives(text(b"late"))
    assert it.client.taken() == b""


async def test_within_a_frame_nobody_is_told() -> None:
    it = await draining("h1-h1", b"", text(b"half of it")[:6])
    it.later(9.0)
    assert it.client.taken() == text(b"half of it")[:6]
    it.upstream.gives(text(b"half of it")[6:])
    it.later(0.1)
    assert it.client.taken() == text(b"half of it")[6:] + AWAY


async def test_an_end_that_does_not_answer_is_waited_for_only_so_long() -> None:
    it = await draining("h1-h1")
    it.later(1.2)
    assert it.client.taken() == AWAY
    it.later(PATIENCE - 0.4)
    assert not it.client.ended()
    it.later(0.6)
    assert it.client.ended()
    assert it.upstream.ended()


@pytest.mark.parametrize("first", ["client", "upstream"])
async def test_ends_that_part_by_themselves_are_left_alone(first: str) -> None:
    it = await draining("h1-h1")
    if first == "client":
        it.client.gives(close_frame(1000, b"abcd"))
        assert unmasked(it.upstream.taken()) == close_frame(1000)
    else:
        it.upstream.gives(close_frame(4001))
        assert it.client.taken() == close_frame(4001)
    it.later(6.0)
    assert (it.client.taken(), it.upstream.taken()) == (b"", b"")


async def test_a_stalled_one_is_told_behind_what_is_held() -> None:
    rules = "  - {name: r, faults: [stall: {at: response_body, for: 3s}]}\n"
    opened = await Tunnelled("h1-h1", rules).opened()
    opened.upstream.taken()
    opened.upstream.gives(text(b"held"))
    it = Draining(opened)
    it.later(2.0)
    assert it.client.taken() == b""
    it.later(1.5)
    assert it.client.taken() == text(b"held") + AWAY


async def test_a_bug_ends_one_websocket_and_is_counted() -> None:
    it = await draining("h1-h1")
    assert isinstance(it.client, PlainEnd)

    def broken(data: bytes) -> None:
        raise ZeroDivisionError(data)

    it.client.transport.write = broken  # type: ignore[method-assign]
    it.later(1.2)
    assert it.stage.worker.cells.internal_errors == 1
    assert it.client.aborted()


def test_the_frame_that_closes() -> None:
    assert close_frame(1001) == b"\x88\x02\x03\xe9"
    assert unmasked(close_frame(1001, b"\x01\x02\x03\x04")) == b"\x88\x02\x03\xe9"


@pytest.mark.parametrize("size", [0, 5, 125, 126, 300])
@pytest.mark.parametrize("masked", [False, True])
def test_frames_are_followed_however_they_are_split(size: int, masked: bool) -> None:
    whole = text(b"a" * size, masked, first=0x01) + PING + text(b"", masked, first=0x80) + close_frame(1000)
    for step in (1, 2, 3, 7, len(whole)):
        frames = Frames()
        stepped = Frames()
        rests = []
        for at in range(0, len(whole), step):
            piece = whole[at : at + step]
            frames.follow(piece)
            place = 0
            while place < len(piece):
                place = stepped.step(piece, place)
            assert frames.at_rest() == stepped.at_rest()
            assert frames.between() == stepped.between()
            rests.append(frames.at_rest())
        assert frames.at_rest()
        assert frames.closing
        assert rests[0] is (step == len(whole))


def test_a_length_beyond_63_bits_is_no_endless_loop() -> None:
    frames = Frames()
    frames.follow(b"\x82\x7f" + b"\xff" * 8 + b"x" * 1000)
    assert not frames.between()
    assert frames.length > 1 << 62
