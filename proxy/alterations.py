"""Carries out what faults do to whole messages, before their heads go on: rewritten, sent twice, slow.

Each gives a verdict to the performer.  What cannot be done to a message is counted and logged with its
reason, and the message passes as it came.
"""

from typing import Final

from proxy import rewriting
from proxy.altered import DONE, LATER, LEFT_ALONE, WAITS
from proxy.codings import Unreadable
from proxy.copies import send_copies
from proxy.exchange import Altered, Exchange
from proxy.gathering import Gathering
from proxy.http2.body import StreamBody
from proxy.performer import Performance
from proxy.rewriting import NO_CONTENT, BadHead, Change
from proxy.row import Row, Sink
from proxy.slow_heads import TO_CLIENT, TO_UPSTREAM, SlowHead
from proxy.wire import h1_head
from proxy.wire.h1_fields import parse_response
from proxy.wire.h1_head import CHUNKED, Head
from rules import message_actions as reasons
from rules.message_actions import MOST, DripHead, Duplicate, MessageAction, MessageEdit, Rewrite
from rules.plan import Chosen

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_MANY: Final = 100
_PARTIAL: Final = 206
_EVENTS: Final = b"text/event-stream"


def alter(performance: Performance, chosen: Chosen, action: MessageAction) -> int:
    """Carry out an action on the message whose head is due; gives a verdict of ``proxy.performer``."""
    ex = performance.ex
    if ex.opaque:
        return LEFT_ALONE
    altered = ex.altered
    if altered is None:
        altered = Altered()
        ex.altered = altered
        if not ex.body_open and ex.head.framing == CHUNKED:
            ex.client.bare_body()  # what an upstream's side sees of a request that was altered
    if isinstance(action, DripHead):
        if ex.pending_head is None:
            altered.slow_request = SlowHead(performance, chosen, action.drip, TO_UPSTREAM)
        else:
            altered.slow_response = SlowHead(performance, chosen, action.drip, TO_CLIENT)
        return LATER
    if isinstance(action, Duplicate):
        return _duplicate(performance, chosen, altered, action.times)
    return _rewrite(performance, chosen, altered, action) if isinstance(action, Rewrite) else LEFT_ALONE


def release(ex: Exchange, altered: Altered) -> None:
    """The exchange is over: wait for nothing more; what was read ahead is not to be read once more."""
    whole = altered.request
    if whole is not None:
        whole.cancel()
        if whole.complete:
            ex.request_done = True
    if altered.response is not None:
        altered.response.cancel()


def skip(performance: Performance, chosen: Chosen, why: str) -> int:
    """Count and log that a fault leaves a message alone; gives the verdict."""
    ex = performance.ex
    skipped = chosen.rule.state.faults[chosen.number].skipped
    skipped[why] = skipped.get(why, 0) + 1
    ex.worker.log.event(
        "info",
        "fault_skipped",
        message="a fault could not act on a message, which has passed as it came",
        rule=chosen.rule.name,
        fault=chosen.fault.KIND,
        reason=why,
        version=performance.plan.snapshot.version,
        listener=ex.listener_name(),
        request_id=ex.request_id,
    )
    return LEFT_ALONE


# --- bodies of requests, as a whole


def _gather_request(performance: Performance, chosen: Chosen, altered: Altered) -> str | None:
    """See that the whole body is there; gives why it cannot be had, "" where it can, None while it comes."""
    ex = performance.ex
    head = ex.head
    whole = altered.request
    if isinstance(whole, Gathering):
        return whole.why
    if head.length > MOST:
        return reasons.TOO_LARGE
    gathering = Gathering(performance, chosen, True, head.grpc)
    altered.request = gathering
    if head.framing == h1_head.NO_BODY or ex.request_done:
        gathering.decided = True
        gathering.complete = True
        gathering.replace([], StreamBody())
        return ""
    if head.expect_continue:
        _expect_no_more(ex, altered, head)
    gathering.wait()
    ex.client.go_on_reading()
    return None


def _expect_no_more(ex: Exchange, altered: Altered, head: Head) -> None:
    """Tell the client to send its body, since we want it, and let the upstream not be asked."""
    change = Change(MessageEdit())
    change.drop.add(b"expect")
    ex.client.interim(ex, parse_response(_CONTINUE, ex.worker.live.response_names, _MANY, False))
    _put_request(ex, altered, rewriting.request(head, change, ex.worker.live.request_names))


def _put_request(ex: Exchange, altered: Altered, head: Head) -> None:
    """Let the request go on with another head."""
    if altered.came is None:
        altered.came = ex.head
    ex.head = head


# --- rewrite


def _rewrite(performance: Performance, chosen: Chosen, altered: Altered, action: Rewrite) -> int:
    ex = performance.ex
    head = ex.pending_head
    if head is not None:
        edit = action.response
        if edit is None:
            return LATER
        return _rewrite_response(performance, chosen, altered, edit, head)
    edit = action.request
    if edit is None:
        return LATER
    verdict = _rewrite_request(performance, chosen, altered, edit)
    return LATER if verdict == LEFT_ALONE and action.response is not None else verdict


