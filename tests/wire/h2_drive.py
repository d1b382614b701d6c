"""Drives a connection of the HTTP/2 codec in tests: frames in, events out as tuples, frames written."""

import struct

from hpack import Decoder as PeerDecoder
from hpack import Encoder as PeerEncoder

from proxy.wire.h2 import (
    CLIENT,
    DATA,
    END,
    GOAWAY_CAME,
    HEAD,
    INTERIM,
    NEED,
    PONG,
    REFUSED,
    RESET,
    SERVER,
    STREAMS,
    TRAILERS,
    WRITABLE,
    H2Connection,
    H2Settings,
)
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.h2_field import Field, interned
from proxy.wire.h2_streams import Stream
from tests.conformance.peer import ACK, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, Frame, frame

NAMES = {
    HEAD: "head",
    DATA: "data",
    TRAILERS: "trailers",
    END: "end",
    RESET: "reset",
    INTERIM: "interim",
    WRITABLE: "writable",
    GOAWAY_CAME: "goaway",
    STREAMS: "streams",
    PONG: "pong",
    REFUSED: "refused",
}

Event = tuple[object, ...]

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")]
POST = [(":method", "POST"), *GET[1:]]
OK = [(":status", "200")]


def block(fields: list[tuple[str, str]]) -> Block:
    """Make a block for sending."""
    return Block.of([interned(name.encode(), value.encode()) for name, value in fields])


def plain(fields: list[Field]) -> list[tuple[bytes, bytes]]:
    return [(field.name, field.value) for field in fields]


def parse(data: bytes) -> list[Frame]:
    """Cut what was written into frames."""
    frames = []
    data = data.removeprefix(PREFACE)
    while data:
        size = int.from_bytes(data[:3], "big")
        kind, flags, sid = struct.unpack(">BBL", data[3:9])
        frames.append(Frame(kind, flags, sid, data[9 : 9 + size]))
        assert len(frames[-1].payload) == size
        data = data[9 + size :]
    return frames


class Drive:
    """A connection and the encoder of its peer."""

    def __init__(self, role: int = SERVER, settings: H2Settings | None = None, begin: bool = True) -> None:
        self.connection = H2Connection(role, settings or H2Settings())
        self.encoder = PeerEncoder()
        self.decoder = PeerDecoder()
        self.now = 100.0
        self.error: H2Error | None = None
        if begin:
            self.connection.start()
            self.preface = self.written()
            events = self.feed((b"" if role == CLIENT else PREFACE) + frame(SETTINGS, 0, 0, b""))
            assert events == ([("streams",)] if role == CLIENT else [])
            self.feed(frame(SETTINGS, ACK, 0, b""))
            assert [(f.kind, f.flags) for f in self.written()] == [(SETTINGS, ACK)]

    def feed(self, data: bytes, step: int = 0) -> list[Event]:
        """Feed bytes, ``step`` at a time, and give the events; an H2Error is the last, and kept."""
        found: list[Event] = []
        for at in range(0, len(data) or 1, step or len(data) or 1):
            self.connection.feed(data[at : at + step] if step else data, self.now)
            found += self.events()
        return found

    def events(self) -> list[Event]:
        """Give the events that are to be told."""
        found: list[Event] = []
        try:
            while (event := self.connection.next()) != NEED:
                found.append(self._tuple(event))
        except H2Error as error:
            self.error = error
            found.append(("error", error.kind, error.code))
        return found

    def _tuple(self, event: int) -> Event:
        c = self.connection
        name = NAMES[event]
        if name in ("streams", "pong", "goaway"):
            return (name,)
        if name == "refused":
            return (name, c.kind, c.code)
        sid = int(c.stream.sid)
        if name in ("head", "trailers", "interim"):
            return (name, sid, plain(c.block.fields), c.end)
        if name == "data":
            return (name, sid, c.piece, int(c.flow), c.end)
        if name == "reset":
            return (name, sid, c.kind, c.code)
        return (name, sid, int(c.flow)) if name == "writable" else (name, sid)

    def written(self) -> list[Frame]:
        """Take what is to be written, as frames."""
        whole = self.connection.take()
        return parse(whole if isinstance(whole, bytes) else b"".join(whole))

    def decoded(self, payload: bytes) -> list[tuple[bytes, bytes]]:
        """Decode a block that was written."""
        return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(payload, raw=True)]

    def headers(self, fields: list[tuple[str, str]], sid: int = 1, end: bool = True) -> bytes:
        """Make a HEADERS frame of the peer."""
        return frame(HEADERS, 4 | end, sid, self.encoder.encode(fields))

    def request(self, sid: int = 1, end: bool = True) -> Stream:
        """Have the peer open a stream (server role)."""
        events = self.feed(self.headers(GET if end else POST, sid, end))
        assert [event[:2] for event in events] == [("head", sid)]
        return self.connection.stream

    def ask(self, fields: list[tuple[str, str]] = GET, end: bool = True) -> Stream:
        """Open a stream (client role)."""
        stream = self.connection.open(self.now)
        assert stream is not None
        self.connection.send_headers(stream, block(fields), end=end)
        return stream


def resets(frames: list[Frame]) -> list[tuple[int, int]]:
    """The streams that were reset, with their codes."""
    return [(f.sid, f.code) for f in frames if f.kind == RST_STREAM]


def goaways(frames: list[Frame]) -> list[int]:
    """The codes of the GOAWAYs."""
    return [f.code for f in frames if f.kind == GOAWAY]
