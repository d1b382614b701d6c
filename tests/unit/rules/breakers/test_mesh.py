"""What Envoy compares over hosts, and what it sheds by chance: documented cases, and a model of its own."""

from math import isclose
from random import Random
from typing import Final

import pytest

from rules.actions import Consult
from rules.breakers import figures as of
from rules.breakers.breaker import SHED
from rules.breakers.figures import CLOSED, MILLION, OFF, OPEN, Figures
from rules.breakers.keeper import Breakers
from tests.faults.cases import FACTS, dice, read
from tests.unit.rules.breakers.mesh_reference import AdmissionModel, ClusterModel

TRACES = 10_000  # for each of the two
OUTLIER: Final = (
    "https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier#success-rate"
)
FIELDS: Final = "https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/outlier_detection.proto"
ADMISSION: Final = (
    "https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/admission_control_filter"
)
SHEDDING: Final = (
    "https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/filters/http/admission_control/v3/"
    "admission_control.proto"
)
SECOND: Final = MILLION


def figures_of(fields: str) -> Figures:
    action = read(f"{{breaker: {fields}}}").decide(FACTS, dice())
    assert isinstance(action, Consult)
    return action.figures


# What is said, where, the breaker's fields, how many of how many calls of each host succeed within an
# interval, and which hosts are ejected at its end.
HOSTS: Final[list[tuple[str, str, str, list[tuple[int, int]], set[int]]]] = [
    ("below the mean by 1.9 deviations", OUTLIER, "envoy", [(100, 100)] * 4 + [(50, 100)], {4}),
    ("five hosts at least", FIELDS, "envoy", [(100, 100)] * 3 + [(50, 100)], set()),
    ("with 100 requests at least in the interval", FIELDS, "envoy", [(100, 100)] * 4 + [(40, 99)], set()),
    ("hosts with less do not count", FIELDS, "envoy", [(100, 100)] * 4 + [(50, 100), (9, 9)], {4}),
    ("all alike", OUTLIER, "envoy", [(90, 100)] * 9, set()),
    ("none is far enough off", OUTLIER, "envoy",
     [(100, 100), (90, 100), (80, 100), (70, 100), (60, 100)], set()),
    ("ten hosts, two bad", OUTLIER, "envoy", [(100, 100)] * 8 + [(60, 100)] * 2, {8, 9}),
    ("success_rate_stdev_factor", FIELDS, "{profile: envoy, success_rate: {stdev_factor: 2100}}",
     [(100, 100)] * 4 + [(50, 100)], set()),
    ("success_rate_minimum_hosts", FIELDS,
     "{profile: envoy, success_rate: {minimum_hosts: 3, stdev_factor: 1400}}",
     [(100, 100), (100, 100), (0, 100)], {2}),
    ("success_rate_request_volume", FIELDS, "{profile: envoy, success_rate: {request_volume: 9}}",
     [(9, 9)] * 4 + [(3, 9)], {4}),
    ("max_ejection_percent", FIELDS, "{profile: envoy, max_ejection_percent: 10}",
     [(100, 100)] * 8 + [(60, 100)] * 2, {8}),
    ("not even one, where that is more", FIELDS, "{profile: envoy, max_ejection_percent: 10}",
     [(100, 100)] * 4 + [(50, 100)], set()),
    ("istio never enforces it", "https://istio.io/latest/docs/reference/config/networking/destination-rule/",
     "istio", [(100, 100)] * 4 + [(50, 100)], set()),
]  # fmt: skip


def take(breakers: Breakers, key: bytes, now: int, failed: bool) -> None:
    passed = breakers.admit(key, now)
    assert passed is not None
    passed.judge(now, failed, False)


