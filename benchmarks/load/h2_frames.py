"""Frames of HTTP/2 as the load and the echo need them: cut apart, put together, header blocks left alone."""

import struct

from proxy.wire.h2_frames import (
    ACK,
    FRAME_HEAD,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MOST_WINDOW,
    PING,
    SETTINGS,
    WINDOW_UPDATE,
)

_HEAD = struct.Struct(">LBL")
_SETTING = struct.Struct(">HL")
_WIDE = struct.pack(">L", MOST_WINDOW - 65535)

STREAM_WINDOW: int = 1 << 20


def frame(kind: int, flags: int, sid: int, payload: bytes = b"") -> bytes:
    """Put a frame together."""
    return _HEAD.pack(len(payload) << 8 | kind, flags, sid) + payload


def settings(max_streams: int) -> bytes:
    """Give the SETTINGS of an end that is never in the way, and its window of 2 GiB for the connection."""
    pairs = ((MAX_CONCURRENT_STREAMS, max_streams), (INITIAL_WINDOW_SIZE, STREAM_WINDOW))
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs)) + frame(
        WINDOW_UPDATE, 0, 0, _WIDE
    )


def reply(kind: int, flags: int, payload: bytes) -> bytes:
    """Give what a frame on stream 0 is to be answered with; empty when with nothing."""
    if flags & ACK or kind not in (SETTINGS, PING):
        return b""
    return frame(kind, ACK, 0, payload if kind == PING else b"")


def cut(data: bytes) -> tuple[list[tuple[int, int, int, bytes]], bytes]:
    """Cut what was read into frames (kind, flags, stream, payload) and the rest of it, not a whole one."""
    found: list[tuple[int, int, int, bytes]] = []
    at, size = 0, len(data)
    while size - at >= FRAME_HEAD:
        length, flags, sid = _HEAD.unpack_from(data, at)
        end = at + FRAME_HEAD + (length >> 8)
        if end > size:
            break
        found.append((length & 255, flags, sid, data[at + FRAME_HEAD : end]))
        at = end
    return found, data[at:]
