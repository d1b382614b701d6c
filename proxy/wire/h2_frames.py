"""The layout of HTTP/2 frames (RFC 9113, sections 4.1 and 6), and the bytes that go out.

+-----------------------------------------------+
|                 Length (24)                   |
+---------------+---------------+---------------+
|   Type (8)    |   Flags (8)   |
+-+-------------+---------------+-------------------------------+
|R|                 Stream Identifier (31)                      |
+=+=============================================================+
"""

import struct
from typing import Final

from mypy_extensions import i32, i64, u8

try:
    from librt.strings import BytesWriter, write_i32_be
except ImportError:  # the interpreted build gathers a list of bytes, and works without
    pass

NATIVE: Final = not __file__.endswith(".py")

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEAD: Final = 9  # bytes

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6
ENABLE_CONNECT_PROTOCOL: Final = 8  # RFC 8441

DEFAULT_WINDOW: Final = 65535
MOST_WINDOW: Final = 0x7FFFFFFF
LAST_STREAM_ID: Final = 0x7FFFFFFF
SMALLEST_MAX_FRAME: Final = 16384
LARGEST_MAX_FRAME: Final = 0xFFFFFF

UNPACK: Final = struct.Struct(">LBL").unpack_from  # length and kind, flags, stream id
LARGEST: Final = SMALLEST_MAX_FRAME << 8 | 255  # the first word of a frame, at most
UNUSUAL: Final = END_HEADERS | PADDED | WITH_PRIORITY  # of a header block: all but END_HEADERS is rare
_UNPACK_WORD: Final = struct.Struct(">L").unpack_from

# A piece from this size on is passed on as it is; a smaller one is cheaper copied than written alone.
_LARGE: Final = 4096
# Bytes that are joined to one write at most; what is more goes out as a list.
_JOINED: Final = 65536

_HEAD: Final = struct.Struct(">LBL").pack
_WORD: Final = struct.Struct(">L").pack


class Output:
    """What is to be written, gathered to one write per wake-up.

    The compiled build writes frame heads and small payloads into one buffer, the interpreted one appends
    to a list; both keep large pieces apart, as the objects that they are.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size: i64 = 0  # of the parts
        if NATIVE:
            self._buffer = BytesWriter()

    def frame(self, size: i64, kind: i64, flags: i64, sid: i64) -> None:
        """Write the head of a frame."""
        if NATIVE:
            buffer = self._buffer
            write_i32_be(buffer, i32((size << 8) | kind))
            buffer.append(u8(flags))
            write_i32_be(buffer, i32(sid))
        else:
            self._parts.append(_HEAD((size << 8) | kind, flags, sid))

    def whole(self, payload: bytes, kind: i64, flags: i64, sid: i64) -> None:
        """Write a frame."""
        if NATIVE:
            self.frame(len(payload), kind, flags, sid)
            self.write(payload)
        else:
            self._parts += (_HEAD((len(payload) << 8) | kind, flags, sid), payload)

    def write(self, payload: bytes) -> None:
        """Write a payload."""
        if NATIVE:
            if len(payload) < _LARGE:
                self._buffer.write(payload)
            else:
                self._settle()
                self._parts.append(payload)
                self._size += len(payload)
        else:
            self._parts.append(payload)

    def word(self, value: i64) -> None:
        """Write 32 bits."""
        if NATIVE:
            # of a value beyond 2**31 the writer wants the number that has the same bits
            write_i32_be(self._buffer, i32(value if value < 0x80000000 else value - 0x100000000))
        else:
            self._parts.append(_WORD(value))

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        if NATIVE:
            return len(self._buffer) == 0 and not self._parts
        return not self._parts

    def take(self) -> bytes | list[bytes]:
        """Give all of it, in order, and be empty: one piece, or a list where that saves copying much."""
        if NATIVE:
            if not self._parts:
                whole = self._buffer.getvalue()
                self._renew()
                return whole
            self._settle()
        parts = self._parts
        self._parts = []
        if not NATIVE:
            self._size = sum(map(len, parts))
        size = self._size
        self._size = 0
        return b"".join(parts) if size <= _JOINED else parts

    def _settle(self) -> None:
        """Make a part of what the buffer holds."""
        if len(self._buffer):
            self._parts.append(self._buffer.getvalue())
            self._size += len(self._buffer)
            self._renew()

    def _renew(self) -> None:
        """Empty the buffer; one that has grown large is left to be freed."""
        if len(self._buffer) > _JOINED:
            self._buffer = BytesWriter()
        else:
            self._buffer.truncate(0)


def word(data: bytes, at: i64) -> i64:
    """Read 32 bits."""
    if NATIVE:
        first: i64 = data[at]
        second: i64 = data[at + 1]
        third: i64 = data[at + 2]
        return (first << 24) | (second << 16) | (third << 8) | data[at + 3]
    value: i64 = _UNPACK_WORD(data, at)[0]
    return value
