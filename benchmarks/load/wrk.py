"""The load: wrk, one thread, closed loop; its result comes as one line of JSON from ``report.lua``."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.places import program
from benchmarks.load.results import Shot
from benchmarks.load.rulesets import REQUEST_HEADERS

SCRIPT = Path(__file__).with_name("report.lua")
MARK = "BENCH "


class WrkFailed(RuntimeError):
    """wrk is not there, or did not give a result; the message says which."""


@dataclass(frozen=True)
class Load:
    """What wrk sends: so many connections to ``path``, each with a body of ``body`` bytes.

    ``document`` makes it a POST of JSON, of the file that the caller names.
    """

    path: str
    connections: int
    body: int = 0
    tls: bool = False
    document: bool = False


def parse(output: str) -> Shot:
    """Read the line that ``report.lua`` printed among wrk's own."""
    for line in output.splitlines():
        if line.startswith(MARK):
            found = json.loads(line[len(MARK) :])
            return Shot(
                requests=found["requests"],
                seconds=found["microseconds"] / 1e6,
                p50=found["p50"],
                p90=found["p90"],
                p99=found["p99"],
                maximum=found["max"],
                refused=found["status"],
                broken=found["connect"] + found["read"] + found["write"] + found["timeout"],
            )
    raise WrkFailed(f"wrk printed no result: {output.strip()[-300:]}")


def missing() -> str:
    """Say what is missing to run wrk; empty when nothing is."""
    return "" if program("wrk") else "wrk is not installed (Debian: apt-get install wrk)"


def fire(load: Load, port: int, seconds: float, cores: frozenset[int], document: Path | None = None) -> Shot:
    """Send ``load`` to a port of the loopback for ``seconds`` (wrk takes whole ones, at least 1)."""
    whole = max(1, round(seconds))
    scheme = "https" if load.tls else "http"
    command = [
        *(
            program("wrk"),
            "--threads",
            "1",
            "--connections",
            str(load.connections),
            "--duration",
            f"{whole}s",
        ),
        *("--timeout", "10s", "--script", str(SCRIPT), f"{scheme}://127.0.0.1:{port}{load.path}"),
    ]
    headers = "\n".join(f"{name}: {value}" for name, value in REQUEST_HEADERS.items())
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "BENCH_HEADERS": headers,
            "BENCH_BODY": str(load.body),
            "BENCH_DOCUMENT": str(document) if load.document else "",
        },
        capture_output=True,
        text=True,
        timeout=whole + 30,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        check=False,
    )
    if done.returncode:
        raise WrkFailed(f"wrk ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return parse(done.stdout)
