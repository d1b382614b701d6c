"""Our breakers against the originals: resilience4j on the JVM and gobreaker in Go, trace by trace."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from random import Random

from benchmarks.install_peers import GOBREAKER, find_go
from benchmarks.load.places import PEERS
from rules.breakers import figures as of
from rules.breakers.figures import MILLION, OFF, Figures
from tests.conformance.breakers.oracle import Run, compare, run_ours
from tests.support.need import need, not_fetched

TRACES = 400
HERE = Path(__file__).parent / "breakers"


def for_resilience4j(dice: Random) -> Figures:
    """Make figures that resilience4j can have: windows of whole seconds."""
    made = Figures(of.RESILIENCE4J)
    if dice.random() < 0.5:
        made.window_calls = dice.choice((1, 2, 3, 5, 10))
    else:
        made.window_buckets = dice.choice((1, 2, 5))
        made.window_time = made.window_buckets * MILLION
    made.min_calls = dice.choice((1, 2, 3, 5, 8))
    made.failure_percent = dice.choice((100_000, 300_000, 500_000, MILLION))
    made.slow_over = dice.choice((1_000, 60 * MILLION))
    made.slow_percent = dice.choice((250_000, 500_000, MILLION))
    made.open_for = dice.choice((1_000, 500_000, 2 * MILLION))
    made.half_open_calls = dice.choice((1, 2, 3, 5))
    return made


def for_gobreaker(dice: Random) -> Figures:
    """Make figures that gobreaker can have."""
    made = Figures(of.GOBREAKER)
    made.half_open_calls = dice.choice((1, 2, 3))
    made.window_time = dice.choice((0, 0, 1_000, 20_000))
    made.open_for = dice.choice((1_000, 5_000, 60_000))
    made.min_calls = dice.choice((1, 3, 5))
    if dice.random() < 0.6:
        made.failure_percent = dice.choice((100_000, 333_333, 600_000, MILLION))
    if dice.random() < 0.5 or made.failure_percent == OFF:
        made.consecutive_failures = dice.choice((1, 2, 3, 6))
    return made


def test_resilience4j() -> None:
    java = need("java")
    jars = PEERS / "resilience4j"
    if not list(jars.glob("resilience4j-circuitbreaker-*.jar")):
        not_fetched("resilience4j")
    runs: list[Run] = []
    for seed in range(TRACES):
        dice = Random(seed)
        made = for_resilience4j(dice)
        seconds = made.window_time // MILLION
        rates = made.failure_percent / 10_000, made.slow_percent / 10_000
        header = (
            f"{made.window_calls} {seconds} {made.min_calls} {rates[0]} {made.slow_over} {rates[1]} "
            f"{made.open_for} {made.half_open_calls}"
        )
        runs.append(run_ours(made, header, dice, dice.randrange(10**12), drops=True))
    source = HERE / "resilience4j" / "Oracle.java"
    compare(runs, [java, "-cp", f"{jars}/*", str(source)])


def test_gobreaker(tmp_path: Path) -> None:
    go = find_go() or need("go")
    runs: list[Run] = []
    for seed in range(TRACES):
        dice = Random(seed)
        made = for_gobreaker(dice)
        header = (
            f"{made.half_open_calls} {made.window_time} {made.open_for} {made.consecutive_failures} "
            f"{made.min_calls} {made.failure_percent}"
        )
        runs.append(run_ours(made, header, dice, dice.randrange(10**12), drops=False))
    compare(runs, [str(build_gobreaker(go, tmp_path))])


def build_gobreaker(go: str, folder: Path) -> Path:
    """Build the oracle around a copy of gobreaker that asks Clock for the time; nothing else is changed."""
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    ours = folder / "oracle"
    shutil.copytree(HERE / "gobreaker", ours)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [go, *command], cwd=ours, env=environment, capture_output=True, text=True, check=False
        )

    found = run("mod", "download", "-json", GOBREAKER)
    if found.returncode != 0:
        not_fetched("gobreaker")
    where = json.loads(found.stdout)["Dir"]
    copy = folder / "gobreaker"
    copy.mkdir()
    (copy / "go.mod").write_text("module github.com/sony/gobreaker\n\ngo 1.12\n")
    source = (Path(where) / "gobreaker.go").read_text()
    assert source.count("time.Now()") == 4
    (copy / "gobreaker.go").write_text(source.replace("time.Now()", "Clock"))
    (copy / "clock.go").write_text('package gobreaker\n\nimport "time"\n\nvar Clock time.Time\n')
    run("mod", "edit", "-replace", f"github.com/sony/gobreaker={copy}")
    built = run("build", "-o", "oracle", ".")
    assert built.returncode == 0, built.stderr
    return ours / "oracle"
