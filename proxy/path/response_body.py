"""Phase ``response_body``: the answer's body flows to the client, a piece as it comes.

Faults act when the first byte is there, or after exactly ``after_bytes`` bytes of content.
"""

from typing import Final

from proxy.exchange import Exchange, Shaping, Whole
from proxy.http2.heads import ending_so, unmeasured
from proxy.metrics.calls import status_of
from proxy.path import end
from proxy.performer import Then
from proxy.row import AnswerSink
from proxy.shaping import attach
from proxy.wire.body import BodyReader
from proxy.wire.h1 import BODY, END, MARK
from proxy.wire.h1_head import LENGTH, NO_BODY, Head
from rules import phases
from rules.plan import Chosen
from rules.snapshot import Plan


class _Flow(Then):
    """Let the answer flow on after a fault."""

    def carry_on(self, ex: Exchange) -> None:
        ex.response_held -= 1
        upstream = ex.upstream
        if upstream is not None:
            _set_mark(ex)
            upstream.go_on_reading()


_FLOW: Final = _Flow()


class _ToClient(AnswerSink):
    """The answer's content goes to the client."""

    def pass_on(self, ex: Exchange, data: bytes) -> None:
        ex.client.body(data)


_TO_CLIENT: Final = _ToClient()


class _Leave(Then):
    """The faults of the phase ``end`` have let the exchange pass."""

    def carry_on(self, ex: Exchange) -> None:
        end.finish(ex)


_LEAVE: Final = _Leave()


def shape(ex: Exchange, plan: Plan, head: Head) -> Head:
    """Prepare the faults that change the body or its end; gives the head that goes with such a body."""
    if head.tunnel or head.status == 101:
        return head  # the tunnel has its own
    planned = plan.phases[phases.RESPONSE_BODY]
    shaping = attach(ex, plan, planned, _TO_CLIENT, end.ENDING, ex.response_shaping, head.length)
    if shaping is None:
        return head
    if head.framing == NO_BODY:  # the head is the end of the call too
        ending = shaping.closing()
        return head if ending is None else ending_so(head, ending.status, ending.message)
    ex.response_shaping = shaping
    return head if shaping.keeps_length() else unmeasured(head)


def shape_open(ex: Exchange, plan: Plan) -> None:
    """Prepare faults that came while the exchange was under way, for what is still to come of its answer."""
    if not ex.response_done:
        planned = plan.phases[phases.RESPONSE_BODY]
        ex.response_shaping = attach(ex, plan, planned, _TO_CLIENT, end.ENDING, ex.response_shaping)


def begin(ex: Exchange, plan: Plan) -> None:
    """Prepare the faults of a body: stop at the first byte that one of them waits for."""
    if ex.altered is not None and ex.altered.response is not None:
        ex.response_held += 1  # until all that was read ahead has been passed on
    head = ex.response
    if head is None or head.framing == NO_BODY or (head.framing == LENGTH and head.length == 0):
        return  # no body, no faults of the body
    if plan.phases[phases.RESPONSE_BODY] is not None:
        _set_mark(ex)


def _set_mark(ex: Exchange) -> None:
    """Ask for a stop where the next fault of this body acts."""
    plan = ex.plan
    upstream = ex.upstream
    if plan is None or upstream is None:
        return
    place = next_mark(plan.phases[phases.RESPONSE_BODY])
    if place < 0:
        return
    whole = None if ex.altered is None else ex.altered.response
    if whole is None:
        upstream.mark_body(place)
    else:
        whole.body.mark(place)


def next_mark(faults: list[Chosen] | None) -> int:
    """Give the least ``after_bytes`` of the faults that may still act; -1: none is left."""
    place = -1
    for chosen in faults or []:
        if chosen.pending and not chosen.fault.shapes and (place < 0 or chosen.fault.after_bytes < place):
            place = chosen.fault.after_bytes
    return place


def due(faults: list[Chosen] | None, content: int) -> list[Chosen]:
    """Give the faults that act once so many bytes of content have passed."""
    return [c for c in faults or [] if c.pending and not c.fault.shapes and c.fault.after_bytes <= content]


def mark(ex: Exchange, content: int) -> None:
    """So many bytes have passed, and there is more: carry out what was planned for this place."""
    plan = ex.plan
    if plan is None:
        return
    ex.response_held += 1
    end.perform_some(ex, plan, due(plan.phases[phases.RESPONSE_BODY], content), _FLOW)


def piece(ex: Exchange, data: bytes) -> None:
    """Pass a piece on."""
    if ex.response_shaping is None:
        ex.client.body(data)
    else:
        ex.response_shaping.feed(data)


def step_held(ex: Exchange, reader: BodyReader) -> bool:
    """Read on although the answer is held: ahead, for a fault that wants all of it, then that itself.

    False: nothing more for now.
    """
    whole = None if ex.altered is None else ex.altered.response
    if whole is None or ex.response_done or ex.over:
        return False
    if not whole.decided:
        return whole.pull(reader)
    return ex.response_held == 1 and _step_whole(ex, whole, whole.body)


def _step_whole(ex: Exchange, whole: Whole, body: BodyReader) -> bool:
    """Pass on the next of what was read ahead."""
    event = body.next()
    if event == BODY:
        piece(ex, body.piece)
    elif event == MARK:
        mark(ex, body.content)
    else:
        ex.response_held -= 1
        if ex.altered is not None:
            ex.altered.response = None
        if event == END:
            finish(ex, body)
        else:
            _set_mark(ex)  # there was more than could be read ahead: the rest follows
    return True


class _Close(Then):
    """Pass on what ends an answer, after the faults that its trailers have called for."""

    def __init__(self, reader: BodyReader, ending: Shaping | None) -> None:
        self.reader: BodyReader = reader
        self.ending: Shaping | None = ending

    def carry_on(self, ex: Exchange) -> None:
        ex.response_held -= 1
        if self.ending is not None:
            self.ending.close(self.reader)
        _close(ex, self.reader)


def finish(ex: Exchange, reader: BodyReader) -> None:
    """The answer is complete: ask the rules that wait for the status of a call, then end it."""
    plan = ex.plan
    facts = ex.facts
    if plan is None or facts is None or not plan.awaits_end:
        _close(ex, reader)
        return
    facts.grpc_status = status_of(reader.trailer(b"grpc-status"))
    known = len(plan.shadowed)
    late = plan.respond_at_end(facts)
    end.log_shadows(ex, plan, known)
    if not late:
        _close(ex, reader)
        return
    ex.response_held += 1
    ending = attach(ex, plan, late, _TO_CLIENT, end.ENDING)
    end.perform_some(ex, plan, [c for c in late if not c.fault.shapes], _Close(reader, ending))


def _close(ex: Exchange, reader: BodyReader) -> None:
    """Pass on what ends the answer, and end the exchange."""
    if ex.response_shaping is not None:
        ex.response_shaping.close(reader)
    ex.client.end(reader)
    ex.response_done = True
    if ex.plan is None:
        end.finish(ex)
    else:
        end.perform(ex, phases.END, _LEAVE)
