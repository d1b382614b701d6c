"""``misrule capture``: options to a plan; what cannot be says why."""

from typing import NamedTuple

import pytest

from tests.unit.proxy import test_cli


class Done(NamedTuple):
    """What came of a command."""

    exit_code: int
    stdout: str
    stderr: str


def run(*words: str) -> Done:
    return Done(*test_cli.run(*words))


def test_dry_run_prints_what_would_be_put_in_force() -> None:
    done = run("capture", "apply", "--dry-run", "--tool", "nft", "--exclude-inbound-ports", "22,8000-8010")
    assert done.exit_code == 0
    assert done.stdout.startswith("table inet misrule\ndelete table inet misrule\n")
    assert "tcp dport { 22, 8000-8010 } return" in done.stdout
    assert "chain outbound" not in done.stdout


def test_both_versions_of_ip_are_shown_for_iptables() -> None:
    words = ["--direction", "both", "--outbound-port", "1234", "--uid", "7,8", "--gid", ""]
    done = run("capture", "apply", "--dry-run", "--tool", "iptables-legacy", *words)
    assert done.stdout.count("COMMIT") == 2
    assert "# ip6tables-legacy-restore --noflush --wait\n" in done.stdout
    assert "-A MISRULE_OUTBOUND -m owner --uid-owner 8 -j RETURN" in done.stdout
    assert "--gid-owner" not in done.stdout
    assert "--to-ports 1234" in done.stdout
    assert (
        run("capture", "apply", "--dry-run", "--tool", "iptables", "--ipv4-only").stdout.count("COMMIT") == 1
    )


def test_options_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MISRULE_CAPTURE_DIRECTION", "outbound")
    monkeypatch.setenv("MISRULE_CAPTURE_INCLUDE_OUTBOUND_CIDRS", "10.0.0.0/8")
    done = run("capture", "apply", "--dry-run", "--tool", "nft")
    assert "chain inbound" not in done.stdout
    assert "ip daddr != { 10.0.0.0/8 } return" in done.stdout


def test_every_mistake_is_said_at_once() -> None:
    words = ["--direction", "up", "--inbound-port", "80-90", "--exclude-inbound-ports", "0,9-8,x"]
    words += ["--include-inbound-cidrs", "10.1.0.0/8", "--uid", "root"]
    done = run("capture", "apply", *words)
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        'misrule: --inbound-port: expected one port, got "80-90"',
        'misrule: --exclude-inbound-ports: a port is a number from 1 to 65535, got "0"',
        'misrule: --include-inbound-cidrs: "10.1.0.0/8" has bits beyond its prefix; '
        "the network is 10.0.0.0/8",
        'misrule: --uid: expected the number of a user or group, got "root"',
        'misrule: --direction: expected inbound, outbound or both, got "up"',
    ]


def test_an_unknown_tool_is_refused() -> None:
    done = run("capture", "apply", "--tool", "ipfw")
    assert done.exit_code == 2
    assert done.stderr == (
        'misrule: --tool: expected nft, iptables-nft, iptables-legacy or iptables, got "ipfw"\n'
    )


@pytest.mark.parametrize("command", ["apply", "remove", "show"])
def test_rights_that_are_missing_are_named(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    done = run("capture", command)
    assert done.exit_code == 1
    assert "NET_ADMIN" in done.stderr
