"""No proxy: what the upstream and the load give by themselves, for scale."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.load.rulesets import RuleSet
from benchmarks.load.subjects.base import Command, Running, Subject
from benchmarks.load.upstream import HTTPS, PROTOCOLS, Upstream


class Direct(Subject):
    """The load goes straight to the upstream; it has no CPU figure, only rate and latency."""

    name = "no proxy"
    has_rules = False
    protocols = tuple(one for one in PROTOCOLS if one != HTTPS)

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return ""

    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        raise AssertionError("there is nothing to start")

    def skips(self, rules: RuleSet) -> str:
        return "no faults" if rules.faults else ""

    @contextmanager
    def started(
        self, work: Path, upstream: Upstream, rules: RuleSet, cores: frozenset[int]
    ) -> Iterator[Running]:
        yield Running(0, upstream.port)
