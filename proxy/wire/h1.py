"""Reads HTTP/1.1, both roles, without input or output of its own (RFC 9112).

Bytes are pushed in, events are pulled out::

    reader.feed(data)
    while (event := reader.next()) != NEED: ...

    a message:   HEAD  BODY*  END          (MARK may come once between, where mark() asked for it)

    state        leaves it when                                   event
    S_HEAD       a whole head was read                            HEAD
    S_PLAIN      so many bytes came, or the connection ended      BODY..., END
    S_CHUNKED    the last chunk's size line came                  BODY...
    S_TRAILERS   the empty line after the trailers came           END
    S_END        at once                                          END

A reader that has raised ProtocolError raises it again: nothing after a wrong byte can be trusted.
"""

from collections import deque
from typing import Final

from proxy.wire.body import BodyReader
from proxy.wire.errors import ProtocolError, refusal
from proxy.wire.h1_chunks import LAST, Chunks
from proxy.wire.h1_fields import parse_request, parse_response
from proxy.wire.h1_head import CHUNKED as CHUNKED
from proxy.wire.h1_head import KNOWN_HEADS, KNOWN_SIZE
from proxy.wire.h1_head import LENGTH as LENGTH
from proxy.wire.h1_head import NO_BODY as NO_BODY
from proxy.wire.h1_head import REQUEST as REQUEST
from proxy.wire.h1_head import RESPONSE as RESPONSE
from proxy.wire.h1_head import UNTIL_CLOSE as UNTIL_CLOSE
from proxy.wire.h1_head import Head as Head
from proxy.wire.h1_head import Names as Names
from proxy.wire.h1_refuse import TRAILERS
from proxy.wire.h1_section import Section
from proxy.wire.h1_trailers import read_trailers

# What next() gives.
NEED: Final = 0  # nothing more without another feed
HEAD: Final = 1  # `head` is there
BODY: Final = 2  # `piece` is there
END: Final = 3  # the message is complete; the next call reads the next one
MARK: Final = 4  # as many content bytes as mark() asked for were delivered, and there are more

S_HEAD: Final = 0
S_PLAIN: Final = 1
S_CHUNKED: Final = 2
S_TRAILERS: Final = 3
S_END: Final = 4

_WITHOUT_END: Final = 1 << 61  # bytes: a body that ends with the connection
_NO_HEAD: Final = Head(b"")
_NO_NAMES: Final = Names(frozenset())


