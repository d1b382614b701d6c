"""``python -m benchmarks`` is ``python -m benchmarks.load``: the run that `make bench` makes."""

from benchmarks.load.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
