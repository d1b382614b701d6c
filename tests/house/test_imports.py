"""What is not used is not imported: memory and start-up time stay small."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house import ROOT

# Runs the command as ``misrule`` would, and says at the end what it had imported.
SPY = """
import atexit, sys
atexit.register(lambda: print("imported:", *sorted(sys.modules), file=sys.stderr, flush=True))
from proxy.cli import main
main(sys.argv[1:], prog_name="misrule")
"""
RULES = "version: 1\nrules:\n  - name: slow\n    faults: [{delay: 100ms}]\n"


def imported_by(*arguments: str) -> set[str]:
    """Run a command to its end; what it had imported."""
    command = [sys.executable, "-c", SPY, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    return modules(done.stderr)


def environment() -> dict[str, str]:
    """The environment of the tests, with this tree to import from where nothing else is said."""
    return {"PYTHONPATH": str(ROOT), **os.environ}


def modules(text: str) -> set[str]:
    """The names after ``imported:``."""
    found = re.search(r"^imported: (.*)$", text, re.MULTILINE)
    assert found is not None, text
    return set(found[1].split())


def imported_by_running(tmp_path: Path, *more: str) -> set[str]:
    """Run the proxy until it is ready, stop it; what it had imported by then."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    options = ["--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9", "--rules", str(rules), *more]
    command = [sys.executable, "-c", SPY, "run", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr is not None
        seen = ""
        for line in process.stderr:
            seen += line
            if "ready" in line:
                process.send_signal(signal.SIGTERM)
            if line.startswith("imported:"):
                break
    assert process.returncode == 0, seen
    return modules(seen)


@pytest.mark.parametrize(
    "unused",
    [
        "aiohttp", "rich", "cryptography", "prometheus_client", "jsonschema", "opentelemetry", "dns",
        "aiodns", "grpclib", "h2", "proxy.health.checks",
    ],
)  # fmt: skip
def test_running_without_admin_imports_no(unused: str, without_admin: set[str]) -> None:
    assert unused not in without_admin


@pytest.fixture(scope="module")
def without_admin(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    return imported_by_running(tmp_path_factory.mktemp("plain"))


def test_running_with_admin_imports_it(tmp_path: Path) -> None:
    """The other half: the check above can see what it looks for."""
    assert "aiohttp" in imported_by_running(tmp_path, "--admin", "127.0.0.1:0")


def test_the_version_is_told_without_the_proxy() -> None:
    seen = imported_by("--version")
    assert seen & {"aiohttp", "rich", "uvloop", "asyncio", "yaml", "re2", "proxy.app"} == set()
