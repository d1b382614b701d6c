"""The ruleset for nftables: one table for both versions of IP, replaced as a whole by one transaction.

The first two lines make it idempotent: a table that is declared is there, so it can be deleted.  Other hooks
at the same priority stay untouched: what does not return here is translated, what returns goes on to them.
nftables 1.0.6 wants ``redirect to :port`` alone on its line.
"""

from collections.abc import Iterable
from typing import Final

from proxy.netfilter.plan import Direction, Plan, Ports, merged, of_version

TABLE: Final = "inet misrule"
REMOVAL: Final = f"table {TABLE}\ndelete table {TABLE}\n"
_PRIORITY: Final = -100  # NF_IP_PRI_NAT_DST of linux/netfilter_ipv4.h


def ruleset(plan: Plan) -> str:
    """Write what ``nft -f`` takes."""
    chains = []
    if plan.inbound is not None:
        chains.append(_chain("inbound", "prerouting", _inbound(plan, plan.inbound)))
    if plan.outbound is not None:
        chains.append(_chain("outbound", "output", _outbound(plan, plan.outbound)))
    return f"{REMOVAL}table {TABLE} {{\n" + "\n".join(chains) + "}\n"


def _chain(name: str, hook: str, lines: Iterable[str]) -> str:
    head = f"type nat hook {hook} priority {_PRIORITY}; policy accept;"
    body = "".join(f"\t\t{line}\n" for line in [head, *lines])
    return f"\tchain {name} {{\n{body}\t}}\n"


def _inbound(plan: Plan, direction: Direction) -> list[str]:
    lines = [*_common(plan), 'iifname "lo" return', "fib daddr type != local return"]
    lines.append(f"tcp dport {_ports(plan.never())} return")
    return lines + _chosen(direction, "saddr")


def _outbound(plan: Plan, direction: Direction) -> list[str]:
    lines = _common(plan)
    lines.append(f'oifname "lo"{f" tcp dport {_ports(plan.never())}" if plan.loopback else ""} return')
    for what, numbers in (("skuid", plan.users), ("skgid", plan.groups)):
        if numbers:
            lines.append(f"meta {what} {_set(sorted({str(one) for one in numbers}, key=int))} return")
    return lines + _chosen(direction, "daddr")


def _common(plan: Plan) -> list[str]:
    return ["meta l4proto != tcp return"] + ([] if plan.ipv6 else ["meta nfproto ipv6 return"])


def _chosen(direction: Direction, end: str) -> list[str]:
    """Give the rules that let go what is not to be captured, and the one that captures the rest."""
    lines = []
    if direction.exclude_ports:
        lines.append(f"tcp dport {_ports(direction.exclude_ports)} return")
    if direction.include_ports:
        lines.append(f"tcp dport != {_ports(direction.include_ports)} return")
    for version, family in ((4, "ip"), (6, "ip6")):
        excluded = of_version(direction.exclude_networks, version)
        included = of_version(direction.include_networks, version)
        if excluded:
            lines.append(f"{family} {end} {_set(excluded)} return")
        if included:
            lines.append(f"{family} {end} != {_set(included)} return")
        elif direction.include_networks:
            lines.append(f"meta nfproto ipv{version} return")
    return [*lines, f"meta l4proto tcp redirect to :{direction.port}"]


def _ports(ranges: Ports) -> str:
    return _set(str(first) if first == last else f"{first}-{last}" for first, last in merged(ranges))


def _set(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"
