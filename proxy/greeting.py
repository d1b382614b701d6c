"""Faults of a connection on which no request is under way: one after the other, each may make it wait."""

from mypy_extensions import mypyc_attr

from proxy.net.timers import Timer
from proxy.path import end
from proxy.path.request_head import Intake
from proxy.worker import Releasable, Worker
from rules.actions import THEN_CLOSE, THEN_CONTINUE, Action, Close, Hold, Nothing, Reset, Wait
from rules.compiled import CompiledRule
from rules.facts import Facts
from rules.plan import Chosen
from rules.snapshot import Plan
from rules.way_actions import Admit


@mypyc_attr(allow_interpreted_subclasses=True)
class ConnectionFaults(Releasable):
    """Carries out what is planned for a connection; subclasses know which connection, and what comes then."""

    def __init__(self, worker: Worker, intake: Intake, plan: Plan, chosen: list[Chosen]) -> None:
        self.worker: Worker = worker
        self.intake: Intake = intake
        self.plan: Plan = plan
        self.chosen: list[Chosen] = chosen
        self.at: int = 0
        self.now: Chosen | None = None  # the fault that holds the connection right now
        self.then: int = THEN_CONTINUE
        self.since: float = 0.0
        self.timer: Timer | None = None
        for shadow in plan.shadowed:
            self._log(shadow, True)

    # --- what subclasses say

    def all_done(self) -> None:
        """No fault is left: the connection goes on."""
        raise NotImplementedError

    def finish(self, action: Action) -> None:
        """End the connection, by Reset or Close."""
        raise NotImplementedError

    def perform(self, chosen: Chosen, action: Action) -> bool:
        """Carry out an action of another kind; True: the connection waits or has ended."""
        raise NotImplementedError

    def over(self) -> None:
        """Give the connection back: it goes on, or it has ended."""
        self.plan.release()

    # --- one fault after the other

    def step(self) -> None:
        """Carry out faults until one makes the connection wait, ends it, or none is left."""
        facts = self.intake.connection_facts()
        while self.at < len(self.chosen):
            chosen = self.chosen[self.at]
            self.at += 1
            if not chosen.pending:
                continue
            if self._withdrawn(chosen):
                chosen.cancel()
                continue
            if self._act(chosen, facts):
                return
        self.all_done()

    def _withdrawn(self, chosen: Chosen) -> bool:
        """Tell whether the rule went away, or all faults were stopped, since this was planned."""
        live = self.worker.live
        return live.stopped or not live.snapshot.in_force(chosen.rule.name)

    def _act(self, chosen: Chosen, facts: Facts) -> bool:
        """Begin one action; True: the connection waits or has ended."""
        action = chosen.fault.decide(facts, chosen.dice)
        if isinstance(action, (Nothing, Admit)):  # a connection has no place before its first request
            chosen.cancel()
            return False
        if isinstance(action, Wait) and action.seconds > 0.0:
            self.hold(chosen, action.seconds, THEN_CONTINUE)
            return True
        if isinstance(action, Hold):
            self.hold(chosen, action.seconds, action.then)
            return True
        if isinstance(action, (Reset, Close)):
            self.act(chosen)
            self.finish(action)
            return True
        return self.perform(chosen, action)

    def act(self, chosen: Chosen) -> None:
        """Count a fault that acts, and prove it."""
        self.plan.acted(chosen)
        self._prove(chosen)

    # --- waiting

    def hold(self, chosen: Chosen, seconds: float, then: int) -> None:
        """Make the connection wait; below 0 seconds: until it is released."""
        worker = self.worker
        self.plan.acted(chosen)
        self.now = chosen
        self.then = then
        self.since = worker.timers.now()
        worker.waiting[self] = None
        worker.cells.waiting += 1
        if seconds >= 0.0:
            self.timer = worker.timers.after(seconds, self)

    def _release(self) -> None:
        """Stop waiting, and count the time that passed."""
        worker = self.worker
        if self.timer is not None:
            self.timer.cancel()
        if worker.waiting.pop(self, self) is None:
            worker.cells.waiting -= 1
        chosen = self.now
        self.now = None
        if chosen is not None:
            chosen.milliseconds += (worker.timers.now() - self.since) * 1000.0
            self._prove(chosen)

    def rule_now(self) -> CompiledRule | None:
        return self.now.rule if self.now is not None else None

    def fire(self) -> None:
        then = self.then
        self._release()
        if then == THEN_CONTINUE:
            self.step()
        else:
            self.finish(Close() if then == THEN_CLOSE else Reset())

    def let_go(self) -> None:
        self._release()
        self.step()

    def cancel(self) -> None:
        self._release()
        self.over()

    # --- proof

    def _prove(self, chosen: Chosen) -> None:
        """Leave proof: a log line, and a header line for the first answer."""
        connection = self.intake
        if chosen.rule.proof:
            line = end.proof_line(chosen, f"ms={chosen.milliseconds:.0f}", self.plan.snapshot.version)
            if connection.proofs is None:
                connection.proofs = []
            connection.proofs.append(line)
        self._log(chosen, False)

    def _log(self, chosen: Chosen, shadow: bool) -> None:
        """Write the log line of one injection (or of what would have been one)."""
        connection = self.intake
        log = connection.worker.log
        if log.wants_injected:
            log.injection(
                chosen.rule.name,
                chosen.fault.KIND,
                chosen.fault.phase,
                self.plan.snapshot.version,
                connection.listener.name,
                "",
                connection.source,
                b"",
                chosen.milliseconds,
                shadow,
            )
