"""Each profile against an independent model, step by step, on generated traces with a clock of their own."""

from random import Random

import pytest

from rules.breaker_params import show_figures
from rules.breakers import figures as of
from rules.breakers.figures import PROFILES, STATES, Figures
from rules.breakers.keeper import Breakers, Pass
from tests.unit.rules.breakers.reference import (
    Call,
    Gobreaker,
    Outliers,
    Polly,
    Reference,
    Resilience4j,
    Sentinel,
)
from tests.unit.rules.breakers.traces import ASK, END, Step, figures_for, trace

TRACES = 10_000  # for each profile
STEPS = 24
MODELS: dict[int, type[Reference]] = {
    of.ENVOY: Outliers,
    of.ISTIO: Outliers,
    of.HYSTRIX: Reference,
    of.RESILIENCE4J: Resilience4j,
    of.GOBREAKER: Gobreaker,
    of.POLLY: Polly,
    of.SENTINEL: Sentinel,
}


def run(figures: Figures, steps: list[Step], start: int) -> int:
    """Take both through a trace; gives how many transitions there were."""
    breakers, model = Breakers("a", figures), MODELS[figures.profile](figures, start)
    breakers.admit(b"", start)
    model.ask()
    now = start
    under_way: list[tuple[Pass, Call]] = []
    for number, step in enumerate(steps):
        now += step.wait
        model.now = now
        if step.what == ASK:
            passed, call = breakers.admit(b"", now), model.ask()
            assert (passed is None) == (call is None), (number, step)
            if passed is not None and call is not None:
                under_way.append((passed, call))
        elif under_way:
            passed, call = under_way.pop(step.which % len(under_way))
            if step.what == END:
                passed.judge(now, step.failed, step.slow)
                model.end(call, step.failed, step.slow)
            else:
                passed.drop(now)
                model.give_up(call)
        b = breakers.keys[b""]
        assert STATES[b.state] == model.state, (number, step, show_figures(figures))
        if model.state == "closed" and not isinstance(model, Outliers):
            if figures.profile != of.GOBREAKER:  # its cycles begin with a call, not with a look
                b.window.move(now)
            counted = model.counted() if model.outcomes else []
            seen = (b.window.calls, b.window.failures, b.window.slow)
            wanted = (len(counted), sum(o.failed for o in counted), sum(o.slow for o in counted))
            assert seen == wanted, (number, step, show_figures(figures))
    return sum(breakers.journal.counts)


@pytest.mark.parametrize("profile", MODELS, ids=lambda profile: PROFILES[profile])
def test_it_agrees_with_the_model(profile: int) -> None:
    transitions = 0
    for seed in range(TRACES):
        dice = Random(seed * 8 + profile)
        figures = figures_for(profile, dice)
        transitions += run(figures, trace(figures, dice, STEPS), dice.randrange(10**9))
    assert transitions > TRACES / 2  # they were not about nothing
