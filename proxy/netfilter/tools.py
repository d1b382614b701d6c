"""Runs the tools that put rules in force: nft, or one of the two kinds of iptables.

Which of them works depends on the kernel as much as on what is installed, so each is asked by a dry run of
the very ruleset.  A machine may have rules of ours in several of them, left by another image: what is applied
stands alone afterwards, and what is removed is removed everywhere.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from proxy.netfilter import iptables, nft
from proxy.netfilter.plan import Plan

NFT: Final = "nft"
KINDS: Final = (NFT, "iptables-nft", "iptables-legacy", "iptables")  # in the order in which they are tried
_SYSTEM: Final = "/usr/sbin:/sbin:/usr/local/sbin"
_NET_ADMIN: Final = 12  # of linux/capability.h
_IPV6: Final = Path("/proc/net/if_inet6")
_HOOKS: Final = ("PREROUTING", "OUTPUT", "INPUT", "POSTROUTING")


class ToolError(Exception):
    """The rules could not be changed or read; ``lines`` say why."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def need_rights() -> None:
    """Raise ToolError where this process may not change the rules of its network namespace."""
    effective = 0
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                effective = int(line.split()[1], 16)
    except OSError as error:
        raise ToolError(f"capturing is done by Linux, and this seems to be none: {error}") from None
    if not effective >> _NET_ADMIN & 1 or os.geteuid() != 0:
        raise ToolError(
            "this takes root with the capability NET_ADMIN in the network namespace to capture: in a pod an "
            "init container with runAsUser: 0 and capabilities: {drop: [ALL], add: [NET_ADMIN]}"
        )


def apply(plan: Plan, kind: str = "") -> str:
    """Put a plan in force, with this kind of tool ("": the first that works), and say which it was."""
    wanted = [kind] if kind else [one for one in KINDS if installed(one)]
    if not wanted:
        raise ToolError("neither nft nor iptables is installed: the package nftables has the first")
    complaints = []
    for one in wanted:
        if not installed(one):
            raise ToolError(f"{one} is not installed")
        complaint = _trial(plan, one)
        if not complaint:
            _put(plan, one)
            remove(besides=one)
            return one
        complaints.append(f"{one}: {complaint}")
    raise ToolError("the kernel takes no such rules", *complaints)


def remove(besides: str = "") -> list[str]:
    """Take away what is ours, in all kinds of tools but one; gives the kinds that had something."""
    found: list[str] = []
    for kind in KINDS:
        if kind == besides or not installed(kind):
            continue
        if kind == NFT:
            if _table():
                _run([NFT, "-f", "-"], nft.REMOVAL)
                found.append(kind)
        elif besides and _same(kind, besides):
            continue
        else:
            gone = [_clear(kind, version) for version in (4, 6)]
            if any(gone):
                found.append(kind)
    return found


def show() -> dict[str, str]:
    """Give what is in force of ours, as the kernel tells it, by kind of tool."""
    found: dict[str, str] = {}
    for kind in KINDS:
        if not installed(kind):
            continue
        if kind == NFT:
            text = _table()
        else:
            lines = {version: iptables.ours(_saved(kind, version)) for version in (4, 6)}
            parts = [f"# IPv{version}\n" + "\n".join(lines[version]) for version in lines if lines[version]]
            text = "\n".join(parts)
        if text and text not in found.values():  # `iptables` is one of the two others
            found[kind] = text.strip("\n")
    return found


def written(plan: Plan, kind: str) -> str:
    """Write what this kind of tool would be given where nothing of ours is in force."""
    if kind == NFT:
        return nft.ruleset(plan)
    parts = []
    for version in _versions(plan):
        text = iptables.ruleset(plan, version)
        parts.append(f"# {' '.join(_restore(kind, version))}\n{text}")
    return "".join(parts)


def installed(kind: str) -> bool:
    """Whether a kind of tool is there."""
    return _path(kind if kind == NFT else f"{kind}-restore") is not None


def _path(tool: str) -> str | None:
    return shutil.which(tool) or shutil.which(tool, path=_SYSTEM)


def _name(kind: str, version: int) -> str:
    return kind if version == 4 else kind.replace("iptables", "ip6tables")


