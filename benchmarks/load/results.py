"""What a run found: typed rows, kept as dated JSON in ``benchmarks/results/``."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.load.places import RESULTS, ROOT


@dataclass(frozen=True)
class Shot:
    """What a load saw: latencies in microseconds, ``refused`` answers with a status of 400 and above."""

    requests: int
    seconds: float
    p50: float
    p90: float
    p99: float
    maximum: float
    refused: int
    broken: int  # errors of connect, read, write, and time-outs

    @property
    def rate(self) -> float:
        """Give the requests per second."""
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Round:
    """One measurement of one proxy; latencies and CPU per request in microseconds.

    ``foreign`` is the share (0..1) of the proxy's core that others used meanwhile: above a few per cent the
    latencies are not to be trusted, and CPU figures suffer from cold caches.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    rss: int
    refused: float  # share of answers with a status of 400 and above
    broken: int
    foreign: float


@dataclass(frozen=True)
class Row:
    """All rounds of one proxy with one rule set in one workload."""

    workload: str
    subject: str
    rules: str
    rounds: list[Round]

    def middle(self, name: str) -> float:
        """Give the median over the rounds of one figure."""
        return float(median(getattr(one, name) for one in self.rounds))


@dataclass(frozen=True)
class DelayRow:
    """How late answers came beyond the delay asked for; ``early`` counts those that came before it.

    ``count`` and quantiles are of the turns in which the host took no core away from the machine;
    ``all_p99_ms`` is of all, ``early`` and ``least_ms``, too.  ``foreign`` as in :class:`Round`.
    """

    subject: str
    asked_ms: float
    count: int
    early: int
    least_ms: float
    p50_ms: float
    p99_ms: float
    foreign: float
    turns: int = 0
    stolen_turns: int = 0
    all_p99_ms: float = 0.0


@dataclass(frozen=True)
class MemoryRow:
    """Resident bytes after one request, and with so many connections (or streams) held open."""

    subject: str
    connections: int
    idle: int
    held: int


@dataclass(frozen=True)
class FloodRow:
    """What a good client saw without and with a flood by another one; latencies in microseconds.

    ``ended_after`` is the median of the rounds after which the attacker's ``connections`` were ended,
    ``grown`` what the proxy's resident memory grew by, in bytes.
    """

    subject: str
    flood: str
    p50: float
    p99: float
    flooded_p50: float
    flooded_p99: float
    failed: int
    connections: int
    ended_after: float
    grown: int


@dataclass(frozen=True)
class MintRow:
    """What a good client saw while others shook hands, ``rate`` times a second; latencies in microseconds.

    ``kind`` is the key of the certificates, ``names`` which names the others asked for: none, one that is
    known, or fresh ones, each of which wants a certificate minted.  ``waited`` is the median of what the
    others waited for their handshake, ``failed`` counts those that got none.
    """

    subject: str
    kind: str
    names: str
    asked: int
    p50: float
    p99: float
    maximum: float
    handshakes: int
    rate: float
    waited: float
    failed: int


@dataclass(frozen=True)
class ThrottleRow:
    """The rate that a receiver was to get and the one that it got over ``seconds``, in bytes a second.

    ``foreign`` as in :class:`Round`.
    """

    subject: str
    protocol: str
    asked: float
    seen: float
    seconds: float
    foreign: float = 0.0


@dataclass(frozen=True)
class CrowdRow:
    """What each of many throttled streams got, in bytes a second; resident bytes without and with them.

    ``foreign`` as in :class:`Round`.
    """

    subject: str
    protocol: str
    streams: int
    asked: float
    least: float
    middle: float
    most: float
    idle: int
    held: int
    foreign: float = 0.0


@dataclass(frozen=True)
class Skipped:
    """Who did not take part, in which workload, and why."""

    workload: str
    subject: str
    why: str


@dataclass(frozen=True)
class Machine:
    """Where the figures come from."""

    processor: str
    cores: int
    memory_mib: int
    kernel: str
    python: str


@dataclass
class Result:
    """One run of the harness."""

    started: str
    commit: str
    machine: Machine
    seconds: float
    rounds: int
    versions: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    delays: list[DelayRow] = field(default_factory=list)
    memory: list[MemoryRow] = field(default_factory=list)
    streams: list[MemoryRow] = field(default_factory=list)
    floods: list[FloodRow] = field(default_factory=list)
    mints: list[MintRow] = field(default_factory=list)
    throttles: list[ThrottleRow] = field(default_factory=list)
    crowds: list[CrowdRow] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def row(self, workload: str, subject: str, rules: str = "") -> Row | None:
        """Find the row of a proxy in a workload, the first unless ``rules`` names one."""
        for row in self.rows:
            if (row.workload, row.subject) == (workload, subject) and rules in ("", row.rules):
                return row
        return None


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that at least ``share`` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1_000_000) * len(ordered) // 1_000_000) - 1)]


def parse_processor(cpuinfo: str) -> str:
    """Read the name of the processor from ``/proc/cpuinfo``."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Processor"):
            return value.strip()
    return platform.machine()


def this_machine() -> Machine:
    """Describe the machine that we run on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        processor=parse_processor(Path("/proc/cpuinfo").read_text()),
        cores=len(os.sched_getaffinity(0)),
        memory_mib=pages // 2**20,
        kernel=platform.release(),
        python=sys.version.split()[0],
    )


def this_commit() -> str:
    """Give the commit of the working tree, with ``+`` when it was changed since; ``unknown`` without git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "proxy", "rules", "certs")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def begin(seconds: float, rounds: int) -> Result:
    """Make an empty result of this machine, commit and moment."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Result(now, this_commit(), this_machine(), seconds, rounds)


def save(result: Result, folder: Path = RESULTS) -> Path:
    """Write a result under its date and commit; give the path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = result.started.replace(":", "")
    path = folder / f"{stamp}-{result.commit.rstrip('+')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def read(path: Path) -> Result:
    """Read a saved result; raises OSError, or ``msgspec.ValidationError`` for what is none."""
    return msgspec.json.decode(path.read_bytes(), type=Result)


def newest(folder: Path = RESULTS) -> Path | None:
    """Give the youngest saved result."""
    return max(folder.glob("*.json"), default=None)
