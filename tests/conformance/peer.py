"""A client that can say anything in HTTP/2, and judge what comes back as h2spec does."""

import struct
from collections.abc import Iterator

from hpack import Encoder

from proxy.wire.h2_errors import CODES
from tests.conformance.channels import Channel, Quiet

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST = 1, 2, 3, 4, 5, 6

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ZEROES = bytes(8)
TEST = b"test"

Fields = list[tuple[str, str]]


class Frame:
    """One frame that came."""

    def __init__(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        self.kind, self.flags, self.sid, self.payload = kind, flags, sid, payload

    def __repr__(self) -> str:
        return f"frame(kind={self.kind} flags={self.flags:#x} sid={self.sid} {self.payload[:24].hex()})"

    @property
    def code(self) -> int:
        """The error code of GOAWAY or RST_STREAM."""
        number: int = struct.unpack(">L", self.payload[4:8] if self.kind == GOAWAY else self.payload)[0]
        return number


def frame(kind: int, flags: int, sid: int, payload: bytes) -> bytes:
    """Write a frame, whatever it says."""
    return struct.pack(">LBL", len(payload) << 8 | kind, flags, sid) + payload


def setting(key: int, value: int) -> bytes:
    return struct.pack(">HL", key, value)


def usual(method: str = "GET", *more: tuple[str, str]) -> Fields:
    """The fields of a request."""
    pseudo = [(":method", method), (":scheme", "http"), (":path", "/"), (":authority", "127.0.0.1")]
    return [*pseudo, *more]


def dummies(count: int) -> Fields:
    return [(f"x-dummy{number}", "x" * 4000) for number in range(count)]


class Peer:
    """One connection to the server under test."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.encoder = Encoder()
        self.settings: dict[int, int] = {}
        self._held = b""

    # -- saying

    def raw(self, data: bytes) -> None:
        self.channel.send(data)

    def write(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        self.channel.send(frame(kind, flags, sid, payload))

    def encode(self, fields: Fields) -> bytes:
        return self.encoder.encode(fields)

    def handshake(self) -> None:
        """Exchange prefaces, and wait until each side has acknowledged the other's SETTINGS."""
        self.raw(PREFACE)
        self.change((INITIAL_WINDOW, 65535))
        theirs = acknowledged = False
        for came in self.frames():
            if came.kind == SETTINGS and came.flags & ACK:
                acknowledged = True
            elif came.kind == SETTINGS:
                theirs = True
                self.settings.update(struct.iter_unpack(">HL", came.payload))
                self.write(SETTINGS, ACK, 0, b"")
            if theirs and acknowledged:
                return
        raise AssertionError("no handshake")

    def change(self, *pairs: tuple[int, int]) -> None:
        self.write(SETTINGS, 0, 0, b"".join(setting(key, value) for key, value in pairs))

    def headers(
        self, fields: Fields | bytes, sid: int = 1, end: bool = True, whole: bool = True, flags: int = 0
    ) -> None:
        """Send HEADERS: ``end`` of the stream, ``whole`` block; bytes are sent as they are."""
        block = fields if isinstance(fields, bytes) else self.encode(fields)
        flags |= (END_STREAM if end else 0) | (END_HEADERS if whole else 0)
        self.write(HEADERS, flags, sid, block)

    def continuation(self, fields: Fields | bytes, sid: int = 1, whole: bool = True) -> None:
        block = fields if isinstance(fields, bytes) else self.encode(fields)
        self.write(CONTINUATION, END_HEADERS if whole else 0, sid, block)

    def data(self, content: bytes = TEST, sid: int = 1, end: bool = True) -> None:
        self.write(DATA, END_STREAM if end else 0, sid, content)

    def priority(self, sid: int, on: int = 0, exclusive: bool = False, weight: int = 255) -> None:
        self.write(PRIORITY, 0, sid, struct.pack(">LB", on | exclusive << 31, weight))

    def reset(self, sid: int = 1, code: int = CODES["CANCEL"]) -> None:
        self.write(RST_STREAM, 0, sid, struct.pack(">L", code))

    def window_update(self, sid: int, size: int) -> None:
        self.write(WINDOW_UPDATE, 0, sid, struct.pack(">L", size))

    def ping(self, payload: bytes = ZEROES, ack: bool = False) -> None:
        self.write(PING, ACK if ack else 0, 0, payload)

    def goaway(self, code: int, debug: bytes) -> None:
        self.write(GOAWAY, 0, 0, struct.pack(">LL", 0, code) + debug)

    # -- hearing

    def frames(self) -> Iterator[Frame]:
        """Give the frames that come until the connection is closed; raises Quiet."""
        while True:
            while len(self._held) >= 9:
                size = int.from_bytes(self._held[:3], "big")
                if len(self._held) < 9 + size:
                    break
                kind, flags, sid = struct.unpack(">BBL", self._held[3:9])
                payload = self._held[9 : 9 + size]
                self._held = self._held[9 + size :]
                yield Frame(kind, flags, sid & 0x7FFFFFFF, payload)
            came = self.channel.receive()
            if not came:
                return
            self._held += came

    def first(self, kind: int) -> Frame:
        """Give the first frame of a kind that comes."""
        seen: list[Frame] = []
        try:
            for came in self.frames():
                seen.append(came)
                if came.kind == kind:
                    return came
        except Quiet:
            pass
        raise AssertionError(f"no frame of kind {kind}, but {seen}")

    # -- judging

    def _wants(self, what: str, kinds: tuple[int, ...], codes: tuple[str, ...]) -> None:
        """Accept a frame of these kinds with one of these codes, or the end of the connection."""
        seen: list[Frame] = []
        try:
            for came in self.frames():
                seen.append(came)
                if came.kind in kinds and came.code in [CODES[code] for code in codes]:
                    return
        except Quiet:
            raise AssertionError(f"no {what} {codes}, but {seen}") from None

    def wants_connection_error(self, *codes: str) -> None:
        self._wants("connection error", (GOAWAY,), codes)

    def wants_stream_error(self, *codes: str) -> None:
        self._wants("stream error", (GOAWAY, RST_STREAM), codes)

    def wants_close(self) -> None:
        self._wants("end of the connection", (), ())

    def wants_headers(self, sid: int = 1) -> None:
        came = self.first(HEADERS)
        assert came.sid == sid, came

    def wants_settings_ack(self) -> None:
        came = self.first(SETTINGS)
        assert came.flags & ACK, came

    def wants_pong(self, payload: bytes = ZEROES) -> None:
        came = self.first(PING)
        assert came.flags & ACK, came
        assert came.payload == payload, came

    def wants_pong_or_close(self, payload: bytes) -> None:
        seen: list[Frame] = []
        try:
            for came in self.frames():
                seen.append(came)
                if came.kind == PING and came.flags & ACK and came.payload == payload:
                    return
        except Quiet:
            raise AssertionError(f"neither an answer nor a close, but {seen}") from None

    def wants_data(self, size: int) -> None:
        came = self.first(DATA)
        assert len(came.payload) == size, came

    def wants_end(self, sid: int = 1) -> None:
        """Wait until the response is complete."""
        for came in self.frames():
            if came.kind in (DATA, HEADERS) and came.sid == sid and came.flags & END_STREAM:
                return
            if came.kind == RST_STREAM and came.code == 0:
                return
        raise AssertionError("the connection was closed")
