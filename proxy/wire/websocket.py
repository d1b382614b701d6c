"""The handshake of a WebSocket in HTTP/1.1 (RFC 6455, sections 4.1 and 4.2); HTTP/2 has none (RFC 8441).

Behind it: where the payload of its frames is (section 5.2).
"""

import binascii
from hashlib import sha1
from typing import Final

from mypy_extensions import i64

KEY: Final = b"sec-websocket-key"
ACCEPT: Final = b"sec-websocket-accept"
WEBSOCKET: Final = b"websocket"
KEY_SIZE: Final = 16  # bytes before they are encoded

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


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


class Frames:
    """Follows the frames of one direction, however they are split; it holds none of them."""

    def __init__(self) -> None:
        self.at: i64 = 0  # bytes of the head of the frame under way so far
        self.need: i64 = 2  # ... and in all, as far as is known
        self.length: i64 = 0  # bytes of payload still to come, once the head is whole
        self.control: bool = False  # close, ping or pong
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
            elif self.at == 1:
                self.length = byte & 127
                extended: i64 = 2 if self.length == 126 else 8 if self.length == 127 else 0
                self.need = 2 + extended + (4 if byte & 128 else 0)
                if extended:
                    self.length = 0
                self.extended_end = 2 + extended
            elif self.at < self.extended_end:
                self.length = (self.length << 8) | byte
            self.at += 1
        return position

    def payload(self, available: i64) -> i64:
        """Take note of payload that passes; gives how many of the bytes at hand are of this frame."""
        size = min(available, self.length)
        self.length -= size
        return size
