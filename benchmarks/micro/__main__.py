"""``python -m benchmarks.micro [--quick]``: a table of both builds."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.load.places import NATIVE, ROOT, stale
from benchmarks.load.report import DASH, table

Timings = Mapping[str, float]


def run(trees: Sequence[Path], build: str, batches: int) -> Timings:
    """Time the cases in a process of its own whose modules come from ``trees``; raises RuntimeError."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, trees)),
        "PYTHONSAFEPATH": "1",  # else the working directory would come first
    }
    command = [sys.executable, "-m", "benchmarks.micro.measure", str(batches)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    found = json.loads(done.stdout)
    if found["build"] != build:
        raise RuntimeError(f"these modules are {found['build']}")
    timings: dict[str, float] = found["ns"]
    return timings


def both(batches: int) -> dict[str, Timings]:
    """Time both builds; one that cannot be is told in a line and left out."""
    found: dict[str, Timings] = {}
    for build, trees in {"interpreted": [ROOT], "compiled": [NATIVE, ROOT]}.items():
        changed = stale(NATIVE) if build == "compiled" else ""
        try:
            if changed:
                raise RuntimeError(f"build/native is older than {changed} (make build)")
            found[build] = run(trees, build, batches)
        except RuntimeError as trouble:
            print(f"{build} steps aside: {trouble}", file=sys.stderr)
    return found


def comparison(found: Mapping[str, Timings]) -> str:
    """Set the timings of the builds side by side, in microseconds."""
    plain, native = found.get("interpreted", {}), found.get("compiled", {})
    lines = [
        [
            name,
            *(f"{of[name] / 1000:.2f}" if name in of else DASH for of in (plain, native)),
            _gain(name, plain, native),
        ]
        for name in plain or native
    ]
    return table(["", "interpreted µs", "compiled µs", "gain"], lines)


def _gain(name: str, plain: Timings, native: Timings) -> str:
    return f"{plain[name] / native[name]:.1f}" if name in plain and name in native else DASH


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when neither build could be timed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro", description="Time the leaves of the hot path."
    )
    parser.add_argument("--quick", action="store_true", help="5 batches of 10 ms for each, instead of 50")
    found = both(5 if parser.parse_args(arguments).quick else 50)
    if found:
        print(comparison(found))
    return 0 if found else 1


if __name__ == "__main__":
    raise SystemExit(main())
