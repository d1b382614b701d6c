"""Reads and writes HTTP/2, both roles, without input or output of its own (RFC 9113, RFC 7541, RFC 8441).

Bytes are pushed in, events are pulled out, and what is to be written is taken once per wake-up::

    connection = H2Connection(SERVER, H2Settings())
    connection.start()
    connection.feed(data, now)
    while (event := connection.next()) != NEED: ...
    transport.write(connection.take())

    a request, or a response:   INTERIM*  HEAD  DATA*  (TRAILERS | END)      or RESET at any point

HEAD and DATA carry ``end``: True when the frame ended the stream, and nothing follows then.  END comes where
a frame without content ended it.  What the events carry is listed in ``h2_base``; the states of a
stream are in ``h2_streams``, the budgets against abuse in ``h2_guard``.

A connection that has raised H2Error raises it again: its GOAWAY is there to be taken, nothing else goes on.
"""

from mypy_extensions import i64

from proxy.wire.h2_ahead import decode_ahead
from proxy.wire.h2_base import CLIENT as CLIENT
from proxy.wire.h2_base import DATA as DATA
from proxy.wire.h2_base import END as END
from proxy.wire.h2_base import GOAWAY_CAME as GOAWAY_CAME
from proxy.wire.h2_base import HEAD as HEAD
from proxy.wire.h2_base import INTERIM as INTERIM
from proxy.wire.h2_base import NEED as NEED
from proxy.wire.h2_base import PONG as PONG
from proxy.wire.h2_base import REFUSED as REFUSED
from proxy.wire.h2_base import RESET as RESET
from proxy.wire.h2_base import SERVER as SERVER
from proxy.wire.h2_base import STREAMS as STREAMS
from proxy.wire.h2_base import TRAILERS as TRAILERS
from proxy.wire.h2_base import WRITABLE as WRITABLE
from proxy.wire.h2_base import H2Settings as H2Settings
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import CANCEL, H2Error
from proxy.wire.h2_frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    FRAME_HEAD,
    HEADERS,
    LARGEST,
    NATIVE,
    PADDED,
    PREFACE,
    SETTINGS,
    SMALLEST_MAX_FRAME,
    UNPACK,
    UNUSUAL,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    word,
)
from proxy.wire.h2_frames import DATA as DATA_FRAME
from proxy.wire.h2_guard import MOST_BLOCK, MOST_CONTINUATIONS
from proxy.wire.h2_message import H2Messages
from proxy.wire.h2_streams import (
    BODY,
    CLOSED_ERROR,
    ENDED_ERROR,
    IDLE_ERROR,
    ON_DATA,
    VERDICTS,
    Stream,
)