def _versions(plan: Plan) -> tuple[int, ...]:
    """Give the versions of IP that there are rules for: a kernel may have been started without IPv6."""
    return (4, 6) if plan.ipv6 and _IPV6.exists() else (4,)


def _restore(kind: str, version: int) -> list[str]:
    return [f"{_name(kind, version)}-restore", "--noflush", "--wait"]


def _legacy(kind: str) -> bool:
    """Whether this kind of iptables speaks to the kernel as it did before nf_tables."""
    version = _run([f"{kind}-restore", "--version"])  # iptables v1.8.9 (nf_tables)
    return "nf_tables" not in version


def _same(kind: str, other: str) -> bool:
    """Whether ``iptables`` is but another name for this kind."""
    return "iptables" in (kind, other) and NFT not in (kind, other) and _legacy(kind) == _legacy(other)


def _trial(plan: Plan, kind: str) -> str:
    """Give what a tool complains of when it is to take a plan, "" where nothing stands in its way."""
    try:
        if kind == NFT:
            _run([NFT, "-c", "-f", "-"], nft.ruleset(plan))
            return ""
        for version in _versions(plan):
            text = iptables.ruleset(plan, version, _saved(kind, version))
            _run([*_restore(kind, version), "--test"], text)
    except ToolError as error:
        return " ".join(error.lines)
    return ""


def _put(plan: Plan, kind: str) -> None:
    if kind == NFT:
        _run([NFT, "-f", "-"], nft.ruleset(plan))
        return
    for version in _versions(plan):
        _run(_restore(kind, version), iptables.ruleset(plan, version, _saved(kind, version)))
    if not plan.ipv6:
        _clear(kind, 6)


def _table() -> str:
    """Give our table as nft shows it, "" where there is none."""
    tables = _run([NFT, "list", "tables"])
    return _run([NFT, "list", "table", *nft.TABLE.split()]) if f"table {nft.TABLE}\n" in tables else ""


def _saved(kind: str, version: int) -> str:
    """Give the table nat as ``iptables-save`` shows it, "" where this kind or version does not work here.

    The old kind of table is there from the moment in which it is first asked for, so it is not asked for.
    """
    names = Path("/proc/net/ip_tables_names" if version == 4 else "/proc/net/ip6_tables_names")
    try:
        if _legacy(kind) and "nat" not in names.read_text().split():
            return ""
        return _run([f"{_name(kind, version)}-save", "-t", "nat"])
    except (ToolError, OSError):
        return ""


def _clear(kind: str, version: int) -> bool:
    """Take away our rules of one version; whether there were any."""
    text = iptables.removal(_saved(kind, version))
    if not text:
        return False
    _run(_restore(kind, version), text)
    if not _legacy(kind):
        _sweep_up(kind, version)
    return True


def _sweep_up(kind: str, version: int) -> None:
    """Take away the chains that iptables has made at the hooks, and their table, where they are empty."""
    if any(line.startswith("-A") for line in _saved(kind, version).splitlines()):
        return
    family = "ip" if version == 4 else "ip6"
    with contextlib.suppress(ToolError):  # who has anything in them keeps them
        for hook in _HOOKS:
            _run([_name(kind, version), "-t", "nat", "-X", hook])
    with contextlib.suppress(ToolError):
        if installed(NFT) and "chain" not in _run([NFT, "list", "table", family, "nat"]):
            _run([NFT, "delete", "table", family, "nat"])


def _run(command: list[str], given: str = "") -> str:
    """Run a tool and give its output; raises ToolError with what it says."""
    path = _path(command[0])
    if path is None:
        raise ToolError(f"{command[0]} is not installed")
    environment = {**os.environ, "LC_ALL": "C"}
    if not os.access("/run", os.W_OK):  # a read-only root: iptables-legacy wants to lock a file
        environment.setdefault("XTABLES_LOCKFILE", "/dev/null")
    try:
        done = subprocess.run(
            [path, *command[1:]],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{command[0]}: {error}") from None
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split())
        raise ToolError(f"{command[0]}: {words or f'ended with {done.returncode}'}")
    return done.stdout
