"""Figures for ``GET /v1/stats``: totals from the counters, recent ones against a sample of a minute ago."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from proxy.admin.types import EndpointStats, Percentiles, RouteStats, RuleStats, Stats, Window
from proxy.logs import timestamp
from proxy.metrics.cells import BOUNDS, EndpointCells, RouteCells, UpstreamCells, WorkerCells
from proxy.metrics.exposition import by_code, without_injection
from rules.compiled import CompiledRule
from rules.snapshot import Snapshot

EVERY: Final = 5.0  # seconds between samples
KEPT: Final = 13  # samples: one minute
RULES: Final = 1000  # rules that are sampled: the others' rates are since the start


class RouteSample:
    """The counters of a route at one moment."""

    def __init__(self, cells: RouteCells) -> None:
        self.codes = by_code(cells)
        self.whole = list(cells.duration.counts)
        self.own = without_injection(cells)[0]


class Sample:
    """All counters at one moment; ``rules`` holds matches and injections by name."""

    def __init__(self, now: float, cells: WorkerCells, snapshot: Snapshot) -> None:
        self.now = now
        self.routes = {(route.listener, route.upstream): RouteSample(route) for route in cells.routes}
        self.rules = {
            rule.name: (rule.state.era, rule.state.matches, sum(rule.state.injected))
            for rule in snapshot.rules[:RULES]
        }


class Figures:
    """Keeps a minute of samples; ``sample`` is called every few seconds.  Times are of a steady clock."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._samples: deque[Sample] = deque(maxlen=KEPT)

    def sample(self, now: float, cells: WorkerCells, snapshot: Snapshot) -> None:
        """Remember the counters as they are."""
        self._samples.append(Sample(now, cells, snapshot))

    def stats(
        self, now: float, cells: WorkerCells, snapshot: Snapshot, stopped: bool, limit: int = RULES
    ) -> Stats:
        """Make the figures of this moment, of at most ``limit`` rules by rank."""
        before = self._samples[0] if self._samples else None
        return Stats(
            version=snapshot.version,
            uptime=round(now - self._started, 3),
            stopped=stopped,
            held=cells.waiting,
            routes=[self._route(now, route, before) for route in cells.routes],
            rules=[self._rule(now, rule, before) for rule in snapshot.rules[:limit]],
            endpoints=[_endpoint(one, place) for one in cells.upstreams for place in one.endpoints],
        )

    def _route(self, now: float, cells: RouteCells, before: Sample | None) -> RouteStats:
        sample = RouteSample(cells)
        earlier = before.routes.get((cells.listener, cells.upstream)) if before is not None else None
        since = before.now if before is not None else self._started
        return RouteStats(
            listener=cells.listener,
            upstream=cells.upstream,
            active=cells.active,
            bytes_in=cells.bytes_in,
            bytes_out=cells.bytes_out,
            recent=_window(now - since, sample, earlier),
            total=_window(now - self._started, sample, None),
        )

    def _rule(self, now: float, rule: CompiledRule, before: Sample | None) -> RuleStats:
        state = rule.state
        injected = sum(state.injected)
        era, matches, acted = before.rules.get(rule.name, (-1, 0, 0)) if before is not None else (-1, 0, 0)
        if era != state.era or matches > state.matches:  # reset, or another rule of the same name
            matches, acted = 0, 0
        seconds = max(now - (before.now if before is not None else self._started), 0.001)
        return RuleStats(
            name=rule.name,
            matches=state.matches,
            matches_rate=round((state.matches - matches) / seconds, 3),
            injected=injected,
            injected_rate=round(max(0, injected - acted) / seconds, 3),
            shadowed=sum(state.shadowed),
            active=state.active,
        )


def _endpoint(upstream: UpstreamCells, cells: EndpointCells) -> EndpointStats:
    since = timestamp(cells.since)
    return EndpointStats(upstream.upstream, cells.address, cells.state, since, cells.last, dict(cells.checks))


def _window(seconds: float, now: RouteSample, before: RouteSample | None) -> Window:
    codes = dict(now.codes)
    whole, own = now.whole, now.own
    if before is not None:
        codes = {code: count - before.codes.get(code, 0) for code, count in codes.items()}
        whole = [count - earlier for count, earlier in zip(whole, before.whole, strict=True)]
        own = [max(0, count - earlier) for count, earlier in zip(own, before.own, strict=True)]
    requests = sum(codes.values())
    return Window(
        seconds=round(seconds, 3),
        requests=requests,
        rate=round(requests / max(seconds, 0.001), 3),
        codes={code: count for code, count in codes.items() if count},
        duration_ms=_percentiles(whole),
        duration_without_injection_ms=_percentiles(own),
    )


def _percentiles(counts: Sequence[int]) -> Percentiles:
    return Percentiles(*(percentile(counts, share) for share in (0.5, 0.9, 0.99)))


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Estimate a percentile in ms, linear within its bucket; None where there is nothing.

    Beyond the last bound there is nothing to go by: the bound itself is given.
    """
    whole = sum(counts)
    if not whole:
        return None
    rank = share * whole
    below = 0
    for number, count in enumerate(counts):
        if count and below + count >= rank:
            if number >= len(BOUNDS):
                break
            low = BOUNDS[number - 1] if number else 0.0
            return round((low + (BOUNDS[number] - low) * (rank - below) / count) * 1000, 3)
        below += count
    return BOUNDS[-1] * 1000
