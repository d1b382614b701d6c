"""Decodes header blocks before the turn of their frames.

What a block means depends on the blocks before it alone (RFC 7541, section 2.2), whatever becomes of their
streams.  Blocks that are decoded one right behind the other take half the time of those between which
requests are passed on: the processor's caches hold either.
"""

from typing import Final

from mypy_extensions import i64

from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.h2_frames import (
    CONTINUATION,
    END_HEADERS,
    FRAME_HEAD,
    HEADERS,
    LARGEST,
    UNUSUAL,
    word,
)
from proxy.wire.hpack_decode import Decoder

_MOST: Final = 32  # blocks at once


def decode_ahead(decoder: Decoder, data: bytes, at: i64) -> list[Block | H2Error]:
    """Decode the blocks of plain HEADERS frames from a place on, the first one last; up to what is not plain.

    An error stands in the place of the block that raised it: it belongs to that frame.
    """
    found: list[Block | H2Error] = []
    size: i64 = len(data)
    while size - at >= FRAME_HEAD and len(found) < _MOST:
        first: i64 = word(data, at)
        start: i64 = at + FRAME_HEAD
        at = start + (first >> 8)
        kind: i64 = first & 255
        if at > size or first > LARGEST or kind == CONTINUATION:
            break
        if kind != HEADERS:
            continue
        if word(data, start - 4) & 0x7FFFFFFF == 0 or data[start - 5] & UNUSUAL != END_HEADERS:
            break
        try:
            found.append(decoder.decode(data[start:at]))
        except H2Error as error:
            found.append(error)
            break
    found.reverse()
    return found
