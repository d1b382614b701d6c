"""h2spec itself against the running proxy: all of its cases, none passed over, also the strict ones."""

import subprocess

import pytest

from benchmarks.load.places import PEERS
from tests.conformance.conftest import LISTENERS
from tests.support.need import need
from tests.support.proxy import Proxy

FETCHED = PEERS / "bin" / "h2spec"  # by python -m benchmarks.install_peers


@pytest.mark.parametrize("listener", LISTENERS)
def test_h2spec(proxy: Proxy, listener: str) -> None:
    program = str(FETCHED) if FETCHED.exists() else need("h2spec")
    host, _, port = proxy.listeners[listener].rpartition(":")
    command = [program, "--strict", "--host", host, "--port", port, "--timeout", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert "146 tests, 146 passed, 0 skipped, 0 failed" in done.stdout, done.stdout + done.stderr
