"""The handshake of a WebSocket in HTTP/1.1 (RFC 6455, sections 4.1 and 4.2); HTTP/2 has none (RFC 8441).

Behind it: where frames begin and end, and where their payload is (section 5.2); the frame that closes.
"""

import binascii
from hashlib import sha1
from typing import Final

from mypy_extensions import i64

KEY: Final = b"sec-websocket-key"
ACCEPT: Final = b"sec-websocket-accept"
WEBSOCKET: Final = b"websocket"
KEY_SIZE: Final = 16  # bytes before they are encoded

GOING_AWAY: Final = 1001  # section 7.4.1: a server going down

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CLOSE: Final = 0x8


def key_of(chance: bytes) -> bytes:
    """Make the value of sec-websocket-key of 16 bytes that nobody can know."""
    return binascii.b2a_base64(chance, newline=False)


def is_key(value: bytes) -> bool:
    """Whether this is a value of sec-websocket-key: 16 bytes in base64 (section 4.2.1)."""
    try:
        return len(value) == 24 and len(binascii.a2b_base64(value, strict_mode=True)) == KEY_SIZE
    except binascii.Error:
        return False


def accept_of(key: bytes) -> bytes:
    """Give the value of sec-websocket-accept that answers a key (section 4.2.2)."""
    return binascii.b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)


def close_frame(code: int, mask: bytes = b"") -> bytes:
    """Make the frame that closes (section 5.5.1); a client's has a ``mask`` of four bytes of chance."""
    high, low = code >> 8, code & 255
    if not mask:
        return bytes((0x80 | _CLOSE, 2, high, low))
    return bytes((0x80 | _CLOSE, 0x80 | 2)) + mask + bytes((high ^ mask[0], low ^ mask[1]))


class Frames:
    """Follows the frames of one direction, however they are split; it holds none of them."""

    def __init__(self) -> None:
        self.at: i64 = 0  # bytes of the head of the frame under way so far
        self.need: i64 = 2  # ... and in all, as far as is known
        self.length: i64 = 0  # bytes of payload still to come, once the head is whole
        self.control: bool = False  # close, ping or pong
        self.closing: bool = False  # the frame that closes has begun
        self.fragmented: bool = False  # frames of the message under way are still to come
        self.extended_end: i64 = 2  # where the length in the head ends

    def head(self, data: bytes, start: i64) -> i64:
        """Follow the head of a frame; gives where its payload begins, or goes on, or the end of ``data``."""
        position = start
        size: i64 = len(data)
        while position < size:
            if self.at == self.need:
                if self.length:
                    return position
                self.at = 0  # the next frame
                self.need = 2
            byte: i64 = data[position]
            position += 1
            if self.at == 0:
                self.control = byte & 8 != 0
                if not self.control:
                    self.fragmented = byte & 128 == 0
                elif byte & 15 == _CLOSE:
                    self.closing = True
            elif self.at == 1:
                self.length = byte & 127
                extended: i64 = 2 if self.length == 126 else 8 if self.length == 127 else 0
                self.need = 2 + extended + (4 if byte & 128 else 0)
                if extended:
                    self.length = 0
                self.extended_end = 2 + extended
            elif self.at < self.extended_end:
                # Of 63 bits (section 5.2): the highest one, which must be 0, is not looked at.
                self.length = ((self.length << 8) | byte) & 0x7FFFFFFFFFFFFFFF
            self.at += 1
        return position

    def payload(self, available: i64) -> i64:
        """Take note of payload that passes; gives how many of the bytes at hand are of this frame."""
        size = min(available, self.length)
        self.length -= size
        return size

    def follow(self, data: bytes) -> None:
        """Follow bytes that pass."""
        size: i64 = len(data)
        position: i64 = 0
        while position < size:
            position = self.head(data, position)
            position += self.payload(size - position)

    def step(self, data: bytes, start: i64) -> i64:
        """Follow one byte of a head, or what there is of a payload; gives the place behind it."""
        if self.at == self.need and self.length:
            return start + self.payload(len(data) - start)
        self.head(data[start : start + 1], 0)
        return start + 1

    def between(self) -> bool:
        """Tell whether no frame is under way."""
        return self.at == 0 or (self.at == self.need and self.length == 0)

    def at_rest(self) -> bool:
        """Tell whether no message is under way."""
        return not self.fragmented and self.between()
