"""Rates against a minute ago, percentiles out of buckets."""

import pytest

from proxy.admin.figures import EVERY, KEPT, Figures, percentile
from proxy.admin.types import RuleStats, Window
from proxy.metrics.cells import BOUNDS, Histogram, WorkerCells
from rules.compile import compile_rules
from rules.parse import parse_rule


def histogram(*seconds: float) -> list[int]:
    made = Histogram()
    for one in seconds:
        made.observe(one)
    return made.counts


def test_percentiles_lie_within_their_bucket() -> None:
    assert percentile(histogram(), 0.5) is None
    assert percentile(histogram(*[0.002] * 100), 0.5) == pytest.approx(1.75)
    assert percentile(histogram(*[0.002] * 99, 0.2), 0.99) == pytest.approx(2.5)
    assert percentile(histogram(*[0.002] * 98, 0.2, 0.2), 0.99) == pytest.approx(175)
    assert percentile(histogram(0.0001), 1.0) == pytest.approx(0.5)
    assert percentile(histogram(100.0), 0.5) == BOUNDS[-1] * 1000


class Running:
    """Cells and a rule, with figures on a clock of our own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cells = WorkerCells()
        self.route = self.cells.route("web", "pay")
        rule = parse_rule({"name": "slow", "faults": [{"delay": "1s"}]}, "test")
        self.snapshot = compile_rules([rule], None, 1, 1.0, "test")
        self.state = self.snapshot.by_name["slow"].state
        self.figures = Figures(self.now)

    def serve(self, seconds: float, rate: int, duration: float = 0.002) -> None:
        """Let time pass with traffic; every request matches the rule, every second one is injected."""
        for _ in range(int(seconds / EVERY)):
            self.figures.sample(self.now, self.cells, self.snapshot)
            self.now += EVERY
            for _ in range(int(EVERY * rate)):
                self.route.statuses[200] += 1
                self.route.duration.observe(duration)
                self.state.matches += 1
            self.state.injected[0] += int(EVERY * rate) // 2

    def seen(self) -> tuple[Window, Window, RuleStats]:
        stats = self.figures.stats(self.now, self.cells, self.snapshot, False)
        return stats.routes[0].recent, stats.routes[0].total, stats.rules[0]


def test_recent_is_the_last_minute() -> None:
    running = Running()
    running.serve(120, 2, 0.2)
    running.serve(60, 10)
    recent, total, rule = running.seen()
    assert recent.seconds == pytest.approx(KEPT * EVERY)
    assert 9 < recent.rate <= 10
    assert total.requests == 840
    assert total.rate == pytest.approx(840 / 180, abs=0.001)
    assert (recent.duration_ms.p50 or 0) < 2.6
    assert (total.duration_ms.p90 or 0) > 100
    assert (rule.matches, rule.injected) == (840, 420)
    assert 4 < rule.injected_rate <= 5


def test_a_reset_rule_counts_from_there() -> None:
    running = Running()
    running.serve(60, 10)
    running.state.reset()
    running.state.matches = 5
    rule = running.seen()[2]
    assert rule.matches_rate == pytest.approx(5 / 60, abs=0.01)
    assert rule.injected_rate == 0


def test_before_the_first_sample_all_is_recent() -> None:
    running = Running()
    running.now += 10
    running.route.statuses[503] += 20
    recent, total, _ = running.seen()
    assert recent == total
    assert (recent.rate, recent.codes) == (2.0, {"503": 20})
    assert recent.duration_ms.p50 is None


def test_rules_are_shown_up_to_a_limit() -> None:
    rules = [parse_rule({"name": f"r{n}", "faults": [{"delay": "1s"}]}, "test") for n in range(5)]
    snapshot = compile_rules(rules, None, 1, 1.0, "test")
    stats = Figures(0.0).stats(1.0, WorkerCells(), snapshot, True, 2)
    assert [rule.name for rule in stats.rules] == ["r0", "r1"]
