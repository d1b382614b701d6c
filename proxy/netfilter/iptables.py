"""The same rules for ``iptables-restore --noflush``: where the kernel, or the image, has no nftables.

Each version of IP has a table of its own, so there are two texts, and two transactions.  A text depends on
what is in force: what an earlier one has left is taken away in the same transaction, and so given anew.
"""

import re
from collections.abc import Iterable
from typing import Final

from proxy.netfilter.plan import Direction, Plan, Ports, merged, of_version

INBOUND: Final = "MISRULE_INBOUND"
OUTBOUND: Final = "MISRULE_OUTBOUND"
_HOOKS: Final = {INBOUND: "PREROUTING", OUTBOUND: "OUTPUT"}
_OURS: Final = re.compile(rf"^(?::|-A )(?:{INBOUND}|{OUTBOUND})\b|-j (?:{INBOUND}|{OUTBOUND})$")
_MOST_PORTS: Final = 15  # of one multiport match; a range counts as two


def ruleset(plan: Plan, version: int, saved: str = "") -> str:
    """Write what ``iptables-restore`` (version 4) or ``ip6tables-restore`` (6) takes.

    ``saved`` is what ``iptables-save -t nat`` says.
    """
    chains: dict[str, list[str]] = {}
    if plan.inbound is not None and (version == 4 or plan.ipv6):
        chains[INBOUND] = _inbound(plan, plan.inbound, version)
    if plan.outbound is not None and (version == 4 or plan.ipv6):
        chains[OUTBOUND] = _outbound(plan, plan.outbound, version)
    lines = ["*nat", *(f":{chain} - [0:0]" for chain in chains), *_leftovers(saved, chains)]
    lines += [f"-A {_HOOKS[chain]} -p tcp -j {chain}" for chain in chains]
    lines += [f"-A {chain} {rule}" for chain, rules in chains.items() for rule in rules]
    return "\n".join([*lines, "COMMIT", ""])


def removal(saved: str) -> str:
    """Write what takes everything of ours away, "" where there is nothing."""
    lines = _leftovers(saved, ())
    return "\n".join(["*nat", *lines, "COMMIT", ""]) if lines else ""


def ours(saved: str) -> list[str]:
    """Give the lines of ``iptables-save`` that are ours."""
    return [line for line in saved.splitlines() if _OURS.search(line)]


def _leftovers(saved: str, wanted: Iterable[str]) -> list[str]:
    """Give what takes away the jumps of before, and the chains that are not wanted any more."""
    found = ours(saved)
    jumps = [f"-D {line.removeprefix('-A ')}" for line in found if re.match(r"-A (?!MISRULE_)", line)]
    chains = [line[1:].split()[0] for line in found if line.startswith(":")]
    gone = [chain for chain in chains if chain not in wanted]
    return [*jumps, *(f"-F {chain}" for chain in gone), *(f"-X {chain}" for chain in gone)]


def _inbound(plan: Plan, direction: Direction, version: int) -> list[str]:
    rules = ["-i lo -j RETURN", "-m addrtype ! --dst-type LOCAL -j RETURN"]
    return [*rules, *_dports(plan.never()), *_chosen(direction, "-s", version)]


def _outbound(plan: Plan, direction: Direction, version: int) -> list[str]:
    rules = _dports(plan.never(), "-o lo ") if plan.loopback else ["-o lo -j RETURN"]
    rules += [f"-m owner --uid-owner {one} -j RETURN" for one in plan.users]
    rules += [f"-m owner --gid-owner {one} -j RETURN" for one in plan.groups]
    return [*rules, *_chosen(direction, "-d", version)]


def _chosen(direction: Direction, end: str, version: int) -> list[str]:
    """Give the rules that let go what is not to be captured, and those that capture the rest."""
    rules = _dports(direction.exclude_ports)
    rules += [f"{end} {one} -j RETURN" for one in of_version(direction.exclude_networks, version)]
    networks = of_version(direction.include_networks, version)
    if direction.include_networks and not networks:
        return rules
    sources = [f"{end} {one} " for one in networks] or [""]
    ports = _matches(direction.include_ports) or [""]
    target = f"-j REDIRECT --to-ports {direction.port}"
    return rules + [f"-p tcp {source}{port}{target}" for source in sources for port in ports]


def _dports(ranges: Ports, where: str = "") -> list[str]:
    return [f"{where}-p tcp {match}-j RETURN" for match in _matches(ranges)]


def _matches(ranges: Ports) -> list[str]:
    """Give the matches that hold for these ports, each with as many as it may have."""
    groups: list[list[str]] = []
    room = 0
    for first, last in merged(ranges):
        needed = 1 if first == last else 2
        if room < needed:
            groups.append([])
            room = _MOST_PORTS
        groups[-1].append(str(first) if first == last else f"{first}:{last}")
        room -= needed
    return [f"-m multiport --dports {','.join(group)} " for group in groups]
