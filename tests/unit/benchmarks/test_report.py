"""Figures, ratios, bars and comparisons from rounds that are given."""

import socket
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.load import bars, client, delays, procs, report, results, rulesets, run, workloads
from benchmarks.load.results import DelayRow, Machine, MemoryRow, Result, Round, Row, Shot, Skipped
from benchmarks.load.subjects import COMPILED, INTERPRETED

MACHINE = Machine("Test 9000", 2, 1024, "6.1", "3.11.2")
TWENTY = rulesets.TWENTY.name


def rounds(*cpu: float, p50: float = 100.0, foreign: float = 0.0) -> list[Round]:
    return [
        Round(rate=1000.0, p50=p50, p99=9 * p50, cpu=one, rss=2**25, refused=0.0, broken=0, foreign=foreign)
        for one in cpu
    ]


def result(ours: float = 24.0) -> Result:
    made = Result("2026-11-21T00:00:00Z", "abc", MACHINE, 4, 3)
    small = workloads.SMALL_32.name
    made.rows = [
        Row(small, COMPILED, TWENTY, rounds(ours, ours, 1000)),
        Row(small, "HAProxy", TWENTY, rounds(20, 20, 20)),
        Row(small, "nginx", TWENTY, rounds(16, 16, 16)),
        Row(workloads.MANY_RULES.name, COMPILED, rulesets.TEN.name, rounds(20)),
        Row(workloads.MANY_RULES.name, COMPILED, rulesets.TEN_THOUSAND.name, rounds(25)),
    ]
    return made


def verdict(of: Result, title: str, build: str) -> bars.Verdict:
    (found,) = [one for one in bars.verdicts(of) if one.title.startswith(title) and one.build == build]
    return found


def test_cpu_per_request_and_the_share_of_others_on_the_core() -> None:
    shot = Shot(requests=10_000, seconds=2, p50=1, p90=2, p99=3, maximum=4, refused=1000, broken=0)
    made = run.round_of(shot, procs.Reading(cpu=0.5, rss=7, busy=0.7, elapsed=2.0))
    assert made.cpu == pytest.approx(50.0)
    assert made.refused == pytest.approx(0.1)
    assert made.foreign == pytest.approx(0.1)


def test_where_nothing_was_answered_no_bar_is_reached() -> None:
    nothing = run.round_of(
        Shot(0, 1, 0, 0, 0, 0, 0, 0), procs.Reading(cpu=0.01, rss=7, busy=0.7, elapsed=1.0)
    )
    assert (nothing.rate, nothing.cpu) == (0.0, 0.0)
    made = result()
    made.rows[0] = Row(workloads.SMALL_32.name, COMPILED, TWENTY, [nothing])
    assert verdict(made, "small GET, 32", COMPILED).word == bars.UNKNOWN


def test_the_median_leaves_out_the_round_that_was_disturbed() -> None:
    row = result().row(workloads.SMALL_32.name, COMPILED)
    assert row is not None
    assert row.middle("cpu") == 24.0


def test_lateness_counts_from_what_was_asked_and_early_answers_are_counted() -> None:
    with socket.socket() as peer:
        seen = delays.Seen("x", 5, 0, peer, [0.0051, 0.0049, 0.0052, 0.0070], foreign=0.2, turns=2)
    row = seen.row()
    assert row.foreign == 0.1  # of the average turn
    assert (row.count, row.early) == (4, 1)
    assert row.least_ms == pytest.approx(-0.1)
    assert row.p50_ms == pytest.approx(0.1)
    assert row.p99_ms == row.all_p99_ms == pytest.approx(2.0)


def test_turns_that_the_host_disturbed_count_for_early_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([7, 7, 7, 8, 8, 8])  # before and after each turn
    turns = iter([[0.0051], [0.0250, 0.0049], [0.0052]])
    monkeypatch.setattr(procs, "stolen", lambda: next(ticks))
    monkeypatch.setattr(client, "round_trips", lambda *_: next(turns))
    with socket.socket() as peer:
        seen = delays.Seen("x", 5, 0, peer)
        for _ in range(3):
            seen.take_turn(0)
    row = seen.row()
    assert (row.count, row.turns, row.stolen_turns, row.early) == (2, 2, 1, 1)
    assert [row.p50_ms, row.p99_ms] == pytest.approx([0.1, 0.2])
    assert row.all_p99_ms == pytest.approx(20.0)
    made = result()
    made.delays = [row]
    (line,) = [line for line in report.delay_table(made).splitlines() if line.startswith("x ")]
    assert line.split()[-4:] == ["1", "of", "3", "20.000"]
    with socket.socket() as peer:
        disturbed = delays.Seen("x", 5, 0, peer, stolen=[0.0250], stolen_turns=1).row()
    assert [disturbed.count, disturbed.p99_ms] == pytest.approx([1, 20.0])  # better than nothing


@pytest.mark.parametrize("milliseconds", [5, 100])
def test_the_control_sleeps_as_long_as_it_is_asked_to(milliseconds: int) -> None:
    head = client.request_bytes(rulesets.delay_path(milliseconds))
    assert delays.asked_for(head) == milliseconds / 1000


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantiles_are_values_that_were_seen(share: float, value: int) -> None:
    assert results.quantile(list(range(100, 0, -1)), share) == value


