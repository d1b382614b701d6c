"""Processes under measurement: started on a core, read from /proc (Linux), stopped for certain."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_SECOND: int = os.sysconf("SC_CLK_TCK")


class NotReady(RuntimeError):
    """A program did not start to serve; the message holds the end of what it printed."""


@dataclass(frozen=True)
class Cores:
    """Where things run: ``proxy`` for the proxy alone, ``rest`` for load and upstream."""

    proxy: int
    rest: frozenset[int]

    @property
    def shared(self) -> bool:
        """Tell whether the proxy has to share its core because there is only one."""
        return self.proxy in self.rest


def choose_cores(available: frozenset[int] | None = None) -> Cores:
    """Give the lowest core to the proxy and the others to everything else."""
    usable = sorted(os.sched_getaffinity(0) if available is None else available)
    return Cores(usable[0], frozenset(usable[1:]) or frozenset(usable))


def parse_stat(text: str) -> tuple[int, int]:
    """Read ``/proc/PID/stat``: the parent's id and utime + stime in ticks (proc(5), fields 4, 14 and 15).

    The name in parentheses may hold spaces and parentheses itself, hence the cut at the last one.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), int(fields[11]) + int(fields[12])


def parse_rss(text: str) -> int:
    """Read ``VmRSS`` of ``/proc/PID/status``, in bytes; 0 for a process without memory (a zombie)."""
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_core_busy(text: str, core: int) -> int:
    """Read how many ticks ``core`` was not idle from ``/proc/stat``."""
    for line in text.splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
            return user + nice + system + irq + softirq + steal
    raise ValueError(f"/proc/stat has no cpu{core}")


def core_busy(core: int) -> float:
    """Give the seconds that ``core`` was busy since boot."""
    return parse_core_busy((PROC / "stat").read_text(), core) / TICKS_PER_SECOND


def parse_stolen(text: str) -> int:
    """Read from ``/proc/stat`` for how many ticks the host ran something else in place of a core."""
    return sum(int(line.split()[8]) for line in text.splitlines() if line.startswith("cpu "))


def stolen() -> int:
    """Give those ticks since boot, of all cores together."""
    return parse_stolen((PROC / "stat").read_text())


def _stats() -> Iterator[tuple[int, int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                parent, ticks = parse_stat((entry / "stat").read_text())
            except (OSError, ValueError):
                continue  # it ended while we looked
            yield int(entry.name), parent, ticks


@dataclass(frozen=True)
class Usage:
    """What a process and all its descendants used: CPU seconds since their start, resident bytes now."""

    cpu: float
    rss: int
    processes: int


def usage(root: int) -> Usage:
    """Add up the process ``root`` and its living descendants."""
    stats = {pid: (parent, ticks) for pid, parent, ticks in _stats()}
    family = {root}
    grown = True
    while grown:
        more = {pid for pid, (parent, _) in stats.items() if parent in family} - family
        grown = bool(more)
        family |= more
    rss = 0
    for pid in family:
        try:
            rss += parse_rss((PROC / str(pid) / "status").read_text())
        except OSError:
            continue
    ticks = sum(stats[pid][1] for pid in family if pid in stats)
    return Usage(ticks / TICKS_PER_SECOND, rss, len(family))


@dataclass(frozen=True)
class Reading:
    """What happened between two looks at a proxy and its core."""

    cpu: float  # seconds of the proxy
    rss: int  # bytes at the end
    busy: float  # seconds of the core, whoever used them
    elapsed: float

    @property
    def foreign(self) -> float:
        """Give the share of the core that others used."""
        return max(0.0, (self.busy - self.cpu) / self.elapsed)


class Meter:
    """Looks at a proxy (0 where there is none) and its core, now and when it is read."""

    def __init__(self, pid: int, core: int) -> None:
        self._pid = pid
        self._core = core
        self._busy, self._usage = core_busy(core), self._look()
        self._start = time.monotonic()

    def _look(self) -> Usage:
        return usage(self._pid) if self._pid else Usage(0.0, 0, 0)

    def read(self) -> Reading:
        """Give what happened since it was made."""
        elapsed = time.monotonic() - self._start
        now, busy = self._look(), core_busy(self._core)
        return Reading(now.cpu - self._usage.cpu, now.rss, busy - self._busy, elapsed)


def free_port() -> int:
    """Give a TCP port of the loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 8) -> str:
    """Give the last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


@contextmanager
def running(
    command: Sequence[str], cores: frozenset[int], log: Path, cwd: Path, env: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run ``command`` on ``cores`` and give its process id; at the end TERM, and KILL after 5 s.

    The affinity is set between fork and exec, so threads and children inherit it from their first moment
    (what ``taskset`` does).  The harness has no threads, which makes that safe.
    """
    with log.open("ab") as output:
        child = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
    try:
        yield child.pid
    finally:
        stop(child)


def stop(child: "subprocess.Popen[bytes]") -> None:
    """End a process that :func:`running` started, and what is left of its session."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    with suppress(ProcessLookupError):  # nothing was left
        os.killpg(child.pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Tell whether a child still runs (a zombie does not)."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] != "Z"


def wait_until(ready: Callable[[], bool], pid: int, log: Path, seconds: float = 30.0) -> None:
    """Wait until ``ready``; raise :class:`NotReady` when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive(pid):
            raise NotReady(f"ended at its start:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise NotReady(f"did not answer within {seconds:g} s:\n{tail(log)}")
        time.sleep(0.05)
