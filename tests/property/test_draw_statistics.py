"""The draws as a whole: true percentages, independent of each other, the same in every process."""

import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rules.model import Sample
from rules.phases import RESPONSE_HEAD
from rules.snapshot import Snapshot
from tests.support.builders import facts, pause, plan, rule, snapshot

ROOT = Path(__file__).resolve().parents[2]
COUNT = 100_000


def hits(compiled: Snapshot, count: int) -> list[bool]:
    """Draw one exchange after the other straight from the rules: say which fired."""
    seen = facts()
    fired: list[bool] = []
    for _ in range(count):
        made = compiled.plan(compiled.rules, seen, 1)
        fired.append(made is not None)
        if made is not None:
            made.release()
    return fired


def within(hit: int, count: int, share: float) -> bool:
    """Three standard deviations of the binomial distribution."""
    return abs(hit - count * share) <= 3 * math.sqrt(count * share * (1 - share))


def independence(table: list[int]) -> float:
    """Chi-square of a 2 x 2 table (neither, second, first, both) against independence."""
    neither, second, first, both = table
    total = sum(table)
    rows, columns = (neither + second, first + both), (neither + first, second + both)
    cells = ((neither, 0, 0), (second, 0, 1), (first, 1, 0), (both, 1, 1))
    expected = [(seen, rows[row] * columns[column] / total) for seen, row, column in cells]
    return sum((seen - wanted) ** 2 / wanted for seen, wanted in expected)


CRITICAL = 10.83  # of chi-square with one degree of freedom, at 0.1 %


@pytest.mark.parametrize("seed", [0, 1, 7, 42])
def test_ten_percent_of_a_hundred_thousand(seed: int) -> None:
    fired = hits(snapshot(rule(sample=Sample(percent=100_000, seed=seed))), COUNT)
    assert within(sum(fired), COUNT, 0.1)
    # Nor does one firing say anything about the next.
    pairs = [0, 0, 0, 0]
    for before, after in pairwise(fired):
        pairs[2 * before + after] += 1
    assert independence(pairs) < CRITICAL


@pytest.mark.parametrize("percent", [1_000, 125_000, 500_000, 990_000])
def test_other_percentages(percent: int) -> None:
    assert within(
        sum(hits(snapshot(rule(sample=Sample(percent=percent))), 20_000)), 20_000, percent / 1_000_000
    )


def test_zero_and_a_hundred_percent_of_a_hundred_thousand() -> None:
    assert sum(hits(snapshot(rule(sample=Sample(percent=0))), COUNT)) == 0
    assert sum(hits(snapshot(rule(sample=Sample(percent=1_000_000))), 20_000)) == 20_000


def table_of(first: list[bool], second: list[bool]) -> list[int]:
    table = [0, 0, 0, 0]
    for one, other in zip(first, second, strict=True):
        table[2 * one + other] += 1
    return table


def test_rules_are_drawn_independently() -> None:
    sample = Sample(percent=300_000)
    one, other = (hits(snapshot(rule(name, sample=sample)), 20_000) for name in ("a", "b"))
    assert independence(table_of(one, other)) < CRITICAL
    seeded = hits(snapshot(rule("a", sample=Sample(percent=300_000, seed=1))), 20_000)
    assert independence(table_of(one, seeded)) < CRITICAL


def test_the_measure_of_independence_sees_dependence() -> None:
    one = hits(snapshot(rule("a", sample=Sample(percent=300_000))), 2_000)
    assert independence(table_of(one, one)) > CRITICAL
    slightly = [hit if at % 5 else True for at, hit in enumerate(one)]
    assert independence(table_of(one, slightly)) > CRITICAL


def test_the_faults_of_a_rule_are_drawn_independently() -> None:
    half = Sample(percent=500_000)
    compiled = snapshot(rule(faults=[pause(sample=half), pause(RESPONSE_HEAD, sample=half)]))
    table = [0, 0, 0, 0]
    for _ in range(20_000):
        made = plan(compiled, facts())
        first = made is not None and made.phases[2] is not None
        second = made is not None and made.phases[RESPONSE_HEAD] is not None
        table[2 * first + second] += 1
    assert independence(table) < CRITICAL
    assert within(table[1] + table[3], 20_000, 0.5)


def test_verdicts_and_dice_are_independent() -> None:
    compiled = snapshot(rule(sample=Sample(percent=500_000), faults=[pause()]))
    low = total = 0
    for _ in range(20_000):
        made = plan(compiled, facts())
        if made is not None:
            total += 1
            low += (made.phases[2] or [])[0].dice.uniform() < 0.5
    assert within(low, total, 0.5)


def test_sticky_keys_are_hit_by_the_percentage() -> None:
    compiled = snapshot(rule(sample=Sample(percent=100_000, sticky="header:x-user")))
    users = 20_000
    hit = sum(plan(compiled, facts(headers={"x-user": [f"user-{at}"]})) is not None for at in range(users))
    assert within(hit, users, 0.1)


SCRIPT = """
from rules.model import Sample
from tests.support.builders import facts, pause, plan, rule, snapshot

sticky = snapshot(rule(sample=Sample(percent=300_000, sticky="header:x-user", seed=5)))
ordinal = snapshot(rule(sample=Sample(percent=300_000, seed=5), faults=[pause()]))
users = [plan(sticky, facts(headers={"x-user": [f"u{at}"]})) for at in range(300)]
print("".join("01"[made is not None] for made in users))
for at in range(50):
    made = plan(ordinal, facts())
    print("-" if made is None else made.phases[2][0].dice.uniform())
"""


def test_verdicts_outlive_the_process() -> None:
    told: set[str] = set()
    for hash_seed in ("0", "1", "4711"):
        # The same modules as here, be they compiled or not.
        path = os.pathsep.join([entry for entry in sys.path if entry] + [str(ROOT)])
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        told.add(done.stdout)
    assert len(told) == 1
    verdicts = told.pop().splitlines()[0]
    assert 60 <= verdicts.count("1") <= 120
