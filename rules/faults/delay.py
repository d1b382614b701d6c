"""delay: time passes, and nothing else changes."""

from math import exp, log, log1p
from typing import ClassVar, Final

from rules.actions import Action, Wait
from rules.correlation import Correlated
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import phase_field
from rules.normal import quantile
from rules.params import DAY, Duration, Number
from rules.phases import (
    ACCEPT,
    CONNECT,
    REQUEST_BODY,
    REQUEST_HEAD,
    RESPONSE_BODY,
    RESPONSE_HEAD,
    TLS,
)
from rules.records import Field, Record, Values, at, exactly_one

LONGEST: Final = DAY  # seconds; the long tails (pareto, lognormal) are cut here

_KINDS: Final = ("fixed", "uniform", "normal", "lognormal", "exponential", "pareto", "percentiles")


class Distribution:
    """How long delays are, as the quantile function: one uniform number in, seconds out."""

    def at(self, u: float) -> float:
        """Give the delay that a share ``u`` (0 < u < 1) of all delays stays below."""
        raise NotImplementedError


class Uniform(Distribution):
    """Each delay from ``low`` to ``high`` alike."""

    def __init__(self, low: float, high: float) -> None:
        self.low: float = low
        self.width: float = high - low

    def at(self, u: float) -> float:
        """Give a quantile."""
        return self.low + u * self.width


class Normal(Distribution):
    """The bell curve; its draws below 0 become 0 with all the others."""

    def __init__(self, mean: float, stddev: float) -> None:
        self.mean: float = mean
        self.stddev: float = stddev

    def at(self, u: float) -> float:
        """Give a quantile."""
        return self.mean + self.stddev * quantile(u)


class Lognormal(Distribution):
    """A normal logarithm: half of the delays stay below ``median``; ``sigma`` is that of the logarithm."""

    def __init__(self, median: float, sigma: float) -> None:
        self.mu: float = log(median)
        self.sigma: float = sigma

    def at(self, u: float) -> float:
        """Give a quantile; the exponent is bounded so that no float overflows."""
        return exp(min(self.mu + self.sigma * quantile(u), 700.0))


class Exponential(Distribution):
    """Waiting for what happens at random, ``mean`` on the average."""

    def __init__(self, mean: float) -> None:
        self.mean: float = mean

    def at(self, u: float) -> float:
        """Give a quantile."""
        return -self.mean * log1p(-u)


class Pareto(Distribution):
    """At least ``low``, with a tail that is the heavier the smaller ``shape`` is."""

    def __init__(self, low: float, shape: float) -> None:
        self.low: float = low
        self.shape: float = shape

    def at(self, u: float) -> float:
        """Give a quantile; the exponent is bounded so that no float overflows."""
        return self.low * exp(min(-log1p(-u) / self.shape, 700.0))


class Percentiles(Distribution):
    """What was measured: linear between 0 at p0, p50, p90, p99 and the greatest."""

    def __init__(self, p50: float, p90: float, p99: float, greatest: float) -> None:
        self.shares: list[float] = [0.0, 0.5, 0.9, 0.99, 1.0]
        self.values: list[float] = [0.0, p50, p90, p99, greatest]

    def at(self, u: float) -> float:
        """Give a quantile."""
        number = 1
        while u > self.shares[number]:
            number += 1
        below = self.shares[number - 1]
        share = (u - below) / (self.shares[number] - below)
        return self.values[number - 1] + share * (self.values[number] - self.values[number - 1])


class DelayFault(Fault):
    """The peer waits: so long, or so long as a distribution says, never below 0.

    ``correlation`` ties each delay to the one before (a Gaussian copula: a normal AR(1) process underneath),
    which keeps the distribution of the delays exactly as it is.
    """

    KIND: ClassVar[str] = "delay"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "fixed": Field(Duration(), None, "always so long"),
            "uniform": Field(
                Record({"min": Field(Duration()), "max": Field(Duration())}), None, "each time between alike"
            ),
            "normal": Field(
                Record({"mean": Field(Duration()), "stddev": Field(Duration())}), None, "cut at 0"
            ),
            "lognormal": Field(
                Record({"median": Field(Duration(low=0.001)), "sigma": Field(Number(0, 10))}),
                None,
                "sigma is that of the logarithm",
            ),
            "exponential": Field(Record({"mean": Field(Duration())}), None, "random arrivals"),
            "pareto": Field(
                Record({"min": Field(Duration(low=0.001)), "shape": Field(Number(0, 1000, above=True))}),
                None,
                "a heavy tail, cut at 24h",
            ),
            "percentiles": Field(
                Record({name: Field(Duration()) for name in ("p50", "p90", "p99", "max")}),
                None,
                "linear between, 0 at p0",
            ),
            "correlation": Field(
                Number(0, 1), None, "with the delay before; the distribution stays as it is"
            ),
            "at": phase_field(
                (ACCEPT, TLS, REQUEST_HEAD, REQUEST_BODY, CONNECT, RESPONSE_HEAD, RESPONSE_BODY),
                REQUEST_HEAD,
            ),
        },
        short="fixed",
        human="a duration such as 100ms, or a mapping such as {uniform: {min: 10ms, max: 1s}}",
    )

    def __init__(self, phase: int, fixed: Wait | None, drawn: Distribution, correlation: float) -> None:
        super().__init__(phase)
        self.fixed: Wait | None = fixed
        self.drawn: Distribution = drawn
        self.correlated: Correlated = Correlated(correlation)

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        kind = exactly_one(values, _KINDS)
        correlation: float | None = values["correlation"]
        if kind == "fixed":
            if correlation is not None:
                raise at(("correlation",), "a fixed delay has nothing to correlate: use a distribution")
            seconds: float = values["fixed"]
            return DelayFault(values["at"], Wait(seconds), Uniform(seconds, seconds), 0.0)
        drawn = _distribution(kind, values[kind])
        return DelayFault(values["at"], None, drawn, correlation or 0.0)

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Wait."""
        if self.fixed is not None:
            return self.fixed
        u = dice.uniform()
        u = self.correlated.tie(u, dice.memory)
        return Wait(min(max(self.drawn.at(u), 0.0), LONGEST))


def _distribution(kind: str, values: Values) -> Distribution:
    """Make the distribution of its own values; raises BadValue where they are out of order."""
    if kind == "uniform":
        if values["min"] > values["max"]:
            raise at(("uniform", "min"), "min is greater than max")
        return Uniform(values["min"], values["max"])
    if kind == "normal":
        return Normal(values["mean"], values["stddev"])
    if kind == "lognormal":
        return Lognormal(values["median"], values["sigma"])
    if kind == "exponential":
        return Exponential(values["mean"])
    if kind == "pareto":
        return Pareto(values["min"], values["shape"])
    steps: list[float] = [values["p50"], values["p90"], values["p99"], values["max"]]
    if steps != sorted(steps):
        raise at(("percentiles",), "p50, p90, p99 and max must not fall")
    return Percentiles(steps[0], steps[1], steps[2], steps[3])
