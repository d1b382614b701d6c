"""Does what faults decide: waits, holds back, answers, ends connections.

A phase hands over the faults that were planned for it and what comes after; when the last one has
had its time the performer calls back with carry-on.  A fault that ends the exchange is carried out
by the ``Ending`` of the path.  Nothing here knows a kind of fault, only the closed list of actions.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from proxy import limiting
from proxy.altered import LATER, LEFT_ALONE, WAITS
from proxy.consulting import consult
from proxy.deadlines import wait_for_deadline
from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.net.timers import Timer
from proxy.worker import Releasable
from rules.actions import (
    FOREVER,
    THEN_ABORT,
    THEN_CLOSE,
    THEN_CONTINUE,
    Action,
    Answer,
    Close,
    Consult,
    CutBody,
    Disturb,
    GoAway,
    Hold,
    Nothing,
    Reset,
    ShapeHandshake,
    ShapeLookup,
    Wait,
    WaitForDeadline,
)
from rules.compiled import CompiledRule
from rules.facts import Facts
from rules.fault import UPSTREAM, Fault
from rules.limits import ADMITTED, Limits
from rules.message_actions import MessageAction
from rules.plan import Chosen
from rules.snapshot import Plan
from rules.way_actions import Admit, FailToConnect, Say


class Fail(Action):
    """Show a failure of the upstream, after so many seconds: made by the path of what a rule says of that."""

    def __init__(self, failure: Failure, seconds: float) -> None:
        self.failure: Failure = failure
        self.seconds: float = seconds


_RESET: Final = Reset()
_CLOSE: Final = Close()
_NOTHING: Final = Nothing()
_LATER: Final = Nothing()  # nothing yet, but something may come
_IN_LINE: Final = Hold(FOREVER, THEN_CONTINUE)


@mypyc_attr(allow_interpreted_subclasses=True)
class Then:
    """What a phase does when its faults have let the exchange pass."""

    def carry_on(self, ex: Exchange) -> None:
        """Go on along the path."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Ending:
    """How an exchange ends by a fault; the path knows."""

    def answer(self, ex: Exchange, answer: Answer) -> None:
        """Answer the client in the upstream's place."""
        raise NotImplementedError

    def reset(self, ex: Exchange, reset: Reset, side: int) -> None:
        """End the exchange on this side visibly broken, and on the other as a proxy would."""
        raise NotImplementedError

    def close(self, ex: Exchange, close: Close, side: int) -> None:
        """End this side in order before the message is complete, the other as a proxy would."""
        raise NotImplementedError

    def say(self, ex: Exchange, say: Say) -> None:
        """Tell a client whose bytes are passed on unread something, and end its connection."""
        raise NotImplementedError

    def cut_body(self, ex: Exchange, phase: int) -> None:
        """End the body of this phase in the middle, as if it were whole."""
        raise NotImplementedError

    def finish(self, ex: Exchange) -> None:
        """End the exchange; both connections are dealt with."""
        raise NotImplementedError

    def lost(self, ex: Exchange, failure: Failure) -> None:
        """End an exchange that has really failed; both connections are dealt with."""
        raise NotImplementedError

    def spoil(self, ex: Exchange, shape: ShapeHandshake) -> Action:
        """Say what comes of an upstream whose TLS is so: Fail, Wait, or Nothing."""
        raise NotImplementedError

    def look_up(self, ex: Exchange, shape: ShapeLookup) -> Action:
        """Say what comes of an upstream whose name is looked up so: Fail, Wait, or Nothing."""
        raise NotImplementedError

    def cannot_connect(self, ex: Exchange, action: FailToConnect) -> Action:
        """Say what comes of an upstream that cannot be connected to: Fail, or Nothing."""
        raise NotImplementedError

    def alter(self, performance: "Performance", chosen: Chosen, action: MessageAction) -> int:
        """Carry out an action on the message whose head is due; gives what has become of it."""
        raise NotImplementedError

    def failed(self, ex: Exchange, failure: Failure) -> None:
        """Show the client a failure of the upstream that was not there."""
        raise NotImplementedError

    def shadowed(self, ex: Exchange, plan: Plan, chosen: Chosen) -> None:
        """Leave proof of what a shadow rule would have done now."""
        raise NotImplementedError

    def injected(self, ex: Exchange, plan: Plan, chosen: Chosen) -> None:
        """Leave proof: the fault has done what it does (its milliseconds are known)."""
        raise NotImplementedError


