"""Upstreams, their addresses, and the connections that are kept alive to them.

A pool belongs to one upstream, and an upstream has one TLS identity: connections are never shared
between the two.  The decisions here (which address, which connection, wait or refuse) do no I/O.
"""

import random
from collections import deque
from typing import Final

from mypy_extensions import mypyc_attr

from proxy.metrics.cells import UpstreamCells
from proxy.net import sockets
from proxy.net.connection import Connection
from proxy.net.identity import Credentials
from proxy.net.names import Names, Told

ROUND_ROBIN: Final = 0
LEAST_REQUESTS: Final = 1
RANDOM: Final = 2

MOST_ASIDES: Final = 64  # places that rules have sent exchanges to, of one upstream

# Which protocol an upstream is spoken to in.
AUTO: Final = 0  # HTTP/1.1, but HTTP/2 for gRPC calls, which know nothing else
HTTP1: Final = 1
HTTP2: Final = 2
TCP: Final = 3  # bytes that are passed on unread

PROTOCOLS: Final[dict[str, int]] = {"auto": AUTO, "http1": HTTP1, "http2": HTTP2, "tcp": TCP}

BALANCES: Final[dict[str, int]] = {
    "round_robin": ROUND_ROBIN,
    "least_requests": LEAST_REQUESTS,
    "random": RANDOM,
}


@mypyc_attr(allow_interpreted_subclasses=True)
class Waiter:
    """Somebody who waits for a connection because the pool is at its limit."""

    def granted(self) -> bool:
        """A place is free: connect now; False: it is of no use (yet), the turn is kept."""
        raise NotImplementedError

    def expired(self) -> None:
        """No place became free in time."""
        raise NotImplementedError

    def over(self) -> bool:
        """Tell whether it has ended meanwhile, so that the place that it was granted is still free."""
        return False


class Endpoint:
    """One address of an upstream: host and port, or the path of a Unix socket."""

    __slots__ = (
        "active",
        "credentials",
        "current",
        "healthy",
        "host",
        "idle",
        "keepalive",
        "names",
        "number",
        "path",
        "port",
        "protocol",
        "shared",
        "speaks",
        "weight",
    )

    def __init__(self, number: int, host: str, port: int, path: str, weight: int) -> None:
        self.number: int = number
        self.host: str = host
        self.port: int = port
        self.path: str = path  # not empty: a Unix socket
        self.keepalive: float = 0.0  # seconds of silence before it is asked whether it is there, 0: never
        self.weight: int = weight
        self.names: Names | None = None  # who knows the addresses of `host`; None: it is an address
        self.credentials: Credentials | None = None  # with which it is spoken to over TLS
        self.protocol: int = AUTO  # in which it alone is spoken to; AUTO: in that of its upstream
        self.speaks: int = AUTO  # over TLS: what it has chosen last, AUTO: that is not known yet
        self.current: int = 0  # state of the smooth weighted round robin
        self.active: int = 0  # exchanges under way
        self.healthy: bool = True  # as far as health checks know: see Upstream.mark
        self.idle: list[Connection] = []
        self.shared: list[Connection] = []  # connections that carry many exchanges at once

    def address(self) -> str:
        """Give the address as it is configured."""
        if self.path:
            return f"unix:{self.path}"
        return sockets.address_text(self.host, self.port)


