"""Breakers on the path: who asks them, who tells them how an exchange ended, and who hears of it."""

from typing import Final

from proxy import errors
from proxy.exchange import Exchange
from proxy.worker import Worker
from rules.actions import Answer, Consult
from rules.breakers.figures import NO_TROUBLE, RESET, STATES, TIMEOUT
from rules.breakers.keeper import Breakers
from rules.plan import Chosen
from rules.snapshot import Plan

_MICRO: Final = 1_000_000
_UNKNOWN: Final = 2  # what a gRPC call without a status ended with


def consult(ex: Exchange, plan: Plan, chosen: Chosen, action: Consult) -> Answer | None:
    """Ask the breaker whether the exchange may pass; None: it may, else the answer that it gets instead."""
    state = chosen.rule.state.faults[chosen.number]
    breakers = state.breakers
    if breakers is None:
        breakers = Breakers(chosen.rule.name, action.figures)
        state.breakers = breakers
    breakers.take(action.figures, plan.snapshot.version)
    passed = breakers.admit(action.key, now_of(ex.worker), action.draw)
    tell(ex.worker, breakers)
    if passed is None:
        return action.answers[breakers.verdict]
    passes = ex.passes
    if passes is None:
        ex.passes = [passed]
    else:
        passes.append(passed)
    return None


def report(ex: Exchange) -> None:
    """Tell the breakers that let the exchange pass how it has ended."""
    passes = ex.passes
    if passes is None:
        return
    ex.passes = None
    worker = ex.worker
    now = now_of(worker)
    failure = ex.failure
    if failure is None and ex.opaque:
        failure = ex.feigned  # there is no status by which to know
    trouble = NO_TROUBLE
    if failure is not None:
        trouble = TIMEOUT if failure.kind in errors.TIMEOUTS else RESET
    elif ex.status == 0 and not ex.opaque:
        trouble = RESET  # a fault of another rule let the client have no answer
    grpc_status = -1
    if ex.head.grpc and ex.status == 200:
        grpc_status = ex.grpc_status if ex.grpc_status >= 0 else _UNKNOWN
    for passed in passes:
        if failure is not None and not errors.of_upstream(failure):
            breakers = passed.drop(now)
        else:
            breakers = passed.end(now, ex.status, grpc_status, trouble)
        tell(worker, breakers)


def now_of(worker: Worker) -> int:
    """Give the time in whole microseconds, as breakers want it."""
    return int(worker.timers.now() * _MICRO)


def tell(worker: Worker, breakers: Breakers) -> None:
    """Make an event of each transition."""
    if not breakers.journal.news:
        return
    for transition in breakers.news():
        worker.log.event(
            "info",
            "breaker_transition",
            rule=breakers.rule,
            key=transition.key,
            before=STATES[transition.before],
            after=STATES[transition.after],
            reason=transition.reason,
        )
