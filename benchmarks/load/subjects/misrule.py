"""Misrule, interpreted from the working tree or compiled from ``build/native``."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.load.places import NATIVE, ROOT, stale
from benchmarks.load.rulesets import TIER_HEADER, Condition, PathFault, RuleSet
from benchmarks.load.subjects.base import Command, Subject
from benchmarks.load.upstream import PROTOCOLS, Upstream


def condition_rule(number: int, condition: Condition) -> dict[str, Any]:
    """Give a condition as a rule that would answer 503."""
    if condition.kind == "path":
        match: dict[str, Any] = {"path": {"prefix": condition.value}}
    elif condition.kind == "host":
        match = {"host": condition.value}
    else:
        match = {"headers": {TIER_HEADER: condition.value}}
    return {"name": f"rule-{number:05d}", "match": match, "faults": [{"abort": 503}]}


def fault_rule(number: int, fault: PathFault) -> dict[str, Any]:
    """Give a fault as a rule."""
    act: dict[str, Any] = {"abort": 503} if fault.kind == "abort" else {"delay": f"{fault.milliseconds}ms"}
    return {
        "name": f"fault-{number:02d}",
        "match": {"path": {"prefix": fault.prefix}},
        "sample": {"percent": fault.percent},
        "faults": [act],
    }


def document(rules: RuleSet) -> str:
    """Give the rule file, as JSON (the fast path of reading; 10,000 rules of YAML take seconds)."""
    made = [condition_rule(number, condition) for number, condition in enumerate(rules.conditions)]
    made += [fault_rule(number, fault) for number, fault in enumerate(rules.faults)]
    if rules.rsa_below:
        made.append(
            {
                "name": "rsa",
                "match": {"sni": {"suffix": f".{rules.rsa_below}"}},
                "faults": [{"tls": {"certificate": "weak_key"}}],
            }
        )
    return json.dumps({"version": 1, "rules": made}, indent=1)


class Misrule(Subject):
    """Our own, with admin endpoint and the default log: as a user runs it."""

    protocols = PROTOCOLS

    def __init__(self, name: str, *, compiled: bool) -> None:
        self.name = name
        self._compiled = compiled
        self._tree = NATIVE if compiled else ROOT

    def _environment(self) -> dict[str, str]:
        # Nothing that a developer has set for our own options may leak into the measurement.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MISRULE_")}
        return {**kept, "PYTHONPATH": str(self._tree)}

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "proxy", *arguments],
            cwd="/",  # `-m` puts the working directory before PYTHONPATH
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def missing(self) -> str:
        if not (self._tree / "proxy" / "__main__.py").exists():
            return "no compiled tree in build/native (make build)" if self._compiled else "not in this tree"
        changed = stale(NATIVE) if self._compiled else ""
        if changed:
            return f"build/native is older than {changed} (make build)"
        done = self._run("--version")
        if done.returncode:
            return f"does not start: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
        wanted = "compiled" if self._compiled else "interpreted"
        if wanted not in done.stdout:
            return f"is not {wanted}: {done.stdout.strip()}"
        return ""

    def version(self) -> str:
        return self._run("--version").stdout.strip()

    def command_of(self, config: Path, rules: Path) -> Command:
        """Say how to start it with a configuration and rules that are written already."""
        run = [sys.executable, "-m", "proxy", "run", "--config", str(config), "--rules", str(rules)]
        return Command(run, self._environment())

    def injector(self, port: int, certificate: Path) -> Command:
        """Say how to start the webhook of Kubernetes with a certificate, whose file has its key too."""
        listen = ("--listen", f"127.0.0.1:{port}", "--certificate", str(certificate))
        return Command([sys.executable, "-m", "proxy", "injector", *listen], self._environment())

    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        written = work / "rules.json"
        written.write_text(document(rules))
        listen = f"https://127.0.0.1:{port}" if upstream.tls else f"127.0.0.1:{port}"
        scheme = "h2c" if upstream.http2 else "http"
        return Command(
            [
                *(sys.executable, "-m", "proxy", "run", "--listen", listen),
                *("--upstream", f"{scheme}://127.0.0.1:{upstream.port}", "--rules", str(written)),
                *("--admin", "127.0.0.1:0"),
            ],
            self._environment(),
        )
