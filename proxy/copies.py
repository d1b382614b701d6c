"""Sends a request once more: an exchange like any other, whose client takes everything and wants nothing.

No fault acts on it, no client waits for it, and it counts for no route: only its upstream sees that it is
there.
"""

from typing import Any

from proxy.exchange import Altered, ClientSide, Exchange, Passing, Shaping
from proxy.gathering import Gathering
from proxy.http2.body import StreamBody
from proxy.metrics.cells import RouteCells
from proxy.net.pipe import Conduit
from proxy.performer import Performance
from proxy.wire.body import BodyReader
from proxy.wire.h1 import BODY, END
from proxy.wire.h1_head import NO_BODY, Head
from rules.actions import CANCEL, Answer, Disturb, EndCall, GoAway
from rules.compiled import CompiledRule
from rules.snapshot import Snapshot


def send_copies(performance: Performance, whole: Gathering, copies: int) -> None:
    """Send the request of an exchange, all of which was read, so many times besides its own."""
    ex = performance.ex
    content = whole.content()
    for _ in range(copies):
        body = StreamBody()
        body.put(content)
        body.end(None)
        body.trailers = whole.body.trailers
        if isinstance(whole.body, StreamBody):
            body.block = whole.body.block
        performance.then.carry_on(_copy(ex, body))


def _copy(ex: Exchange, body: StreamBody) -> Exchange:
    cells = RouteCells(ex.cells.listener, ex.cells.upstream)  # that nobody reads
    made = Exchange(ex.worker, _Nobody(body), ex.head, ex.worker.clock(), cells, ex.source)
    made.target = ex.target
    made.forward = ex.forward
    made.scheme = ex.scheme
    made.certificate = ex.certificate
    made.trusted_hops = ex.trusted_hops
    made.request_id = ex.request_id
    made.request_done = ex.head.framing == NO_BODY
    altered = Altered()
    altered.copy = True
    made.altered = altered
    side = made.client
    if isinstance(side, _Nobody):
        side.ex = made
    return made


class _Nobody(ClientSide):
    """The client's side of a copy: it gives the body that is there, and throws away what comes."""

    def __init__(self, content: StreamBody) -> None:
        self.ex: Exchange | None = None
        self.content: StreamBody = content
        self.reasons: int = 0  # why the body is not given, bits of BY_*
        self.giving: bool = False

    def go_on_reading(self) -> None:
        if self.giving:
            return
        self.giving = True
        while self._give():
            pass
        self.giving = False

    def _give(self) -> bool:
        """Give one piece of the request; False: nothing more for now."""
        ex = self.ex
        if ex is None or self.reasons or ex.over or ex.request_done or not ex.body_open:
            return False
        upstream = ex.upstream
        event = self.content.next()
        if upstream is None or event not in (BODY, END):
            return False
        if event == BODY:
            upstream.body(self.content.piece)
        else:
            ex.request_done = True
            upstream.end(self.content)
        return True

    def pause(self, reason: int) -> None:
        self.reasons |= reason

    def resume(self, reason: int) -> None:
        self.reasons &= ~reason
        self.go_on_reading()

    def over(self, ex: Exchange) -> None:
        self.ex = None

    # --- what comes is thrown away

    def head(self, ex: Exchange, head: Head) -> bool:
        return False

    def head_slowly(self, ex: Exchange, head: Head, slow: Shaping) -> None:
        pass

    def head_part(self, data: bytes, last: bool) -> None:
        pass

    def head_cut(self, rest: bytes) -> None:
        pass

    def interim(self, ex: Exchange, head: Head) -> None:
        pass

    def body(self, piece: bytes) -> None:
        pass

    def end(self, reader: BodyReader) -> None:
        pass

    def answer(self, ex: Exchange, answer: Answer, extra: bytes) -> None:
        pass

    def bare_body(self) -> None:
        pass

    def cut_body(self) -> None:
        pass

    def end_call(self, ex: Exchange, end: EndCall) -> None:
        pass

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        pass

    def close(self, goaway: GoAway | None = None) -> None:
        pass

    def unannounced(self) -> None:
        pass

    def dismiss(self, goaway: GoAway) -> None:
        pass

    def disturb(self, action: Disturb, rule: CompiledRule) -> None:
        pass

    def broken(self) -> None:
        pass

    def tunnel(self, ex: Exchange, upstream: Conduit) -> Passing:
        raise NotImplementedError("requests that ask for a tunnel are not copied")

    # --- what only whole connections do

    def sweep(self, now: float) -> None:
        pass

    def rules_changed(self, before: Snapshot) -> None:
        pass

    def idle(self) -> bool:
        return self.ex is None

    def describe(self) -> dict[str, Any]:
        return {"side": "copy"}

    def shut(self) -> None:
        pass
