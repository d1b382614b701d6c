"""The one way in which a test steps aside: a tool that this machine has not got."""

import os
import shutil

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
