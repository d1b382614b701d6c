"""Content codings (RFC 9110, section 8.4.1): unpacks bodies for a fault, and packs them again."""

import zlib
from typing import Final

from rules.message_actions import BAD_CODING, CODING, TOO_LARGE

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS  # what some servers call deflate (RFC 9110, section 8.4.1.2)
_LEVEL: Final = 1  # the loop waits for it: fast rather than small


class Unreadable(Exception):
    """The content cannot be had; ``why`` is a reason of ``rules.message_actions``."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Coding:
    """One content coding, in the form in which it has come."""

    def __init__(self, window: int) -> None:
        self._window = window

    def pack(self, content: bytes) -> bytes:
        """Encode content."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, self._window)
        return packer.compress(content) + packer.flush()


def unpack(values: list[bytes], body: bytes, most: int) -> tuple[bytes, Coding | None]:
    """Decode a body by the values of its content-encoding; gives how to encode it again, too.

    Raises Unreadable, also where more than ``most`` bytes would come out: no more than that is ever unpacked.
    """
    names = [part.strip(b" \t").lower() for value in values for part in value.split(b",")]
    names = [name for name in names if name not in (b"", b"identity")]
    if not names:
        return body, None
    if names in ([b"gzip"], [b"x-gzip"]):
        return _inflate(body, _GZIP, most), Coding(_GZIP)
    if names != [b"deflate"]:
        raise Unreadable(CODING)
    window = _ZLIB if body[:1] and body[0] & 15 == 8 else _RAW
    return _inflate(body, window, most), Coding(window)


def _inflate(body: bytes, window: int, most: int) -> bytes:
    parts: list[bytes] = []
    room = most
    while True:
        inflater = zlib.decompressobj(window)
        try:
            part = inflater.decompress(body, room + 1)
        except zlib.error:
            raise Unreadable(BAD_CODING) from None
        room -= len(part)
        if room < 0:
            raise Unreadable(TOO_LARGE)
        parts.append(part)
        if not inflater.eof:
            raise Unreadable(BAD_CODING)
        body = inflater.unused_data
        if not body:
            return b"".join(parts)
        if window != _GZIP:  # gzip alone may have several members (RFC 1952, section 2.2)
            raise Unreadable(BAD_CODING)
