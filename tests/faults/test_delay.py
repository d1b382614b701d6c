"""delay: its fields, its phases, and that what it draws is distributed as it says."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from scipy import stats

from rules import phases
from rules.actions import Wait
from rules.fault import Fault
from tests.faults.cases import FACTS, dice, problem, read

PHASES = ("accept", "tls", "request_head", "request_body", "connect", "response_head", "response_body")
Shares = Callable[[list[float]], list[float]]  # the distribution function, of many values at once


def seconds(fault: Fault, number: int, memory: list[float]) -> float:
    decided = fault.decide(FACTS, dice(number, memory))
    assert isinstance(decided, Wait)
    return decided.seconds


def draws(fields: str, count: int) -> list[float]:
    """Draw as the engine does: new dice for each exchange, and one memory for the fault."""
    fault = read(f"{{delay: {fields}}}")
    memory: list[float] = []
    return [seconds(fault, number, memory) for number in range(count)]


def of(distribution: Any) -> Shares:
    """Take the distribution function of one of scipy's distributions."""
    return lambda values: [float(share) for share in distribution.cdf(values)]


def between(points: list[tuple[float, float]]) -> Shares:
    """Make the distribution function that is linear between (value, share) points."""

    def share(value: float) -> float:
        for (low, p), (high, q) in pairwise(points):
            if value <= high:
                return p + (value - low) / (high - low) * (q - p)
        return 1.0

    return lambda values: [share(value) for value in values]


CASES: dict[str, tuple[str, Shares]] = {
    "uniform": ("uniform: {min: 10ms, max: 50ms}", of(stats.uniform(0.010, 0.040))),
    "normal": ("normal: {mean: 100ms, stddev: 10ms}", of(stats.norm(0.1, 0.01))),
    "lognormal": ("lognormal: {median: 80ms, sigma: 0.6}", of(stats.lognorm(0.6, scale=0.08))),
    "exponential": ("exponential: {mean: 200ms}", of(stats.expon(scale=0.2))),
    "pareto": ("pareto: {min: 20ms, shape: 1.5}", of(stats.pareto(1.5, scale=0.02))),
    "percentiles": (
        "percentiles: {p50: 20ms, p90: 80ms, p99: 300ms, max: 1s}",
        between([(0, 0), (0.02, 0.5), (0.08, 0.9), (0.3, 0.99), (1, 1)]),
    ),
}
KINDS = sorted(CASES)


def kolmogorov_smirnov(shares: list[float]) -> float:
    """Give the probability that shares in a distribution lie at least so far from evenly spread."""
    return float(stats.kstest(shares, stats.uniform.cdf).pvalue)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_distribution_that_was_asked_for(kind: str) -> None:
    fields, shares = CASES[kind]
    assert kolmogorov_smirnov(shares(draws(f"{{{fields}}}", 20_000))) > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_would_see_a_distribution_that_is_a_little_off(kind: str) -> None:
    fields, shares = CASES[kind]
    off = [value * 1.05 for value in draws(f"{{{fields}}}", 20_000)]
    assert kolmogorov_smirnov(shares(off)) < 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_correlation_keeps_the_distribution(kind: str) -> None:
    """Each fiftieth of draws correlated by 0.8 is as good as independent: 0.8 ** 50 is 1e-5."""
    fields, shares = CASES[kind]
    found = shares(draws(f"{{{fields}, correlation: 0.8}}", 100_000))
    assert kolmogorov_smirnov(found[::50]) > 0.01
    # Nine times the variance of independent draws is an upper bound here: (1 + r) / (1 - r).
    assert abs(sum(found) / len(found) - 0.5) < 4 * (9 / 12 / len(found)) ** 0.5


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8, 0.99])
@pytest.mark.parametrize("kind", ["exponential", "percentiles"])
def test_the_underlying_normal_has_the_correlation_that_was_asked_for(kind: str, correlation: float) -> None:
    fields, shares = CASES[kind]
    found = shares(draws(f"{{{fields}, correlation: {correlation}}}", 20_000))
    scores = stats.norm.ppf([min(max(share, 1e-15), 1 - 1e-15) for share in found])
    seen = float(stats.pearsonr(scores[:-1], scores[1:])[0])
    assert abs(seen - correlation) < 4 * ((1 - correlation**2 + 1e-3) / len(found)) ** 0.5


def test_full_correlation_draws_once() -> None:
    values = draws("{uniform: {min: 1ms, max: 10s}, correlation: 1}", 50)
    assert max(values) - min(values) < 1e-12
    assert draws("{uniform: {min: 1ms, max: 10s}, correlation: 1}", 1) == values[:1]


def test_the_same_dice_give_the_same_delays() -> None:
    fields = f"{{{CASES['lognormal'][0]}, correlation: 0.5}}"
    assert draws(fields, 100) == draws(fields, 100)


def test_without_correlation_nothing_is_remembered() -> None:
    memory: list[float] = []
    fault = read("{delay: {exponential: {mean: 1s}}}")
    assert seconds(fault, 3, memory) == seconds(fault, 3, memory)
    assert memory == []


