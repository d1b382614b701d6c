"""Reading /proc, and starting and stopping what is measured."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.load import procs
from benchmarks.load.procs import Cores, NotReady

# The name of a process may hold what the format uses itself.
STAT = "4711 (a) b (c) S 42 4711 4711 0 -1 4194560 900 0 0 0 130 21 7 3 20 0 4 0 999 1 2 3"
CPUS = """\
cpu  30 0 30 900 5 1 2 5 0 0
cpu0 10 1 12 400 2 3 4 5 0 0
cpu10 7 0 0 1 0 0 0 0 0 0
cpu1 20 0 18 500 3 0 1 0 0 0
intr 12345
"""


def test_parent_and_ticks_of_a_process_with_an_awkward_name() -> None:
    assert procs.parse_stat(STAT) == (42, 151)


def test_resident_memory_is_bytes_and_a_zombie_has_none() -> None:
    assert procs.parse_rss("Name:\tx\nVmHWM:\t  9000 kB\nVmRSS:\t    2048 kB\n") == 2 * 2**20
    assert procs.parse_rss("Name:\tx\nState:\tZ (zombie)\n") == 0


def test_busy_ticks_of_one_core_leave_out_idle_and_waiting() -> None:
    assert procs.parse_core_busy(CPUS, 0) == 10 + 1 + 12 + 3 + 4 + 5
    assert procs.parse_core_busy(CPUS, 1) == 20 + 18 + 1


def test_stolen_ticks_are_those_of_all_cores_together() -> None:
    assert procs.parse_stolen(CPUS) == 5


def test_a_core_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="no cpu7"):
        procs.parse_core_busy(CPUS, 7)


def test_the_proxy_gets_the_lowest_core_alone() -> None:
    assert procs.choose_cores(frozenset({3, 1, 2})) == Cores(1, frozenset({2, 3}))


def test_one_core_is_shared_and_says_so() -> None:
    assert procs.choose_cores(frozenset({5})) == Cores(5, frozenset({5}))
    assert procs.choose_cores(frozenset({5})).shared


def test_a_process_and_its_child_are_added_up_and_both_are_stopped(tmp_path: Path) -> None:
    child = "import time; print(1, flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    log = tmp_path / "log"
    core = min(os.sched_getaffinity(0))
    with procs.running([sys.executable, "-c", parent], frozenset({core}), log, tmp_path) as pid:
        procs.wait_until(lambda: log.read_text() == "1\n", pid, log)
        found = procs.usage(pid)
        assert os.sched_getaffinity(pid) == {core}
    assert found.processes == 2
    assert found.rss > 2 * 2**20
    deadline = time.monotonic() + 5
    while procs.usage(pid).rss and time.monotonic() < deadline:
        pass
    assert procs.usage(pid).rss == 0


def test_a_program_that_ends_at_its_start_is_reported_with_what_it_printed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "raise SystemExit('no such option')"]
    with (
        pytest.raises(NotReady, match="no such option"),
        procs.running(command, frozenset(os.sched_getaffinity(0)), log, tmp_path) as pid,
    ):
        procs.wait_until(lambda: False, pid, log)
