"""Phase ``end``: however an exchange ends, it ends here, once: answers of our own, cuts, accounts."""

from typing import Final

from proxy import alterations, consulting, errors, feigned, limiting
from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.listener import Listener
from proxy.metrics.calls import CallCells
from proxy.performer import Performance, Then
from proxy.row import CallEnding
from proxy.wire.h1_head import Head
from proxy.worker import Worker
from rules import phases
from rules.actions import (
    Action,
    Answer,
    Close,
    EndCall,
    Nothing,
    Reset,
    ShapeHandshake,
    ShapeLookup,
)
from rules.fault import BOTH, CLIENT, UPSTREAM
from rules.message_actions import MessageAction
from rules.plan import Chosen
from rules.snapshot import Plan
from rules.way_actions import FailToConnect, Say

_NOTHING: Final = Nothing()
_TEXT: Final[list[tuple[bytes, bytes]]] = [(b"content-type", b"text/plain; charset=utf-8")]


class PathEnding(CallEnding):
    """What the performer calls when a fault ends an exchange."""

    def answer(self, ex: Exchange, answer: Answer) -> None:
        if ex.response is not None:
            # Too late for another answer: the head is with the client.  What is left is an early end.
            ex.client.broken()
        else:
            ex.status = 0 if ex.opaque else answer.status
            ex.feigned = errors.UPSTREAM_CLOSED if ex.opaque else None
            ex.client.answer(ex, answer, b"")
        finish(ex)

    def reset(self, ex: Exchange, reset: Reset, side: int) -> None:
        upstream = ex.upstream
        if ex.passing is not None:
            side = BOTH  # a reset passes through a tunnel, see Tunnel.client_lost
        if side & UPSTREAM and upstream is not None:
            upstream.reset(reset.code, reset.connection)
        _let_arrive(ex)
        if side & CLIENT:
            ex.feigned = errors.UPSTREAM_RESET
            ex.client.reset(reset.code, reset.connection)
            finish(ex)
        else:
            _upstream_cut(ex, errors.UPSTREAM_RESET)

    def close(self, ex: Exchange, close: Close, side: int) -> None:
        upstream = ex.upstream
        if side & UPSTREAM and upstream is not None:
            upstream.close()
        _let_arrive(ex)
        if side & CLIENT:
            ex.feigned = errors.UPSTREAM_CLOSED
            if not close.close_notify:
                ex.client.unannounced()
            ex.client.close(close.goaway)
            finish(ex)
        else:
            _upstream_cut(ex, errors.UPSTREAM_CLOSED)

    def cut_body(self, ex: Exchange, phase: int) -> None:
        if ex.passing is not None:
            ex.passing.cut(phase)
        elif phase == phases.RESPONSE_BODY:
            ex.client.cut_body()
            finish(ex)
        elif ex.upstream is not None:
            ex.body_open = False  # what is left of it is not read before there is an answer
            ex.upstream.cut_body()

    def end_call(self, ex: Exchange, end: EndCall) -> None:
        if ex.response is None:
            ex.status = 200
        _let_arrive(ex)
        ex.client.end_call(ex, end)
        finish(ex)

    def say(self, ex: Exchange, say: Say) -> None:
        if ex.client.say(ex, say):
            finish(ex)

    def spoil(self, ex: Exchange, shape: ShapeHandshake) -> Action:
        return feigned.handshake(ex, shape)

    def look_up(self, ex: Exchange, shape: ShapeLookup) -> Action:
        return feigned.look_up(ex, shape)

    def cannot_connect(self, ex: Exchange, action: FailToConnect) -> Action:
        return feigned.connection(ex, action)

    def alter(self, performance: Performance, chosen: Chosen, action: MessageAction) -> int:
        return alterations.alter(performance, chosen, action)

    def failed(self, ex: Exchange, failure: Failure) -> None:
        _upstream_cut(ex, failure)

    def finish(self, ex: Exchange) -> None:
        finish(ex)

    def shadowed(self, ex: Exchange, plan: Plan, chosen: Chosen) -> None:
        log_injection(ex, chosen, plan, True)

    def lost(self, ex: Exchange, failure: Failure) -> None:
        if not ex.over:
            _note(ex, failure)
            finish(ex)

    def injected(self, ex: Exchange, plan: Plan, chosen: Chosen) -> None:
        rule = chosen.rule
        done = ex.injected_by
        if done is None:
            done = []
            ex.injected_by = done
        done.append(f"{rule.name}/{chosen.fault.KIND}")
        if rule.proof and ex.response is None:
            _prove(ex, chosen, f"ms={chosen.milliseconds:.0f}", plan)
        log_injection(ex, chosen, plan, False)


