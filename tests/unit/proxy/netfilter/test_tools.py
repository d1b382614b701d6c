"""Which tool is used, and what it is told: with tools that only note it."""

import os
import shutil
from pathlib import Path

import pytest

from proxy.netfilter import tools
from proxy.netfilter.plan import Direction, Plan

PLAN = Plan(Direction(15106), None)
NOTING = """#!/bin/sh
echo "{name} $*" >> {log}
case "$*" in *--version*) echo "iptables v1.8.9 (nf_tables)"; exit;; esac
case "{name}" in *save) exit;; esac
{body}
"""


class Tools:
    """A folder of tools that write down how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"

    def add(self, name: str, body: str = "cat > /dev/null") -> None:
        path = self.folder / name
        path.write_text(NOTING.format(name=name, log=self.log, body=body))
        path.chmod(0o755)

    def add_iptables(self, kind: str, body: str = "cat > /dev/null") -> None:
        for name in (kind, kind.replace("iptables", "ip6tables")):
            for tool in (name, f"{name}-save", f"{name}-restore"):
                self.add(tool, body)

    def calls(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if "--version" not in line]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(tools, "_SYSTEM", "")
    monkeypatch.setattr(tools, "_IPV6", tmp_path)
    real = shutil.which

    def which(tool: str, path: str | None = None) -> str | None:
        found = real(tool, path=str(tmp_path))
        return found if path is None else None

    monkeypatch.setattr(shutil, "which", which)
    return Tools(tmp_path)


def test_nft_is_asked_first_and_taken_if_it_can(fake: Tools) -> None:
    fake.add("nft")
    fake.add_iptables("iptables-legacy")
    assert tools.apply(PLAN) == "nft"
    assert fake.calls()[:2] == ["nft -c -f -", "nft -f -"]


def test_a_tool_that_the_kernel_does_not_support_is_passed_over(fake: Tools) -> None:
    fake.add("nft", 'case "$*" in *-f*) echo "cache initialization failed" >&2; exit 1;; esac')
    fake.add_iptables("iptables-nft")
    assert tools.apply(PLAN) == "iptables-nft"
    assert [call for call in fake.calls() if "restore" in call] == [
        "iptables-nft-restore --noflush --wait --test",
        "ip6tables-nft-restore --noflush --wait --test",
        "iptables-nft-restore --noflush --wait",
        "ip6tables-nft-restore --noflush --wait",
    ]


def test_nothing_is_changed_where_a_half_of_it_cannot_be(fake: Tools) -> None:
    fake.add_iptables("iptables-legacy")
    fake.add("ip6tables-legacy-restore", 'echo "can\'t initialize ip6tables table" >&2; exit 3')
    with pytest.raises(tools.ToolError) as raised:
        tools.apply(PLAN)
    assert raised.value.lines == (
        "the kernel takes no such rules",
        "iptables-legacy: ip6tables-legacy-restore: can't initialize ip6tables table",
    )
    assert all("--test" in call for call in fake.calls() if "restore" in call)
    assert tools.apply(Plan(Direction(15106), None, ipv6=False)) == "iptables-legacy"


def test_a_kernel_without_ipv6_needs_no_rules_for_it(fake: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_IPV6", fake.folder / "none")
    fake.add_iptables("iptables-legacy")
    assert tools.apply(PLAN) == "iptables-legacy"
    assert [call for call in fake.calls() if call.startswith("ip6tables-legacy-restore")] == []


def test_what_is_not_there_is_said(fake: Tools) -> None:
    with pytest.raises(tools.ToolError, match="neither nft nor iptables is installed"):
        tools.apply(PLAN)
    with pytest.raises(tools.ToolError, match="iptables-nft is not installed"):
        tools.apply(PLAN, "iptables-nft")
    assert tools.show() == {}
    assert tools.remove() == []


def test_only_root_with_the_capability_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(tools.ToolError, match="NET_ADMIN in the network namespace"):
        tools.need_rights()