def _rewrite_request(performance: Performance, chosen: Chosen, altered: Altered, edit: MessageEdit) -> int:
    ex = performance.ex
    why: str | None = _request_trouble(ex.head, edit)
    change = Change(edit)
    content: bytes | None = None
    if edit.body is not None and not why:
        why = _gather_request(performance, chosen, altered)
        if why is None:
            return WAITS
        whole = altered.request
        if not why and isinstance(whole, Gathering):
            content, why = _content(ex.head, edit, whole.content())
    if why:
        return skip(performance, chosen, why)
    if content is not None:
        change.body(len(content))
    try:
        made = rewriting.request(ex.head, change, ex.worker.live.request_names)
    except BadHead:
        return skip(performance, chosen, reasons.BAD_HEAD)
    _put_request(ex, altered, made)
    whole = altered.request
    if content is not None and isinstance(whole, Gathering):
        whole.change(content)
        if ex.request_done:
            ex.request_done = False
            ex.body_held += 1
            ex.client.reopen_body()
    return DONE


def _request_trouble(head: Head, edit: MessageEdit) -> str:
    """Say why a request cannot be changed so, "" where it can."""
    if head.upgrade and (edit.method or edit.body is not None):
        return reasons.TUNNEL
    if head.method == b"HEAD" and edit.method:
        return reasons.HEAD_REQUEST
    if head.grpc and edit.body is not None:
        return reasons.GRPC_BODY
    return ""


def _content(head: Head, edit: MessageEdit, came: bytes) -> tuple[bytes | None, str]:
    """Give the new body, or why there is none."""
    body = edit.body
    if body is None:
        return None, ""
    try:
        return rewriting.body(came, rewriting.values_of(head, b"content-encoding"), body), ""
    except Unreadable as error:
        return None, error.why


def _rewrite_response(
    performance: Performance, chosen: Chosen, altered: Altered, edit: MessageEdit, head: Head
) -> int:
    ex = performance.ex
    to_head = ex.head.method == b"HEAD"
    change = Change(edit)
    content: bytes | None = None
    why: str | None = _response_trouble(ex, head, edit, to_head)
    if edit.body is not None and not why:
        why = _gather_response(performance, chosen, altered, head)
        if why is None:
            return WAITS
        whole = altered.response
        if not why and isinstance(whole, Gathering):
            content, why = _content(head, edit, whole.content())
    if why:
        return skip(performance, chosen, why)
    if content is not None:
        change.body(len(content))
    elif edit.status in NO_CONTENT:
        change.no_body(edit.status == 205)
    elif edit.status and head.status in (204, 304) and not to_head:
        change.no_body(True)
    try:
        made = rewriting.response(head, change, ex.worker.live.response_names, to_head)
    except BadHead:
        return skip(performance, chosen, reasons.BAD_HEAD)
    whole = altered.response
    if content is not None and isinstance(whole, Gathering):
        whole.change(content)
    if change.bodyless and head.framing != h1_head.NO_BODY:
        ex.response_shaping = _Dropping(
            ex, performance.plan, chosen, _NOWHERE, performance.ending, ex.response_shaping
        )
    ex.pending_head = made
    return DONE


def _response_trouble(ex: Exchange, head: Head, edit: MessageEdit, to_head: bool) -> str:
    """Say why an answer cannot be changed so, "" where it can."""
    if (head.status == 101 or head.tunnel) and (edit.status or edit.body is not None):
        return reasons.TUNNEL
    if edit.body is None:
        return ""
    if ex.head.grpc:
        return reasons.GRPC_BODY
    if to_head or (head.status in NO_CONTENT and not edit.status):
        return reasons.NO_BODY
    if head.status == _PARTIAL:
        return reasons.PARTIAL
    for value in rewriting.values_of(head, b"content-type"):
        if value.lower().startswith(_EVENTS):
            return reasons.STREAMING
    return ""


def _gather_response(performance: Performance, chosen: Chosen, altered: Altered, head: Head) -> str | None:
    """See that the whole body is there, as for requests."""
    whole = altered.response
    if isinstance(whole, Gathering):
        return whole.why
    if head.length > MOST:
        return reasons.TOO_LARGE
    gathering = Gathering(performance, chosen, False, False)
    altered.response = gathering
    gathering.wait()
    upstream = performance.ex.upstream
    if upstream is not None:
        upstream.go_on_reading()
    return None


class _Nowhere(Sink):
    """Where content goes that nobody is to get."""

    def pass_on(self, ex: Exchange, data: bytes) -> None:
        pass


_NOWHERE: Final = _Nowhere()


class _Dropping(Row):
    """Takes a body away."""

    def feed(self, data: bytes) -> None:
        pass


# --- duplicate


def _duplicate(performance: Performance, chosen: Chosen, altered: Altered, times: int) -> int:
    ex = performance.ex
    if ex.head.upgrade:
        return skip(performance, chosen, reasons.TUNNEL)
    why = _gather_request(performance, chosen, altered)
    if why is None:
        return WAITS
    if why:
        return skip(performance, chosen, why)
    whole = altered.request
    if isinstance(whole, Gathering):
        send_copies(performance, whole, times - 1)
    return DONE