@pytest.mark.parametrize(
    ("said", "where", "fields", "hosts", "ejected"), HOSTS, ids=[case[0] for case in HOSTS]
)
def test_success_rates(
    said: str, where: str, fields: str, hosts: list[tuple[int, int]], ejected: set[int]
) -> None:
    breakers = Breakers("a", figures_of(fields))
    breakers.admit(b"0", 0)
    for number, (good, calls) in enumerate(hosts):
        for place in range(calls):  # evenly, so that no five failures follow each other
            failed = (place + 1) * (calls - good) // calls > place * (calls - good) // calls
            b = breakers.keys.get(b"%d" % number)
            if b is not None and failed and b.consecutive == 4:
                b.consecutive = 0  # it is not about failures in a row
            take(breakers, b"%d" % number, 9 * SECOND, failed)
    out = {n for n in range(len(hosts)) if breakers.admit(b"%d" % n, 10 * SECOND - 1) is None}
    assert out == set(), f"{where}: before the end of the interval"
    out = {n for n in range(len(hosts)) if breakers.admit(b"%d" % n, 10 * SECOND) is None}
    assert out == ejected, f"{where}: {said}"
    assert {news.reason for news in breakers.news()} <= {"success_rate"}
    back = {n for n in out if breakers.admit(b"%d" % n, 39 * SECOND) is not None}
    assert back == set(), "30 s of ejection"
    assert all(breakers.admit(b"%d" % n, 40 * SECOND) is not None for n in out)


def figures_for(dice: Random) -> Figures:
    made = Figures(of.ENVOY)
    made.interval = dice.choice((1_000, 3_000))
    made.open_for = dice.choice((1_000, 2_500, 7_000))
    made.max_open_for = made.open_for * dice.choice((1, 2, 10))
    made.consecutive_failures = dice.choice((0, 0, 3, 5))
    made.minimum_hosts = dice.choice((OFF, 1, 2, 3, 4))
    made.request_volume = dice.choice((0, 1, 2, 4))
    made.stdev_factor = dice.choice((500, 1000, 1300, 1900))
    made.max_ejection = dice.choice((MILLION, MILLION, 500_000, 250_000))
    return made


def test_hosts_agree_with_the_model() -> None:
    ejections = close = 0
    for seed in range(TRACES):
        dice = Random(seed)
        made = figures_for(dice)
        now = dice.randrange(10**9)
        breakers, model = Breakers("a", made), ClusterModel(made, now)
        bad = {b"%d" % n: dice.choice((0.05, 0.3, 0.9)) for n in range(4)}
        for step in range(32):
            now += dice.choice((0, 10, 100, made.interval, made.open_for, 40)) if step else 0
            key = b"%d" % dice.randrange(4)
            passed, wanted = breakers.admit(key, now), model.ask(key, now)
            if model.close:
                break
            assert (passed is not None) == wanted, (seed, step)
            if passed is not None:
                good = dice.random() >= bad[key]
                passed.judge(now, not good, False)
                model.end(key, good)
        close += model.close
        ejections += breakers.journal.counts[OPEN]
    assert ejections > TRACES
    assert close < TRACES / 10


def test_a_long_rest_is_not_looked_at_step_by_step() -> None:
    """24 h at an interval of 1 ms: 86 million looks that change nothing."""
    made = Figures(of.ENVOY)
    made.interval, made.open_for, made.max_open_for = 1_000, 23 * 3600 * SECOND, 24 * 3600 * SECOND
    made.consecutive_failures = 1
    breakers = Breakers("a", made)
    take(breakers, b"", 0, True)
    assert breakers.admit(b"", 23 * 3600 * SECOND - 1) is None
    assert breakers.admit(b"", 23 * 3600 * SECOND) is not None
    assert breakers.keys[b""].ejections == 1
    assert breakers.admit(b"", 24 * 3600 * SECOND) is not None
    assert breakers.keys[b""].ejections == 0


