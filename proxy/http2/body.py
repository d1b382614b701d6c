"""The body of one stream: pieces that were pushed in by the connection, pulled out by the path."""

from proxy.http2.heads import lines_of, trailers_of, with_status
from proxy.wire.body import BodyReader
from proxy.wire.h1 import BODY, END, MARK, NEED
from proxy.wire.h2_block import Block
from proxy.wire.h2_queue import SMALL


class StreamBody(BodyReader):
    """What came on a stream and was not passed on yet; bounded by the stream's receive window."""

    ended: bool = False  # the peer has sent all of it
    done: bool = False  # and END was given
    block: Block | None = None  # the trailers, those that may be passed on
    waiting: list[bytes] | None = None
    _mark: int = -1

    @property
    def empty(self) -> bool:
        """Whether nothing is here that was not given yet, and nobody asked for a stop."""
        return not self.waiting and not self.ended and self._mark < 0

    def put(self, piece: bytes) -> None:
        """Take in a piece."""
        if not piece:
            return
        waiting = self.waiting
        if waiting is None:
            self.waiting = [piece]
        elif waiting and len(waiting[-1]) + len(piece) <= SMALL:
            waiting[-1] += piece
        else:
            waiting.append(piece)

    def end(self, trailers: Block | None) -> None:
        """Note that nothing more comes."""
        self.ended = True
        if trailers is not None:
            self.trailers = lines_of(trailers)
            self.block = trailers if trailers.trailers_pass else trailers_of(trailers)

    def trailer(self, name: bytes) -> bytes | None:
        return None if self.block is None else self.block.get(name)

    def pass_end(self) -> None:
        """Note that the end was passed on, with all that came before it."""
        self.ended = True
        self.done = True
        self.piece = b""  # what came last has gone on already

    def change_status(self, status: bytes, message: bytes) -> None:
        self.block = with_status(Block.of([]) if self.block is None else self.block, status, message)
        self.trailers = lines_of(self.block)
        if not self.block.fields:
            self.block = None

    @property
    def last(self) -> bool:
        """Whether the piece that was just given is the last one, with no trailers behind it."""
        return self.ended and not self.waiting and self.block is None

    def next(self) -> int:
        waiting = self.waiting
        if waiting:
            piece = waiting[0]
            if self._mark >= 0:
                room = self._mark - self.content
                if room <= 0:
                    self._mark = -1
                    return MARK
                if room < len(piece):
                    waiting[0] = piece[room:]
                    self.piece = piece[:room]
                    self.content += room
                    return BODY
            waiting.pop(0)
            self.piece = piece
            self.content += len(piece)
            return BODY
        if self.ended and not self.done:
            self.done = True
            self.piece = b""
            return END
        return NEED

    def mark(self, content_bytes: int) -> None:
        self._mark = content_bytes