def test_the_table_gives_our_figure_over_each_peers() -> None:
    text = report.workload_table(result(), workloads.SMALL_32)
    cells = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert cells["HAProxy"][-2:] == ["1.20", "-"]
    assert cells["nginx"][-2:] == ["1.50", "-"]
    assert cells[COMPILED][-2:] == ["1.00", "-"]


def test_the_table_of_many_rules_compares_with_fewer() -> None:
    text = report.workload_table(result(), workloads.MANY_RULES)
    assert [line.split()[-1] for line in text.splitlines()[3:]] == ["1.00", "1.25"]


def test_a_peer_that_steps_aside_is_one_line() -> None:
    made = result()
    made.skipped.append(Skipped(workloads.SMALL_32.name, "Envoy", "not installed"))
    assert report.workload_table(made, workloads.SMALL_32).splitlines()[-1] == "aside: Envoy: not installed"


def test_figures_from_a_machine_that_was_not_quiet_are_marked() -> None:
    made = result()
    assert "not quiet" not in report.whole(made)
    made.rows[0] = Row(workloads.SMALL_32.name, COMPILED, TWENTY, rounds(24, foreign=0.2))
    assert "24.0*" in report.whole(made)
    assert "not quiet" in report.whole(made)


@pytest.mark.parametrize(("ours", "word"), [(26.0, bars.OK), (26.1, bars.MISS)])
def test_a_bar_is_reached_up_to_its_limit(ours: float, word: str) -> None:
    assert verdict(result(ours), "small GET, 32", COMPILED).word == word


def test_a_bar_without_its_peer_is_not_measured() -> None:
    assert verdict(result(), "small GET, 32", INTERPRETED).word == bars.UNKNOWN


def test_bars_of_rules_memory_and_delays() -> None:
    made = result()
    made.memory = [MemoryRow(COMPILED, 1000, 50 * 2**20, 90 * 2**20)]
    made.delays = [
        DelayRow(COMPILED, 5, 10, 1, -0.2, 0.1, 0.3, 0.0),
        DelayRow(COMPILED, 20, 10, 0, 0.1, 0.1, 0.4, 0.0),
    ]
    words = {one.title: (one.measured, one.word) for one in bars.verdicts(made) if one.build == COMPILED}
    assert words["10,000 rules, none matches, CPU"] == (1.25, bars.MISS)
    assert words["RSS idle"] == (50.0, bars.OK)
    assert words["RSS with 1,000 keep-alive connections"] == (90.0, bars.MISS)
    assert words["injected delay, late at p99"] == (0.4, bars.OK)
    assert words["injected delay, answers too early"] == (1.0, bars.MISS)


@pytest.mark.parametrize(
    ("workload", "peer", "build", "limit"),
    [
        (workloads.H2_SAME, "nghttpx", COMPILED, 1.2),
        (workloads.H2_DISTINCT, "Envoy", INTERPRETED, 0.9),
        (workloads.H2_CHURN, "Envoy", INTERPRETED, 1.3),
        (workloads.H2_GRPC, "nghttpx", COMPILED, 1.0),
    ],
)
def test_bars_of_http2(workload: workloads.Workload, peer: str, build: str, limit: float) -> None:
    made = result()
    made.rows = [Row(workload.name, build, TWENTY, rounds(30)), Row(workload.name, peer, TWENTY, rounds(20))]
    made.streams = [MemoryRow(build, 1000, 50 * 2**20, 81 * 2**20)]
    found = [one for one in bars.verdicts(made) if one.measured is not None]
    assert [(one.build, one.measured, one.limit, one.word) for one in found] == [
        (build, 1.5, limit, bars.MISS),
        (build, 31.0, 30.0, bars.MISS),
    ]


def test_a_saved_result_comes_back_as_it_was_and_is_the_newest(tmp_path: Path) -> None:
    old = result()
    old.started = "2026-11-20T23:59:59Z"
    results.save(old, tmp_path)
    path = results.save(result(), tmp_path)
    assert path.name == "2026-11-21T000000Z-abc.json"
    assert results.newest(tmp_path) == path
    assert results.read(path) == result()


def test_what_the_machine_did_to_the_peers_is_taken_out_of_a_comparison() -> None:
    slower = result(36.0)  # half as much again, but so did the peers
    slower.rows[1:3] = [
        Row(workloads.SMALL_32.name, "HAProxy", TWENTY, rounds(30)),
        Row(workloads.SMALL_32.name, "nginx", TWENTY, rounds(24)),
    ]
    found = {
        one.figure: one
        for one in compare.changes(result(), slower)
        if one.workload == workloads.SMALL_32.name
    }
    assert found["cpu"].corrected == pytest.approx(1.0)
    assert not found["cpu"].worse(10)


@pytest.mark.parametrize(("ours", "status"), [(26.0, 0), (27.0, 1)])
def test_comparing_fails_beyond_the_tolerance(
    ours: float, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results.save(result(), tmp_path / "before")
    after = results.save(result(ours), tmp_path / "after")
    assert compare.main([str(before), str(after)]) == status
    assert ("WORSE" in capsys.readouterr().out) == bool(status)


def test_comparing_with_what_is_no_result_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"started": 1}')
    assert compare.main([str(broken), str(broken)]) == 2
    assert len(capsys.readouterr().out.splitlines()) == 1
