"""What all parts of an HTTP/2 connection share: its state, the small frames, the end of streams.

``h2.H2Connection`` is the whole; it is built up in layers, each with one subject::

    h2_base     H2Base        state, small frames, the end of a stream
    h2_queue    H2Queue       flow control in both directions, and what waits for it
    h2_send     H2Sender      what the owner does
    h2_control  H2Control     frames about the connection and about streams
    h2          H2Connection  bytes in, heads and content out
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_block import CONNECT_REQUEST, REQUEST, RESPONSE, Block
from proxy.wire.h2_errors import H2_KINDS, NO_ERROR, STREAM_KINDS, H2Error
from proxy.wire.h2_frames import (
    DEFAULT_WINDOW,
    GOAWAY,
    LAST_STREAM_ID,
    PING,
    RST_STREAM,
    SETTINGS,
    SMALLEST_MAX_FRAME,
    WINDOW_UPDATE,
    Output,
)
from proxy.wire.h2_guard import MOST_CONTROL, Guard
from proxy.wire.h2_streams import CLOSED, Past, Stream
from proxy.wire.hpack_decode import Decoder
from proxy.wire.hpack_encode import Encoder

# Roles.
SERVER: Final = 0
CLIENT: Final = 1

# What next() gives.
NEED: Final = 0  # nothing more without another feed
HEAD: Final = 1  # a request, or the final head of a response: `block`; `end` when nothing follows
DATA: Final = 2  # content: `piece`; `flow` is what it counts in windows; `end` when nothing follows
TRAILERS: Final = 3  # `block`; the stream's last
END: Final = 4  # the stream ended with nothing more
RESET: Final = 5  # the stream is over: `code`; `kind` is "" when the peer sent it, else what it did wrong
INTERIM: Final = 6  # a 1xx head: `block`
WRITABLE: Final = 7  # `flow` bytes that waited on the stream have gone out
GOAWAY_CAME: Final = 8  # `code`, `last`, debug data in `piece`; RESET follows for each lost stream
STREAMS: Final = 9  # the peer's limits changed: open() may give more, or fewer
PONG: Final = 10  # the answer to ping(): `piece`
REFUSED: Final = 11  # a request was refused that nobody saw: `kind`, `code`, `block`

_NO_STREAM: Final = Stream(0, 0, 0, 0.0)
_NO_BLOCK: Final = Block.of([])


class H2Settings:
    """What we offer.  Windows and sizes are bytes; ``max_streams`` is how many the peer may have open.

    ``max_fields``: so many fields a message may have, as HTTP/1.1 counts them (Block.count).
    """

    def __init__(
        self,
        initial_window: int = 131072,
        connection_window: int = 1 << 24,
        max_streams: int = 100,
        max_header_list: int = 65536,
        enable_connect_protocol: bool = False,
        max_fields: int = 1 << 20,
    ) -> None:
        self.initial_window: int = initial_window
        self.connection_window: int = connection_window
        self.max_streams: int = max_streams
        self.max_header_list: int = max_header_list
        self.enable_connect_protocol: bool = enable_connect_protocol
        self.max_fields: int = max_fields


class H2Base:
    """See above.  What is rarely looked at has its first value from the class."""

    # the owner's switches
    ignore_ping: bool = False  # no PING is answered
    withheld: bool = False  # set by withhold(): no WINDOW_UPDATE is sent
    # what the owner may look at
    held: i64 = 0  # bytes that wait on all streams
    head_since: float = 0.0  # when the head of a message began to come that is not complete; 0: there is none
    peer_connect_protocol: bool = False  # RFC 8441
    peer_max_header_list: int = -1
    resets: deque[float] | None = None  # when we reset streams of ours that were being answered, lately
    # of the last event, where there was any
    code: int = 0
    kind: str = ""
    last: int = 0
    _to_the_last: bool = False  # during use_rest()
    _control: i64 = 0  # answers to the peer's frames since the last take
    _heads: i64 = 0  # bytes of header blocks since the last take
    _pings: i64 = 0  # PINGs of ours that are not answered
    # of the streams in _lost
    _lost_code: int = NO_ERROR
    _lost_kind: str = ""
    _failed: H2Error | None = None

    def __init__(self, role: int, settings: H2Settings) -> None:
        self.role: int = role
        self.settings: H2Settings = settings
        self.now: float = 0.0  # of the last feed; the owner may set it later
        self.streams: dict[int, Stream] = {}  # those that are open, by id
        self.guard: Guard = Guard()
        # the owner's switches
        self.paused: bool = False  # set by pause() and resume()
        self.padding: i64 = 0  # bytes of padding in each DATA frame, 0 to 255
        self.frame_size: i64 = 0  # the most content of a DATA frame; 0: what the peer takes
        # what the owner may look at
        self.goaway_sent: bool = False
        self.goaway_received: bool = False
        self.last_sid: i64 = 0  # the highest id that the peer opened
        self.peer_max_streams: i64 = LAST_STREAM_ID
        self.peer_initial_window: i64 = DEFAULT_WINDOW
        self.peer_max_frame: i64 = SMALLEST_MAX_FRAME
        # of the last event
        self.stream: Stream = _NO_STREAM
        self.block: Block = _NO_BLOCK
        self.piece: bytes = b""
        self.flow: i64 = 0
        self.end: bool = False
        self._out: Output = Output()
        self._decoder: Decoder = _decoder(role, settings)
        self._encoder: Encoder = Encoder()
        self._past: Past = Past()
        self._next_sid: i64 = 1
        self._opening: i64 = 0  # streams of open() whose heads are not sent
        self._accepted_to: i64 = LAST_STREAM_ID  # ids beyond are ignored, after a GOAWAY
        self._send_window: i64 = DEFAULT_WINDOW
        self._recv_window: i64 = DEFAULT_WINDOW
        self._uncredited: i64 = 0  # bytes that the connection's window lacks
        self._local_window: i64 = DEFAULT_WINDOW  # of new streams, as the peer knows it
        self._local_streams: i64 = settings.max_streams
        self._unacknowledged: deque[tuple[int, int]] = deque()  # our SETTINGS: window, streams
        self._blocked: dict[int, Stream] = {}  # streams that have something queued
        self._told: list[Stream] = []  # streams with progress to tell
        self._lost: list[Stream] = []  # streams whose end is to be told
        self._pending: bool = False  # one of the two is not empty

    # -- small frames

    def _send_settings(self, pairs: list[tuple[int, int]]) -> None:
        self._out.frame(6 * len(pairs), SETTINGS, 0, 0)
        for key, value in pairs:
            self._out.write(key.to_bytes(2, "big"))
            self._out.word(value)

    def _send_window_update(self, sid: i64, size: i64) -> None:
        self._out.frame(4, WINDOW_UPDATE, 0, sid)
        self._out.word(size)

    def _send_reset(self, sid: i64, code: i64) -> None:
        self._out.frame(4, RST_STREAM, 0, sid)
        self._out.word(code)
        self._past.add_reset(sid, self.now)

    def ping(self, payload: bytes) -> None:
        """Queue a PING of 8 bytes; its answer is told as PONG."""
        self._pings += 1
        self._out.frame(8, PING, 0, 0)
        self._out.write(payload)

    def goaway(self, last_sid: int = -1, code: int = NO_ERROR, debug: bytes = b"") -> None:
        """Queue a GOAWAY; requests beyond ``last_sid`` (-1: the last that came) are ignored from now on."""
        last: i64 = self.last_sid if last_sid < 0 else last_sid
        self._out.frame(8 + len(debug), GOAWAY, 0, 0)
        self._out.word(last)
        self._out.word(code)
        self._out.write(debug)
        self.goaway_sent = True
        if last < self._accepted_to:
            self._accepted_to = last

    # -- errors

    def _error(self, kind: str, text: str) -> H2Error:
        """Make the error that ends the connection; next() queues its GOAWAY."""
        return H2Error(H2_KINDS[kind], kind, text)

    def _abuse(self, kind: str) -> None:
        """Count a frame that is good for nothing; raises H2Error over the budget."""
        if self.guard.count_abuse(kind, self.now):
            raise self._error(kind, "too many frames that carry nothing")

    def _answered(self) -> None:
        """Count a frame of ours that answers one of the peer's; raises H2Error when it does not read them."""
        self._control += 1
        if self._control > MOST_CONTROL:
            raise self._error("control_backlog", "the peer asks and does not read the answers")

    def _refuse_stream(self, sid: i64, kind: str) -> None:
        """Reset a stream for what the peer did; raises H2Error when it does so too often."""
        self.code = STREAM_KINDS[kind]
        self.kind = kind
        self._send_reset(sid, self.code)
        self._answered()
        if kind == "too_many_streams":
            self._abuse("refused_stream_flood")
        elif self.role == SERVER and self.guard.count_reset("made_you_reset", self.now):
            raise self._error("made_you_reset", "too many streams that had to be reset")

    def _stream_error(self, stream: Stream, kind: str) -> int:
        """Reset an open stream for what the peer did."""
        self._drop(stream)
        self._refuse_stream(stream.sid, kind)
        self.stream = stream
        return RESET

    # -- the end of a stream

    def _end_sending(self, stream: Stream) -> None:
        """Note that our half has ended."""
        stream.send_ended = True
        if stream.recv_ended:
            self._close(stream)

    def _close(self, stream: Stream) -> None:
        """Forget a stream of which both halves have ended."""
        stream.closed = True
        stream.state = CLOSED
        del self.streams[stream.sid]

    def _drop(self, stream: Stream) -> None:
        """Forget a stream that is reset, and what waits on it."""
        self._close(stream)
        if stream.queue is not None:
            self.held -= stream.queued
            stream.queued = 0
            stream.queue = None
            del self._blocked[stream.sid]

    def _tell(self, stream: Stream) -> None:
        """Have next() tell that something which waited has gone out."""
        if stream.told:
            stream.told = False
            self._told.append(stream)
            self._pending = True


def _decoder(role: int, settings: H2Settings) -> Decoder:
    """Make what reads the peer's header blocks."""
    rules = RESPONSE
    if role == SERVER:
        rules = CONNECT_REQUEST if settings.enable_connect_protocol else REQUEST
    return Decoder(rules, settings.max_header_list, settings.max_fields)
