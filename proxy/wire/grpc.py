"""gRPC on top of HTTP/2, as far as a proxy looks at it: bounds of messages, deadlines, status texts.

Source: "gRPC over HTTP2" (the PROTOCOL-HTTP2 document of the grpc project).  A body is a row of messages,
each behind a prefix of five bytes::

    compressed (1 byte, 0 or 1)   length (4 bytes, big-endian)   message
"""

from typing import Final

from mypy_extensions import i64

PREFIX: Final = 5  # bytes

NO_DEADLINE: Final = -1.0

# The units of grpc-timeout, in seconds.
_UNITS: Final[dict[bytes, float]] = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

_HEX: Final[dict[bytes, int]] = {b"%02x" % n: n for n in range(256)}
_PERCENT: Final = 0x25


class Messages:
    """Follows the messages of one direction of a call, however its content is split; it holds none of it."""

    def __init__(self) -> None:
        self.begun: i64 = 0  # messages of which the first byte came
        self.ended: i64 = 0  # messages of which the last byte came
        self.at: i64 = 0  # bytes of the message under way so far, prefix included
        self.length: i64 = 0  # its bytes behind the prefix, as far as the prefix has come
        self.flag: i64 = 0  # its first byte

    @property
    def between(self) -> bool:
        """Whether the next byte is the first one of a message."""
        return self.begun == self.ended

    def follow(self, data: bytes, start: i64) -> i64:
        """Follow the content from ``start`` to the end of one message or of ``data``; gives where that is.

        So what lies between belongs to one message, number ``begun``; it is complete where ``between`` holds.
        """
        size: i64 = len(data)
        if start >= size:
            return start
        if self.begun == self.ended:
            self.begun += 1
            self.at = 0
            self.length = 0
        position = start
        while self.at < PREFIX and position < size:
            byte: i64 = data[position]
            if self.at == 0:
                self.flag = byte
            else:
                self.length = (self.length << 8) | byte
            self.at += 1
            position += 1
        if self.at >= PREFIX:
            step: i64 = min(self.length + PREFIX - self.at, size - position)
            self.at += step
            position += step
            if self.at == self.length + PREFIX:
                self.ended += 1
        return position


def timeout_of(value: bytes | None) -> float:
    """Read grpc-timeout as seconds; NO_DEADLINE where it is absent, or none that the protocol knows."""
    if value is None or not 2 <= len(value) <= 9:
        return NO_DEADLINE
    unit = _UNITS.get(value[-1:])
    digits = value[:-1]
    if unit is None or not digits.isdigit():
        return NO_DEADLINE
    return int(digits) * unit


def encode_message(text: bytes) -> bytes:
    """Percent-encode a grpc-message: every byte but printable ASCII, and the percent sign."""
    coded = bytearray()
    for byte in text:
        if 0x20 <= byte <= 0x7E and byte != _PERCENT:
            coded.append(byte)
        else:
            coded += b"%%%02X" % byte
    return bytes(coded)


def decode_message(coded: bytes) -> bytes:
    """Undo ``encode_message``; what is no valid escape is left as it is, as the protocol asks."""
    parts = coded.split(b"%")
    found = [parts[0]]
    for part in parts[1:]:
        byte = _HEX.get(part[:2].lower())
        found.append(b"%" + part if byte is None else bytes((byte,)) + part[2:])
    return b"".join(found)
