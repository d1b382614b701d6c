"""One HTTP/2 connection in a test's hands, either role: every frame out, every frame in, and how it ended.

Frames and header compression are hyperframe's and hpack's, so that nothing of the project judges itself; and
nothing is refused here, so that a test can say what no honest peer would.
"""

import socket
import struct
import time
from collections.abc import Callable

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.support.h2_heard import Fields as Fields
from tests.support.h2_heard import Heard as Heard
from tests.support.h2_heard import Out
from tests.support.wire import FIN, RESET

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
INITIAL_WINDOW = SettingsFrame.INITIAL_WINDOW_SIZE
MAX_STREAMS = SettingsFrame.MAX_CONCURRENT_STREAMS
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL = 0, 1, 2, 7, 8
_FRAME = 16_384
_PIECE = 262_144


class Peer:
    """A connection.  ``credit`` says for which streams WINDOW_UPDATE follows what came (by default: all)."""

    def __init__(self, sock: socket.socket, client: bool, settings: dict[int, int] | None = None) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.credit: Callable[[int], bool] = lambda _: True
        self.streams: dict[int, Heard] = {}
        self.settings: dict[int, int] = {}  # of the other side
        self.goaways: list[GoAwayFrame] = []
        self.pongs: list[bytes] = []
        self.acknowledged = 0  # of our SETTINGS
        self.gone = ""  # FIN or RESET, once the connection has ended
        self.sent_at = 0.0
        self._client = client
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._held = b""
        self._preface = not client
        self._window = 65_535
        self._own_window = (settings or {}).get(INITIAL_WINDOW, 65_535)
        self._lacking: dict[int, int] = {}  # what was read and not credited yet, by stream
        self._outs: dict[int, Out] = {}
        self._next = 1
        self._block: tuple[int, bytes, bool] | None = None
        if client:
            self.raw(PREFACE)
        opening = SettingsFrame(0)
        opening.settings = settings or {}
        self.frame(opening)

    @classmethod
    def to(cls, address: str, settings: dict[int, int] | None = None) -> "Peer":
        """Connect to ``host:port`` as a client."""
        host, _, port = address.rpartition(":")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(10.0)
        try:
            sock.connect((host, int(port)))
            return cls(sock, True, settings)
        except OSError:
            sock.close()
            raise

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Out

    def raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.settimeout(20.0)
        self.sock.sendall(data)

    def frame(self, frame: Frame) -> None:
        """Send one frame."""
        self.raw(frame.serialize())

    def head(self, sid: int, fields: Fields, end: bool = False, pad: int = 0) -> None:
        """Send a head, or trailers (with ``end``), in as many frames as it needs."""
        coded = self._encoder.encode(
            [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        )
        first = HeadersFrame(sid, coded[:_FRAME])
        rest = [coded[at : at + _FRAME] for at in range(_FRAME, len(coded), _FRAME)]
        if pad:
            first.flags.add("PADDED")
            first.pad_length = pad
        if end:
            first.flags.add("END_STREAM")
        frames: list[HeadersFrame | ContinuationFrame] = [
            first,
            *[ContinuationFrame(sid, part) for part in rest],
        ]
        frames[-1].flags.add("END_HEADERS")
        self.raw(b"".join(each.serialize() for each in frames))

    def push(
        self, sid: int, data: bytes, end: bool = False, trailers: Fields | None = None, pad: int = 0
    ) -> None:
        """Send content as the windows allow it, now and with each step; then trailers, or the end."""
        out = self._out(sid)
        out.waiting = memoryview(bytes(out.waiting) + data) if out.waiting else memoryview(data)
        out.end = end
        out.trailers = trailers
        out.pad = pad
        self._drain(sid, out)

    def ask(
        self,
        path: str = "/",
        *fields: tuple[str, str],
        method: str = "GET",
        body: bytes | None = None,
        end: bool = True,
        trailers: Fields | None = None,
        authority: str = "shop.example",
    ) -> Heard:
        """Send a request (``end``: all of it); return its stream, which is filled by ``step``."""
        pseudo = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)]
        return self.open([*pseudo, *fields], body, end, trailers)

    def open(
        self, fields: Fields, body: bytes | None = None, end: bool = True, trailers: Fields | None = None
    ) -> Heard:
        """Send a request of exactly these fields."""
        sid = self._next
        self._next += 2
        heard = self.streams[sid] = Heard(sid)
        bare = body is None and trailers is None
        self.head(sid, fields, end and bare)
        if not bare:
            self.push(sid, body or b"", end and trailers is None, trailers)
        self.sent_at = time.monotonic()
        return heard

    def answer(
        self,
        heard: Heard,
        status: int,
        *fields: tuple[str, str],
        body: bytes = b"",
        trailers: Fields | None = None,
    ) -> None:
        """Send an answer to a request that was heard."""
        bare = not body and trailers is None
        self.head(heard.sid, [(":status", str(status)), *fields], bare)
        if not bare:
            self.push(heard.sid, body, trailers is None, trailers)

    def reset(self, sid: int, code: int = CANCEL) -> None:
        """Send RST_STREAM; what waits on the stream is dropped."""
        self._outs.pop(sid, None)
        frame = RstStreamFrame(sid)
        frame.error_code = code
        self.frame(frame)
        self.sent_at = time.monotonic()

    def goaway(self, last: int, code: int = NO_ERROR, debug: bytes = b"") -> None:
        """Send GOAWAY."""
        self.frame(GoAwayFrame(0, last, code, debug))

    def change(self, settings: dict[int, int]) -> None:
        """Send SETTINGS."""
        frame = SettingsFrame(0)
        frame.settings = settings
        self._own_window = settings.get(INITIAL_WINDOW, self._own_window)
        self.frame(frame)
        for sid in [sid for sid in self._lacking if sid]:  # what was too little to tell may be a quarter now
            self._credit(sid, 0)

    def widen(self, sid: int, size: int) -> None:
        """Send WINDOW_UPDATE."""
        frame = WindowUpdateFrame(sid)
        frame.window_increment = size
        self.frame(frame)

    def close(self) -> None:
        """Close in order."""
        self.sock.close()
        self.gone = self.gone or FIN

    def abort(self) -> None:
        """End with a true RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def _out(self, sid: int) -> Out:
        if sid not in self._outs:
            self._outs[sid] = Out(self.settings.get(INITIAL_WINDOW, 65_535))
        return self._outs[sid]

    def _drain(self, sid: int, out: Out) -> None:
        frames = []
        extra = out.pad + 1 if out.pad else 0
        while out.waiting and (room := min(out.window, self._window, _FRAME) - extra) > 0:
            piece, out.waiting = bytes(out.waiting[:room]), out.waiting[room:]
            frame = DataFrame(sid, piece)
            if extra:
                frame.flags.add("PADDED")
                frame.pad_length = out.pad
            if out.end and not out.waiting:
                frame.flags.add("END_STREAM")
                out.end = False
            out.window -= len(piece) + extra
            self._window -= len(piece) + extra
            frames.append(frame.serialize())
        if not out.waiting and out.end:
            out.end = False
            last = DataFrame(sid, b"")
            last.flags.add("END_STREAM")
            frames.append(last.serialize())
        if frames:
            self.raw(b"".join(frames))
        if not out.waiting and out.trailers is not None:
            trailers, out.trailers = out.trailers, None
            self.head(sid, trailers, True)

    # In

    def step(self, seconds: float = 0.02) -> bool:
        """Read what comes within so many seconds, once; False: nothing did."""
        self.sock.settimeout(max(0.001, seconds))
        try:
            data = self.sock.recv(_PIECE)
        except TimeoutError:
            return False
        except ConnectionResetError:
            self.gone = RESET
            return True
        if not data:
            self.gone = FIN
            return True
        self._held += data
        self._read()
        return True

    def until(self, ask: Callable[[], object], seconds: float = 10.0, what: str = "") -> None:
        """Read until something holds; fails when it does not, or the connection ends before."""
        end = time.monotonic() + seconds
        while not ask():
            left = end - time.monotonic()
            assert left > 0, f"not within {seconds} s: {what or ask}"
            assert not self.gone, f"the connection ended ({self.gone}, {self.goaways}): {what or ask}"
            self.step(min(left, 0.5))

    def wait(self, *heard: Heard, seconds: float = 20.0) -> Heard:
        """Read until these streams are over, by their end or by RST_STREAM; return the first."""
        self.until(lambda: all(h.ended or h.reset is not None for h in heard), seconds, f"the end of {heard}")
        return heard[0]

    def fetch(
        self, path: str = "/", *fields: tuple[str, str], method: str = "GET", body: bytes | None = None
    ) -> Heard:
        """Ask, and wait for the whole answer."""
        return self.wait(self.ask(path, *fields, method=method, body=body))

    def quiet(self, seconds: float) -> bool:
        """Say whether no stream moves and the connection stays for so long."""
        before = self._state()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.gone:
            self.step(left)
        return not self.gone and before == self._state()

    def _state(self) -> list[tuple[object, ...]]:
        return [(h.length, h.ended, h.reset, len(h.headers)) for h in self.streams.values()]

    def rest(self, seconds: float = 5.0) -> str:
        """Read until the connection ends; return how it did, "" when it did not."""
        end = time.monotonic() + seconds
        while not self.gone and (left := end - time.monotonic()) > 0:
            self.step(left)
        return self.gone

    def settle(self) -> None:
        """Exchange a PING: what was sent before it has been seen by the other side."""
        before = len(self.pongs)
        self.frame(PingFrame(0, b"settle!!"))
        self.until(lambda: len(self.pongs) > before, what="the answer to PING")

    def _read(self) -> None:
        if self._preface:
            if len(self._held) < len(PREFACE):
                return
            assert self._held.startswith(PREFACE), self._held[:80]
            self._held = self._held[len(PREFACE) :]
            self._preface = False
        while len(self._held) >= 9:
            frame, size = Frame.parse_frame_header(memoryview(self._held[:9]))
            if len(self._held) < 9 + size:
                return
            frame.parse_body(memoryview(self._held[9 : 9 + size]))
            self._held = self._held[9 + size :]
            self._on(frame, size)

    def _on(self, frame: Frame, size: int) -> None:
        if isinstance(frame, DataFrame):
            self._on_data(frame, size)
        elif isinstance(frame, HeadersFrame):
            self._on_part(frame.stream_id, bytes(frame.data), "END_STREAM" in frame.flags, frame)
        elif isinstance(frame, ContinuationFrame):
            assert self._block is not None
            sid, begun, end = self._block
            self._on_part(sid, begun + bytes(frame.data), end, frame)
        elif isinstance(frame, RstStreamFrame):
            heard = self.streams[frame.stream_id]
            heard.reset_at = time.monotonic()  # first: a test may wait for the other in another thread
            heard.reset = frame.error_code
            self._outs.pop(frame.stream_id, None)
        elif isinstance(frame, GoAwayFrame):
            self.goaways.append(frame)
        else:
            self._on_control(frame)

    def _on_control(self, frame: Frame) -> None:
        if isinstance(frame, PingFrame):
            if "ACK" in frame.flags:
                self.pongs.append(frame.opaque_data)
            else:
                pong = PingFrame(0, frame.opaque_data)
                pong.flags.add("ACK")
                self.frame(pong)
        elif isinstance(frame, SettingsFrame) and "ACK" in frame.flags:
            self.acknowledged += 1
        elif isinstance(frame, SettingsFrame):
            change = frame.settings.get(INITIAL_WINDOW, self.settings.get(INITIAL_WINDOW, 65_535))
            change -= self.settings.get(INITIAL_WINDOW, 65_535)
            self.settings.update(frame.settings)
            answer = SettingsFrame(0)
            answer.flags.add("ACK")
            self.frame(answer)
            for sid, out in list(self._outs.items()):
                out.window += change
                self._drain(sid, out)
        elif isinstance(frame, WindowUpdateFrame):
            if frame.stream_id:
                self._out(frame.stream_id).window += frame.window_increment
            else:
                self._window += frame.window_increment
            for sid, out in list(self._outs.items()):
                self._drain(sid, out)

    def _on_data(self, frame: DataFrame, size: int) -> None:
        heard = self.streams[frame.stream_id]
        assert heard.headers, "content before its head"
        heard.take(bytes(frame.data))
        heard.ended = heard.ended or "END_STREAM" in frame.flags
        self._credit(0, size)
        if not heard.ended and self.credit(heard.sid):
            self._credit(heard.sid, size)

    def _credit(self, sid: int, size: int) -> None:
        """Tell in quarters of the window, as most peers do."""
        lacking = self._lacking.pop(sid, 0) + size
        if lacking * 4 >= (min(self._own_window, 65_535) if sid else 65_535) and lacking:
            self.widen(sid, lacking)
        else:
            self._lacking[sid] = lacking

    def _on_part(self, sid: int, coded: bytes, end: bool, frame: Frame) -> None:
        if "END_HEADERS" not in frame.flags:
            self._block = (sid, coded, end)
            return
        self._block = None
        fields = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._decoder.decode(coded, raw=True)
        ]
        heard = self.streams.setdefault(sid, Heard(sid))
        if self._client and any(name == ":status" and value[0] == "1" for name, value in fields):
            heard.interim.append(fields)
        elif heard.headers:
            heard.trailers = fields
        else:
            heard.headers = fields
        heard.ended = heard.ended or end


def linger(peer: Peer, seconds: float) -> None:
    """Let time pass while frames are still read and answered."""
    peer.quiet(seconds)