class H1Reader(BodyReader):
    """One direction of one connection: bytes in, heads, body pieces and ends out.

    ``head_size`` bounds a head, and the trailers of a body, in bytes; ``header_count`` their fields.
    ``names`` may be replaced between messages.
    """

    __slots__ = (
        "_at",
        "_chunks",
        "_data",
        "_broken",
        "_ended",
        "_failed",
        "_head_size",
        "_header_count",
        "_later",
        "_later_size",
        "_left",
        "_mark",
        "_raw",
        "_section",
        "_state",
        "_to_head",
        "_trailer_section",
        "head",
        "names",
        "role",
    )

    def __init__(self, role: int, head_size: int, header_count: int) -> None:
        super().__init__()
        self.role: int = role
        self.names: Names = _NO_NAMES
        self.head: Head = _NO_HEAD
        self._head_size: int = head_size
        self._header_count: int = header_count
        self._state: int = S_HEAD
        self._data: bytes = b""  # the read that is being looked at,
        self._at: int = 0  # and how far
        self._later: deque[bytes] = deque()  # reads that came before it was done with
        self._later_size: int = 0  # bytes
        self._ended: bool = False
        self._broken: bool = False  # by an error
        self._section: Section = Section(role, head_size)
        self._trailer_section: Section | None = None
        self._chunks: Chunks = Chunks()
        self._left: int = 0  # content bytes still to come in S_PLAIN
        self._raw: bool = False
        self._mark: int = -1
        self._to_head: bool = False
        self._failed: ProtocolError | None = None

    # -- what the owner says

    def feed(self, data: bytes) -> None:
        """Take in what was read."""
        if self._at >= len(self._data) and not self._later_size:
            self._data = data
            self._at = 0
        elif data:
            self._later.append(data)
            self._later_size += len(data)

    def feed_eof(self, broken: bool = False) -> None:
        """Note that the peer sends no more; ``broken``: by an error, which ends no body (RFC 9112, 8)."""
        self._broken = self._broken or (broken and not self._ended)
        self._ended = True

    def expect(self, method_is_head: bool) -> None:
        """Say, before a response head is read, whether it answers a HEAD request (it has no body then)."""
        self._to_head = method_is_head

    def body_as(self, raw: bool) -> None:
        """Choose, after HEAD, what the pieces of this body are.

        ``raw``: the bytes as they came, with the framing of chunks; what is left of it (the trailer
        section, filtered) is in ``piece`` at END.  Otherwise, the default: content alone.
        """
        self._raw = raw

    def mark(self, content_bytes: int) -> None:
        """Ask for one MARK when exactly so many content bytes of this body were delivered.

        It comes when the content byte after them is at hand, never at the end of the body or beyond: so
        mark(0) is the first byte, and a body that is empty has none.  A later call replaces the mark; one
        that was passed already comes before the next byte.  Of raw pieces, the framing up to that byte
        comes before it.
        """
        self._mark = content_bytes

    def rest(self) -> bytes | None:
        """Give, instead of BODY and END, the whole body where all of it was read; else None."""
        left = self._left
        at = self._at
        end = at + left
        if self._state != S_PLAIN or self._mark >= 0 or end > len(self._data):
            return None
        self.content = left
        self._left = 0
        self._at = end
        piece = self._data[at:end]
        self._end(b"")
        return piece

    # -- what it tells

    @property
    def buffered(self) -> int:
        """How many bytes are held that no event has delivered."""
        held = len(self._data) - self._at + self._later_size + len(self._section.held)
        if self._trailer_section is not None:
            held += len(self._trailer_section.held)
        return held

    @property
    def idle(self) -> bool:
        """Whether it stands between two messages with nothing read of the next."""
        if self._state != S_HEAD or self._at < len(self._data) or self._failed is not None:
            return False
        return not self._later_size and not self._section.held

    def leftover(self) -> bytes:
        """Give up all bytes that are held: what follows a head after which HTTP ends (101)."""
        rest = bytes(self._section.held) + self._data[self._at :] + b"".join(self._later)
        self._section.clear()
        self._later.clear()
        self._later_size = 0
        self._data = b""
        self._at = 0
        return rest

    def next(self) -> int:
        """Read on to the next event; raises ProtocolError."""
        if self._failed is not None:
            raise ProtocolError(self._failed.status, self._failed.kind, self._failed.text)
        try:
            state = self._state
            if state == S_HEAD:
                return self._next_head()
            if state == S_PLAIN:
                return self._next_plain()
            if state == S_CHUNKED:
                return self._next_chunked(self._chunks)
            if state == S_TRAILERS:
                return self._next_trailers()
            return self._end(b"")
        except ProtocolError as error:
            self._failed = error
            raise

    # -- heads

    def _next_head(self) -> int:
        data = self._data
        start = self._at
        if start >= len(data) and not self._later_size:
            return self._starved(len(self._section.held) > 0)
        end = data.find(b"\r\n\r\n", start) + 4
        # 3: not found.  A head in one read, as most are, is not gathered.
        if end == 3 or end - start > self._head_size or data[start] == 13 or self._section.used:
            return self._gather_head()
        self._at = end
        return self._take_head(data if end - start == len(data) else data[start:end])

    def _gather_head(self) -> int:
        size = self._gather(self._section)
        if size < 0:
            return self._starved(len(self._section.held) > 0)
        raw, self._data = self._section.split(size)
        self._at = 0
        return self._take_head(raw)

    def _gather(self, section: Section) -> int:
        """Move what was read into a section until that is complete; gives its size or -1."""
        while self._at < len(self._data) or self._pull():
            data = self._data[self._at :]
            self._data = b""
            self._at = 0
            size = section.add(data)
            if size >= 0:
                return size
        return -1

    def _take_head(self, raw: bytes) -> int:
        names = self.names
        known = names.requests if self.role == REQUEST else names.responses
        head = known.get(raw)
        if head is None or self._to_head or head.field_lines > self._header_count:
            head = self._read_head(raw, names, known)
        self.head = head
        self.trailers = b""
        self.content = 0
        self._mark = -1
        self._raw = False
        framing = head.framing
        if framing == CHUNKED:
            self._state = S_CHUNKED
            self._chunks.begin()
            return HEAD
        self._state = S_PLAIN
        if framing == LENGTH:
            self._left = head.length
        else:
            self._left = 0 if framing == NO_BODY else _WITHOUT_END
        return HEAD

    def _read_head(self, raw: bytes, names: Names, known: dict[bytes, Head]) -> Head:
        if self.role == REQUEST:
            head = parse_request(raw, names, self._header_count)
        else:
            head = parse_response(raw, names, self._header_count, self._to_head)
        # What the same bytes mean in answer to HEAD is another matter.
        if not self._to_head and len(raw) <= KNOWN_SIZE:
            if len(known) >= KNOWN_HEADS:
                known.clear()
            known[raw] = head
        return head

    # -- bodies

    def _next_plain(self) -> int:
        if self._left == 0:
            return self._end(b"")
        at = self._at
        if at >= len(self._data):
            if not self._pull():
                return self._starved(self._broken or self.head.framing == LENGTH)
            at = 0
        size = min(len(self._data) - at, self._left)
        if self._mark >= 0:
            if self._mark <= self.content:
                return self._marked()
            size = min(size, self._mark - self.content)
        self._left -= size
        self.content += size
        self._deliver(at, at + size)
        return BODY

    def _next_chunked(self, chunks: Chunks) -> int:
        while self._at < len(self._data) or self._pull():
            if self._raw:
                return self._raw_piece(chunks)
            data = self._data
            at = chunks.skip(data, self._at)
            self._at = at
            if chunks.phase == LAST:
                self._at = self._after_last_chunk(at)
                return self._end(b"") if self._state == S_END else self._next_trailers()
            if at < len(data):
                if 0 <= self._mark <= self.content:
                    return self._marked()
                self._deliver(at, at + self._count(chunks, len(data) - at))
                return BODY
        return self._starved(True)

    def _raw_piece(self, chunks: Chunks) -> int:
        """Deliver what was read as it came: to its end, the end of the body or the mark."""
        data = self._data
        size = len(data)
        at = self._at
        while at < size and chunks.phase != LAST:
            at = chunks.skip(data, at)
            if chunks.left and at < size:
                if 0 <= self._mark <= self.content:
                    if at == self._at:
                        return self._marked()
                    break
                at += self._count(chunks, size - at)
        if chunks.phase == LAST:
            at = self._after_last_chunk(at)
        self._deliver(self._at, at)
        return BODY

    def _count(self, chunks: Chunks, available: int) -> int:
        """Count content of this chunk as delivered: as much as is there, and as the mark lets."""
        size = min(chunks.left, available)
        if self._mark >= 0:
            size = min(size, self._mark - self.content)
        chunks.left -= size
        self.content += size
        return size

    def _marked(self) -> int:
        self._mark = -1
        return MARK

    def _after_last_chunk(self, at: int) -> int:
        """See whether the body ends here, as most do, or trailers may follow; gives where to read on."""
        if self._data.startswith(b"\r\n", at):
            self._state = S_END
            return at + 2
        self._state = S_TRAILERS
        if self._trailer_section is None:
            self._trailer_section = Section(TRAILERS, self._section.limit)
        return at

    def _next_trailers(self) -> int:
        section = self._trailer_section
        assert section is not None
        size = self._gather(section)
        if size < 0:
            return self._starved(True)
        raw, self._data = section.split(size)
        self._at = 0
        self.trailers = read_trailers(raw, self.names, self._header_count)
        return self._end(self.trailers + b"\r\n" if self._raw else b"")

    # -- input

    def _pull(self) -> bool:
        """Go on to the next read that is held; False when there is none."""
        if not self._later_size:
            return False
        self._data = self._later.popleft()
        self._later_size -= len(self._data)
        self._at = 0
        return True

    def _deliver(self, start: int, end: int) -> None:
        """Make a piece of what was read; a whole read is passed on as it is."""
        data = self._data
        self.piece = data if end - start == len(data) else data[start:end]
        self._at = end

    def _starved(self, incomplete: bool) -> int:
        """Say what the lack of bytes means."""
        self._data = b""
        self._at = 0
        if not self._ended:
            return NEED
        if incomplete:
            raise refusal("truncated", "the connection ended within a message")
        return NEED if self._state == S_HEAD else self._end(b"")

    def _end(self, piece: bytes) -> int:
        self.piece = piece
        self._mark = -1
        self._state = S_HEAD
        if self._at >= len(self._data):
            self._data = b""
            self._at = 0
        return END
