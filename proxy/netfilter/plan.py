"""What is to be captured, whatever the kernel's rules are written in."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

Ports = tuple[tuple[int, int], ...]  # first and last of each range

INBOUND_PORT: Final = 15106
OUTBOUND_PORT: Final = 15101
ADMIN_PORTS: Final[Ports] = ((9905, 9906),)  # of the admin endpoint and the health listener
USER: Final = 1337  # under whom a sidecar runs, by the custom of Istio


@dataclass(frozen=True)
class Direction:
    """Connections of one direction that are captured: those that every include holds, and no exclude.

    ``networks`` are where inbound connections come from, and where outbound ones go.
    """

    port: int  # of the listener that gets them
    include_ports: Ports = ()  # empty: all
    exclude_ports: Ports = ()
    include_networks: tuple[str, ...] = ()  # empty: all
    exclude_networks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Which connections are captured; None: none of that direction."""

    inbound: Direction | None
    outbound: Direction | None
    own_ports: Ports = ADMIN_PORTS  # never captured where they are on this machine
    users: tuple[int, ...] = (USER,)  # whose connections are never captured: those of the proxy
    groups: tuple[int, ...] = (USER,)
    loopback: bool = False  # capture what this machine says to itself, too
    ipv6: bool = True

    def never(self) -> Ports:
        """Give the ports of this machine that are not captured: our own."""
        listeners = [(one.port, one.port) for one in (self.inbound, self.outbound) if one is not None]
        defaults = [(INBOUND_PORT, INBOUND_PORT), (OUTBOUND_PORT, OUTBOUND_PORT)]
        return merged([*self.own_ports, *listeners, *defaults])


def merged(ranges: Iterable[tuple[int, int]]) -> Ports:
    """Give the same ports in order, without overlaps: sets of nftables take none."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return tuple(found)


def of_version(networks: Iterable[str], version: int) -> list[str]:
    """Give the networks of one version of IP, in order and without overlaps."""
    read = [ipaddress.ip_network(one) for one in networks]
    if version == 4:
        chosen = [one for one in read if isinstance(one, ipaddress.IPv4Network)]
        return [str(one) for one in ipaddress.collapse_addresses(chosen)]
    others = [one for one in read if isinstance(one, ipaddress.IPv6Network)]
    return [str(one) for one in ipaddress.collapse_addresses(others)]