class Upstream:
    """A named set of addresses with one pool of connections.  Time-outs are seconds."""

    def __init__(
        self,
        name: str,
        endpoints: list[Endpoint],
        balance: int,
        cells: UpstreamCells,
        connect_timeout: float,
        response_timeout: float,
        idle_timeout: float,
        max_connections: int,
        max_idle: int,
        retry_reused: bool,
        attempts: int,
        protocol: int = AUTO,
    ) -> None:
        self.name: str = name
        self.endpoints: list[Endpoint] = endpoints
        self.balance: int = balance
        self.cells: UpstreamCells = cells
        self.connect_timeout: float = connect_timeout
        self.response_timeout: float = response_timeout
        self.idle_timeout: float = idle_timeout
        self.max_connections: int = max_connections
        self.max_idle: int = max_idle
        self.retry_reused: bool = retry_reused
        self.attempts: int = attempts
        self.protocol: int = protocol
        self.use_all: bool = True  # when no address is healthy: use them all, or (False) none
        self.names: list[bytes] = names_of(endpoints)
        self.asides: dict[str, Endpoint] = {}  # by their addresses
        self.usable: list[Endpoint] = endpoints  # those that pick chooses from
        self.open: int = 0  # connections, those being opened included
        self.waiting: deque[tuple[float, Waiter]] = deque()
        self.dice: random.Random = random.Random(name)  # balancing only: rules have dice of their own

    def pick(self, tried: int) -> Endpoint | None:
        """Choose an address; ``tried`` has a bit for each address that failed this exchange already.

        None: all that may be used were tried, or none may be used (see ``mark``).
        """
        endpoints = self.usable
        if len(endpoints) == 1:
            only = endpoints[0]
            return None if (tried >> only.number) & 1 else only
        usable = [e for e in endpoints if not (tried >> e.number) & 1]
        if not usable:
            return None
        if self.balance == LEAST_REQUESTS:
            return least_requests(usable)
        if self.balance == RANDOM:
            return self.dice.choices(usable, [e.weight for e in usable])[0]
        return round_robin(usable)

    def aside(self, addresses: list[str], partial: bool) -> Endpoint | None:
        """Give a place at these addresses instead of its own, or at half of those of its name (``partial``).

        None: nothing would change.  Its connections are its own: they are kept for those sent there alone.
        """
        picked = self.pick(0)
        if picked is None or picked.path:
            return None
        if partial and picked.names is not None:
            known = picked.names.known(picked.host) or []
            addresses = known[: len(known) // 2]
        if not addresses:
            return None
        where = f"{picked.number} {' '.join(addresses)}"
        made = self.asides.get(where)
        if made is None:
            if len(self.asides) >= MOST_ASIDES:
                self._drop_asides()
            made = Endpoint(picked.number, picked.host, picked.port, "", 1)
            made.credentials = picked.credentials
            made.names = Told(addresses)
            self.asides[where] = made
        return made

    def _drop_asides(self) -> None:
        """Forget the places of faults, and close what idles there: nobody would find it again."""
        for endpoint in self.asides.values():
            for kept in list(endpoint.idle):
                self.forget(endpoint, kept)
                kept.shut()
            for shared in list(endpoint.shared):
                if shared.idle():
                    shared.shut()
        self.asides.clear()

    def mark(self, endpoint: Endpoint, healthy: bool) -> None:
        """Note what health checks found: from now on only healthy addresses are chosen.

        When none is left, all are (``use_all``), or none.  What is under way at an address goes on.
        """
        endpoint.healthy = healthy
        usable = [e for e in self.endpoints if e.healthy]
        self.usable = self.endpoints if self.use_all and not usable else usable
        for each in self.endpoints:
            each.current = 0  # turns begin anew among those that are left

    def keep(self, endpoint: Endpoint, connection: Connection) -> bool:
        """Put a connection back for the next exchange; False: there are enough, close it."""
        if self.cells.idle >= self.max_idle:
            return False
        endpoint.idle.append(connection)
        self.cells.idle += 1
        return True

    def take(self, endpoint: Endpoint) -> Connection | None:
        """Take the connection that was used last: it is the least likely to have been closed meanwhile."""
        if not endpoint.idle:
            return None
        self.cells.idle -= 1
        return endpoint.idle.pop()

    def forget(self, endpoint: Endpoint, connection: Connection) -> None:
        """Drop a connection that ended while it was idle."""
        if connection in endpoint.idle:
            endpoint.idle.remove(connection)
            self.cells.idle -= 1

    def make_room(self, shared: bool = True) -> bool:
        """Tell whether there is a place for a new connection; if not, close one that idles: there will be.

        ``shared``: also one that carries many exchanges, and carries none now.
        """
        if self.open < self.max_connections:
            return True
        places = self.all_places()
        for endpoint in places:
            if endpoint.idle:
                oldest = endpoint.idle[0]
                self.forget(endpoint, oldest)
                oldest.shut()
                return self.open < self.max_connections
        for endpoint in places if shared else []:
            for connection in endpoint.shared:
                if connection.idle():
                    connection.shut()
                    return self.open < self.max_connections
        return False

    def all_places(self) -> list[Endpoint]:
        """Give everything that has connections: its own addresses, and those of faults."""
        return self.endpoints + list(self.asides.values())

    def wait(self, deadline: float, waiter: Waiter) -> None:
        """Queue for a connection until ``deadline`` (clock seconds)."""
        self.waiting.append((deadline, waiter))
        self.cells.queued = len(self.waiting)

    def leave(self, waiter: Waiter) -> None:
        """Give up a place in the queue."""
        self.waiting = deque([entry for entry in self.waiting if entry[1] is not waiter])
        self.cells.queued = len(self.waiting)

    def grant(self) -> bool:
        """A connection or a place became free: the one who waits longest gets it; False: nobody did."""
        while self.waiting:
            entry = self.waiting.popleft()
            used = entry[1].granted()
            if not used:
                self.waiting.appendleft(entry)
            self.cells.queued = len(self.waiting)
            if not used or not entry[1].over():
                return used
        return False

    def grant_all(self) -> None:
        """Many places may have become free at once."""
        while self.grant():
            pass

    def sweep(self, now: float) -> None:
        """Turn away those whose wait is over; they queued in the order of their deadlines."""
        while self.waiting and self.waiting[0][0] <= now:
            _, waiter = self.waiting.popleft()
            self.cells.queued = len(self.waiting)
            waiter.expired()


def names_of(endpoints: list[Endpoint]) -> list[bytes]:
    """Give the hosts of endpoints as rules know them: lower-case, without the last dot; sockets have none."""
    return [one.host.rstrip(".").lower().encode() for one in endpoints if not one.path]


def round_robin(endpoints: list[Endpoint]) -> Endpoint:
    """Choose by smooth weighted round robin: weights 5, 1, 1 give a a b a c a a, not a a a a a b c."""
    total = 0
    best = endpoints[0]
    for endpoint in endpoints:
        endpoint.current += endpoint.weight
        total += endpoint.weight
        if endpoint.current > best.current:
            best = endpoint
    best.current -= total
    return best


def least_requests(endpoints: list[Endpoint]) -> Endpoint:
    """Choose the address with the fewest exchanges under way for its weight; equal ones take turns."""
    fewest = [e for e in endpoints if all(e.active * o.weight <= o.active * e.weight for o in endpoints)]
    return round_robin(fewest)
