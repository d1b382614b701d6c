"""The one way in which a test steps aside: a tool that this machine has not got."""

import os
import shutil
from typing import NoReturn

import pytest

_SYSTEM = "/usr/sbin:/sbin:/usr/local/sbin"


def find(tool: str) -> str | None:
    """Return the path of a command, also where only root has its folder on PATH; None if there is none."""
    return shutil.which(tool) or shutil.which(tool, path=_SYSTEM + ":" + os.environ.get("PATH", ""))


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
