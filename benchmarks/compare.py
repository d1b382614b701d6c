"""Compares two saved results: ``python -m benchmarks.compare BEFORE AFTER [--tolerance PERCENT]``.

Peers did not change between two commits of ours, so what they gained or lost is the machine's doing: each
figure of ours is also given with the median change of the peers in the same workload taken out.  A figure
that is worse by more than the tolerance, so corrected, makes the exit status 1.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.load import results
from benchmarks.load.report import table
from benchmarks.load.results import Result, Row
from benchmarks.load.subjects import COMPILED, INTERPRETED

TOLERANCE: float = 10.0  # per cent; gaps below are ties on the machines we know
FIGURES: dict[str, str] = {"cpu": "CPU µs/request", "p50": "p50 µs", "rss": "RSS MiB"}
_OURS = (COMPILED, INTERPRETED)


@dataclass(frozen=True)
class Change:
    """One figure of one proxy, before and after; ``drift`` is what the peers' figures were multiplied by."""

    workload: str
    subject: str
    figure: str
    before: float
    after: float
    drift: float

    @property
    def corrected(self) -> float:
        """Give how many times the figure grew beyond the peers' growth."""
        return self.after / self.before / self.drift

    def worse(self, tolerance: float) -> bool:
        """Tell whether it got worse by more than ``tolerance`` per cent."""
        return self.corrected > 1 + tolerance / 100


def _pairs(before: Result, after: Result) -> list[tuple[Row, Row]]:
    found = [(row, after.row(row.workload, row.subject, row.rules)) for row in before.rows]
    return [(row, other) for row, other in found if other is not None]


def drift(pairs: Sequence[tuple[Row, Row]], workload: str, figure: str) -> float:
    """Give the median growth of the peers' figure in a workload; 1 without a peer, and for memory."""
    grown = [
        other.middle(figure) / row.middle(figure)
        for row, other in pairs
        if row.workload == workload and row.subject not in _OURS and row.middle(figure)
    ]
    return median(grown) if grown and figure != "rss" else 1.0


def changes(before: Result, after: Result) -> list[Change]:
    """Give every figure of ours that both results have."""
    pairs = _pairs(before, after)
    made: list[Change] = []
    for row, other in pairs:
        if row.subject in _OURS:
            for figure in FIGURES:
                was, now = row.middle(figure), other.middle(figure)
                if was and now:
                    name = f"{row.workload}, {row.rules}" if row.workload == "many-rules" else row.workload
                    moved = drift(pairs, row.workload, figure)
                    made.append(Change(name, row.subject, figure, was, now, moved))
    return made


def change_table(found: Sequence[Change], tolerance: float) -> str:
    """Set the changes in a table; those beyond the tolerance are marked."""
    lines: list[list[str]] = []
    for one in found:
        unit = 2**20 if one.figure == "rss" else 1
        mark = "WORSE" if one.worse(tolerance) else ("better" if one.corrected < 1 - tolerance / 100 else "")
        lines.append(
            [
                one.workload,
                one.subject.removeprefix("misrule "),
                FIGURES[one.figure],
                f"{one.before / unit:,.1f}",
                f"{one.after / unit:,.1f}",
                f"{one.after / one.before - 1:+.1%}",
                f"{one.drift - 1:+.1%}",
                f"{one.corrected - 1:+.1%}",
                mark,
            ]
        )
    head = ["workload", "build", "figure", "before", "after", "change", "peers", "corrected", ""]
    return table(head, lines, left=3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when something got worse beyond the tolerance, 2 when a file is no result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Compare two results.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="per cent (default: %(default)s)")
    chosen = parser.parse_args(arguments)
    try:
        before, after = results.read(chosen.before), results.read(chosen.after)
    except (OSError, msgspec.DecodeError) as trouble:
        print(trouble)
        return 2
    if before.machine != after.machine:
        print("the machines differ: read the corrected column only")
    found = changes(before, after)
    print(f"{before.commit} -> {after.commit}, tolerance {chosen.tolerance:g} %")
    print(change_table(found, chosen.tolerance))
    return 1 if any(one.worse(chosen.tolerance) for one in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
