"""The handshake of a WebSocket in HTTP/1.1 (RFC 6455, sections 4.1 and 4.2); HTTP/2 has none (RFC 8441)."""

import binascii
from hashlib import sha1
from typing import Final

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
