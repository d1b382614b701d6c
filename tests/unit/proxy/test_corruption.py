"""Flipped bits: which ones, however content is split, and never in framing."""

import pytest
from websockets.frames import Frame, Opcode

from proxy.corruption import Flipper
from proxy.wire.websocket import Frames
from rules.body_actions import Flip
from tests.faults.cases import dice
from tests.support.fakes import Stage
from tests.support.h2_stage import GRPC_OK, Http2Stage, message

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UPGRADE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
BODY = bytes(1000)
SIZES = (0, 1, 125, 126, 70_000)  # of frames: each form of their length


def flipped(data: bytes) -> list[int]:
    """Give how many bits are set in each byte that is not 0."""
    return [byte.bit_count() for byte in data if byte]


def through(flipper: Flipper, data: bytes, size: int) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(flipper.hit(piece, 0, len(piece)) for piece in pieces)


@pytest.mark.parametrize("flips", [1, 3, 1000])
@pytest.mark.parametrize("length", [1, 3, 1000, 5000])
def test_so_many_bits_each_in_another_byte(flips: int, length: int) -> None:
    hit = through(Flipper(Flip(0.0, flips), dice(), length), bytes(length), 100)
    assert flipped(hit) == [1] * min(flips, length)


def test_places_are_spread_over_the_whole_body() -> None:
    places = [0] * 10
    for number in range(2000):
        hit = through(Flipper(Flip(0.0, 1), dice(number), 10), bytes(10), 10)
        places[next(at for at, byte in enumerate(hit) if byte)] += 1
    assert all(140 < count < 260 for count in places), places


def test_where_no_length_is_known_they_come_soon() -> None:
    hit = through(Flipper(Flip(0.0, 3), dice(), -1), bytes(48), 7)
    assert flipped(hit) == [1, 1, 1]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 1.0])
def test_a_share_of_the_bytes(share: float) -> None:
    size = 200_000
    hit = through(Flipper(Flip(share, 0), dice(), -1), bytes(size), 4096)
    assert set(flipped(hit)) <= {1}
    assert len(flipped(hit)) == pytest.approx(size * share, rel=0.2)


@pytest.mark.parametrize("flip", [Flip(0.05, 0), Flip(0.0, 20)])
@pytest.mark.parametrize("length", [-1, 1000])
def test_the_same_bits_however_content_is_split(flip: Flip, length: int) -> None:
    seen = {through(Flipper(flip, dice(4), length), BODY, size) for size in (1, 7, 100, 1000)}
    assert len(seen) == 1
    assert seen != {through(Flipper(flip, dice(5), length), BODY, 1000)}


def test_content_alone_is_hit() -> None:
    hit = Flipper(Flip(1.0, 0), dice(), -1).hit(bytes(10), 3, 5)
    assert (flipped(hit[3:5]), hit[:3], hit[5:]) == ([1, 1], bytes(3), bytes(5))


# --- on the path


def rules(fields: str) -> str:
    return f"  - {{name: r, faults: [corrupt: {{{fields}}}]}}"


def injected(stage: Stage) -> int:
    return stage.snapshot.by_name["r"].state.injected[0]


async def test_an_answer() -> None:
    stage = Stage(rules("flips: 3"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(LONG + BODY)
    head, _, body = client.taken().partition(b"\r\n\r\n")
    assert b"content-length: 1000" in head
    assert b"x-misrule: rule=r; fault=corrupt; at=response_body; version=1" in head
    assert (len(body), flipped(body)) == (1000, [1, 1, 1])
    assert injected(stage) == 1


async def test_chunks_stay_valid() -> None:
    stage = Stage(rules("percent_of_bytes: 10"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(CHUNKED + b"3e8\r\n" + BODY + b"\r\n0\r\n\r\n")
    body = client.taken().partition(b"\r\n\r\n")[2]
    assert (body[:5], body[1005:]) == (b"3e8\r\n", b"\r\n0\r\n\r\n")
    assert 60 < len(flipped(body[5:1005])) < 140


async def test_both_directions() -> None:
    stage = Stage(rules("flips: 2, direction: both"))
    client = stage.client()
    client.gives(POST + BODY)
    upstream = await stage.connected()
    assert flipped(upstream.taken().partition(b"\r\n\r\n")[2]) == [1, 1]
    upstream.gives(LONG + BODY)
    assert flipped(client.taken().partition(b"\r\n\r\n")[2]) == [1, 1]
    assert injected(stage) == 1


async def test_messages_keep_their_prefixes() -> None:
    stage = Http2Stage(rules("percent_of_bytes: 100"))
    client = stage.peer()
    sid = client.call(b"x")
    server = await stage.both(client)
    server.head(1, GRPC_OK)
    for byte in message(bytes(300)) + message(b"") + message(bytes(3)):
        server.say(1, bytes([byte]))
    server.done(1, 0)
    body = client.sync().body(sid)
    prefixes = (message(bytes(300))[:5], message(b""), message(bytes(3))[:5])
    assert (body[:5], body[305:310], body[310:315]) == prefixes
    assert flipped(body[5:305] + body[315:]) == [1] * 303
    assert client.fields(sid)["grpc-status"] == "0"


@pytest.mark.parametrize("size", [1, 3, 100_000])
@pytest.mark.parametrize("direction", ["request", "response"])
async def test_frames_keep_their_heads(direction: str, size: int) -> None:
    stage = Stage(rules(f"percent_of_bytes: 100, direction: {direction}"))
    client = stage.client()
    client.gives(UPGRADE)
    upstream = await stage.connected()
    upstream.gives(SWITCH)
    client.taken()
    upstream.taken()
    mask = direction == "request"
    source, sink = (client, upstream) if mask else (upstream, client)
    frames = [Frame(Opcode.BINARY, bytes(n)).serialize(mask=mask, extensions=[]) for n in SIZES]
    ping = Frame(Opcode.PING, b"ping").serialize(mask=mask, extensions=[])
    sent = ping.join(frames)
    for at in range(0, len(sent), size):
        source.gives(sent[at : at + size])
    got = sink.taken()
    assert len(got) == len(sent)
    place = 0
    for payload, frame in zip(SIZES, frames, strict=True):
        one = got[place : place + len(frame)]
        assert one[: len(one) - payload] == frame[: len(frame) - payload]
        assert flipped(bytes(a ^ b for a, b in zip(one, frame, strict=True))) == [1] * payload
        place += len(frame)
        assert got[place : place + len(ping)] in (ping, b"")
        place += len(ping)


def test_frames_are_followed_without_payload() -> None:
    frames = Frames()
    assert frames.head(b"\x81\x00\x82\x05abc", 0) == 4
    assert (frames.payload(3), frames.head(b"de\x89\x00", 0)) == (3, 0)
    assert frames.payload(4) == 2
    assert (frames.head(b"de\x89\x00", 2), frames.control) == (4, True)
