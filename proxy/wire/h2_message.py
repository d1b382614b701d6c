"""Messages of HTTP/2: header blocks, and what they do to their streams (RFC 9113, section 8)."""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_base import HEAD, INTERIM, NEED, REFUSED, SERVER, TRAILERS
from proxy.wire.h2_block import Block
from proxy.wire.h2_control import H2Control
from proxy.wire.h2_errors import ANSWERED, NO_ERROR, STREAM_KINDS
from proxy.wire.h2_field import interned
from proxy.wire.h2_frames import END_HEADERS, END_STREAM, HEADERS
from proxy.wire.h2_streams import (
    BODY,
    CLOSED,
    ENDED,
    ENDED_ERROR,
    IDLE,
    ON_HEADERS,
    TUNNEL,
    VERDICTS,
    Stream,
)
from proxy.wire.h2_streams import HEAD as HEAD_STATE

_TOO_LARGE: Final = Block.of([interned(b":status", b"431"), interned(b"content-length", b"0")])


class H2Messages(H2Control):
    """The layer of messages."""

    def _end_receiving(self, stream: Stream) -> None:
        """Note that the peer's half has ended."""
        stream.recv_ended = True
        stream.state = ENDED
        if stream.send_ended:
            self._close(stream)

    def _on_block(self, sid: i64, block: Block, ends: bool, itself: bool) -> int:
        """Take in a header block.  It was decoded whatever becomes of it: the tables must agree.

        ``itself``: its priority makes the stream depend on itself.
        """
        stream = self.streams.get(sid)
        if stream is None:
            if self.role == SERVER and sid > self.last_sid and sid & 1 and sid <= self._accepted_to:
                return self._on_request(sid, block, ends, itself)
            return self._on_missing(sid)
        if itself:
            return self._stream_error(stream, "self_dependency")
        self.stream = stream
        self.block = block
        if stream.state == HEAD_STATE:
            return self._on_response(stream, block, ends)
        if VERDICTS[(stream.state << 2) | ON_HEADERS] == ENDED_ERROR:
            return self._stream_error(stream, "ended_stream")
        return self._on_trailers(stream, block, ends)

    def _on_missing(self, sid: i64) -> int:
        """Judge a header block on a stream that is not open."""
        state = self._state_of_missing(sid)
        if state == IDLE:
            raise self._error("bad_stream_id", "HEADERS on a stream that the peer may not open")
        if state == CLOSED:
            if self._past.skipped(sid):
                raise self._error("bad_stream_id", "HEADERS on a stream id lower than one in use")
            raise self._error("closed_stream", "HEADERS on a closed stream")
        if sid > self._accepted_to:
            self._abuse("closed_stream_flood")
        return NEED

    # -- requests (server role)

    def _on_request(self, sid: i64, block: Block, ends: bool, itself: bool) -> int:
        """Open a stream, or refuse it before anybody sees it."""
        if sid != self.last_sid + 2 and sid != 1:
            self._past.add_gap(self.last_sid + 1, sid - 1)
        self.last_sid = sid
        self.block = block
        if len(self.streams) >= self._local_streams:
            return self._refuse(sid, "too_many_streams", ends)
        expected: i64 = TUNNEL if block.method == b"CONNECT" else block.length
        if block.error or itself or (ends and expected > 0):
            fault = block.error or ("self_dependency" if itself else "length_mismatch")
            return self._refuse(sid, fault, ends)
        stream = Stream(sid, self.peer_initial_window, self._local_window, self.now)
        stream.expected = expected
        self.streams[sid] = stream
        self.guard.useful += 1
        stream.recv_ended = ends
        stream.state = ENDED if ends else BODY
        self.stream = stream
        self.end = ends
        return HEAD

    def _refuse(self, sid: i64, kind: str, ends: bool) -> int:
        if kind in ANSWERED:
            self._answer_too_large(sid, kind, ends)
        else:
            self._refuse_stream(sid, kind)
        return REFUSED

    def _answer_too_large(self, sid: i64, kind: str, ends: bool) -> None:
        """Answer 431 instead of resetting the stream (RFC 9113, section 10.5.1)."""
        self.kind = kind
        self.code = STREAM_KINDS[kind]
        coded = self._encoder.encode(_TOO_LARGE)
        self._out.frame(len(coded), HEADERS, END_HEADERS | END_STREAM, sid)
        self._out.write(coded)
        if not ends:
            self._send_reset(sid, NO_ERROR)
        self._answered()
        self._abuse("header_bomb")

    # -- responses (client role)

    def _on_response(self, stream: Stream, block: Block, ends: bool) -> int:
        """Take in the head of a response (RFC 9113, sections 8.1 and 8.1.1)."""
        if block.error:
            return self._stream_error(stream, block.error)
        status = block.status
        if status < 200:
            if ends:
                return self._stream_error(stream, "interim_with_end")
            self._abuse("interim_flood")
            self.end = False
            return INTERIM
        if stream.expected == TUNNEL:
            if status >= 300:
                stream.expected = block.length
        elif stream.expected != 0:
            stream.expected = 0 if status in (204, 304) else block.length
        if ends and stream.expected > 0:
            return self._stream_error(stream, "length_mismatch")
        self.guard.useful += 1
        stream.state = BODY
        self.end = ends
        if ends:
            self._end_receiving(stream)
        return HEAD

    # -- both

    def _on_trailers(self, stream: Stream, block: Block, ends: bool) -> int:
        """RFC 9113, section 8.1; in a tunnel there are none (section 8.5)."""
        if stream.expected == TUNNEL:
            return self._stream_error(stream, "head_in_tunnel")
        if block.trailer_error:
            return self._stream_error(stream, block.trailer_error)
        if not ends:
            return self._stream_error(stream, "trailers_without_end")
        if stream.expected >= 0 and stream.received != stream.expected:
            return self._stream_error(stream, "length_mismatch")
        self.end = True
        self._end_receiving(stream)
        return TRAILERS
