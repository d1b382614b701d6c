"""A head or a trailer section that came in several reads, or that did not start as it should.

The bytes are gathered once, each is looked at once.  What can never become a good head fails as soon as it
is there: a slow or a wrong peer must not hold a connection until its time runs out.
"""

from typing import Final

from proxy.wire.errors import ProtocolError, refusal
from proxy.wire.h1_head import REQUEST
from proxy.wire.h1_refuse import TRAILERS, broken_at, diagnose, first_line_error

# Some clients end a body with a CRLF too many (RFC 9112, section 2.2).
_MOST_EMPTY_LINES: Final = 4


class Section:
    """Gathers a section up to its empty line, at most ``limit`` bytes."""

    __slots__ = ("_empty_lines", "_first_line_read", "_searched", "held", "limit", "role", "used")

    def __init__(self, role: int, limit: int) -> None:
        self.role: int = role  # REQUEST, RESPONSE or TRAILERS
        self.limit: int = limit
        self.held: bytearray = bytearray()
        self.used: bool = False  # something was added since it was cleared
        self._searched: int = 0
        self._first_line_read: bool = False
        self._empty_lines: int = 0

    def add(self, data: bytes) -> int:
        """Take in the next bytes; gives the size of the section, -1 while it is not complete."""
        self.used = True
        held = self.held
        held += data
        if self.role == REQUEST and self._searched < 2:
            self._drop_empty_lines()
        if self.role == TRAILERS and held.startswith(b"\r\n"):
            return 2
        end = held.find(b"\r\n\r\n", max(0, self._searched - 3), self.limit)
        if end >= 0:
            return end + 4
        self._check()
        self._searched = len(held)
        return -1

    def split(self, size: int) -> tuple[bytes, bytes]:
        """Give the section and what came after it; ready for the next one then."""
        section = bytes(self.held[:size])
        rest = bytes(self.held[size:])
        self.clear()
        return section, rest

    def clear(self) -> None:
        """Forget what is held."""
        self.held = bytearray()
        self.used = False
        self._searched = 0
        self._first_line_read = False
        self._empty_lines = 0

    def _drop_empty_lines(self) -> None:
        while self.held.startswith(b"\r\n"):
            self._empty_lines += 1
            if self._empty_lines > _MOST_EMPTY_LINES:
                raise refusal("empty_lines", "empty lines instead of a request")
            del self.held[:2]

    def _check(self) -> None:
        """Raise ProtocolError when what is held cannot become a good section."""
        held = self.held
        size = min(len(held), self.limit)
        if not self._first_line_read:
            end = held.find(b"\r\n", max(0, self._searched - 1), size)
            if end >= 0:
                self._first_line_read = True
                if first_line_error(self.role, bytes(held[:end])) is not None:
                    raise diagnose(self.role, bytes(held[:size]))
        if broken_at(held, max(0, self._searched - 1), size) >= 0:
            raise diagnose(self.role, bytes(held[:size]))
        if len(held) >= self.limit:
            raise self._too_large(size)

    def _too_large(self, size: int) -> ProtocolError:
        if self.role == TRAILERS:
            return refusal("trailers_too_large", f"trailers of more than {self.limit} bytes")
        if self.role == REQUEST and self.held.find(b"\r\n", 0, size) < 0:
            return refusal("uri_too_long", f"a request line of more than {self.limit} bytes")
        return refusal("head_too_large", f"a head of more than {self.limit} bytes")
