"""Times the cases in the build that this process runs; prints JSON: the build, and ns per case."""

import gc
import json
import sys
import timeit

from benchmarks.micro.cases import Case, cases
from proxy import build_kind

BATCH_SECONDS: float = 0.01


def nanoseconds(case: Case, batches: int) -> float:
    """Give the time of one call: the least of ``batches``, since the rest is the neighbours' doing.

    It holds the call from Python, some 50 ns.
    """
    timer = timeit.Timer(case)
    number = 1
    while (taken := timer.timeit(number)) < BATCH_SECONDS / 2:
        number *= 2
    number = max(1, round(number * BATCH_SECONDS / taken))
    return min(timer.repeat(batches, number)) / number * 1e9


def main() -> int:
    """Time all cases; the only argument is the number of batches."""
    batches = int(sys.argv[1])
    made = cases()
    gc.collect()
    gc.freeze()
    json.dump(
        {"build": build_kind(), "ns": {name: nanoseconds(case, batches) for name, case in made.items()}},
        sys.stdout,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
