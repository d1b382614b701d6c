"""The one way in which a test steps aside: a tool that this machine has not got."""

import os
import shutil
import socket
import subprocess
from typing import NoReturn

import pytest

_SYSTEM = "/usr/sbin:/sbin:/usr/local/sbin"


def find(tool: str) -> str | None:
    """Return the path of a command, also where only root has its folder on PATH; None if there is none."""
    return shutil.which(tool) or shutil.which(tool, path=_SYSTEM + ":" + os.environ.get("PATH", ""))


def need_own_resolvers() -> None:
    """Skip the test where processes cannot be given a resolv.conf of their own, with resolvers on port 53."""
    own = ["unshare", "-m", "sh", "-c", "mount --bind /etc/resolv.conf /etc/resolv.conf"]
    if shutil.which("unshare") is None or subprocess.run(own, capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace of our own may be made")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.79", 53))
        except OSError as error:
            pytest.skip(f"port 53 may not be bound: {error.strerror}")


def need(tool: str) -> str:
    """Return the path of a command, or skip the test with one clear line."""
    path = find(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


def step_aside(what: str) -> NoReturn:
    """Skip the test for something that is no command: ``what`` says in a few words what is missing."""
    pytest.skip(what)


def not_fetched(name: str) -> NoReturn:
    """Skip the test for a peer that must be fetched."""
    step_aside(f"{name} is not installed (python -m benchmarks.install_peers)")
