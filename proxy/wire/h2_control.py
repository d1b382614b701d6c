"""The frames of HTTP/2 that carry no message (RFC 9113, sections 6.3 to 6.9)."""

from mypy_extensions import i64

from proxy.wire.h2_base import (
    CLIENT,
    GOAWAY_CAME,
    NEED,
    PONG,
    RESET,
    SERVER,
    STREAMS,
)
from proxy.wire.h2_errors import REFUSED_STREAM
from proxy.wire.h2_frames import (
    ACK,
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    GOAWAY,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    LARGEST_MAX_FRAME,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    MOST_WINDOW,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    SMALLEST_MAX_FRAME,
)
from proxy.wire.h2_guard import MOST_SETTINGS, QUICK
from proxy.wire.h2_send import H2Sender
from proxy.wire.h2_streams import (
    CLOSED,
    IDLE,
    IDLE_ERROR,
    ON_RST_STREAM,
    ON_WINDOW_UPDATE,
    VERDICTS,
    Stream,
)
from proxy.wire.h2_streams import (
    RESET as RESET_STATE,
)


class H2Control(H2Sender):
    """The layer of the frames that carry no message."""

    def _state_of_missing(self, sid: i64) -> i64:
        """Say in which state a stream is that is not open."""
        if sid > self._accepted_to:
            return RESET_STATE
        if sid & 1 == 0:
            return IDLE
        if self.role == SERVER:
            if sid > self.last_sid:
                return IDLE
        elif sid >= self._next_sid:
            return IDLE
        return self._past.state_of(sid, self.now)

    def _on_other(self, kind: i64, flags: i64, sid: i64, payload: bytes) -> int:
        """Take in a frame other than DATA, HEADERS, CONTINUATION and WINDOW_UPDATE."""
        if kind == PRIORITY:
            return self._on_priority(sid, payload)
        if kind == RST_STREAM:
            return self._on_reset(sid, payload)
        if kind == PUSH_PROMISE:
            raise self._error("push", "PUSH_PROMISE, which was not allowed")
        if kind > GOAWAY:
            self._abuse("unknown_frame_flood")
            return NEED
        if sid:
            raise self._error("bad_stream_id", "a frame of the connection on a stream")
        if kind == SETTINGS:
            return self._on_settings(flags, payload)
        return self._on_ping(flags, payload) if kind == PING else self._on_goaway(payload)

    # -- streams

    def _on_priority(self, sid: i64, payload: bytes) -> int:
        """Check a priority and forget it (RFC 9113, sections 5.3.2 and 6.3)."""
        if sid == 0:
            raise self._error("bad_stream_id", "PRIORITY on stream 0")
        if len(payload) == 5 and _number(payload, 0) & 0x7FFFFFFF != sid:
            self._abuse("priority_flood")
            return NEED
        fault = "self_dependency" if len(payload) == 5 else "bad_priority_size"
        stream = self.streams.get(sid)
        if stream is not None:
            return self._stream_error(stream, fault)
        state = self._state_of_missing(sid)
        if state == IDLE:
            if len(payload) != 5:
                raise self._error("bad_frame_size", "PRIORITY that is not of 5 bytes")
            raise self._error("idle_stream", "a stream that depends on itself")
        if state == CLOSED:
            self._refuse_stream(sid, fault)
        self._abuse("priority_flood")
        return NEED

    def _on_reset(self, sid: i64, payload: bytes) -> int:
        """RFC 9113, section 6.4."""
        if len(payload) != 4:
            raise self._error("bad_frame_size", "RST_STREAM that is not of 4 bytes")
        stream = self.streams.get(sid)
        if stream is None:
            state = self._state_of_missing(sid)
            if VERDICTS[(state << 2) | ON_RST_STREAM] == IDLE_ERROR:
                raise self._error("idle_stream", "RST_STREAM on an idle stream")
            self._ignored(state)
            return NEED
        self._drop(stream)
        if self.role == SERVER and not stream.faulted and self.now - stream.opened_at < QUICK:
            if self.guard.count_reset("rapid_reset", self.now):
                raise self._error("rapid_reset", "too many streams that were opened and reset at once")
        self.stream = stream
        self.code = _number(payload, 0)
        self.kind = ""
        return RESET

    def _on_window_update(self, sid: i64, payload: i64) -> int:
        """Take in a WINDOW_UPDATE of 4 bytes (RFC 9113, section 6.9)."""
        size: i64 = payload & 0x7FFFFFFF
        # An upstream may have small windows, and credit what it read to the byte.
        if self.role == SERVER and self.guard.count_update("window_update_flood", size, self.now):
            raise self._error("window_update_flood", "too many window updates for what was sent")
        if sid == 0:
            if size == 0:
                raise self._error("zero_increment", "WINDOW_UPDATE of 0")
            self._send_window += size
            if self._send_window > MOST_WINDOW:
                raise self._error("window_overflow", "a connection window beyond 2^31-1")
            if self._blocked:
                self._drain_all()
            return NEED
        stream = self.streams.get(sid)
        if stream is None:
            state = self._state_of_missing(sid)
            if VERDICTS[(state << 2) | ON_WINDOW_UPDATE] == IDLE_ERROR:
                raise self._error("idle_stream", "WINDOW_UPDATE on an idle stream")
            if self.role == CLIENT:
                self._ignored(state)
            return NEED  # a reader may go on giving back what came before the end; that is counted above
        if size == 0:
            return self._stream_error(stream, "zero_increment")
        stream.send_window += size
        if stream.send_window > MOST_WINDOW:
            return self._stream_error(stream, "window_overflow")
        if stream.queue is not None:
            self._drain(stream, 1 << 30)
        return NEED

    def _ignored(self, state: i64) -> None:
        """Count a frame on a stream that is long over; those on one that we reset were on their way."""
        if state == CLOSED:
            self._abuse("closed_stream_flood")

    # -- the connection

    def _on_ping(self, flags: i64, payload: bytes) -> int:
        """RFC 9113, section 6.7."""
        if len(payload) != 8:
            raise self._error("bad_frame_size", "PING that is not of 8 bytes")
        if flags & ACK and self._pings > 0:
            self._pings -= 1
            self.piece = payload
            return PONG
        self._abuse("ping_flood")
        if flags & ACK:  # of no PING of ours
            return NEED
        if not self.ignore_ping:
            self._out.frame(8, PING, ACK, 0)
            self._out.write(payload)
            self._answered()
        return NEED

    def _on_goaway(self, payload: bytes) -> int:
        """RFC 9113, section 6.8: our streams beyond the last id were not processed."""
        if len(payload) < 8:
            raise self._error("bad_frame_size", "GOAWAY that is shorter than 8 bytes")
        if self.goaway_received:
            self._abuse("goaway_flood")
        self.goaway_received = True
        self.last = _number(payload, 0) & 0x7FFFFFFF
        self.code = _number(payload, 4)
        self.piece = payload[8:]
        if self.role == CLIENT:
            lost = [stream for stream in self.streams.values() if stream.sid > self.last]
            self._lose(lost, REFUSED_STREAM, "goaway")
        return GOAWAY_CAME

    def _lose(self, streams: list[Stream], code: int, kind: str) -> None:
        """Have next() tell that these streams are over, though no frame said so."""
        for stream in streams:
            self._drop(stream)
            self._lost.append(stream)
        self._lost_code = code
        self._lost_kind = kind
        if streams:
            self._pending = True

    def _on_settings(self, flags: i64, payload: bytes) -> int:
        """RFC 9113, section 6.5."""
        if flags & ACK:
            if payload:
                raise self._error("bad_frame_size", "an acknowledgement that holds settings")
            self._acknowledged()
            return NEED
        if len(payload) % 6:
            raise self._error("bad_frame_size", "SETTINGS that is no multiple of 6 bytes")
        self._abuse("settings_flood")
        if len(payload) > 6 * MOST_SETTINGS:
            raise self._error("settings_flood", "too many settings in one frame")
        at: i64 = 0
        while at < len(payload):
            key: i64 = (payload[at] << 8) | payload[at + 1]
            self._take_setting(key, _number(payload, at + 2))
            at += 6
        self._out.frame(0, SETTINGS, ACK, 0)
        self._answered()
        if self._blocked:  # windows may have grown; after the acknowledgement, which is to come at once
            self._drain_all()
        return STREAMS if self.role == CLIENT else NEED

    def _take_setting(self, key: i64, value: i64) -> None:
        """RFC 9113, section 6.5.2; unknown settings are ignored."""
        if key == HEADER_TABLE_SIZE:
            self._encoder.set_limit(value)
        elif key == ENABLE_PUSH:
            if value > 1 or (value == 1 and self.role == CLIENT):
                raise self._error("bad_setting", "a wrong ENABLE_PUSH")
        elif key == MAX_CONCURRENT_STREAMS:
            self.peer_max_streams = value
        elif key == INITIAL_WINDOW_SIZE:
            self._take_window(value)
        elif key == MAX_FRAME_SIZE:
            if value < SMALLEST_MAX_FRAME or value > LARGEST_MAX_FRAME:
                raise self._error("bad_setting", "a MAX_FRAME_SIZE out of range")
            self.peer_max_frame = value
        elif key == MAX_HEADER_LIST_SIZE:
            self.peer_max_header_list = value
        elif key == ENABLE_CONNECT_PROTOCOL:
            if value > 1 or (value == 0 and self.peer_connect_protocol):
                raise self._error("bad_setting", "a wrong ENABLE_CONNECT_PROTOCOL")
            self.peer_connect_protocol = value == 1

    def _take_window(self, value: i64) -> None:
        """Change the windows of all streams; they may become negative (RFC 9113, section 6.9.2)."""
        if value > MOST_WINDOW:
            raise self._error("bad_window_setting", "an INITIAL_WINDOW_SIZE beyond 2^31-1")
        change: i64 = value - self.peer_initial_window
        self.peer_initial_window = value
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > MOST_WINDOW:
                raise self._error("window_overflow", "a stream window beyond 2^31-1")

    def _acknowledged(self) -> None:
        """Let settings of ours bind the peer from here on."""
        if not self._unacknowledged:
            self._abuse("settings_flood")
            return
        window, streams = self._unacknowledged.popleft()
        if window >= 0:
            change: i64 = window - self._local_window
            self._local_window = window
            for stream in self.streams.values():
                stream.recv_window += change
                # what was too little to be told before may be all that the peer waits for in a smaller window
                self.credit(stream, 0)
        if streams >= 0:
            self._local_streams = streams


def _number(payload: bytes, at: i64) -> i64:
    """Read 32 bits."""
    first: i64 = payload[at]
    second: i64 = payload[at + 1]
    third: i64 = payload[at + 2]
    return (first << 24) | (second << 16) | (third << 8) | payload[at + 3]
