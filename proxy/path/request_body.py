"""Phase ``request_body``: the request's body flows to the upstream, a piece as it comes.

The bytes are passed on with the framing that they came in.  Faults act when the first byte is
there, or after exactly ``after_bytes`` bytes of content.
"""

from typing import Final

from proxy.exchange import Exchange, Whole
from proxy.http2.heads import unmeasured
from proxy.path import end
from proxy.path.response_body import due, next_mark
from proxy.performer import Then
from proxy.row import RequestSink
from proxy.shaping import attach
from proxy.wire.body import BodyReader
from proxy.wire.h1 import BODY, END, MARK, NO_BODY
from rules import phases
from rules.snapshot import Plan


class _Flow(Then):
    """Let the body flow on after a fault."""

    def carry_on(self, ex: Exchange) -> None:
        ex.body_held -= 1
        ex.client.go_on_reading()


_FLOW: Final = _Flow()


class _ToUpstream(RequestSink):
    """The request's content goes to the upstream."""

    def pass_on(self, ex: Exchange, data: bytes) -> None:
        if ex.upstream is not None:
            ex.upstream.body(data)


_TO_UPSTREAM: Final = _ToUpstream()


def begin(ex: Exchange, reader: BodyReader) -> None:
    """Prepare the faults of a body: stop at the first byte that one of them waits for."""
    plan = ex.plan
    if plan is not None and ex.head.framing != NO_BODY and ex.head.length != 0:
        shaping = attach(
            ex, plan, plan.phases[phases.REQUEST_BODY], _TO_UPSTREAM, end.ENDING, None, ex.head.length
        )
        if shaping is not None:
            ex.request_shaping = shaping
            ex.client.bare_body()
            if not shaping.keeps_length():
                ex.head = unmeasured(ex.head)
        _set_mark(plan, reader)


def shape_open(ex: Exchange, plan: Plan) -> None:
    """Prepare faults that came while the exchange was under way, for what is still to come of its request."""
    if not ex.request_done:
        planned = plan.phases[phases.REQUEST_BODY]
        ex.request_shaping = attach(ex, plan, planned, _TO_UPSTREAM, end.ENDING, ex.request_shaping)
        if ex.request_shaping is not None and not ex.body_open:
            ex.client.bare_body()


def _set_mark(plan: Plan, reader: BodyReader) -> None:
    """Ask for a stop where the next fault of this body acts."""
    place = next_mark(plan.phases[phases.REQUEST_BODY])
    if place >= 0:
        reader.mark(place)


def step(ex: Exchange, reader: BodyReader) -> bool:
    """Pass on what has come; False: nothing more for now."""
    if ex.body_held or not ex.body_open:
        whole = None if ex.altered is None else ex.altered.request
        return whole is not None and _step_whole(ex, whole, reader)
    return _pass(ex, reader)


def _pass(ex: Exchange, reader: BodyReader) -> bool:
    """Pass on the next of what a reader has."""
    event = reader.next()
    if event == BODY:
        shaping = ex.request_shaping
        upstream = ex.upstream
        if shaping is not None:
            shaping.feed(reader.piece)
        elif upstream is not None:
            upstream.body(reader.piece)
        return True
    if event == END:
        finish(ex, reader)
        return True
    if event == MARK:
        mark(ex, reader)
        return True
    return False


def _step_whole(ex: Exchange, whole: Whole, reader: BodyReader) -> bool:
    """Read ahead for a fault that wants all of it; then pass that on, which holds back what comes."""
    if not whole.decided:
        return whole.pull(reader)
    if ex.body_held != 1 or not ex.body_open:
        return False
    if not whole.marked:
        whole.marked = True
        _mark_again(ex, whole.body)
    if not _pass(ex, whole.body):
        _let_go(ex)  # there was more than could be read ahead: the rest follows
        _mark_again(ex, reader)
    elif ex.request_done:
        _let_go(ex)
    return True


def _let_go(ex: Exchange) -> None:
    """What was read ahead has passed."""
    ex.body_held -= 1
    if ex.altered is not None:
        ex.altered.request = None


def _mark_again(ex: Exchange, reader: BodyReader) -> None:
    if ex.plan is not None:
        _set_mark(ex.plan, reader)


def finish(ex: Exchange, reader: BodyReader) -> None:
    """The request is complete."""
    ex.request_done = True
    ex.bytes_in = reader.content
    upstream = ex.upstream
    if upstream is not None:
        upstream.end(reader)


def whole(ex: Exchange, piece: bytes) -> None:
    """The request's body has come as one piece, and no fault acts on it."""
    ex.request_done = True
    ex.bytes_in = len(piece)
    upstream = ex.upstream
    if upstream is not None:
        upstream.last(piece)


def mark(ex: Exchange, reader: BodyReader) -> None:
    """So many bytes have passed, and there is more: carry out what was planned for this place."""
    plan = ex.plan
    if plan is None:
        return
    ex.body_held += 1
    end.perform_some(ex, plan, due(plan.phases[phases.REQUEST_BODY], reader.content), _FLOW)
    _set_mark(plan, reader)
