"""Phase ``response_head``: the upstream has begun to answer.

Nothing has gone to the client yet: here an answer can still be replaced, and here the header lines
that prove what was injected are added.
"""

from typing import Final

from proxy import errors
from proxy.exchange import Exchange, Shaping
from proxy.metrics.calls import status_of
from proxy.path import end, response_body
from proxy.performer import Then
from proxy.wire.errors import ProtocolError
from proxy.wire.h1_head import CHUNKED, NO_BODY, Head
from proxy.wire.h2_block import Block
from rules import phases
from rules.facts import Facts


class _Forward(Then):
    """Send the head on, after the faults of this phase."""

    def carry_on(self, ex: Exchange) -> None:
        ex.response_held -= 1
        go_on(ex)


_FORWARD: Final = _Forward()


def go_on(ex: Exchange) -> None:
    """Let a head pass that faults have kept, unless another one still does."""
    head = ex.pending_head
    upstream = ex.upstream
    plan = ex.plan
    if ex.response_held or head is None or upstream is None or plan is None:
        return
    ex.pending_head = None
    end.announce(ex, plan)
    slow = None if ex.altered is None else ex.altered.slow_response
    head = response_body.shape(ex, plan, head)
    if slow is None:
        forward(ex, head)
    else:
        _forward_slowly(ex, head, slow)
    response_body.begin(ex, plan)
    upstream.go_on_reading()


def interim(ex: Exchange, head: Head) -> None:
    """Pass a 1xx answer on at once: faults act on the final one."""
    ex.client.interim(ex, head)


def enter(ex: Exchange, head: Head) -> None:
    """The head of the final answer is here."""
    plan = ex.plan
    if plan is None:
        forward(ex, head)
        return
    ex.pending_head = head
    facts = ex.facts
    if plan.needs_response and facts is not None:
        learn(facts, head)
        known = len(plan.shadowed)
        plan.respond(facts, facts.grpc_status < 0 and head.framing != NO_BODY)
        end.log_shadows(ex, plan, known)
    ex.response_held += 1
    end.perform(ex, phases.RESPONSE_HEAD, _FORWARD)


def learn(facts: Facts, head: Head) -> None:
    """Fill in what rules may ask about the answer."""
    facts.response_status = head.status
    if head.fields is not None:
        facts.response_headers = head.fields
    block = head.block
    if isinstance(block, Block):  # the trailers are in the head where a call failed at once
        facts.grpc_status = status_of(block.get(b"grpc-status"))


def forward(ex: Exchange, head: Head) -> None:
    """Send the head to the client: from here on the answer can only be continued or cut."""
    try:
        raw = ex.client.head(ex, head)
    except ProtocolError:  # the client's protocol cannot say what the upstream's said
        end.fail(ex, errors.UPSTREAM_PROTOCOL)
        return
    _sent(ex, head, raw)


def _forward_slowly(ex: Exchange, head: Head, slow: Shaping) -> None:
    """Send the head in parts; a tunnel begins behind the last one."""
    try:
        ex.client.head_slowly(ex, head, slow)
    except ProtocolError:
        end.fail(ex, errors.UPSTREAM_PROTOCOL)
        return
    if ex.response_held:
        ex.status = head.status
        ex.response = head
    else:
        _sent(ex, head, False)


def _sent(ex: Exchange, head: Head, raw: bool) -> None:
    """The head is on its way: the body may follow."""
    ex.status = head.status
    ex.response = head
    upstream = ex.upstream
    if upstream is not None:
        if raw and head.framing == CHUNKED:
            upstream.body_as(True)
        if head.status == 101 or head.tunnel:
            upstream.tunnel(ex)
