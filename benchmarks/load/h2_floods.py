"""Floods over HTTP/2, as bytes: what one connection sends, round by round, to cost more than it pays.

Used by the workload ``floods`` and by ``tests/e2e/http2/test_floods.py``.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.load.h2_frames import frame
from proxy.wire.h2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

# Fields of HPACK's static table: GET or POST, http, and the authority a.example (RFC 7541, appendix A).
_REST = b"\x86\x01\x09a.example"
_WHOLE = END_HEADERS | END_STREAM
_CANCEL = struct.pack(">L", 8)


def opening(window: int = 65535) -> bytes:
    """Give what a client begins with; ``window`` is what each stream may send to it."""
    return PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HL", INITIAL_WINDOW_SIZE, window))


def get(sid: int, path: bytes = b"/held") -> bytes:
    """Ask for a path, with nothing put into the compression table."""
    return frame(HEADERS, _WHOLE, sid, b"\x82" + _REST + b"\x04" + bytes((len(path),)) + path)


def post(sid: int) -> bytes:
    """Begin a request whose content is to follow."""
    return frame(HEADERS, END_HEADERS, sid, b"\x83" + _REST + b"\x04\x05/held")


def cancel(sid: int) -> bytes:
    """Give a stream up."""
    return frame(RST_STREAM, 0, sid, _CANCEL)


def _on_new(bad: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Make each round open a stream, and do this to it."""

    def turn(place: int) -> bytes:
        sid = 2 * place + 1
        return get(sid) + bad(sid)

    return turn


def _continuation(place: int) -> bytes:
    return frame(CONTINUATION, 0, 1, b"") if place else frame(HEADERS, END_STREAM, 1, b"\x82" + _REST)


def _large_continuation(place: int) -> bytes:
    kind = CONTINUATION if place else HEADERS
    return frame(kind, 0 if place else END_STREAM, 1, b"\x00\x01a\x7f\xfe\x7e" + b"x" * 16377)


def _bomb(place: int, times: int = 4000) -> bytes:
    """One field of 4,000 bytes goes into the table; then each byte stands for it (HPACK bomb)."""
    many = b"\xbe" * times
    begin = b"\x82" + _REST + b"\x04\x05/held"
    if place == 0:
        begin += b"\x40\x01a\x7f\xa1\x1e" + b"y" * 4000
    return frame(HEADERS, _WHOLE, 2 * place + 1, begin + many)


def _content_of_nothing(place: int) -> bytes:
    return frame(DATA, 0, 1, b"") if place else post(1)


def _on_closed(place: int) -> bytes:
    return cancel(1) if place else get(1, b"/quick")


def _beyond(place: int) -> bytes:
    """More streams than allowed; the first hundred are held by the upstream."""
    return get(2 * place + 1)


@dataclass(frozen=True)
class Flood:
    """``most``: after so many rounds the connection is limited, as ``kind``."""

    name: str
    kind: str
    most: int
    turn: Callable[[int], bytes]

    def rounds(self, first: int, count: int) -> bytes:
        """Give so many rounds, beginning with number ``first``."""
        return b"".join(self.turn(place) for place in range(first, first + count))


_MADE = "made_you_reset"
_MOST_WINDOW = b"\x7f\xff\xff\xff"
FLOODS: tuple[Flood, ...] = (
    Flood("rapid reset", "rapid_reset", 101, _on_new(cancel)),
    Flood("WINDOW_UPDATE 0", _MADE, 101, _on_new(lambda sid: frame(WINDOW_UPDATE, 0, sid, bytes(4)))),
    Flood(
        "WINDOW_UPDATE overflow", _MADE, 101, _on_new(lambda sid: frame(WINDOW_UPDATE, 0, sid, _MOST_WINDOW))
    ),
    Flood("DATA after END_STREAM", _MADE, 101, _on_new(lambda sid: frame(DATA, 0, sid, b"x"))),
    Flood("HEADERS after END_STREAM", _MADE, 101, _on_new(lambda sid: frame(HEADERS, _WHOLE, sid, b"\x82"))),
    Flood(
        "PRIORITY on itself",
        _MADE,
        101,
        _on_new(lambda sid: frame(PRIORITY, 0, sid, struct.pack(">LB", sid, 0))),
    ),
    Flood("PRIORITY of 4 bytes", _MADE, 101, _on_new(lambda sid: frame(PRIORITY, 0, sid, bytes(4)))),
    Flood("CONTINUATION", "continuation_flood", 18, _continuation),
    Flood("CONTINUATION of 16 KiB", "continuation_flood", 5, _large_continuation),
    Flood("HPACK bomb", "header_bomb", 1, _bomb),
    Flood("HPACK bombs of 160 KB", "header_bomb", 202, lambda place: _bomb(place, 40)),
    Flood("PING", "ping_flood", 201, lambda place: frame(PING, 0, 0, bytes(8))),
    Flood("SETTINGS", "settings_flood", 201, lambda place: frame(SETTINGS, 0, 0)),
    Flood("PRIORITY", "priority_flood", 201, lambda place: frame(PRIORITY, 0, 2 * place + 1, b"\0\0\0\0\1")),
    Flood("empty DATA", "empty_data_flood", 203, _content_of_nothing),
    Flood(
        "WINDOW_UPDATE 1", "window_update_flood", 201, lambda place: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")
    ),
    Flood(
        "WINDOW_UPDATE 4096",
        "window_update_flood",
        201,
        lambda place: frame(WINDOW_UPDATE, 0, 0, b"\0\0\x10\0"),
    ),
    Flood("RST_STREAM on closed", "closed_stream_flood", 206, _on_closed),
    Flood("too many streams", "refused_stream_flood", 401, _beyond),
    Flood("unknown frames", "unknown_frame_flood", 201, lambda place: frame(0x77, 0, 0)),
)
