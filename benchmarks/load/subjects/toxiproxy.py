"""Toxiproxy: one TCP proxy without toxics; it reads no HTTP, so it carries no rules."""

import json
from pathlib import Path

from benchmarks.load.places import PEERS, program
from benchmarks.load.procs import free_port
from benchmarks.load.rulesets import RuleSet
from benchmarks.load.subjects.base import Command, Subject, first_line
from benchmarks.load.upstream import Upstream


def config(port: int, upstream: int) -> str:
    """Give the list of proxies that it makes at its start."""
    one = {"name": "web", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream}", "enabled": True}
    return json.dumps([one])


def find() -> str:
    """Give the program's path: fetched by ``install_peers`` (Go names it so), or on the PATH."""
    fetched = PEERS / "bin" / "server"
    return str(fetched) if fetched.exists() else program("toxiproxy-server")


class Toxiproxy(Subject):
    """A relay of bytes with goroutines; the nearest relative by purpose, not by work done."""

    name = "Toxiproxy"
    has_rules = False

    def missing(self) -> str:
        return "" if find() else "not installed (python -m benchmarks.install_peers, wants go)"

    def version(self) -> str:
        return first_line(find(), "-version")

    def skips(self, rules: RuleSet) -> str:
        return "a toxic hits whole connections" if rules.faults else ""

    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        written = work / "proxies.json"
        written.write_text(config(port, upstream.port))
        return Command(
            [find(), "-config", str(written), "-port", str(free_port())],
            {"LOG_LEVEL": "error", "PATH": "/usr/bin:/bin"},
        )
