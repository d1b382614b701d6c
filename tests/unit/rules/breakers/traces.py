"""Traces of calls for breakers: made from a number, the same for the same number."""

from dataclasses import dataclass
from random import Random

from rules.breakers import figures as of
from rules.breakers.figures import MILLION, OFF, Figures

ASK = "ask"
END = "end"
GIVE_UP = "give_up"


@dataclass
class Step:
    """After ``wait`` microseconds: a call asks, or one under way (``which`` of them) ends or is given up."""

    wait: int
    what: str
    which: int = 0
    failed: bool = False
    slow: bool = False


def figures_for(profile: int, dice: Random) -> Figures:
    """Make small figures, so that a short trace meets their edges."""
    made = Figures(profile)
    made.open_for = dice.choice((1_000, 5_000, 50_000))
    if profile in (of.ENVOY, of.ISTIO):
        made.consecutive_failures = dice.choice((1, 2, 3, 5))
        made.interval = dice.choice((1_000, 3_000, 10_000))
        made.max_open_for = made.open_for * dice.choice((1, 2, 10))
        made.max_active = dice.choice((OFF, 1, 3))
        return made
    made.min_calls = dice.choice((1, 2, 3, 5, 10))
    made.half_open_calls = dice.choice((1, 1, 2, 3))
    made.half_open_success = dice.choice((OFF, OFF, 500_000, MILLION))
    if profile == of.GOBREAKER:
        made.window_time = dice.choice((0, 0, 3_000, 20_000))
    elif dice.random() < 0.4:
        made.window_calls = dice.choice((2, 3, 5, 8))
    else:
        made.window_buckets = dice.choice((1, 3, 7, 10))
        made.window_time = dice.choice((1_000, 10_000, 30_000))
    if dice.random() < 0.8:
        made.failure_percent = dice.choice((100_000, 333_333, 500_000, MILLION))
    if dice.random() < 0.3:
        made.slow_over = 2_000
        made.slow_percent = dice.choice((500_000, MILLION))
    if dice.random() < 0.2 or made.failure_percent == made.slow_over == OFF:
        made.consecutive_failures = dice.choice((2, 3, 6))
    if dice.random() < 0.2:
        made.failures = dice.choice((0, 1, 4))
    return made


def trace(figures: Figures, dice: Random, steps: int) -> list[Step]:
    """Make a trace that likes the edges of windows and breaks."""
    part = max(1, figures.window_time // figures.window_buckets)
    waits = (0, 0, 1, 400, part, part - 1, figures.open_for, figures.open_for + 1, figures.interval // 10)
    bad = dice.choice((0.2, 0.5, 0.9))
    made: list[Step] = []
    under_way = 0
    for _ in range(steps):
        wait = dice.choice(waits) if dice.random() < 0.5 else dice.randrange(300)
        if not under_way or dice.random() < 0.5:
            made.append(Step(wait, ASK))
            under_way += 1
            continue
        under_way -= 1
        what = GIVE_UP if dice.random() < 0.05 else END
        slow = figures.slow_over != OFF and dice.random() < 0.4
        made.append(Step(wait, what, dice.randrange(8), dice.random() < bad, slow))
    return made
