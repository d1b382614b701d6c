"""Counters: the bucket of each bound, cells made once, failures where they belong."""

import pytest

from proxy.metrics.cells import BOUNDS, BUCKETS, Histogram, ListenerCells, UpstreamCells, WorkerCells


@pytest.mark.parametrize(("bucket", "bound"), list(enumerate(BOUNDS)))
def test_a_bound_belongs_to_its_bucket_and_what_is_beyond_to_the_next(bucket: int, bound: float) -> None:
    histogram = Histogram()
    histogram.observe(bound)
    histogram.observe(bound * 1.0001)
    assert histogram.counts[bucket] == histogram.counts[bucket + 1] == 1
    assert sum(histogram.counts) == 2


def test_bounds_rise_and_the_last_bucket_holds_the_rest() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert len(BOUNDS) + 1 == BUCKETS
    histogram = Histogram()
    for seconds in (0.0, 1e9):
        histogram.observe(seconds)
    assert (histogram.counts[0], histogram.counts[-1], histogram.total) == (1, 1, 1e9)


def test_the_cells_of_a_route_are_made_once() -> None:
    cells = WorkerCells()
    first = cells.route("web", "app")
    assert cells.route("web", "app") is first
    assert {cells.route("web", ""), cells.route("other", "app")}.isdisjoint({first})
    assert len(cells.routes) == 3


def test_a_failure_counts_at_its_upstream_or_else_at_its_listener() -> None:
    cells = WorkerCells()
    cells.listeners.append(ListenerCells("web"))
    cells.upstreams.append(UpstreamCells("app"))
    cells.failed("web", "app", "dns_error")
    cells.failed("web", "app", "dns_error")
    cells.failed("web", "", "no_route")
    cells.failed("nowhere", "nobody", "internal")
    assert cells.upstreams[0].failures == {"dns_error": 2}
    assert cells.listeners[0].failures == {"no_route": 1}
