"""Reads the body of a message ahead, for a fault that acts on all of it: bounded, and not for ever.

While it comes nothing goes on.  Then the faults of the phase go on, and what was read is passed on as if it
came just now, piece by piece, with all that other faults do to bodies.
"""

from typing import Final

from proxy.exchange import Exchange, Whole
from proxy.http2.body import StreamBody
from proxy.http2.heads import block_of_lines
from proxy.net.timers import Timer
from proxy.performer import Performance
from proxy.wire.body import BodyReader
from proxy.wire.grpc import Messages
from proxy.wire.h1 import BODY, END, MARK
from proxy.worker import Releasable
from rules.compiled import CompiledRule
from rules.message_actions import MOST, STREAMING, TOO_LARGE, TOO_SLOW
from rules.plan import Chosen

# A body that is not complete after so long (seconds) is not waited for any more.
PATIENCE: Final = 10.0
# A call whose first message is complete, and which is not, is one that streams, after so long (seconds).
_PAUSE: Final = 0.1


class Gathering(Whole):
    """The body of one direction of one exchange, as far as it has come."""

    def __init__(self, performance: Performance, chosen: Chosen, of_request: bool, of_call: bool) -> None:
        super().__init__(StreamBody())
        self.of_request: bool = of_request
        self.performance: Performance = performance
        self.pieces: list[bytes] = []
        self.size: int = 0
        self.why: str = ""  # it is not complete, see rules.message_actions
        self.messages: Messages | None = Messages() if of_call else None
        self.patience: _Patience = _Patience(self, chosen)

    def wait(self) -> None:
        """Begin to wait for it."""
        self.patience.begin()

    def pull(self, reader: BodyReader) -> bool:
        event = reader.next()
        if event == BODY:
            self._take(reader.piece)
        elif event == END:
            self.end(reader)
        elif event != MARK:  # who waits for a place in the body meets it when that is passed on
            return False
        return True

    def _take(self, piece: bytes) -> None:
        self.pieces.append(piece)
        self.size += len(piece)
        if self.size > MOST:
            self.decide(TOO_LARGE)
        elif self.messages is not None:
            self._follow(self.messages, piece)

    def _follow(self, messages: Messages, piece: bytes) -> None:
        """See whether a call has one message, or streams them."""
        at = 0
        while at < len(piece):
            at = messages.follow(piece, at)
        if messages.begun > 1:
            self.decide(STREAMING)
        elif messages.between:
            self.patience.hurry()

    def end(self, reader: BodyReader) -> None:
        """Note that all of it has come."""
        self.complete = True
        self.decide("", reader)

    def decide(self, why: str, reader: BodyReader | None = None) -> None:
        """Wait no more, and go on; ``reader`` has the trailers where all has come."""
        if self.decided:
            return
        self.cancel()
        self.decided = True
        self.why = why
        self.replace(self.pieces, reader)
        self.pieces = []
        if self.of_request:
            self.performance.ex.body_held += 1  # until all of this has been passed on
        self.performance.step()

    def replace(self, pieces: list[bytes], reader: BodyReader | None) -> None:
        """Have these pieces passed on; ``reader`` has the trailers, None where more is to come."""
        body = StreamBody()
        for piece in pieces:
            body.put(piece)
        if reader is not None:
            body.end(None)
            body.trailers = reader.trailers
            if isinstance(reader, StreamBody):
                body.block = reader.block
            elif reader.trailers:
                body.block = block_of_lines(reader.trailers)
        self.body = body

    def content(self) -> bytes:
        """Give all of it."""
        body = self.body
        if isinstance(body, StreamBody) and body.waiting is not None:
            return b"".join(body.waiting)
        return b""

    def change(self, content: bytes) -> None:
        """Pass this on instead."""
        self.replace([content], self.body)

    def cancel(self) -> None:
        self.patience.end()


class _Patience(Releasable):
    """How long it is waited, and for which rule."""

    def __init__(self, gathering: Gathering, chosen: Chosen) -> None:
        self.gathering: Gathering = gathering
        self.chosen: Chosen = chosen
        self.timer: Timer | None = None
        self.why: str = TOO_SLOW

    def begin(self) -> None:
        """Wait."""
        ex = self._exchange()
        ex.worker.waiting[self] = None
        ex.worker.cells.waiting += 1
        self.timer = ex.worker.timers.after(PATIENCE, self)

    def hurry(self) -> None:
        """Wait only as long as it may take until the end of a call that has no more messages."""
        if self.timer is not None:
            self.timer.cancel()
            self.why = STREAMING
            self.timer = self._exchange().worker.timers.after(_PAUSE, self)

    def _exchange(self) -> Exchange:
        return self.gathering.performance.ex

    def rule_now(self) -> CompiledRule | None:
        return self.chosen.rule

    def fire(self) -> None:
        self._decide(self.why)

    def let_go(self) -> None:
        self._decide("")

    def cancel(self) -> None:
        self.end()

    def _decide(self, why: str) -> None:
        ex = self._exchange()
        try:
            self.gathering.decide(why)
        except Exception:
            ex.worker.bug("gathering")
            ex.client.reset()
            self.gathering.performance.ending.finish(ex)

    def end(self) -> None:
        """Wait no more."""
        if self.timer is None:
            return
        self.timer.cancel()
        self.timer = None
        worker = self._exchange().worker
        if worker.waiting.pop(self, self) is None:
            worker.cells.waiting -= 1