def test_draws_below_zero_are_zero() -> None:
    values = draws("{normal: {mean: 10ms, stddev: 100ms}}", 20_000)
    assert min(values) == 0.0
    zeros = sum(value == 0.0 for value in values) / len(values)
    assert abs(zeros - stats.norm.cdf(-0.1)) < 4 * (0.25 / len(values)) ** 0.5


@pytest.mark.parametrize(
    "fields",
    [
        "{pareto: {min: 1h, shape: 0.001}}",
        "{lognormal: {median: 24h, sigma: 10}}",
        "{lognormal: {median: 1ms, sigma: 10}, correlation: 1}",
        "{normal: {mean: 24h, stddev: 24h}, correlation: 0.999}",
        "{exponential: {mean: 24h}}",
    ],
)
def test_extremes_stay_between_nothing_and_a_day(fields: str) -> None:
    values = draws(fields, 500)
    assert all(0.0 <= value <= 86_400.0 for value in values)


def test_a_correlated_draw_far_out_is_still_a_number() -> None:
    """A normal score beyond 9 rounds to a share of 0 or 1, where quantiles are infinite."""
    for kind in KINDS:
        fault = read(f"{{delay: {{{CASES[kind][0]}, correlation: 1}}}}")
        for score in (-60.0, -9.0, 9.0, 60.0):
            assert 0.0 <= seconds(fault, 0, [score]) <= 86_400.0


@pytest.mark.parametrize("written", ["100ms", "{fixed: 100ms}"])
def test_fixed(written: str) -> None:
    assert draws(written, 5) == [0.1] * 5


def test_no_time_at_all_is_a_delay_too() -> None:
    assert draws("0ms", 1) == [0.0]


@pytest.mark.parametrize("name", phases.NAMES)
def test_where_it_acts(name: str) -> None:
    entry = f"{{delay: {{fixed: 1s, at: {name}}}}}"
    if name in PHASES:
        assert read(entry).phase == phases.NAMES.index(name)
    else:
        assert problem(entry).startswith("delay.at: expected accept, tls, request_head")


def test_it_acts_at_the_request_head_and_ends_nothing() -> None:
    fault = read("{delay: 1s}")
    assert fault.phase == phases.REQUEST_HEAD
    assert not fault.ends_exchange


BAD: list[tuple[str, str, str]] = [
    ("100", "", "a bare number has no unit: use ms, s, m or h"),
    ("fast", "", "expected a duration such as 100ms"),
    ("null", "", "expected exactly one of fixed, uniform"),
    ("{}", "", "expected exactly one of fixed, uniform"),
    ("{at: accept}", "", "expected exactly one of fixed, uniform"),
    ("{fixed: 1s, exponential: {mean: 1s}}", "", "got fixed and exponential"),
    ("{fixed: 1.5ms}", "fixed", "durations are whole milliseconds"),
    ("{fixed: 1s, correlation: 0.5}", "correlation", "a fixed delay has nothing to correlate"),
    ("{fixd: 1s}", "fixd", 'did you mean "fixed"?'),
    ("{exponential: {mean: 1s}, correlation: 1.5}", "correlation", "expected a number from 0 to 1"),
    ("{exponential: {mean: 1s}, correlation: -0.1}", "correlation", "expected a number from 0 to 1"),
    ("{exponential: 1s}", "exponential", "expected a mapping"),
    ("{exponential: {}}", "exponential", '"mean" is missing'),
    ("{uniform: {min: 1s}}", "uniform", '"max" is missing'),
    ("{uniform: {min: 2s, max: 1s}}", "uniform.min", "min is greater than max"),
    ("{uniform: {min: 1, max: 1s}}", "uniform.min", "a bare number"),
    ("{normal: {mean: 1s}}", "normal", '"stddev" is missing'),
    ("{normal: {mean: 1s, stddev: -1s}}", "normal.stddev", "expected a duration"),
    ("{lognormal: {median: 0s, sigma: 1}}", "lognormal.median", "from 1ms to 24h"),
    ("{lognormal: {median: 1s, sigma: -1}}", "lognormal.sigma", "expected a number from 0 to 10"),
    ("{lognormal: {median: 1s, sigma: 1s}}", "lognormal.sigma", "expected a number from 0 to 10"),
    ("{pareto: {min: 1s, shape: 0}}", "pareto.shape", "expected a number above 0"),
    ("{pareto: {min: 0ms, shape: 1}}", "pareto.min", "from 1ms to 24h"),
    ("{percentiles: {p50: 1s, p90: 2s, p99: 3s}}", "percentiles", '"max" is missing'),
    ("{percentiles: {p50: 1s, p90: 900ms, p99: 3s, max: 4s}}", "percentiles", "must not fall"),
    ("{percentiles: {p50: 1s, p90: 2s, p99: 3s, max: 4s, p95: 2s}}", "percentiles.p95", "unknown key"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{delay: {fields}}}")
    assert found.startswith(f"delay.{path}: " if path else "delay: ")
    assert words in found
