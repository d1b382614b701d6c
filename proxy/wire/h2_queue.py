"""Flow control of an HTTP/2 connection (RFC 9113, section 5.2), and what waits for it.

Receiving: the connection's window is credited when bytes arrive, that of a stream only when its owner has
passed them on.  So a slow reader holds back its own stream and no other.

Sending: content that the peer's windows do not allow waits on its stream.  Streams that wait for the window
of the connection take turns, a frame each.  The last few bytes of a window are not used for
themselves: a peer that credits frame by frame would be sent ever smaller ones (the silly window syndrome,
RFC 9293, section 3.8.6.2).
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_base import H2Base
from proxy.wire.h2_block import Block
from proxy.wire.h2_frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED
from proxy.wire.h2_guard import LEAST_UPDATE, TINY, WORTH_SENT
from proxy.wire.h2_streams import Stream

_WHOLE_AND_LAST: Final = END_HEADERS | END_STREAM
_WHOLE: Final = 16384  # bytes: pieces that waited are joined to frames of this size
# Bytes: what waits in smaller pieces is joined at once, as an object costs more memory than its few bytes.
SMALL: Final = 1024


class H2Queue(H2Base):
    """The layer of windows."""

    # -- receiving

    def credit(self, stream: Stream, size: int) -> None:
        """Note that ``size`` flow-controlled bytes of a stream were passed on; tells the peer in quarters."""
        stream.uncredited += size
        if stream.uncredited * 4 < self._local_window or stream.uncredited == 0:
            return
        if stream.recv_ended or stream.closed or stream.withheld or self.withheld:
            return
        self._send_window_update(stream.sid, stream.uncredited)
        stream.recv_window += stream.uncredited
        stream.uncredited = 0

    def _count_flow(self, size: i64) -> None:
        """Count content that has come in the connection's window; tells the peer in quarters."""
        window: i64 = self._recv_window - size
        self._recv_window = window
        if size and window < 0:
            raise self._error("window_exceeded", "more content than the connection's window")
        uncredited: i64 = self._uncredited + size
        self._uncredited = uncredited
        if uncredited * 4 >= self.settings.connection_window:
            self._credit_connection()

    def _credit_connection(self) -> None:
        """Tell the peer what it was not told of the connection's window, if that is a quarter."""
        uncredited = self._uncredited
        if uncredited * 4 >= self.settings.connection_window and not self.withheld and uncredited:
            self._send_window_update(0, uncredited)
            self._recv_window += uncredited
            self._uncredited = 0

    def withhold(self, stream: Stream | None, on: bool) -> None:
        """Send no WINDOW_UPDATE, or do so again, for a stream or (None) the whole connection."""
        if stream is not None:
            stream.withheld = on
            self.credit(stream, 0)
            return
        self.withheld = on
        self._credit_connection()
        for each in list(self.streams.values()):
            self.credit(each, 0)

    # -- sending

    def pause(self) -> None:
        """Note that the transport takes no more: content waits on its stream, and nothing is to be taken."""
        self.paused = True

    def resume(self) -> None:
        """Note that the transport takes more; what waited is queued, and told by next()."""
        self.paused = False
        self._drain_all()

    def room(self, stream: Stream) -> i64:
        """How many bytes of content could go out on a stream now."""
        return 0 if self.paused else min(stream.send_window, self._send_window)

    def use_rest(self) -> None:
        """Use the last few bytes of windows too: a peer may credit nothing before all is used."""
        if self._blocked:
            self._to_the_last = True
            self._drain_all()
            self._to_the_last = False

    def _enqueue(self, stream: Stream, piece: bytes, end: bool) -> i64:
        """Let content wait that cannot go out in one frame at once; gives the bytes that wait then."""
        if stream.closed or stream.send_ended or stream.queue_ends or (not piece and not end):
            return stream.queued
        queue = stream.queue
        fresh = queue is None
        if queue is None:
            queue = stream.queue = deque()
            self._blocked[stream.sid] = stream
        if piece:
            if queue and len(queue[-1]) + len(piece) <= SMALL:
                queue[-1] += piece
            else:
                queue.append(piece)
            stream.queued += len(piece)
            self.held += len(piece)
        stream.queue_ends = end
        if not fresh:
            return stream.queued
        told = stream.told
        stream.told = False  # what goes out at once is told by what this returns
        self._drain(stream, 1 << 30)
        stream.told = told
        if stream.queue is None:
            stream.passed = 0
            return 0
        if stream.passed:
            self._tell(stream)
        return stream.queued

    def _drain(self, stream: Stream, frames: i64) -> None:
        """Send what waits on a stream, as far as windows and a number of frames allow."""
        queue = stream.queue
        if queue is None or self.paused:
            return
        ended = False
        while queue:
            room: i64 = min(stream.send_window, self._send_window, self.peer_max_frame)
            if room <= 0 or frames == 0:
                return
            if (
                room < TINY
                and room < stream.queued
                and self.peer_initial_window >= 4 * TINY
                and not self._to_the_last
            ):
                return  # more than three quarters of the window are with the peer: it will credit them
            overhead: i64 = self.padding + 1 if 0 < self.padding < room - 1 else 0
            room -= overhead
            if 0 < self.frame_size < room:
                room = self.frame_size
            piece = queue[0]
            size: i64 = len(piece) - stream.queue_at
            if size <= room:
                if stream.queue_at:
                    piece = piece[stream.queue_at :]
                    stream.queue_at = 0
                queue.popleft()
                if queue and size < _WHOLE:
                    piece = _joined(piece, queue, min(room, _WHOLE))
                ended = not queue and stream.queue_ends and stream.queue_trailers is None
            else:
                size = room
                piece = piece[stream.queue_at : stream.queue_at + size]
                stream.queue_at += size
            self._send_waiting(stream, piece, overhead, ended)
            frames -= 1
        self._drained(stream, ended)

    def _send_waiting(self, stream: Stream, piece: bytes, overhead: i64, ended: bool) -> None:
        """Send one frame of what waited, with ``overhead`` bytes of padding and its length, and note it."""
        size: i64 = len(piece)
        flags: i64 = END_STREAM if ended else 0
        if overhead:
            self._out.frame(size + overhead, DATA, flags | PADDED, stream.sid)
            self._out.write(bytes((overhead - 1,)))
            self._out.write(piece)
            self._out.write(bytes(overhead - 1))
        else:
            self._out.whole(piece, DATA, flags, stream.sid)
        stream.send_window -= size + overhead
        self._send_window -= size + overhead
        stream.queued -= size
        self.held -= size
        stream.passed += size
        wanted = size == self.frame_size  # so small a frame is not the peer's doing
        if size >= LEAST_UPDATE or wanted:
            self.guard.sent += max(size + overhead, LEAST_UPDATE) << 1
        if size >= TINY or wanted:
            self.guard.useful += WORTH_SENT
        self._tell(stream)

    def _drained(self, stream: Stream, ended: bool) -> None:
        """Nothing waits any more: send what was to follow, unless the end went out with the last frame."""
        stream.queue = None
        del self._blocked[stream.sid]
        self._tell(stream)
        trailers = stream.queue_trailers
        if trailers is not None:
            stream.queue_trailers = None
            self._send_block(stream, trailers, stream.queue_extra, True)
        elif stream.queue_ends:
            if not ended:
                self._out.frame(0, DATA, END_STREAM, stream.sid)
            self._end_sending(stream)

    def _drain_all(self) -> None:
        """Send what waits on all streams: a frame each in turn, as long as any can go on."""
        progress = True
        while progress and self._blocked and not self.paused:
            progress = False
            for stream in list(self._blocked.values()):
                before = stream.queued
                self._drain(stream, 1)
                if stream.queue is None or stream.queued != before:
                    progress = True
                    if stream.queue is not None:  # to the end of the line
                        del self._blocked[stream.sid]
                        self._blocked[stream.sid] = stream

    # -- header blocks

    def _send_block(self, stream: Stream, block: Block, extra: bytes, end: bool) -> None:
        coded = self._encoder.encode(block)
        if extra:
            coded += extra
        size: i64 = len(coded)
        self._heads += size
        if size > self.peer_max_frame:
            self._send_long_block(stream.sid, coded, END_STREAM if end else 0)
        else:
            self._out.whole(coded, HEADERS, _WHOLE_AND_LAST if end else END_HEADERS, stream.sid)
        if end:
            stream.send_ended = True
            if stream.recv_ended:
                self._close(stream)

    def _send_long_block(self, sid: i64, coded: bytes, flags: i64) -> None:
        size: i64 = len(coded)
        kind: i64 = HEADERS
        at: i64 = 0
        while at < size:
            part = coded[at : at + self.peer_max_frame]
            at += len(part)
            self._out.frame(len(part), kind, flags | (END_HEADERS if at >= size else 0), sid)
            self._out.write(part)
            kind = CONTINUATION
            flags = 0


def _joined(piece: bytes, queue: deque[bytes], most: i64) -> bytes:
    """Put what waits behind a piece into its frame, up to ``most`` bytes."""
    parts = [piece]
    size: i64 = len(piece)
    while queue and size < most:
        part = queue[0]
        if size + len(part) <= most:
            queue.popleft()
        else:
            queue[0] = part[most - size :]
            part = part[: most - size]
        size += len(part)
        parts.append(part)
    return b"".join(parts)
