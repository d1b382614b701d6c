"""Counters that cost nothing on the path: plain integers, written in place, read on scrape.

There is one writer (the worker's loop), so there is no lock; there are no labels to look up,
because each route, upstream and listener holds its own cells.  Times are seconds, sizes bytes.
"""

from bisect import bisect_left
from typing import Final

from proxy import errors
from proxy.metrics.calls import CallTable

BOUNDS: Final[tuple[float, ...]] = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
BUCKETS: Final = 17  # the last one holds what is beyond all bounds


class Histogram:
    """Counts of durations by bucket (not cumulative), and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * BUCKETS
        self.total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration: a value equal to a bound belongs to that bound's bucket."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class RouteCells:
    """What one listener did for one upstream.

    ``statuses`` is indexed by HTTP status (0: ended without an answer).  ``duration`` holds every
    exchange with its whole time.  Only those that had time injected are also in ``injected_gross`` (whole
    time) and ``injected_net`` (injected time taken out): the distribution without injection is
    ``duration - injected_gross + injected_net``, and the un-faulted path pays for one histogram.
    ``calls`` counts the gRPC calls of the listener, whatever the upstream.
    """

    __slots__ = (
        "active",
        "bytes_in",
        "bytes_out",
        "calls",
        "duration",
        "injected_gross",
        "injected_net",
        "listener",
        "statuses",
        "upstream",
    )

    def __init__(self, listener: str, upstream: str, calls: CallTable | None = None) -> None:
        self.listener: str = listener
        self.upstream: str = upstream
        self.statuses: list[int] = [0] * 1000
        self.duration: Histogram = Histogram()
        self.injected_gross: Histogram = Histogram()
        self.injected_net: Histogram = Histogram()
        self.bytes_in: int = 0
        self.bytes_out: int = 0
        self.active: int = 0
        self.calls: CallTable = CallTable() if calls is None else calls


class ListenerCells:
    """Connections of one listener; ``failures`` counts, by kind, what never became an exchange."""

    __slots__ = ("accepted", "failures", "handshakes", "listener", "open", "refused", "resumed", "upgraded")

    def __init__(self, listener: str) -> None:
        self.listener: str = listener
        self.accepted: int = 0
        self.open: int = 0
        self.refused: int = 0
        self.upgraded: int = 0
        self.handshakes: int = 0  # over TLS, that were completed
        self.resumed: int = 0  # of these, by a session from before
        self.failures: dict[str, int] = {}


class EndpointCells:
    """What health checks found at one address: ``checks`` counts them by outcome.

    ``state`` is "unknown", "healthy" or "unhealthy", ``since`` when it became so (unix time), ``last``
    what the newest check saw.
    """

    __slots__ = ("address", "checks", "last", "since", "state")

    def __init__(self, address: str, now: float) -> None:
        self.address: str = address
        self.state: str = "unknown"
        self.since: float = now
        self.last: str = ""
        self.checks: dict[str, int] = {}


class UpstreamCells:
    """Connections to one upstream; ``failures`` counts exchanges that failed there, by kind.

    ``feigned`` counts, by kind, those of which a fault has said so, and the upstream was not at fault.

    ``endpoints`` has the addresses that are checked.
    """

    __slots__ = (
        "endpoints",
        "failures",
        "feigned",
        "idle",
        "open",
        "opened",
        "queued",
        "retries",
        "reused",
        "upstream",
    )

    def __init__(self, upstream: str) -> None:
        self.upstream: str = upstream
        self.opened: int = 0
        self.open: int = 0
        self.idle: int = 0
        self.reused: int = 0
        self.retries: int = 0
        self.queued: int = 0
        self.failures: dict[str, int] = {}
        self.feigned: dict[str, int] = {}
        self.endpoints: list[EndpointCells] = []


class LookupCells:
    """The look-ups of upstreams' names, by what came of them: found, stale, or the kind of a failure."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = dict.fromkeys(("found", "stale", "dns_error", *errors.LOOKUPS), 0)


class QueryCells:
    """What clients of the DNS listener were told, by outcome."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}

    def count(self, outcome: str) -> None:
        """Count one question."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class WorkerCells:
    """Everything that one worker counts, apart from what belongs to rules (see rules.snapshot.RuleState)."""

    def __init__(self) -> None:
        self.routes: list[RouteCells] = []
        self.listeners: list[ListenerCells] = []
        self.upstreams: list[UpstreamCells] = []
        self.queries: QueryCells | None = None  # where there is a DNS listener
        self.lookups: LookupCells | None = None  # where an upstream has a name
        self.calls: dict[str, CallTable] = {}  # by listener
        self.internal_errors: int = 0
        self.waiting: int = 0  # exchanges that a fault delays or stalls right now

    def route(self, listener: str, upstream: str) -> RouteCells:
        """Give the cells of a listener and an upstream, made once."""
        for cells in self.routes:
            if cells.listener == listener and cells.upstream == upstream:
                return cells
        calls = self.calls.setdefault(listener, CallTable())
        made = RouteCells(listener, upstream, calls)
        self.routes.append(made)
        return made

    def failed(self, listener: str, upstream: str, kind: str) -> None:
        """Count a failure where it belongs: at the upstream if one was chosen, else at the listener."""
        for up in self.upstreams:
            if up.upstream == upstream:
                up.failures[kind] = up.failures.get(kind, 0) + 1
                return
        for cells in self.listeners:
            if cells.listener == listener:
                cells.failures[kind] = cells.failures.get(kind, 0) + 1
