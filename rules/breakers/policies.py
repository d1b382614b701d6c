"""What makes the state of a breaker change: a common rule, and where each library differs from it.

Each policy is written from the documentation and the behaviour of its original; the table of cases in
tests/unit/rules/breakers names the places.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from rules.breakers.breaker import ADMITTED, IS_OPEN, NO_TRIAL_LEFT, Breaker
from rules.breakers.figures import CLOSED, HALF_OPEN, MILLION, OFF, OPEN, Figures
from rules.breakers.windows import CyclicWindow

# Why a breaker opens; these and the others below are what events and views say.
FAILURE_PERCENT: Final = "failure_percent"
SLOW_CALLS: Final = "slow_call"
FAILURES: Final = "failures"
CONSECUTIVE: Final = "consecutive_failures"
RESTED: Final = "open_for"
TRIALS_FAILED: Final = "trials_failed"
TRIALS_SUCCEEDED: Final = "trials_succeeded"
TRIAL_GIVEN_UP: Final = "trial_given_up"


@mypyc_attr(allow_interpreted_subclasses=True)
class Policy:
    """Closed until a criterion is met; open for a time; then so many trials decide.  As Hystrix has it.

    A call that ends in another state than it began in counts where it ends.
    """

    def rested(self, b: Breaker, f: Figures, now: int) -> bool:
        """Whether it has been open for long enough: strictly longer than asked."""
        return now > b.since + f.open_for

    def admit(self, b: Breaker, f: Figures, now: int) -> int:
        """Let a call through, or say why not."""
        if b.state == OPEN:
            if not self.rested(b, f, now):
                return IS_OPEN
            b.turn(HALF_OPEN, now, RESTED)
        if b.state == HALF_OPEN and b.started >= f.half_open_calls:
            return NO_TRIAL_LEFT
        b.started += 1
        return ADMITTED

    def ended(self, b: Breaker, f: Figures, now: int, generation: int, failed: bool, slow: bool) -> None:
        """Take in how a call ended."""
        b.window.record(now, failed, slow)
        if b.state == HALF_OPEN:
            self.tried(b, f, now, failed, slow)
        elif b.state == CLOSED:
            b.consecutive = b.consecutive + 1 if failed else 0
            reason = self.criterion(b, f, b.window.calls)
            if reason:
                b.turn(OPEN, now, reason)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Take in that a caller did not wait for the end of a call."""
        if b.state == HALF_OPEN:  # "if the executing command gets unsubscribed …"
            b.turn(OPEN, now, TRIAL_GIVEN_UP)

    def tried(self, b: Breaker, f: Figures, now: int, failed: bool, slow: bool) -> None:
        """Count the end of a trial, and decide as soon as the trials to come cannot change it."""
        if failed or slow:
            b.failed += 1
        else:
            b.succeeded += 1
        percent = MILLION if f.half_open_success == OFF else f.half_open_success
        needed = -(-f.half_open_calls * percent // MILLION)
        if b.failed > f.half_open_calls - needed:
            b.turn(OPEN, now, TRIALS_FAILED)
        elif b.succeeded >= needed:
            b.turn(CLOSED, now, TRIALS_SUCCEEDED)

    def criterion(self, b: Breaker, f: Figures, calls: int) -> str:
        """Name the criterion that is met, "": none; ``calls`` is what the rates are of."""
        if f.consecutive_failures and b.consecutive >= f.consecutive_failures:
            return CONSECUTIVE
        if not self.enough(f, calls):
            return ""
        if f.failures != OFF and b.window.failures > f.failures:
            return FAILURES
        if f.failure_percent != OFF and self.reaches(b.window.failures, calls, f.failure_percent):
            return FAILURE_PERCENT
        if f.slow_over != OFF and self.reaches_slow(b.window.slow, calls, f.slow_percent):
            return SLOW_CALLS
        return ""

    def enough(self, f: Figures, calls: int) -> bool:
        """Whether there are enough calls for their rates to mean anything."""
        return calls >= self.least(f) and calls > 0

    def least(self, f: Figures) -> int:
        """Give the calls that there must be."""
        return f.min_calls

    def reaches(self, part: int, whole: int, percent: int) -> bool:
        """Whether the share of failures meets its criterion: at least so many millionths of the whole."""
        return part * MILLION >= percent * whole

    def reaches_slow(self, part: int, whole: int, percent: int) -> bool:
        """Whether the share of slow calls meets its criterion."""
        return part * MILLION >= percent * whole


class Resilience4jPolicy(Policy):
    """Half open is judged by the same rates as closed, over the trials alone."""

    def ended(self, b: Breaker, f: Figures, now: int, generation: int, failed: bool, slow: bool) -> None:
        if b.state == HALF_OPEN:
            self.tried(b, f, now, failed, slow)
        elif b.state == CLOSED:
            b.window.record(now, failed, slow)
            b.consecutive = b.consecutive + 1 if failed else 0
            reason = self.criterion(b, f, b.window.calls)
            if reason:
                b.turn(OPEN, now, reason)

    def least(self, f: Figures) -> int:
        """Give the calls that there must be: never more than the window holds; half open, too."""
        return min(f.min_calls, f.window_calls) if f.window_calls else f.min_calls

    def tried(self, b: Breaker, f: Figures, now: int, failed: bool, slow: bool) -> None:
        if f.half_open_success != OFF:
            super().tried(b, f, now, failed, slow)
            return
        b.succeeded += 0 if failed else 1
        b.failed += 1 if failed else 0
        b.slow += 1 if slow else 0
        ended = b.succeeded + b.failed
        if ended < min(self.least(f), f.half_open_calls):
            return
        bad = f.failure_percent != OFF and self.reaches(b.failed, ended, f.failure_percent)
        if bad or (f.slow_over != OFF and self.reaches_slow(b.slow, ended, f.slow_percent)):
            b.turn(OPEN, now, TRIALS_FAILED)
        else:
            b.turn(CLOSED, now, TRIALS_SUCCEEDED)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Give the permission back: another call may try."""
        if b.state == HALF_OPEN and b.started > 0:
            b.started -= 1


class GobreakerPolicy(Policy):
    """Counts belong to a generation: what began in another one is not counted.

    The criteria are looked at when a call fails; rates are of the calls that were let through.
    """

    def renewed(self, b: Breaker, f: Figures, now: int) -> None:
        """Bring the state up to now."""
        if b.state == OPEN and self.rested(b, f, now):
            b.turn(HALF_OPEN, now, RESTED)
            b.window.clear(now)
            return
        window = b.window
        if b.state == CLOSED and isinstance(window, CyclicWindow):
            cycle = window.cycle
            window.move(now)
            if window.cycle != cycle:
                b.renew()

    def admit(self, b: Breaker, f: Figures, now: int) -> int:
        self.renewed(b, f, now)
        if b.state == OPEN:
            return IS_OPEN
        if b.state == HALF_OPEN and b.started >= f.half_open_calls:
            return NO_TRIAL_LEFT
        b.started += 1
        return ADMITTED

    def ended(self, b: Breaker, f: Figures, now: int, generation: int, failed: bool, slow: bool) -> None:
        self.renewed(b, f, now)
        if b.generation != generation:
            return
        b.window.record(now, failed, slow)
        if b.state == HALF_OPEN:
            self.tried(b, f, now, failed, slow)
        elif b.state == CLOSED:
            b.consecutive = b.consecutive + 1 if failed else 0
            reason = self.criterion(b, f, b.started) if failed or slow else ""
            if reason:
                b.turn(OPEN, now, reason)
                b.window.clear(now)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Count a failure: a caller that gives up makes the call return an error."""
        self.ended(b, f, now, generation, True, False)


class PollyPolicy(Policy):
    """Looks at its rates when a call fails, and lets a trial through at the very end of the break."""

    def rested(self, b: Breaker, f: Figures, now: int) -> bool:
        return now >= b.since + f.open_for

    def ended(self, b: Breaker, f: Figures, now: int, generation: int, failed: bool, slow: bool) -> None:
        if b.state == HALF_OPEN:
            if not failed:
                b.window.record(now, failed, slow)
            self.tried(b, f, now, failed, slow)
            return
        b.window.record(now, failed, slow)
        if b.state == CLOSED:
            b.consecutive = b.consecutive + 1 if failed else 0
            reason = self.criterion(b, f, b.window.calls) if failed or slow else ""
            if reason:
                b.turn(OPEN, now, reason)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Count a success: what was cancelled is not handled as a failure."""
        self.ended(b, f, now, generation, False, False)


class SentinelPolicy(Policy):
    """Rates must be above the threshold, not at it; a slow share of 100 % may be reached, too."""

    def rested(self, b: Breaker, f: Figures, now: int) -> bool:
        return now >= b.since + f.open_for

    def tried(self, b: Breaker, f: Figures, now: int, failed: bool, slow: bool) -> None:
        """Judge the trial by what the rule is about: errors, slowness, or both."""
        about_errors = f.failure_percent != OFF or f.failures != OFF or f.consecutive_failures > 0
        super().tried(b, f, now, failed and about_errors, slow)

    def reaches(self, part: int, whole: int, percent: int) -> bool:
        return part * MILLION > percent * whole

    def reaches_slow(self, part: int, whole: int, percent: int) -> bool:
        return part * MILLION > percent * whole or (percent == MILLION and part == whole)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Count a success: the entry is left without an error."""
        self.ended(b, f, now, generation, False, False)