class H2Connection(H2Messages):
    """One HTTP/2 connection.  ``now`` is any clock's time in seconds that does not go back."""

    def __init__(self, role: int, settings: H2Settings) -> None:
        super().__init__(role, settings)
        self._data: bytes = b""  # what was read and not looked at yet,
        self._at: i64 = 0  # from here on
        self._preface: bool = role == SERVER  # still to come
        self._settled: bool = False  # the peer's SETTINGS came
        self._plain: bool = False  # they did, and no header block goes on: any frame may come
        self._ended: bool = False
        self._ahead: list[Block | H2Error] = []  # the blocks of frames to come, the next one last
        # a header block that goes on in CONTINUATION
        self._block_sid: i64 = 0
        self._block_flags: i64 = 0
        self._block_parts: list[bytes] = []
        self._block_size: i64 = 0
        self._block_self: bool = False  # it depends on itself

    def feed(self, data: bytes, now: float) -> None:
        """Take in what was read."""
        self.now = now
        if self._at < len(self._data):
            self._data = self._data[self._at :] + data
        else:
            self._data = data
        self._at = 0

    def feed_eof(self) -> None:
        """Note that the peer sends no more: open streams that are not ended are told as RESET."""
        self._ended = True

    @property
    def settled(self) -> bool:
        """Whether the peer's first SETTINGS came."""
        return self._settled

    @property
    def head_follows(self) -> bool:
        """Whether another frame of HEADERS lies right behind what next() has read."""
        at = self._at
        return len(self._data) - at > FRAME_HEAD and self._data[at + 3] == HEADERS

    @property
    def buffered(self) -> int:
        """How many bytes are held that no event has delivered."""
        return len(self._data) - self._at + self._block_size

    def next(self) -> int:
        """Read on to the next event: take in frames until one gives it; raises H2Error."""
        try:
            if self._pending:
                event = self._next_told()
                if event != NEED:
                    return event
            if not self._plain and not self._ready():
                return self._starved()
            data, at = self._data, self._at
            size: i64 = len(data)
            while size - at >= FRAME_HEAD:
                if NATIVE:
                    first: i64 = word(data, at)
                    flags: i64 = data[at + 4]
                    sid: i64 = word(data, at + 5)
                else:
                    first, flags, sid = UNPACK(data, at)
                if first > LARGEST:
                    raise self._error("frame_too_large", "a frame of more than 16384 bytes")
                start: i64 = at + FRAME_HEAD
                at = start + (first >> 8)
                if at > size:
                    break
                self._at = at
                kind: i64 = first & 255
                sid &= 0x7FFFFFFF
                if kind == DATA_FRAME and sid and not flags & PADDED and self._plain:
                    event = self._on_data(sid, data[start:at], at - start, flags & END_STREAM != 0)
                elif kind == HEADERS and sid and flags & UNUSUAL == END_HEADERS and self._plain:
                    coded = data[start:at]
                    known = None if self._ahead else self._decoder.blocks.get(coded)
                    event = self._on_block(sid, known or self._decode(coded), flags & END_STREAM != 0, False)
                else:
                    event = self._on_frame(data, start, at, kind, flags, sid)
                if event != NEED:
                    return event
            return self._starved()
        except H2Error as error:
            self._fail(error)
            raise

    def _fail(self, error: H2Error) -> None:
        """Note the error that ends the connection: from now on there is nothing else to read."""
        if self._failed is not None:
            return
        self._failed = error
        self._plain = self._pending = False
        self.goaway(-1, error.code, error.text.encode("ascii", "replace"))

    def _ready(self) -> bool:
        """Tell whether frames may be read: not before the preface."""
        failed = self._failed
        if failed is not None:
            raise H2Error(failed.code, failed.kind, failed.text)
        return not self._preface or self._take_preface(self._data, len(self._data))

    def _next_told(self) -> int:
        """Tell what is not in a frame: progress of what waited, streams that were lost."""
        while self._told:
            stream = self._told.pop()
            stream.told = True
            if stream.closed and not (stream.send_ended and stream.recv_ended):
                continue
            self.stream = stream
            self.flow = stream.passed
            stream.passed = 0
            return WRITABLE
        if self._lost:
            self.stream = self._lost.pop()
            self.code = self._lost_code
            self.kind = self._lost_kind
            return RESET
        self._pending = False
        return NEED

    # -- frames

    def _take_preface(self, data: bytes, size: i64) -> bool:
        """Check the client's preface as far as it came; True when it is complete (RFC 9113, section 3.4)."""
        if not PREFACE.startswith(data[:24]):
            raise self._error("bad_preface", "not the preface of HTTP/2")
        if size < 24:
            return False
        self._preface = False
        self._at = 24
        return True

    def _starved(self) -> int:
        """Say what the lack of bytes means; and note since when a head has been here in part."""
        left: i64 = len(self._data) - self._at
        if self._block_sid:
            if self.head_since == 0.0:
                self.head_since = self.now
        elif left == 0 or (left > 3 and not self._preface and self._data[self._at + 3] != HEADERS):
            self.head_since = 0.0
        elif self._at > 0 or self.head_since == 0.0:
            self.head_since = self.now
        if not self._ended:
            return NEED
        if self.streams and not self._pending:
            self._lose(list(self.streams.values()), CANCEL, "connection_ended")
        return self._next_told()

    def _on_frame(self, data: bytes, start: i64, end: i64, kind: i64, flags: i64, sid: i64) -> int:
        """Take in one frame that most are not like; its payload lies between ``start`` and ``end``."""
        event = self._on_rare(data, start, end, kind, flags, sid)
        return self._next_told() if event == NEED and self._pending else event

    def _on_rare(self, data: bytes, start: i64, end: i64, kind: i64, flags: i64, sid: i64) -> int:
        if not self._plain:
            if self._block_sid:
                return self._on_continuation(data[start:end], kind, flags, sid)
            if kind != SETTINGS or flags & ACK:
                raise self._error("missing_settings", "a first frame that is not SETTINGS")
            self._settled = self._plain = True
        if kind == DATA_FRAME:
            return self._on_padded(data, start, end, flags, sid)
        if kind == HEADERS:
            return self._on_headers(data, start, end, flags, sid)
        if kind == WINDOW_UPDATE:
            if end - start != 4:
                raise self._error("bad_frame_size", "WINDOW_UPDATE that is not of 4 bytes")
            return self._on_window_update(sid, word(data, start))
        if kind == CONTINUATION:
            raise self._error("bad_continuation", "CONTINUATION of nothing")
        return self._on_other(kind, flags, sid, data[start:end])

    def _unpadded(self, data: bytes, start: i64, end: i64) -> i64:
        """Give where the content of a padded frame ends (RFC 9113, section 6.1)."""
        if start == end:
            raise self._error("bad_frame_size", "a padded frame without the length of its padding")
        end -= data[start]
        if end <= start:
            raise self._error("bad_padding", "padding longer than its frame")
        return end

    # -- content

    def _on_padded(self, data: bytes, start: i64, end: i64, flags: i64, sid: i64) -> int:
        """RFC 9113, section 6.1; all of the frame counts in windows."""
        if sid == 0:
            raise self._error("bad_stream_id", "DATA on stream 0")
        flow: i64 = end - start
        if flags & PADDED:
            end = self._unpadded(data, start, end)
            start += 1
        return self._on_data(sid, data[start:end], flow, flags & END_STREAM != 0)

    def _on_data(self, sid: i64, piece: bytes, flow: i64, ends: bool) -> int:
        """Deliver content, if windows and content-length (RFC 9113, section 8.1.1) allow it."""
        stream = self.streams.get(sid)
        if stream is None or stream.state != BODY:
            return self._misplaced_data(sid, stream, flow)
        self._count_flow(flow)
        window: i64 = stream.recv_window - flow
        stream.recv_window = window
        if window < 0:
            return self._stream_error(stream, "window_exceeded")
        size: i64 = len(piece)
        received: i64 = stream.received + size
        stream.received = received
        expected = stream.expected
        if expected >= 0 and received != expected and (ends or received > expected):
            return self._stream_error(stream, "length_mismatch")
        self.stream = stream
        if ends:
            self._end_receiving(stream)
        if size == 0:
            return self._on_empty(stream, flow, ends)
        self.guard.useful += 1
        self.piece = piece
        self.flow = flow
        self.end = ends
        return DATA

    def _on_empty(self, stream: Stream, flow: i64, ends: bool) -> int:
        """A frame has come that has no content."""
        if ends:
            self.end = True
            return END
        self._abuse("empty_data_flood")
        self.credit(stream, flow)
        return NEED

    def _misplaced_data(self, sid: i64, stream: Stream | None, flow: i64) -> int:
        """Judge content that no stream takes; it counts in the connection's window all the same."""
        state = self._state_of_missing(sid) if stream is None else stream.state
        verdict: i64 = VERDICTS[(state << 2) | ON_DATA]
        if verdict == IDLE_ERROR:
            raise self._error("idle_stream", "DATA on an idle stream")
        self._count_flow(flow)
        if stream is None:
            if verdict == CLOSED_ERROR:
                raise self._error("closed_stream", "DATA on a closed stream")
            return NEED
        return self._stream_error(stream, "ended_stream" if verdict == ENDED_ERROR else "body_before_head")

    # -- header blocks

    def _decode(self, coded: bytes) -> Block:
        """Decode the block of a plain frame, and those that were read behind it; or that was done before."""
        ahead = self._ahead
        if not ahead:
            block = self._decoder.decode(coded)
            self._ahead = decode_ahead(self._decoder, self._data, self._at)
            return block
        found = ahead.pop()
        if isinstance(found, H2Error):
            raise found
        return found

    def _on_headers(self, data: bytes, start: i64, end: i64, flags: i64, sid: i64) -> int:
        """RFC 9113, section 6.2."""
        if sid == 0:
            raise self._error("bad_stream_id", "HEADERS on stream 0")
        if flags & PADDED:
            end = self._unpadded(data, start, end)
            start += 1
        itself = False
        if flags & WITH_PRIORITY:
            if end - start < 5:
                raise self._error("bad_frame_size", "HEADERS without the priority that it announces")
            itself = word(data, start) & 0x7FFFFFFF == sid
            start += 5
        fragment = data[start:end]
        if flags & END_HEADERS:
            return self._on_block(sid, self._decoder.decode(fragment), flags & END_STREAM != 0, itself)
        self._plain = False
        self._block_sid = sid
        self._block_flags = flags
        self._block_parts = [fragment]
        self._block_size = len(fragment)
        self._block_self = itself
        return NEED

    def _on_continuation(self, fragment: bytes, kind: i64, flags: i64, sid: i64) -> int:
        """RFC 9113, section 6.10: nothing may come between, and neither may it go on for ever."""
        if kind != CONTINUATION or sid != self._block_sid:
            raise self._error("bad_continuation", "a header block that is interrupted")
        self._block_parts.append(fragment)
        self._block_size += len(fragment)
        allowed: i64 = self.settings.max_header_list
        most_parts: i64 = allowed // SMALLEST_MAX_FRAME  # of frames as large as we offer
        most_parts = max(MOST_CONTINUATIONS, most_parts + 1)
        if self._block_size > max(MOST_BLOCK, allowed) or len(self._block_parts) > most_parts + 1:
            raise self._error("continuation_flood", "a header block of too many or too large frames")
        if not flags & END_HEADERS:
            return NEED
        coded = b"".join(self._block_parts)
        self.head_since = 0.0
        self._plain = True
        self._block_sid = 0
        self._block_parts = []
        self._block_size = 0
        block = self._decoder.decode(coded)
        return self._on_block(sid, block, self._block_flags & END_STREAM != 0, self._block_self)