ENDING: Final = PathEnding()


def _let_arrive(ex: Exchange) -> None:
    """Let what passed of a request's body arrive although a fault ends the exchange."""
    if ex.upstream is not None and ex.response is None:
        ex.upstream.leave()


def _upstream_cut(ex: Exchange, failure: Failure) -> None:
    """A fault has ended the upstream's side alone: the client sees what a proxy makes of that."""
    if ex.response_done:
        finish(ex)  # the client has its answer: the upstream's leg is no matter of its own
    else:
        ex.feigned = failure
        if ex.target is not None:
            counts = ex.target.cells.feigned
            counts[failure.kind] = counts.get(failure.kind, 0) + 1
        _tell(ex, failure)


def perform(ex: Exchange, phase: int, then: Then, since: float = 0.0) -> None:
    """Carry out the faults that are planned for a phase, then go on; the first wait counts from ``since``."""
    plan = ex.plan
    chosen = plan.phases[phase] if plan is not None else None
    if plan is None or chosen is None:
        then.carry_on(ex)
    else:
        performance = Performance(ex, plan, chosen, then, ENDING)
        performance.since = since
        performance.step()


def perform_some(ex: Exchange, plan: Plan, chosen: list[Chosen], then: Then) -> None:
    """Carry out these faults of a plan, then go on."""
    Performance(ex, plan, chosen, then, ENDING).step()


def log_shadows(ex: Exchange, plan: Plan, known: int) -> None:
    """Write down what shadow rules would have done, less those that were ``known`` already."""
    for chosen in plan.shadowed[known:]:
        log_injection(ex, chosen, plan, True)


def announce(ex: Exchange, plan: Plan) -> None:
    """Put into the head what was decided for later phases: then it will be too late for a header."""
    for phase in (phases.RESPONSE_HEAD, phases.RESPONSE_BODY, phases.END):
        for chosen in plan.phases[phase] or []:
            if chosen.rule.proof and chosen.pending:
                _prove(ex, chosen, f"at={phases.NAMES[phase]}", plan)


def _prove(ex: Exchange, chosen: Chosen, what: str, plan: Plan) -> None:
    proofs = ex.proofs
    if proofs is None:
        proofs = []
        ex.proofs = proofs
    proofs.append(proof_line(chosen, what, plan.snapshot.version))


def proof_line(chosen: Chosen, what: str, version: int) -> bytes:
    """Write the header line that says which rule of which version did what."""
    text = f"x-misrule: rule={chosen.rule.name}; fault={chosen.fault.KIND}; {what}; version={version}\r\n"
    return text.encode()


def log_injection(ex: Exchange, chosen: Chosen, plan: Plan, shadow: bool) -> None:
    """Write the log line of one injection (or of what would have been one)."""
    worker = ex.worker
    facts = ex.facts
    if not worker.log.wants_injected or facts is None:
        return
    worker.log.injection(
        chosen.rule.name,
        chosen.fault.KIND,
        chosen.fault.phase,
        plan.snapshot.version,
        facts.listener,
        facts.upstream,
        facts.source,
        ex.request_id,
        chosen.milliseconds,
        shadow,
    )


def fail(ex: Exchange, failure: Failure) -> None:
    """Something really went wrong: count it, tell the client, end the exchange."""
    if ex.over:
        return
    _note(ex, failure)
    _tell(ex, failure)


def _note(ex: Exchange, failure: Failure) -> None:
    """Count a failure: at the upstream where one was chosen, unless the client or the proxy left."""
    ex.failure = failure = ex.worker.cause(failure)
    target = None if failure is errors.CLIENT_CLOSED or failure is errors.SHUTDOWN else ex.target
    ex.worker.cells.failed(ex.listener_name(), target.name if target is not None else "", failure.kind)


def _tell(ex: Exchange, failure: Failure) -> None:
    """Show a failure to the client in the way that is left, and end the exchange."""
    if ex.response is not None:
        ex.client.broken()
    elif failure is errors.UPSTREAM_REFUSED and ex.client.refuse(ex):
        pass  # its library asks again
    elif ex.opaque and failure is errors.UPSTREAM_RESET:
        ex.client.reset()  # an RST passes through
    elif failure is not errors.CLIENT_CLOSED:
        ex.status = 0 if ex.opaque else failure.status
        ex.client.answer(ex, answer_for(failure), b"proxy-status: " + proxy_status(failure) + b"\r\n")
    finish(ex)


