"""Lets a head pass in pieces, on either side; what follows it waits.

In HTTP/1.1 these are bytes of the head.  In HTTP/2 they are bytes of its frames, as from a peer on a slow
line: so all other streams of the connection wait meanwhile, for nothing may come between the frames of one
head (RFC 9113, section 6.10).  CONTINUATION frames of a few bytes would be an attack, which most peers end.
"""

from typing import Final

from proxy.exchange import Exchange
from proxy.gates import DripGate
from proxy.pacing import PacedRow
from proxy.performer import Performance
from proxy.row import AnswerSink, RequestSink, Sink
from rules.body_actions import Drip
from rules.plan import Chosen


class SlowHead(PacedRow):
    """A head that waits for its gate; it is fed as a whole, again where the request is sent once more."""

    def __init__(self, performance: Performance, chosen: Chosen, drip: Drip, sink: Sink) -> None:
        super().__init__(
            performance.ex, performance.plan, chosen, sink, performance.ending, None, DripGate(drip)
        )

    def feed(self, data: bytes) -> None:
        self.waiting.clear()
        self.size = 0
        self.at = 0
        self.granted = min(self.granted, len(data))
        super().feed(data)

    def send(self, data: bytes) -> None:
        ex = self.ex
        last = self.size == 0
        if self.sink.to_client:
            ex.client.head_part(data, last)
        elif ex.upstream is not None:
            ex.upstream.head_part(data, last)

    def cancelled(self) -> None:
        ex = self.ex
        rest = b"".join(self.waiting)[self.at :]
        if self.sink.to_client:
            ex.client.head_cut(rest)
        elif ex.upstream is not None:
            ex.upstream.head_cut(rest)


class _ToClient(AnswerSink):
    """An answer's head goes to the client; a tunnel begins when all of it has."""

    def read_on(self, ex: Exchange) -> None:
        head = ex.response
        if head is not None and ex.upstream is not None and (head.status == 101 or head.tunnel):
            ex.upstream.tunnel(ex)
        super().read_on(ex)


class _ToUpstream(RequestSink):
    """A request's head goes to the upstream."""


TO_CLIENT: Final = _ToClient()
TO_UPSTREAM: Final = _ToUpstream()
