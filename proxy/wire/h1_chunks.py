"""The framing of a chunked body (RFC 9112, section 7.1).

    chunk = size [";" extension] CRLF, so many bytes, CRLF;  the last has size 0 and no bytes

A state machine over what is not content; the reader takes the content itself out between its steps, so
no byte of it is copied here.  Strict: hex digits alone, CRLF alone, no white space before the extension.
"""

import re
from typing import Final

from proxy.wire.errors import ProtocolError, refusal

SIZE: Final = 0  # a size line begins or goes on
DATA: Final = 1  # `left` bytes of content follow, then CRLF
AFTER: Final = 2  # the CR after the content
AFTER_CR: Final = 3  # its LF
LAST: Final = 4  # the size line of the last chunk is read: the trailer section follows

_DIGITS: Final = 16
# Nobody sends extensions; without bounds they are bytes that no body limit counts.
_EXTENSION: Final = 1024
_EXTENSIONS: Final = 16384

_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t -~\x80-\xff]{0,1023})?\r\n").match
_PART: Final = re.compile(
    rb"(?:[0-9A-Fa-f]{1,16}(?:;[\t -~\x80-\xff]{0,1023})?(?:\r\n?)?)?",
).match


class Chunks:
    """Where the reader stands in a chunked body."""

    __slots__ = ("_extensions", "_line", "left", "phase")

    def __init__(self) -> None:
        self.phase: int = SIZE
        self.left: int = 0  # content bytes of this chunk still to come
        self._line: bytes = b""  # the part of a size line that an earlier read brought
        self._extensions: int = 0  # bytes of extensions in this body so far

    def begin(self) -> None:
        """Start a new body."""
        self.phase = SIZE
        self.left = 0
        self._line = b""
        self._extensions = 0

    def skip(self, data: bytes, at: int) -> int:
        """Read framing from ``at`` on: to the next content, the end of the last size line, or of the data.

        Gives the offset behind what was read; raises ProtocolError.
        """
        size = len(data)
        while at < size:
            phase = self.phase
            if phase == SIZE:
                at = self._size_line(data, at)
            elif phase == DATA:
                if self.left:
                    return at
                self.phase = AFTER
            elif phase == LAST:
                return at
            elif phase == AFTER and data.startswith(b"\r\n", at):
                at += 2
                self.phase = SIZE
            else:
                at = self._after(data[at], at)
        return at

    def _after(self, byte: int, at: int) -> int:
        """Read one byte of the CRLF that ends a chunk."""
        if self.phase == AFTER and byte == 13:
            self.phase = AFTER_CR
        elif self.phase == AFTER_CR and byte == 10:
            self.phase = SIZE
        else:
            raise refusal("bad_chunk_end", "no CRLF after the content of a chunk")
        return at + 1

    def _size_line(self, data: bytes, at: int) -> int:
        """Read a size line, or the part of it that is there."""
        if self._line:
            return self._rest_of_line(data, at)
        found = _LINE(data, at)
        if found is None:
            self._part_of_line(data[at : at + _DIGITS + _EXTENSION + 2])
            return len(data)
        end = found.end()
        self._take(found.group(1), end - at)
        return end

    def _rest_of_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\n", at, at + _DIGITS + _EXTENSION + 2) + 1
        line = self._line + (data[at:end] if end else data[at : at + _DIGITS + _EXTENSION + 2])
        found = _LINE(line)
        if found is None:
            self._part_of_line(line)
            return len(data)
        self._line = b""
        self._take(found.group(1), len(line))
        return end

    def _part_of_line(self, line: bytes) -> None:
        """Keep a line that is not complete yet; raises ProtocolError when it can never be a size line."""
        found = _PART(line)
        good = 0 if found is None else found.end()
        if good < len(line):
            raise _line_error(line[: good + 1])
        self._line = line

    def _take(self, digits: bytes, length: int) -> None:
        """Note the size of a chunk whose line had so many bytes."""
        self._extensions += length - len(digits) - 2
        if self._extensions > _EXTENSIONS:
            raise refusal("chunk_line_too_long", f"more than {_EXTENSIONS} bytes of chunk extensions")
        self.left = int(digits, 16)
        self.phase = DATA if self.left else LAST


def _line_error(line: bytes) -> ProtocolError:
    """Say why a size line was refused at its last byte."""
    extension = line.find(b";")
    if extension < 0 or extension == len(line) - 1:
        if len(line) > _DIGITS and b"\r" not in line:
            return refusal("bad_chunk_size", f"a chunk size of more than {_DIGITS} digits")
        return refusal("bad_chunk_size", f"chunk size {line!r}")
    if len(line) - extension > _EXTENSION:
        return refusal("chunk_line_too_long", f"a chunk extension of more than {_EXTENSION} bytes")
    return refusal("bad_chunk_extension", f"the byte {line[-1:]!r} in a chunk extension")