def answer_for(failure: Failure) -> Answer:
    """Make the answer that tells a client of a failure."""
    return Answer(failure.status, _TEXT, f"misrule: {failure.text}\n".encode())


def proxy_status(failure: Failure) -> bytes:
    """Give the value of the proxy-status field (RFC 9209)."""
    return b"misrule; error=" + failure.token.encode()


def gone(ex: Exchange, failure: Failure = errors.CLIENT_CLOSED) -> None:
    """The client went away, or broke the protocol in the middle: what was under way for it is given up."""
    if not ex.over:
        ex.failure = failure = ex.worker.cause(failure)
        ex.worker.cells.failed(ex.listener_name(), "", failure.kind)
        finish(ex)


def finish(ex: Exchange) -> None:
    """End an exchange: release what it holds, account for it, let the client go on.  Once."""
    if ex.over:
        return
    ex.over = True
    upstream = ex.upstream
    if ex.passing is not None:
        ex.bytes_in, ex.bytes_out = ex.passing.bytes_passed()
        ex.passing.done.end()
    elif upstream is not None:
        ex.bytes_out = upstream.content()
    holding = ex.holding
    if holding is not None:
        for held in list(holding):
            held.cancel()
    if upstream is not None:
        ex.upstream = None
        upstream.release(ex.response_done)
    queued = ex.queued
    if queued is not None and ex.target is not None:
        ex.target.leave(queued)
    plan = ex.plan
    if plan is not None:
        plan.release()
        if ex.altered is not None:
            alterations.release(ex, ex.altered)
    if ex.passes is not None:
        consulting.report(ex)
    permits = ex.permits
    if permits is not None:
        ex.permits = None
        limiting.release(ex.worker, permits)
    late = ex.late_plans
    if late is not None:
        for one in late:
            one.release()
    _account(ex)
    ex.client.over(ex)


def _account(ex: Exchange) -> None:
    """Count the exchange and write its access line."""
    worker = ex.worker
    took = worker.clock() - ex.started
    cells = ex.cells
    cells.active -= 1
    cells.statuses[ex.status] += 1
    cells.duration.observe(took)
    cells.bytes_in += ex.bytes_in - ex.counted_in
    cells.bytes_out += ex.bytes_out - ex.counted_out
    if ex.injected > 0.0:
        cells.injected_gross.observe(took)
        cells.injected_net.observe(max(0.0, took - ex.injected))
    if ex.head.grpc:
        _count_call(ex)
    log = worker.log
    if log.wants_access or (ex.injected_by is not None and log.wants_injected):
        if ex.altered is None or not ex.altered.copy:
            _write_access(ex, took)


def _count_call(ex: Exchange) -> None:
    """Count a gRPC call by its method and the status that the client saw."""
    head = _came(ex)
    table = ex.cells.calls
    known = head.counted
    if isinstance(known, CallCells) and known.table is table:
        known.statuses[ex.grpc_status] += 1
        return
    found = table.find(head.path)
    head.counted = found
    found.statuses[ex.grpc_status] += 1


def _came(ex: Exchange) -> Head:
    """Give the head as the client has sent it."""
    altered = ex.altered
    return ex.head if altered is None or altered.came is None else altered.came


def _write_access(ex: Exchange, took: float) -> None:
    head = _came(ex)
    failure = ex.failure
    outcome = "ok"
    if failure is not None:
        outcome = failure.kind
    elif ex.injected_by is not None:
        outcome = "injected"
    ex.worker.log.access(
        ex.worker.wall_clock() - took,
        ex.listener_name(),
        ex.source,
        head.method,
        head.host,
        head.path,
        ex.status,
        ex.target.name if ex.target is not None else "",
        ex.bytes_in,
        ex.bytes_out,
        took * 1000.0,
        (took - ex.injected) * 1000.0,
        outcome,
        ex.request_id,
        ex.injected_by if ex.injected_by is not None else [],
        ex.dialled,
    )


def refused(worker: Worker, listener: Listener, source: str, failure: Failure) -> None:
    """Account for bytes that never became an exchange."""
    worker.cells.failed(listener.name, "", failure.kind)
    listener.nowhere.statuses[failure.status] += 1
    if worker.log.wants_access:
        now = worker.wall_clock()
        worker.log.access(
            now,
            listener.name,
            source,
            b"",
            b"",
            b"",
            failure.status,
            "",
            0,
            0,
            0.0,
            0.0,
            failure.kind,
            b"",
            [],
        )
