"""What every subject has in common."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import client
from benchmarks.load.procs import free_port, running, wait_until
from benchmarks.load.rulesets import LARGE_PATH, TIER_HEADER, Condition, RuleSet
from benchmarks.load.upstream import HTTP1, Upstream


@dataclass(frozen=True)
class Command:
    """How to start a program: its arguments, and its whole environment where not ours."""

    arguments: Sequence[str]
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Running:
    """A started subject: ``pid`` is 0 where there is no process to measure."""

    pid: int
    port: int


class Subject(ABC):
    """A proxy under measurement, or the lack of one."""

    name: str
    has_rules: bool = True  # looks at requests; False for what only passes them on
    protocols: tuple[str, ...] = (HTTP1,)  # in whose workloads it takes part

    @abstractmethod
    def missing(self) -> str:
        """Say in one line why it cannot run here; empty when it can."""

    @abstractmethod
    def version(self) -> str:
        """Say which version runs, in one line."""

    @abstractmethod
    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        """Write its configuration into ``work`` and say how to start it."""

    def skips(self, rules: RuleSet) -> str:
        """Say in a word why it cannot carry ``rules``; empty when it can."""
        return ""

    @contextmanager
    def started(
        self, work: Path, upstream: Upstream, rules: RuleSet, cores: frozenset[int]
    ) -> Iterator[Running]:
        """Run it with ``rules`` in front of ``upstream`` once it has proved that both are in force."""
        port = free_port()
        work.mkdir(parents=True)
        work.chmod(0o755)
        command = self.command(work, port, upstream, rules)
        log = work.with_name(f"{work.name}.log")  # not beside rules that are watched for changes
        with running(command.arguments, cores, log, work, command.environment) as pid:
            wait_until(lambda: upstream.ready(port), pid, log, 120)
            upstream.prove(port)
            if self.has_rules:
                prove_rules(port, rules, upstream)
            yield Running(pid, port)


def prove_rules(port: int, rules: RuleSet, upstream: Upstream) -> None:
    """Check that a rule of each kind is in force."""
    for condition in {condition.kind: condition for condition in rules.conditions}.values():
        path, headers = fulfilling(condition)
        client.expect(port, path, 503, headers=headers, ask=upstream.ask)


def fulfilling(condition: Condition) -> tuple[str, dict[str, str]]:
    """Give path and headers of a request that fulfils ``condition``."""
    if condition.kind == "path":
        return condition.value + "x", {}
    if condition.kind == "host":
        return LARGE_PATH, {"host": condition.value}
    return LARGE_PATH, {TIER_HEADER: condition.value}


def first_line(*command: str) -> str:
    """Run a program that prints its version and give the first line that is not empty."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except OSError as trouble:
        return str(trouble)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines else ""
