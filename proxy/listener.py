"""A listener while it runs: its limits, its counters, and where its requests go."""

from typing import Final

from mypy_extensions import mypyc_attr

from proxy.metrics.cells import ListenerCells, RouteCells
from proxy.net.identity import Keeper
from proxy.net.pool import Upstream
from proxy.wire.h1_head import Head
from rules.matchers import Matcher
from rules.reading import Network, address

# What a listener speaks.
SNIFFED: Final = 0  # HTTP/1.1, and HTTP/2 where a client begins with its preface
ONLY_HTTP1: Final = 1
ONLY_HTTP2: Final = 2
ONLY_TCP: Final = 3  # whatever it is, it is passed on unread
PROTOCOLS: Final = {
    "auto": SNIFFED,
    "http": SNIFFED,
    "http1": ONLY_HTTP1,
    "http2": ONLY_HTTP2,
    "tcp": ONLY_TCP,
}


# Whether clients speak TLS.
NO_TLS: Final = 0
TERMINATE: Final = 1
PASSTHROUGH: Final = 2  # TLS is passed on as it is, by the name in the ClientHello
AUTO: Final = 3  # TLS that ends here, or clear text: found out by looking

TLS_MODES: Final[dict[str, int]] = {
    "none": NO_TLS,
    "terminate": TERMINATE,
    "passthrough": PASSTHROUGH,
    "auto": AUTO,
}


@mypyc_attr(allow_interpreted_subclasses=True)
class Target:
    """One upstream that a route may choose, with its weight."""

    def __init__(self, upstream: Upstream, weight: int, cells: RouteCells) -> None:
        self.upstream: Upstream = upstream
        self.cells: RouteCells = cells
        self.weight: int = weight
        self.current: int = 0


class Capture:
    """What only a listener with captured clients needs.  Times are seconds."""

    def __init__(self, sniff_timeout: float, opaque_ports: frozenset[int], own_ports: set[int]) -> None:
        self.sniff_timeout: float = sniff_timeout  # what has said nothing until then is passed on unread
        self.opaque_ports: frozenset[int] = opaque_ports  # who dials these is passed on unread at once
        self.own_ports: set[int] = own_ports  # on which this proxy itself listens


NO_CAPTURE: Final = Capture(1.0, frozenset(), set())


class Reach:
    """Which dialled addresses a route is for, of captured clients; empty conditions hold for all."""

    __slots__ = ("networks", "ports")

    def __init__(self, ports: list[tuple[int, int]], networks: list[Network]) -> None:
        self.ports: list[tuple[int, int]] = ports  # first and last
        self.networks: list[Network] = networks

    def covers(self, host: str, port: int) -> bool:
        """Tell whether an address is among them."""
        number = address(host)
        return (not self.ports or any(first <= port <= last for first, last in self.ports)) and (
            not self.networks or any(network.holds(number) for network in self.networks)
        )


class Route:
    """Which requests go where; absent conditions (None) hold for all."""

    __slots__ = ("headers", "host", "path", "reach", "targets")

    def __init__(
        self,
        host: Matcher | None,
        path: Matcher | None,
        headers: list[tuple[bytes, Matcher]],
        targets: list[Target],
    ) -> None:
        self.host: Matcher | None = host
        self.path: Matcher | None = path
        self.headers: list[tuple[bytes, Matcher]] = headers
        self.targets: list[Target] = targets
        self.reach: Reach | None = None  # looked at once for each captured connection

    def matches(self, head: Head) -> bool:
        """Tell whether this request is for this route."""
        if self.host is not None and not self.host.test(head.host):
            return False
        if self.path is not None and not self.path.test(head.path):
            return False
        for name, matcher in self.headers:
            if not _any_value(matcher, head.fields, name):
                return False
        return True

    def takes_all(self) -> bool:
        """Tell whether every request matches."""
        return self.host is None and self.path is None and not self.headers

    def choose(self) -> Target:
        """Choose by smooth weighted round robin: exact shares, evenly spread."""
        targets = self.targets
        best = targets[0]
        if len(targets) == 1:
            return best
        total = 0
        for target in targets:
            target.current += target.weight
            total += target.weight
            if target.current > best.current:
                best = target
        best.current -= total
        return best


def _any_value(matcher: Matcher, fields: dict[bytes, list[bytes]] | None, name: bytes) -> bool:
    """Test a header condition: it holds if any value of a repeated header does."""
    values = fields.get(name) if fields is not None else None
    if values is None:
        return matcher.test(None)
    for value in values:
        if matcher.test(value):
            return True
    return False


class Listener:
    """One address where clients connect.  Times are seconds, sizes bytes."""

    def __init__(
        self,
        name: str,
        cells: ListenerCells,
        nowhere: RouteCells,
        routes: list[Route],
        trusted_hops: int,
        head_size: int,
        header_count: int,
        max_connections: int,
        drain_bytes: int,
        head_timeout: float,
        idle_timeout: float,
        drain_timeout: float,
        max_streams: int = 100,
        protocol: int = SNIFFED,
    ) -> None:
        self.name: str = name
        self.cells: ListenerCells = cells
        self.nowhere: RouteCells = nowhere  # requests that no route takes
        self.routes: list[Route] = routes
        self.only: Target | None = None  # where everything goes, if there is one such place
        if len(routes) == 1 and routes[0].takes_all() and len(routes[0].targets) == 1:
            self.only = routes[0].targets[0]
        self.trusted_hops: int = trusted_hops
        self.head_size: int = head_size
        self.header_count: int = header_count
        self.max_connections: int = max_connections
        self.drain_bytes: int = drain_bytes
        self.head_timeout: float = head_timeout
        self.idle_timeout: float = idle_timeout
        self.drain_timeout: float = drain_timeout
        self.tls_mode: int = NO_TLS
        self.keeper: Keeper | None = None  # where TLS ends here
        self.tells_certificates: bool = False  # upstreams are told of the certificate that a client showed
        self.handshake_timeout: float = 10.0
        self.max_streams: int = max_streams  # exchanges at once on one connection of HTTP/2
        self.protocol: int = protocol
        self.capture: Capture = NO_CAPTURE

    def routes_to(self, host: str, port: int) -> list[Route]:
        """Give the routes that are for a dialled address."""
        return [route for route in self.routes if route.reach is None or route.reach.covers(host, port)]

    def route(self, head: Head) -> Target | None:
        """Find where a request goes: the first route that matches; None: nowhere."""
        for route in self.routes:
            if route.matches(head):
                return route.choose()
        return None
