"""The breakers once more, as plainly as can be: every outcome is kept, every rate is counted anew.

Written from the documentation of the originals, and knowing nothing of ``rules.breakers`` but its figures.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from rules.breakers.figures import MILLION, OFF, Figures


@dataclass
class Call:
    """A call that was let through: when, and in which epoch."""

    at: int
    epoch: int


@dataclass
class Outcome:
    """How a call ended: when, and how."""

    at: int
    failed: bool
    slow: bool


@dataclass
class Reference:
    """What all profiles share: a state, when it began, and everything that happened."""

    figures: Figures
    now: int
    state: str = "closed"
    since: int = 0
    epoch: int = 0  # how many states there were
    outcomes: list[Outcome] = field(default_factory=list)  # since the breaker last became closed
    trials: list[Outcome] = field(default_factory=list)  # in this half open
    allowed: int = 0  # calls let through in this state
    under_way: int = 0

    def __post_init__(self) -> None:
        self.since = self.now

    def enter(self, state: str) -> None:
        self.state, self.since = state, self.now
        self.epoch += 1
        self.allowed = 0
        self.trials = []
        if state == "closed":
            self.outcomes = []

    def rested(self) -> bool:
        return self.now - self.since > self.figures.open_for

    def ask(self) -> Call | None:
        if self.state == "open" and self.rested():
            self.enter("half_open")
        if self.state == "open":
            return None
        if self.state == "half_open" and self.allowed >= self.figures.half_open_calls:
            return None
        self.allowed += 1
        self.under_way += 1
        return Call(self.now, self.epoch)

    def counted(self) -> list[Outcome]:
        """Give the outcomes that the window holds."""
        figures = self.figures
        if figures.window_calls:
            return self.outcomes[-figures.window_calls :]
        if not figures.window_time:
            return self.outcomes
        part = Fraction(figures.window_time, figures.window_buckets)
        this = self.now // part
        return [one for one in self.outcomes if this - one.at // part < figures.window_buckets]

    def in_a_row(self) -> int:
        """Count the newest failures without a success behind them."""
        row = 0
        for one in reversed(self.outcomes):
            if not one.failed:
                return row
            row += 1
        return row

    def meets(self, share: Fraction, threshold: int) -> bool:
        return share >= Fraction(threshold, MILLION)

    def meets_slow(self, share: Fraction, threshold: int) -> bool:
        return self.meets(share, threshold)

    def least(self) -> int:
        return self.figures.min_calls

    def trips(self, whole: int | None = None) -> bool:
        figures, counted = self.figures, self.counted()
        if figures.consecutive_failures and self.in_a_row() >= figures.consecutive_failures:
            return True
        total = len(counted) if whole is None else whole
        if total == 0 or total < self.least():
            return False
        failures = sum(one.failed for one in counted)
        slow = sum(one.slow for one in counted)
        if figures.failures != OFF and failures > figures.failures:
            return True
        if figures.failure_percent != OFF:
            if self.meets(Fraction(failures, total), figures.failure_percent):
                return True
        return figures.slow_over != OFF and self.meets_slow(Fraction(slow, total), figures.slow_percent)

    def judge_trials(self) -> None:
        bad = sum(one.failed or one.slow for one in self.trials)
        good = len(self.trials) - bad
        percent = MILLION if self.figures.half_open_success == OFF else self.figures.half_open_success
        calls = self.figures.half_open_calls
        if Fraction(calls - bad, calls) < Fraction(percent, MILLION):
            self.enter("open")
        elif Fraction(good, calls) >= Fraction(percent, MILLION):
            self.enter("closed")

    def end(self, call: Call, failed: bool, slow: bool) -> None:
        self.under_way -= 1
        one = Outcome(self.now, failed, slow)
        if self.state == "half_open":
            self.trials.append(one)
            self.judge_trials()
            return
        self.outcomes.append(one)
        if self.state == "closed" and self.trips():
            self.enter("open")

    def give_up(self, call: Call) -> None:
        self.under_way -= 1
        if self.state == "half_open":
            self.enter("open")


class Resilience4j(Reference):
    def least(self) -> int:
        figures = self.figures
        return min(figures.min_calls, figures.window_calls) if figures.window_calls else figures.min_calls

    def judge_trials(self) -> None:
        figures = self.figures
        if figures.half_open_success != OFF:
            super().judge_trials()
            return
        total = len(self.trials)
        if total < min(self.least(), figures.half_open_calls):
            return
        failed = Fraction(sum(one.failed for one in self.trials), total)
        slow = Fraction(sum(one.slow for one in self.trials), total)
        bad = figures.failure_percent != OFF and failed >= Fraction(figures.failure_percent, MILLION)
        lame = figures.slow_over != OFF and slow >= Fraction(figures.slow_percent, MILLION)
        self.enter("open" if bad or lame else "closed")

    def give_up(self, call: Call) -> None:
        self.under_way -= 1
        if self.state == "half_open" and self.allowed:
            self.allowed -= 1


class Gobreaker(Reference):
    def enter(self, state: str) -> None:
        super().enter(state)
        self.outcomes = []

    def bring_up(self) -> None:
        if self.state == "open" and self.rested():
            self.enter("half_open")
        elif self.state == "closed" and self.figures.window_time:
            if self.now - self.since > self.figures.window_time:
                self.enter("closed")

    def counted(self) -> list[Outcome]:
        return self.outcomes

    def ask(self) -> Call | None:
        self.bring_up()
        return super().ask()

    def end(self, call: Call, failed: bool, slow: bool) -> None:
        self.bring_up()
        self.under_way -= 1
        if call.epoch != self.epoch:
            return
        one = Outcome(self.now, failed, slow)
        if self.state == "half_open":
            self.trials.append(one)
            self.judge_trials()
            return
        self.outcomes.append(one)
        if (failed or slow) and self.trips(self.allowed):
            self.enter("open")

    def give_up(self, call: Call) -> None:
        self.end(call, True, False)


class Polly(Reference):
    def rested(self) -> bool:
        return self.now - self.since >= self.figures.open_for

    def counted(self) -> list[Outcome]:
        figures = self.figures
        if figures.window_calls or not figures.window_time:
            return super().counted()
        parts: list[list[Outcome]] = []
        for one in self.outcomes:
            if not parts or one.at - parts[-1][0].at >= figures.window_time // figures.window_buckets:
                parts.append([])
            parts[-1].append(one)
        return [one for part in parts for one in part if self.now - part[0].at < figures.window_time]

    def end(self, call: Call, failed: bool, slow: bool) -> None:
        self.under_way -= 1
        one = Outcome(self.now, failed, slow)
        if self.state == "half_open":
            self.trials.append(one)
            if not failed:
                self.outcomes.append(one)
            self.judge_trials()
            return
        self.outcomes.append(one)
        if self.state == "closed" and (failed or slow) and self.trips():
            self.enter("open")

    def give_up(self, call: Call) -> None:
        self.end(call, False, False)


class Sentinel(Reference):
    def rested(self) -> bool:
        return self.now - self.since >= self.figures.open_for

    def meets(self, share: Fraction, threshold: int) -> bool:
        return share > Fraction(threshold, MILLION)

    def meets_slow(self, share: Fraction, threshold: int) -> bool:
        return self.meets(share, threshold) or (share == 1 and threshold == MILLION)

    def judge_trials(self) -> None:
        figures = self.figures
        if figures.failure_percent == OFF and figures.failures == OFF and not figures.consecutive_failures:
            self.trials[-1].failed = False
        super().judge_trials()

    def give_up(self, call: Call) -> None:
        self.end(call, False, False)


@dataclass
class Outliers(Reference):
    """Envoy and Istio: a clock that ticks every interval, and what the host did since it came back."""

    born: int = 0
    ticks: int = 0
    ejections: int = 0
    back: int | None = None
    row: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.born = self.now

    def run_ticks(self) -> None:
        figures = self.figures
        while self.born + (self.ticks + 1) * figures.interval <= self.now:
            self.ticks += 1
            moment = self.born + self.ticks * figures.interval
            if self.state == "open":
                longest = min(figures.open_for * self.ejections, figures.max_open_for)
                if moment - self.since >= longest:
                    self.state, self.since, self.back, self.row = "closed", moment, moment, 0
            if self.state == "closed" and self.back is not None:
                if moment - self.back >= figures.interval:
                    self.ejections = max(0, self.ejections - 1)

    def ask(self) -> Call | None:
        self.run_ticks()
        if self.state == "open":
            return None
        if self.figures.max_active != OFF and self.under_way >= self.figures.max_active:
            return None
        self.under_way += 1
        return Call(self.now, self.epoch)

    def end(self, call: Call, failed: bool, slow: bool) -> None:
        self.run_ticks()
        self.under_way -= 1
        self.row = self.row + 1 if failed else 0
        if self.state == "closed" and self.figures.consecutive_failures:
            if self.row >= self.figures.consecutive_failures:
                figures = self.figures
                if self.ejections * figures.open_for < figures.max_open_for + figures.open_for:
                    self.ejections += 1
                self.state, self.since, self.row = "open", self.now, 0

    def give_up(self, call: Call) -> None:
        self.under_way -= 1
