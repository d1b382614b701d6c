"""Command line: ``python -m benchmarks.load``; ``--help`` tells the options."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from benchmarks.load import h2load, report, results, upstream, workloads, wrk
from benchmarks.load.procs import NotReady, choose_cores
from benchmarks.load.results import Result, Skipped
from benchmarks.load.run import Bench
from benchmarks.load.subjects import SUBJECTS, Subject


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description="Measure Misrule and its peers on this machine."
    )
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s instead of 5 of 4 s")
    parser.add_argument("--rounds", type=int, help="rounds per workload")
    parser.add_argument("--seconds", type=int, help="seconds per measurement")
    parser.add_argument(
        "--workload", action="append", choices=workloads.NAMES, help="only this one (repeatable)"
    )
    parser.add_argument(
        "--subject",
        action="append",
        choices=[subject.name for subject in SUBJECTS],
        help="only this one (repeatable)",
    )
    parser.add_argument("--no-save", action="store_true", help="write no file into benchmarks/results")
    parser.add_argument(
        "--check",
        nargs="?",
        const="newest",
        metavar="FILE",
        help="measure nothing: print the bars of a saved result",
    )
    return parser.parse_args(arguments)


def say(line: str) -> None:
    """Tell a waiting person what happens."""
    print(line, file=sys.stderr, flush=True)


def present(wanted: Sequence[str] | None, result: Result) -> list[Subject]:
    """Give the subjects that can run here; each other one is a line and a note in the result."""
    found: list[Subject] = []
    for subject in SUBJECTS:
        if wanted and subject.name not in wanted:
            continue
        why = subject.missing()
        if why:
            say(f"{subject.name} steps aside: {why}")
            result.skipped.append(Skipped("", subject.name, why))
        else:
            result.versions[subject.name] = subject.version()
            found.append(subject)
    return found


def lack(protocol: str) -> str:
    """Say what is missing to send a protocol's load and to answer it; empty when nothing is."""
    return (wrk if protocol in (upstream.HTTP1, upstream.HTTPS) else h2load).missing() or upstream.missing(
        protocol
    )


def able(protocols: Sequence[str]) -> list[str]:
    """Give the protocols whose load can be sent here; the workloads of each other one are left out."""
    found: list[str] = []
    for protocol in protocols:
        why = lack(protocol)
        if why:
            say(f"the workloads of {protocol} are left out: {why}")
        else:
            found.append(protocol)
    return found


def measure(chosen: argparse.Namespace, work: Path) -> Result:
    """Run the workloads that were chosen."""
    result = results.begin(
        seconds=chosen.seconds or (1 if chosen.quick else 4),
        rounds=chosen.rounds or (3 if chosen.quick else 5),
    )
    cores = choose_cores()
    if cores.shared:
        say("only one core: proxy, load and upstream share it, so latencies mean little")
    os.sched_setaffinity(0, cores.rest)  # our own clients are load, too
    wanted: Sequence[str] = chosen.workload or workloads.NAMES
    with ExitStack() as stack:
        protocols = able(workloads.protocols(wanted))
        wanted = [name for name in wanted if set(workloads.protocols([name])) <= set(protocols)]
        upstreams = {
            protocol: stack.enter_context(upstream.upstream(work, cores.rest, protocol))
            for protocol in protocols
        }
        bench = Bench(work, cores, upstreams, present(chosen.subject, result), result, say)
        for workload in workloads.WORKLOADS:
            if workload.name in wanted:
                bench.workload(workload)
        if workloads.H2_STREAMS in wanted:
            bench.streams()
        if workloads.MEMORY in wanted:
            bench.memory()
        if workloads.DELAYS in wanted:
            bench.delays()
        if workloads.FLOODS in wanted:
            bench.floods()
        if workloads.MINT in wanted:
            bench.mint()
        if workloads.THROTTLE in wanted:
            bench.throttle(seconds=2 if chosen.quick else 10)
        if workloads.REVIEWS.name in wanted:
            bench.reviews()
    return result


def check(name: str) -> int:
    """Print the bars of a saved result; 2 when there is none."""
    path = results.newest() if name == "newest" else Path(name)
    if path is None:
        say("no saved result in benchmarks/results: run python -m benchmarks.load first")
        return 2
    try:
        result = results.read(path)
    except (OSError, msgspec.DecodeError) as trouble:
        say(f"{path}: {trouble}")
        return 2
    print(
        f"{path.name}\n{report.header(result)}\n\n{report.bars_table(result)}\n{report.noise(result)}".rstrip()
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, save; 2 when an upstream does not start."""
    chosen = options(arguments)
    if chosen.check:
        return check(chosen.check)
    work = Path(tempfile.mkdtemp(prefix="misrule-bench-"))
    work.chmod(0o755)  # nginx's workers run as another user where we are root
    try:
        result = measure(chosen, work)
    except NotReady as trouble:
        say(f"the upstream {trouble}")
        return 2
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(report.whole(result))
    if not chosen.no_save:
        say(f"saved {results.save(result)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
