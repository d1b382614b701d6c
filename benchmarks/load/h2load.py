"""The load over HTTP/2: h2load, one thread, closed loop; its log of requests gives statuses and latencies."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.places import program
from benchmarks.load.results import Shot, quantile
from benchmarks.load.rulesets import (
    GRPC_HEADERS,
    GRPC_PATH,
    REQUEST_HEADERS,
    SMALL_PATH,
    distinct_paths,
    grpc_message,
)

_DONE = re.compile(r"^requests: .* (\d+) done, .* (\d+) failed, (\d+) errored, (\d+) timeout$", re.MULTILINE)


class H2LoadFailed(RuntimeError):
    """h2load is not there, or did not give a result; the message says which."""


@dataclass(frozen=True)
class H2Load:
    """What is sent on ``connections`` with ``streams`` requests each at once.

    ``kind``: ``same`` request, ``distinct`` paths, ``churn`` (two fields of its own in each request, put into
    the table of HPACK; not by h2load but by ``churn``), ``grpc`` (unary calls of the echo).
    """

    kind: str
    connections: int = 4
    streams: int = 32


def missing() -> str:
    """Say what is missing to run h2load; empty when nothing is."""
    return "" if program("h2load") else "h2load is not installed (Debian: apt-get install nghttp2-client)"


def arguments(load: H2Load, port: int, work: Path) -> list[str]:
    """Give h2load's arguments for a load; writes the files that they name into ``work``."""
    path, headers, more = SMALL_PATH, REQUEST_HEADERS, list[str]()
    if load.kind == "distinct":
        listed = work / f"paths-{port}"
        lines = (f"http://127.0.0.1:{port}{one}\n" for one in distinct_paths())
        listed.write_text("".join(lines))
        more = ["--input-file", str(listed)]
    elif load.kind == "grpc":
        path, headers = GRPC_PATH, GRPC_HEADERS
        message = work / "message"
        message.write_bytes(grpc_message())
        more = ["--data", str(message)]
    for name, value in headers.items():
        more += ["--header", f"{name}: {value}"]
    if load.kind != "distinct":
        more.append(f"http://127.0.0.1:{port}{path}")
    return ["-c", str(load.connections), "-m", str(load.streams), "-t", "1", *more]


def parse(output: str, log: Sequence[str], seconds: float) -> Shot:
    """Read what h2load printed, and its log: a line of start, status and microseconds for each request."""
    found = _DONE.search(output)
    if found is None:
        raise H2LoadFailed(f"h2load printed no result: {output.strip()[-300:]}")
    done, failed, errored, late = map(int, found.groups())
    rows = [line.split("\t") for line in log]
    taken = [float(row[2]) for row in rows] or [0.0]
    refused = sum(1 for row in rows if int(row[1]) >= 400)
    return Shot(
        requests=done,
        seconds=seconds,
        p50=quantile(taken, 0.5),
        p90=quantile(taken, 0.9),
        p99=quantile(taken, 0.99),
        maximum=max(taken),
        refused=refused,
        broken=max(0, failed - refused) if failed else errored + late,
    )


def fire(load: H2Load, port: int, seconds: float, cores: frozenset[int], work: Path) -> Shot:
    """Send ``load`` to a port of the loopback for ``seconds`` (h2load takes whole ones, at least 1)."""
    whole = max(1, round(seconds))
    log = work / "h2load.log"
    log.unlink(missing_ok=True)  # it appends
    done = subprocess.run(
        [program("h2load"), "-D", str(whole), "--log-file", str(log), *arguments(load, port, work)],
        capture_output=True,
        text=True,
        timeout=whole + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        check=False,
    )
    if done.returncode or not log.exists():
        raise H2LoadFailed(
            f"h2load ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"
        )
    return parse(done.stdout, log.read_text().splitlines(), whole)