class Performance:
    """The faults of one phase, being carried out on one exchange."""

    def __init__(self, ex: Exchange, plan: Plan, chosen: list[Chosen], then: Then, ending: Ending) -> None:
        self.ex: Exchange = ex
        self.plan: Plan = plan
        self.chosen: list[Chosen] = chosen
        self.then: Then = then
        self.ending: Ending = ending
        self.at: int = 0
        self.since: float = 0.0  # when the first wait is to have begun, 0: when it does

    def step(self) -> None:
        """Carry out faults until one makes the exchange wait, ends it, or none is left."""
        ex = self.ex
        facts = ex.facts
        while self.at < len(self.chosen) and facts is not None:
            chosen = self.chosen[self.at]
            self.at += 1
            if ex.over:
                return
            if chosen.cancelled or (chosen.acted and not chosen.fault.both):
                continue
            if self._withdrawn(chosen):
                chosen.cancel()  # for good: who asks for the next fault must not be given it again
                continue
            action = self._decided(chosen, facts)
            if isinstance(action, Nothing):
                if action is not _LATER:
                    chosen.cancel()
            elif action is _IN_LINE or self._act(chosen, chosen.fault, action):
                return
        if not ex.over:
            self.then.carry_on(ex)

    def _decided(self, chosen: Chosen, facts: Facts) -> Action:
        """Give what is to be done, or what has become of it: _IN_LINE where it waits to be asked again."""
        ex = self.ex
        action = chosen.fault.decide(facts, chosen.dice)
        if isinstance(action, WaitForDeadline):
            return wait_for_deadline(ex, action)
        if isinstance(action, ShapeHandshake) and chosen.fault.side == UPSTREAM:
            return self.ending.spoil(ex, action)
        if isinstance(action, ShapeLookup):
            return self.ending.look_up(ex, action)
        if isinstance(action, FailToConnect):
            return self.ending.cannot_connect(ex, action)
        if isinstance(action, Consult):
            return self._consult(chosen, action)
        if isinstance(action, Admit):
            return self._admit(chosen, action)
        return self._alter(chosen, action) if isinstance(action, MessageAction) else action

    def _alter(self, chosen: Chosen, action: MessageAction) -> Action:
        """Act on a whole message; who waits for it calls ``step``, perhaps before this has returned."""
        self.at -= 1
        verdict = self.ending.alter(self, chosen, action)
        if verdict == WAITS:
            return _IN_LINE
        self.at += 1
        if verdict == LATER or chosen.acted:  # it has left its proof already, of the other message
            return _LATER
        return _NOTHING if verdict == LEFT_ALONE else action

    def _consult(self, chosen: Chosen, action: Consult) -> Action:
        """Ask a breaker; gives the answer in place of the upstream's, or nothing to be done."""
        refusal = consult(self.ex, self.plan, chosen, action)
        if refusal is None:
            return _NOTHING
        if not chosen.rule.shadow:
            return refusal
        chosen.count_shadow()
        self.ending.shadowed(self.ex, self.plan, chosen)
        return _NOTHING

    def _admit(self, chosen: Chosen, action: Admit) -> Action:
        """Ask a limit; gives what comes of one who gets no place, or Hold: it waits for one."""
        ex = self.ex
        verdict = limiting.ask(ex, self.plan, chosen, action)
        if verdict == ADMITTED:
            return _NOTHING
        limits, room = limiting.room_of(ex, self.plan, chosen, action)
        over = limiting.over(action, room, limits, verdict, limiting.now_of(ex.worker))
        if chosen.rule.shadow:
            limits.counts[verdict] += 1
            chosen.count_shadow()
            self.ending.shadowed(ex, self.plan, chosen)
            return _NOTHING
        if room.queued() >= limits.figures.queue:
            limits.counts[verdict] += 1
            return over
        self.plan.acted(chosen)
        ex.client.faulted()
        held = _Queued(self, chosen, over, limits, verdict)
        self._wait(limits.figures.timeout, held)
        held.turn = limiting.Turn(ex, held, limits, room, action.requests, chosen.number)
        held.turn.join(verdict)
        return _IN_LINE

    def _withdrawn(self, chosen: Chosen) -> bool:
        """Tell whether the rule went away, or all faults were stopped, since this was planned."""
        live = self.ex.worker.live
        return live.stopped or not live.snapshot.in_force(chosen.rule.name)

    def _act(self, chosen: Chosen, fault: Fault, action: Action) -> bool:
        """Begin one action; True: the exchange waits or has ended."""
        ex = self.ex
        self.plan.acted(chosen)
        ex.client.faulted()
        if isinstance(action, Wait):
            if action.seconds > 0.0:
                return self._hold(chosen, action.seconds, THEN_CONTINUE, None)
        elif isinstance(action, Hold):
            return self._hold(chosen, action.seconds, action.then, action.answer)
        elif isinstance(action, Fail) and action.seconds > 0.0:
            return self._hold(chosen, action.seconds, THEN_CONTINUE, None, action.failure)
        elif isinstance(action, GoAway):
            ex.client.dismiss(action)
        elif isinstance(action, Disturb):
            ex.client.disturb(action, chosen.rule)
        self.ending.injected(ex, self.plan, chosen)
        return self.end_by(fault, action)

    def end_by(self, fault: Fault, action: Action) -> bool:
        """Let an action that ends the exchange, or a body of it, do so; False: it is none of these."""
        ex = self.ex
        if isinstance(action, Answer):
            self.ending.answer(ex, action)
        elif isinstance(action, Reset):
            self.ending.reset(ex, action, fault.side)
        elif isinstance(action, Close):
            self.ending.close(ex, action, fault.side)
        elif isinstance(action, Fail):
            self.ending.failed(ex, action.failure)
        elif isinstance(action, CutBody):
            self.ending.cut_body(ex, fault.phase)
        elif isinstance(action, Say):
            self.ending.say(ex, action)
        elif isinstance(action, ShapeHandshake):
            # The connection was open before: its client shall come again, and meet what it now meets.
            self.ending.close(ex, _CLOSE, fault.side)
        else:
            return False
        return True

    def _hold(
        self, chosen: Chosen, seconds: float, then: int, answer: Answer | None, failure: Failure | None = None
    ) -> bool:
        """Make the exchange wait; seconds below 0: until it is let go."""
        self._wait(seconds, _Held(self, chosen, then, answer, failure))
        return True

    def _wait(self, seconds: float, held: "_Held") -> None:
        """Make the exchange wait; seconds below 0: until it is let go."""
        worker = self.ex.worker
        self.ex.holding = [*(self.ex.holding or []), held]
        worker.waiting[held] = None
        worker.cells.waiting += 1
        self.since = 0.0
        if seconds >= 0.0:
            passed = worker.timers.now() - held.since
            held.timer = worker.timers.after(max(0.0, seconds - passed), held)

    def hold(self, chosen: Chosen, seconds: float) -> None:
        """Make the exchange wait, then go on."""
        self._hold(chosen, seconds, THEN_CONTINUE, None)

    def held_enough(self, held: "_Held", ran_out: bool) -> None:
        """A hold is over: it ran out, or was let go."""
        ex = self.ex
        self.ending.injected(ex, self.plan, held.chosen)
        if ran_out and held.failure is not None:
            self.ending.failed(ex, held.failure)
        elif not ran_out or held.then == THEN_CONTINUE:
            self.step()
        elif held.then == THEN_ABORT and held.answer is not None:
            self.ending.answer(ex, held.answer)
        elif held.then == THEN_CLOSE:
            self.ending.close(ex, _CLOSE, held.chosen.fault.side)
        else:
            self.ending.reset(ex, _RESET, held.chosen.fault.side)