# What is said, where, the breaker's fields, calls in the window, how many were good, and how many of
# 10,000 are shed.
RISKS: Final[list[tuple[str, str, str, int, int, int]]] = [
    ("above the threshold of 95 % none is", ADMISSION, "admission_control", 100, 96, 0),
    ("at it, neither", ADMISSION, "admission_control", 100, 95, 0),
    ("below it, by (n - s/0.95) / (n + 1)", ADMISSION, "admission_control", 99, 76, 1900),
    ("linear", ADMISSION, "{profile: admission_control, sr_threshold: 50}", 99, 30, 3900),
    ("aggression 2 is its square root", ADMISSION,
     "{profile: admission_control, sr_threshold: 50, aggression: 2}", 99, 42, 3873),
    ("80 % at most", SHEDDING, "admission_control", 999, 0, 8000),
    ("max_rejection_probability", SHEDDING, "{profile: admission_control, max_rejection_probability: 100}",
     999, 0, 9990),
    ("the first calls are cautious", ADMISSION, "admission_control", 1, 0, 5000),
    ("nothing is known yet", ADMISSION, "admission_control", 0, 0, 0),
    ("below rps_threshold none is", SHEDDING, "{profile: admission_control, rps_threshold: 4}", 119, 0, 0),
    ("at it they are", SHEDDING, "{profile: admission_control, rps_threshold: 4}", 120, 0, 8000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "where", "fields", "calls", "good", "shed"), RISKS, ids=[r[0] for r in RISKS]
)
def test_what_is_shed(said: str, where: str, fields: str, calls: int, good: int, shed: int) -> None:
    breakers = Breakers("a", figures_of(fields))
    for number in range(calls):
        passed = breakers.admit(b"", 0, 0.99999)
        assert passed is not None
        passed.judge(0, number >= good, False)
    refused = 0
    for draw in range(10_000):
        passed = breakers.admit(b"", 29 * SECOND, draw / 10_000 + 0.00005)
        refused += passed is None
        assert passed is not None or breakers.verdict == SHED
    assert refused == shed, f"{where}: {said}"
    assert breakers.refused == shed
    assert breakers.admit(b"", 30 * SECOND, 0.0) is not None, "the window is 30 s"
    assert breakers.journal.counts == [0, 0, 0]


def admission_for(dice: Random) -> Figures:
    made = Figures(of.ADMISSION)
    made.window_buckets = dice.choice((1, 2, 5, 30))
    made.window_time = made.window_buckets * SECOND
    made.aggression = dice.choice((1.0, 1.0, 1.5, 3.0))
    made.sr_threshold = dice.choice((950_000, 500_000, MILLION, 100_000))
    made.rps_threshold = dice.choice((0, 0, 1, 2))
    made.max_rejection = dice.choice((800_000, MILLION, 300_000))
    return made


def test_admission_agrees_with_the_model() -> None:
    shed = 0
    for seed in range(TRACES):
        dice = Random(seed)
        made = admission_for(dice)
        now = dice.randrange(10**9)
        breakers, model = Breakers("a", made), AdmissionModel(made)
        bad = dice.choice((0.1, 0.5, 0.9))
        for step in range(18):
            now += dice.choice((0, 0, 1, 300_000, SECOND - 1, SECOND, made.window_time)) if step else 0
            risk = model.risk(now)
            draw = dice.random()
            passed = breakers.admit(b"", now, draw)
            assert isclose(breakers.keys[b""].risk, risk, abs_tol=1e-12), (seed, step)
            if abs(int(draw * 10_000) - risk * 10_000) > 1e-6:
                assert (passed is None) == (int(draw * 10_000) < risk * 10_000), (seed, step)
            if passed is None:
                shed += 1
                continue
            good = dice.random() >= bad
            passed.judge(now, not good, False)
            model.end(now, good)
    assert shed > TRACES


def test_a_call_without_an_end_is_not_counted_in_either() -> None:
    for fields in ("envoy", "admission_control"):
        breakers = Breakers("a", figures_of(fields))
        passed = breakers.admit(b"", 0)
        assert passed is not None
        passed.drop(0)
        b = breakers.keys[b""]
        assert (b.window.calls, b.volume, b.active) == (0, 0, 0)


def test_admission_control_after_another_profile() -> None:
    """It has no open state, and leaves no risk behind."""
    other = Figures(of.GOBREAKER)
    other.consecutive_failures = 1
    breakers = Breakers("a", other)
    take(breakers, b"", 0, True)
    assert breakers.keys[b""].state == OPEN
    breakers.take(figures_of("admission_control"), 1)
    assert breakers.admit(b"", 0) is not None
    assert breakers.keys[b""].state == CLOSED
    for _ in range(9):
        take(breakers, b"", 0, True)
    assert breakers.admit(b"", 0, 0.0) is None
    other.consecutive_failures = 100
    breakers.take(other, 2)
    assert breakers.admit(b"", 0, 0.0) is not None
