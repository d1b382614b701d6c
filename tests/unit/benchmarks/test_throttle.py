"""The workload ``throttle``: what it counts, its rules and tables, and a short run of all of it."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.load import bars, report, throttle
from benchmarks.load.results import CrowdRow, Result, ThrottleRow
from benchmarks.load.subjects import INTERPRETED, SUBJECTS
from benchmarks.load.subjects.misrule import Misrule
from benchmarks.load.throttle import Flow
from proxy.config.read import parse as parse_config
from rules.parse import parse_rules
from tests.unit.benchmarks.test_report import MACHINE

EVERYWHERE = frozenset(os.sched_getaffinity(0))


def test_the_first_piece_does_not_count_and_neither_does_the_time_before() -> None:
    flow = Flow(100)
    flow.take(70, 5.0)
    assert flow.seen == 0.0
    flow.take(50, 5.5)
    flow.take(40, 6.0)
    assert flow.seen == 90.0


def test_its_rules_and_its_configuration_are_read() -> None:
    rules = parse_rules(json.dumps(throttle.rules()).encode(), "rules.json")
    assert len(rules) == 2 * (len(throttle.RATES) + 1)
    ports = {name: 1000 + number for number, name in enumerate(("web", "calls", *throttle.RATES))}
    parse_config(json.dumps(throttle.configuration(1, 2, ports)).encode(), "misrule.json")


def made() -> Result:
    found = Result("2026-11-21T00:00:00Z", "abc", MACHINE, 4, 3)
    found.throttles = [
        ThrottleRow(INTERPRETED, "http1", 65536, 65000, 10),
        ThrottleRow(INTERPRETED, "tcp", 65536, 67502.08, 10),
    ]
    found.crowds = [CrowdRow(INTERPRETED, "grpc", 1000, 2048, 2000, 2040, 2050, 2**25, 2**25 + 102_400_000)]
    return found


def test_the_tables() -> None:
    lines = [line.split() for line in report.throttle_table(made()).splitlines()]
    assert [line[-1] for line in lines if "http1" in line or "tcp" in line] == ["-0.82%", "+3.00%"]
    assert ["1,000", "2", "1.953", "1.992", "2.002", "32.0", "129.7", "100.0"] in [
        line[-8:] for line in lines
    ]
    assert report.throttle_table(Result("", "", MACHINE, 4, 3)) == ""


def test_the_bars_take_what_is_furthest_off() -> None:
    found = {one.title: (one.measured, one.word) for one in bars.verdicts(made()) if one.build == INTERPRETED}
    off, word = found["throttled rate, off by"]
    assert off == pytest.approx(3.0)
    assert word == bars.MISS
    assert found["RSS of a throttled stream, of 1,000"] == (100.0, bars.OK)


def test_a_short_run(tmp_path: Path) -> None:
    """Each protocol flows; how fast is not for a test to say that other tests disturb."""
    (subject,) = [one for one in SUBJECTS if one.name == INTERPRETED]
    assert isinstance(subject, Misrule)
    with throttle.staged(subject, tmp_path / "stage", EVERYWHERE, EVERYWHERE) as stage:
        rates = [
            row
            for protocol in throttle.PROTOCOLS
            for row in throttle.measure_rates(INTERPRETED, stage, protocol, 0.2)
        ]
        crowd = throttle.measure_crowd(INTERPRETED, stage, throttle.GRPC, 0.2, 20)
    assert [row.protocol for row in rates] == [one for one in throttle.PROTOCOLS for _ in throttle.RATES]
    assert all(0 < row.seen <= 2 * row.asked for row in rates if row.protocol == throttle.GRPC)
    assert (crowd.protocol, crowd.streams) == (throttle.GRPC, 20)
    assert crowd.held > 0