class _Held(Releasable):
    """One fault that makes one exchange wait."""

    def __init__(
        self,
        performance: Performance,
        chosen: Chosen,
        then: int,
        answer: Answer | None,
        failure: Failure | None,
    ) -> None:
        self.performance: Performance = performance
        self.chosen: Chosen = chosen
        self.then: int = then
        self.answer: Answer | None = answer
        self.failure: Failure | None = failure  # that is shown when the time has run out
        self.since: float = performance.since or performance.ex.worker.timers.now()
        self.timer: Timer | None = None

    def rule_now(self) -> CompiledRule | None:
        return self.chosen.rule

    def endless(self) -> bool:
        return self.timer is None

    def fire(self) -> None:
        self._end()
        self.performance.held_enough(self, True)

    def let_go(self) -> None:
        self._end()
        self.performance.held_enough(self, False)

    def cancel(self) -> None:
        self._end()
        performance = self.performance
        performance.ending.injected(performance.ex, performance.plan, self.chosen)

    def _end(self) -> None:
        """Stop waiting, and count the time that passed."""
        ex = self.performance.ex
        worker = ex.worker
        if self.timer is not None:
            self.timer.cancel()
        if worker.waiting.pop(self, self) is None:
            worker.cells.waiting -= 1
        holding = ex.holding
        if holding is not None:
            holding.remove(self)
            if not holding:
                ex.holding = None
        passed = worker.timers.now() - self.since
        ex.injected += passed
        self.chosen.milliseconds += passed * 1000.0


class _Queued(_Held):
    """One exchange that waits for a place; when its time has run out it gets what those get who have none."""

    def __init__(
        self, performance: Performance, chosen: Chosen, over: Action, limits: Limits, verdict: int
    ) -> None:
        super().__init__(performance, chosen, THEN_CONTINUE, None, None)
        self.over: Action = over
        self.limits: Limits = limits
        self.verdict: int = verdict
        self.turn: limiting.Turn | None = None

    def rules_changed(self) -> None:
        if self.turn is not None:
            self.turn.figures_changed()

    def fire(self) -> None:
        self._end()
        self.limits.counts[self.verdict] += 1
        performance = self.performance
        performance.ending.injected(performance.ex, performance.plan, self.chosen)
        performance.end_by(self.chosen.fault, self.over)

    def _end(self) -> None:
        super()._end()
        if self.turn is not None:
            self.turn.leave()
