"""The upstream that has no addresses of its own: each connection goes where its client has dialled.

Its addresses come from captured clients, so they are made when they are needed and dropped when nothing
uses them: a client that dials the whole of a network leaves nothing behind.  Connections are kept by address,
by the name that is asked for over TLS, and by the protocol of the client: what a client could not have
shared without a proxy, it does not share here.
"""

import asyncio
from typing import Final

from proxy.metrics.cells import UpstreamCells
from proxy.net import sockets
from proxy.net.connection import Connection
from proxy.net.identity import Credentials
from proxy.net.names import Told
from proxy.net.pool import AUTO, ROUND_ROBIN, Endpoint, Upstream

# How long an address that nothing uses is remembered, seconds: beyond what an exchange that is on its way
# to it waits, for a fault perhaps.
FORGET_AFTER: Final = 60.0


class Dialled(Endpoint):
    """One address that a client has dialled."""

    __slots__ = ("key", "owner", "used")

    def __init__(self, owner: "DialledUpstream", key: str, host: str, port: int) -> None:
        super().__init__(0, host, port, "", 1)
        self.owner: DialledUpstream = owner
        self.key: str = key
        self.used: float = 0.0  # when it was last asked for, seconds of the worker's clock


class DialledUpstream(Upstream):
    """A pool of connections to whatever addresses clients have dialled.  Time-outs are seconds."""

    def __init__(
        self,
        name: str,
        cells: UpstreamCells,
        connect_timeout: float,
        response_timeout: float,
        idle_timeout: float,
        max_connections: int,
        max_idle: int,
        retry_reused: bool,
        attempts: int,
        protocol: int,
        keepalive: float = 0.0,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(
            name,
            [],
            ROUND_ROBIN,
            cells,
            connect_timeout,
            response_timeout,
            idle_timeout,
            max_connections,
            max_idle,
            retry_reused,
            attempts,
            protocol,
        )
        self.keepalive: float = keepalive
        self.credentials: Credentials | None = credentials  # for clients whose TLS has ended here
        self.places: dict[str, Dialled] = {}
        self.own: dict[
            tuple[str, int, str, int], asyncio.BaseTransport
        ] = {}  # by both ends: connections of ours
        self.looked: float = 0.0  # when those that nothing uses were last looked for

    def at(self, host: str, port: int, protocol: int, secure: bool, server_name: str, now: float) -> Endpoint:
        """Give the place that is this address, for clients of this protocol (AUTO: whatever it is).

        ``secure``: the client spoke TLS, which has ended here, and asked for ``server_name`` ("": for none).
        """
        over_tls = secure and self.credentials is not None
        if self.protocol != AUTO:
            protocol = AUTO  # the configuration says it for all
        name = server_name if over_tls else ""
        key = f"{host} {port} {protocol} {over_tls:d} {name}"
        place = self.places.get(key)
        if place is None:
            place = Dialled(self, key, name or host, port)
            place.protocol = protocol
            place.keepalive = self.keepalive
            if over_tls:
                place.credentials = self.credentials
            if name:
                place.names = Told([host])
            self.places[key] = place
        place.used = now
        return place

    def made(self, transport: asyncio.BaseTransport) -> None:
        """Note a connection that was made, so that it is known again if the kernel brings it back to us."""
        ends = ends_of(transport, "sockname", "peername")
        if ends is not None:
            self.own[ends] = transport

    def is_own(self, host: str, port: int, dialled: str, dialled_port: int) -> bool:
        """Tell whether a client is this proxy itself: its user is not exempt from being captured."""
        transport = self.own.get((host, port, dialled, dialled_port))
        return transport is not None and not transport.is_closing()

    def all_places(self) -> list[Endpoint]:
        return list(self.places.values())

    def keep(self, endpoint: Endpoint, connection: Connection) -> bool:
        if isinstance(endpoint, Dialled) and self.places.get(endpoint.key) is not endpoint:
            return False  # it was dropped meanwhile: nobody would find the connection again
        return super().keep(endpoint, connection)

    def sweep(self, now: float) -> None:
        super().sweep(now)
        for ends, transport in list(self.own.items()):
            if transport.is_closing():
                del self.own[ends]
        if now - self.looked < FORGET_AFTER:
            return
        self.looked = now
        for place in list(self.places.values()):
            unused = place.active == 0 and not place.idle and not place.shared
            if unused and now - place.used >= FORGET_AFTER:
                del self.places[place.key]


def ends_of(transport: asyncio.BaseTransport, first: str, second: str) -> tuple[str, int, str, int] | None:
    """Give two ends of a connection, "sockname" or "peername", each as address and port; None: not of IP."""
    one = transport.get_extra_info(first)
    other = transport.get_extra_info(second)
    if not isinstance(one, tuple) or not isinstance(other, tuple):
        return None
    return sockets.name_of(one), one[1], sockets.name_of(other), other[1]
