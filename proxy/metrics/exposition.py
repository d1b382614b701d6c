"""The counters as Prometheus reads them: made on each scrape, nothing is kept up to date for it.

prometheus-client writes the two formats; its own counters (locks, label look-ups) stay out of the path.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import ProcessCollector
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from proxy.metrics import catalogue
from proxy.metrics.calls import CallCells, CallTable
from proxy.metrics.catalogue import OTHER, RULE_SERIES
from proxy.metrics.cells import Histogram, RouteCells, WorkerCells
from proxy.metrics.families import Row, render
from proxy.metrics.families import counter as _counter
from proxy.metrics.families import gauge as _gauge
from proxy.metrics.families import histogram as _histogram
from proxy.metrics.reloads import Reloads
from rules import phases
from rules.breakers.figures import STATES
from rules.compiled import CompiledRule
from rules.limits import VERDICTS
from rules.snapshot import Snapshot

Injections = dict[tuple[str, str, str], int]  # rule, fault, phase
Counts = dict[tuple[str, str], int]  # rule, another label


@dataclass
class Sources:
    """Where the figures come from; the callables give what is replaced while the proxy runs."""

    cells: WorkerCells
    snapshot: Callable[[], Snapshot]
    stopped: Callable[[], bool]
    reloads: Reloads
    log_dropped: Callable[[], int]
    events_dropped: Callable[[], int]
    admin_failures: Callable[[], int]
    admin_refused: Callable[[], int]
    started: float
    version: str
    build: str


class Exposition(Collector):
    """All metrics of the catalogue."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._process = ProcessCollector(registry=None)

    def collect(self) -> Iterable[Family]:
        """Give all families with their samples."""
        cells, sources = self._sources.cells, self._sources
        families = [*_routes(cells.routes), _calls(cells.calls), *_listeners(cells), *_upstreams(cells)]
        families += [*_health(cells), *_names(cells), *_rules(sources.snapshot())]
        families += [*_breakers(sources.snapshot()), *_limits(sources.snapshot())]
        families += _state(sources)
        return [*families, *self._process.collect()]

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Write text or OpenMetrics, as ``accept`` asks; gives the body and its content type.

        The figures are read at once, on the loop that writes them; the text is made in a thread.
        """
        return await render(list(self.collect()), accept)


def without_injection(cells: RouteCells) -> tuple[list[int], float]:
    """Give counts by bucket and the sum of the durations with the injected time taken out."""
    parts: tuple[Histogram, Histogram, Histogram] = (
        cells.duration,
        cells.injected_gross,
        cells.injected_net,
    )
    counts = [
        max(0, all_ - gross + net) for all_, gross, net in zip(*(part.counts for part in parts), strict=True)
    ]
    return counts, max(0.0, parts[0].total - parts[1].total + parts[2].total)


def _routes(routes: list[RouteCells]) -> list[Family]:
    named = [((cells.listener, cells.upstream), cells) for cells in routes]
    own = [(labels, *without_injection(cells)) for labels, cells in named]
    return [
        _counter(
            catalogue.REQUESTS,
            [((*labels, code), count) for labels, cells in named for code, count in by_code(cells).items()],
        ),
        _gauge(catalogue.REQUESTS_ACTIVE, [(labels, cells.active) for labels, cells in named]),
        _histogram(
            catalogue.DURATION,
            [(labels, cells.duration.counts, cells.duration.total) for labels, cells in named],
        ),
        _histogram(catalogue.DURATION_OWN, own),
        _counter(catalogue.BYTES_IN, [(labels, cells.bytes_in) for labels, cells in named]),
        _counter(catalogue.BYTES_OUT, [(labels, cells.bytes_out) for labels, cells in named]),
    ]


def _calls(tables: dict[str, CallTable]) -> Family:
    rows: list[Row] = []
    for listener, table in tables.items():
        for cells in table.by_path.values():
            rows += _statuses(cells, (listener, cells.service, cells.method))
        rows += _statuses(table.other, (listener, OTHER, OTHER))
    return _counter(catalogue.CALLS, rows)


def _statuses(cells: CallCells, names: tuple[str, ...]) -> list[Row]:
    size = len(cells.statuses)
    return [
        ((*names, catalogue.grpc_status_label(place, size)), count)
        for place, count in enumerate(cells.statuses)
        if count
    ]


def by_code(cells: RouteCells) -> dict[str, int]:
    """Sum the exchanges by label of their status."""
    codes: dict[str, int] = {}
    for status, count in enumerate(cells.statuses):
        if count:
            label = catalogue.code_label(status)
            codes[label] = codes.get(label, 0) + count
    return codes


def _listeners(cells: WorkerCells) -> list[Family]:
    listeners = [((one.listener,), one) for one in cells.listeners]
    return [
        _counter(catalogue.CONNECTIONS, [(labels, one.accepted) for labels, one in listeners]),
        _gauge(catalogue.CONNECTIONS_OPEN, [(labels, one.open) for labels, one in listeners]),
        _counter(catalogue.CONNECTIONS_REFUSED, [(labels, one.refused) for labels, one in listeners]),
        _counter(catalogue.CONNECTIONS_UPGRADED, [(labels, one.upgraded) for labels, one in listeners]),
        _counter(catalogue.TLS_HANDSHAKES, _handshakes(cells)),
    ]


def _handshakes(cells: WorkerCells) -> Iterable[Row]:
    for one in cells.listeners:
        yield (one.listener, "false"), one.handshakes - one.resumed
        yield (one.listener, "true"), one.resumed


def _upstreams(cells: WorkerCells) -> list[Family]:
    upstreams = [((one.upstream,), one) for one in cells.upstreams]
    return [
        _counter(catalogue.UPSTREAM_OPENED, [(labels, one.opened) for labels, one in upstreams]),
        _gauge(catalogue.UPSTREAM_OPEN, [(labels, one.open) for labels, one in upstreams]),
        _gauge(catalogue.UPSTREAM_IDLE, [(labels, one.idle) for labels, one in upstreams]),
        _counter(catalogue.UPSTREAM_REUSED, [(labels, one.reused) for labels, one in upstreams]),
        _counter(catalogue.UPSTREAM_RETRIES, [(labels, one.retries) for labels, one in upstreams]),
        _gauge(catalogue.UPSTREAM_QUEUED, [(labels, one.queued) for labels, one in upstreams]),
        _counter(
            catalogue.CLIENT_FAILURES,
            [
                ((one.listener, kind), count)
                for one in cells.listeners
                for kind, count in one.failures.items()
            ],
        ),
        _counter(
            catalogue.UPSTREAM_FAILURES,
            [
                ((one.upstream, kind, injected), count)
                for one in cells.upstreams
                for injected, kinds in (("false", one.failures), ("true", one.feigned))
                for kind, count in kinds.items()
            ],
        ),
    ]


def _health(cells: WorkerCells) -> list[Family]:
    checked = [
        ((one.upstream, endpoint.address), endpoint) for one in cells.upstreams for endpoint in one.endpoints
    ]
    return [
        _gauge(catalogue.HEALTHY, [(labels, int(one.state != "unhealthy")) for labels, one in checked]),
        _counter(
            catalogue.HEALTH_CHECKS,
            [((*labels, outcome), n) for labels, one in checked for outcome, n in one.checks.items()],
        ),
    ]


def _names(cells: WorkerCells) -> list[Family]:
    found = {} if cells.lookups is None else cells.lookups.outcomes
    asked = {} if cells.queries is None else cells.queries.outcomes
    return [
        _counter(catalogue.LOOKUPS, [((outcome,), count) for outcome, count in found.items()]),
        _counter(catalogue.QUERIES, [((outcome,), count) for outcome, count in asked.items()]),
    ]


def _rules(snapshot: Snapshot) -> list[Family]:
    matches: dict[str, int] = {}
    keyless: dict[str, int] = {}
    active: dict[str, int] = {}
    injected: Injections = {}
    shadowed: Injections = {}
    skipped: Injections = {}
    for number, rule in enumerate(snapshot.rules):
        name = rule.name if number < RULE_SERIES else OTHER
        state = rule.state
        matches[name] = matches.get(name, 0) + state.matches
        keyless[name] = keyless.get(name, 0) + state.keyless
        active[name] = active.get(name, 0) + state.active
        if rule.shadow:
            _add(shadowed, name, rule, state.shadowed)
        else:
            _add(injected, name, rule, state.injected)
        for planned, kept in zip(rule.rule.faults, state.faults, strict=True):
            for reason, count in kept.skipped.items():
                labels = (name, planned.fault.KIND, reason)
                skipped[labels] = skipped.get(labels, 0) + count
    return [
        _counter(catalogue.MATCHES, [((name,), count) for name, count in matches.items()]),
        _counter(catalogue.KEYLESS, [((name,), count) for name, count in keyless.items()]),
        _gauge(catalogue.RULE_ACTIVE, [((name,), count) for name, count in active.items()]),
        _counter(catalogue.INJECTIONS, injected.items()),
        _counter(catalogue.SHADOW_INJECTIONS, shadowed.items()),
        _counter(catalogue.SKIPPED, skipped.items()),
        _gauge(catalogue.RULES, [((), len(snapshot.rules))]),
        _gauge(catalogue.RULES_VERSION, [((), snapshot.version)]),
    ]


def _breakers(snapshot: Snapshot) -> list[Family]:
    """Sum up the breakers of each rule that has been asked."""
    counts: tuple[Counts, Counts, Counts] = ({}, {}, {})
    for number, rule in enumerate(snapshot.rules):
        name = rule.name if number < RULE_SERIES else OTHER
        for planned, state in zip(rule.rule.faults, rule.state.faults, strict=True):
            kept, figures = state.breakers, planned.fault.figures
            if kept is None or figures is None:
                continue
            kept.take(figures, snapshot.version)  # a state may be forced that nobody has met yet
            _count(counts[0], name, STATES, kept.states())
            _count(counts[1], name, STATES, kept.journal.counts)
            _count(counts[2], name, ("admitted", "refused"), [kept.admitted, kept.refused])
    return [
        _gauge(catalogue.BREAKERS, counts[0].items()),
        _counter(catalogue.BREAKER_TRANSITIONS, counts[1].items()),
        _counter(catalogue.BREAKER_CALLS, counts[2].items()),
    ]


def _limits(snapshot: Snapshot) -> list[Family]:
    """Sum up the limits of each rule that has been asked."""
    under_way: Counts = {}
    asked: Counts = {}
    for number, rule in enumerate(snapshot.rules):
        name = rule.name if number < RULE_SERIES else OTHER
        for state in rule.state.faults:
            if state.limits is not None:
                _count(under_way, name, ("connections", "requests", "waiting"), state.limits.under_way())
                _count(asked, name, VERDICTS, state.limits.counts)
    return [_gauge(catalogue.LIMITS, under_way.items()), _counter(catalogue.LIMIT_ASKED, asked.items())]


def _count(counts: Counts, name: str, labels: Sequence[str], values: Sequence[int]) -> None:
    for label, value in zip(labels, values, strict=True):
        counts[name, label] = counts.get((name, label), 0) + value


def _add(injections: Injections, name: str, rule: CompiledRule, counts: list[int]) -> None:
    for planned, count in zip(rule.rule.faults, counts, strict=True):
        where = (name, planned.fault.KIND, phases.NAMES[planned.fault.phase])
        injections[where] = injections.get(where, 0) + count


def _state(sources: Sources) -> list[Family]:
    reloads = sources.reloads
    build = (sources.version, platform.python_version(), sources.build)
    return [
        _gauge(catalogue.HELD, [((), sources.cells.waiting)]),
        _gauge(catalogue.STOPPED, [((), int(sources.stopped()))]),
        _counter(catalogue.RELOADS, reloads.results.items()),
        _gauge(catalogue.LAST_RELOAD, [((), int(reloads.last_good))]),
        _gauge(catalogue.LAST_RELOAD_TIME, [((), reloads.last_good_time)]),
        _counter(catalogue.STATE_FAILURES, [((), reloads.unwritten)]),
        _counter(catalogue.ADMIN_FAILURES, [((), sources.admin_failures())]),
        _counter(catalogue.ADMIN_REFUSED, [((), sources.admin_refused())]),
        _counter(catalogue.EVENTS_DROPPED, [((), sources.events_dropped())]),
        _counter(catalogue.LOG_DROPPED, [((), sources.log_dropped())]),
        _counter(catalogue.INTERNAL_ERRORS, [((), sources.cells.internal_errors)]),
        _gauge(catalogue.BUILD, [(build, 1)]),
        _gauge(catalogue.START_TIME, [((), sources.started)]),
    ]
