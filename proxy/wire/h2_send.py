"""What the owner of an HTTP/2 connection does: opens, sends, ends."""

from collections import deque
from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_base import CLIENT
from proxy.wire.h2_block import Block
from proxy.wire.h2_frames import (
    DATA,
    DEFAULT_WINDOW,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    END_STREAM,
    INITIAL_WINDOW_SIZE,
    LAST_STREAM_ID,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    PREFACE,
)
from proxy.wire.h2_guard import WORTH_SENT
from proxy.wire.h2_queue import H2Queue
from proxy.wire.h2_streams import CLOSED, HEAD, TUNNEL, Stream

_MOST_RESETS: Final = 1000  # that are remembered
_CLEANED_UP: Final = 1.0  # seconds after which a peer counts a stream no more that we have reset


class H2Sender(H2Queue):
    """The layer of the owner's calls.

    Sending on a stream that is closed does nothing: the peer may have reset it a moment ago.
    """

    # -- the connection

    def start(self) -> None:
        """Queue the preface: our SETTINGS and the connection's window.  Once, before anything else."""
        settings = self.settings
        pairs = [
            (INITIAL_WINDOW_SIZE, settings.initial_window),
            (MAX_HEADER_LIST_SIZE, settings.max_header_list),
        ]
        if self.role == CLIENT:
            self._out.write(PREFACE)
            pairs.append((ENABLE_PUSH, 0))
        else:
            pairs.append((MAX_CONCURRENT_STREAMS, settings.max_streams))
            if settings.enable_connect_protocol:
                pairs.append((ENABLE_CONNECT_PROTOCOL, 1))
        self._send_settings(pairs)
        self._unacknowledged.append((settings.initial_window, settings.max_streams))
        more: i64 = settings.connection_window - DEFAULT_WINDOW
        if more > 0:
            self._send_window_update(0, more)
            self._recv_window += more

    def take(self) -> bytes | list[bytes]:
        """Give everything that is to be written, b"" when nothing is; not to be called while paused."""
        self._control = 0
        self._heads = 0
        return self._out.take()

    @property
    def backlog(self) -> int:
        """Bytes of heads and trailers that wait for take(): no window holds them back."""
        return self._heads

    @property
    def wants_write(self) -> bool:
        """Whether take() would give something."""
        return not self._out.empty

    @property
    def open_streams(self) -> int:
        """How many streams are open, with those of open() whose heads are not sent."""
        return len(self.streams) + self._opening

    def room_for_streams(self, most: int) -> int:
        """How many more streams may be opened, if there shall not be more than ``most`` of them."""
        if self.goaway_received or self.goaway_sent:  # what failed has sent one, too
            return 0
        left: i64 = (LAST_STREAM_ID - self._next_sid + 2) // 2 - self._opening
        if left <= 0:
            return 0
        if most > self.peer_max_streams:
            most = self.peer_max_streams
        return most - len(self.streams) - self._opening

    def sure_room(self, now: float) -> int:
        """How many more streams the peer takes even if it still counts those that we reset a moment ago.

        It counts them until it has read our RST_STREAM (RFC 9113, section 5.1.2), grpcio's server until the
        call's thread has ended, and refuses what comes beyond its limit.  ``now``: seconds, as in ``feed``.
        """
        room = self.room_for_streams(LAST_STREAM_ID)
        resets = self.resets
        if resets is None:
            return room
        while resets and now - resets[0] > _CLEANED_UP:
            resets.popleft()
        return room - len(resets)

    def shutdown_notice(self) -> None:
        """Queue the first of two GOAWAYs, by which no request is lost (RFC 9113, section 6.8)."""
        self.goaway(LAST_STREAM_ID)

    def settings_change(self, initial_window: int = -1, max_streams: int = -1) -> None:
        """Queue SETTINGS with what is not -1; it binds the peer once it has acknowledged it."""
        pairs: list[tuple[int, int]] = []
        if initial_window >= 0:
            pairs.append((INITIAL_WINDOW_SIZE, initial_window))
        if max_streams >= 0:
            pairs.append((MAX_CONCURRENT_STREAMS, max_streams))
            self._local_streams = max(self._local_streams, max_streams)
        if pairs:
            self._send_settings(pairs)
            self._unacknowledged.append((initial_window, max_streams))

    # -- streams

    def open(self, now: float) -> Stream | None:
        """Make a stream of our own (client role); None when the peer allows no more.

        It counts as open at once; send_headers gives it its id, reset gives it back.
        """
        if self.room_for_streams(LAST_STREAM_ID) <= 0:
            return None
        self._opening += 1
        return Stream(0, self.peer_initial_window, self._local_window, now)

    def send_headers(self, stream: Stream, block: Block, extra: bytes = b"", end: bool = False) -> None:
        """Send a head: of a request, of a response, or a 1xx.

        ``extra``: encoded literals (hpack_encode.literal) that are put after the block's own fields.
        """
        if stream.closed or stream.send_ended:
            return
        if stream.sid == 0:
            self._begin(stream, block)
        self._send_block(stream, block, extra, end)

    def _begin(self, stream: Stream, block: Block) -> None:
        """Give a stream of our own its id, now that its head goes out: ids go up (section 5.1.1)."""
        self._opening -= 1
        stream.sid = self._next_sid
        self._next_sid += 2
        stream.send_window = self.peer_initial_window
        stream.recv_window = self._local_window
        if block.method == b"HEAD":
            stream.expected = 0
        elif block.method == b"CONNECT":
            stream.expected = TUNNEL
        self.streams[stream.sid] = stream

    def send_data(self, stream: Stream, piece: bytes, end: bool = False) -> i64:
        """Send content; gives how many bytes wait on the stream now.

        0: all of it has gone out.  Else next() tells by WRITABLE what goes, this piece from its first byte.
        """
        size: i64 = len(piece)
        if (
            stream.queue is not None
            or size > stream.send_window
            or size > self._send_window
            or size > self.peer_max_frame
            or self.paused
            or self.padding
            or self.frame_size
        ):
            return self._enqueue(stream, piece, end)
        if stream.closed or stream.send_ended or (size == 0 and not end):
            return 0
        stream.send_window -= size
        self._send_window -= size
        guard = self.guard
        guard.useful += WORTH_SENT
        guard.sent += size << 1
        self._out.whole(piece, DATA, END_STREAM if end else 0, stream.sid)
        if end:
            stream.send_ended = True
            if stream.recv_ended:
                self._close(stream)
        return 0

    def send_trailers(self, stream: Stream, block: Block, extra: bytes = b"") -> None:
        """Send trailers, after all content that waits; they end the stream."""
        if stream.closed or stream.send_ended or stream.queue_ends:
            return
        if stream.queue is None:
            self._send_block(stream, block, extra, True)
        else:
            stream.queue_trailers = block
            stream.queue_extra = extra
            stream.queue_ends = True

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream by RST_STREAM; what waits on it is dropped.  Nothing when it is over already."""
        if stream.closed:
            return
        if stream.sid == 0:
            self._opening -= 1
            stream.closed = True
            stream.state = CLOSED
            return
        answered = stream.state != HEAD
        self._drop(stream)
        self._send_reset(stream.sid, code)
        if self.role == CLIENT and answered:
            if self.resets is None:
                self.resets = deque(maxlen=_MOST_RESETS)
            self.resets.append(self.now)
