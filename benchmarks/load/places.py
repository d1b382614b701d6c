"""Where things are: in the working tree, and programs on the machine."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "build" / "native"  # the compiled tree that `make build` makes
PEERS = ROOT / "build" / "peers"  # what `python -m benchmarks.install_peers` fetches
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("proxy", "rules", "certs")

_SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"  # Debian keeps servers there, and off the PATH of users


def program(name: str) -> str:
    """Give the path of a program; empty when the machine has none of that name."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}") or ""


def stale(copy: Path, source: Path = ROOT) -> str:
    """Name a module whose copy in the compiled tree is not what the sources say; empty when none is."""
    for package in PACKAGES:
        for module in sorted((source / package).rglob("*.py")):
            name = module.relative_to(source)
            there = copy / name
            if not there.exists() or there.read_bytes() != module.read_bytes():
                return str(name)
    return ""
