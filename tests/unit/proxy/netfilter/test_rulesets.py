"""What is written for nftables and for iptables."""

import pytest

from proxy.netfilter import iptables, nft
from proxy.netfilter.plan import Direction, Plan, merged, of_version

BOTH = Plan(Direction(15106), Direction(15101))
SAVED = """\
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:MISRULE_INBOUND - [0:0]
:MISRULE_OUTBOUND - [0:0]
-A PREROUTING -j DOCKER
-A PREROUTING -p tcp -j MISRULE_INBOUND
-A OUTPUT -p tcp -j MISRULE_OUTBOUND
-A MISRULE_INBOUND -i lo -j RETURN
-A MISRULE_OUTBOUND -p tcp -j REDIRECT --to-ports 15101
COMMIT
"""


def test_nft_replaces_the_table_in_one_transaction() -> None:
    text = nft.ruleset(Plan(Direction(15106), None))
    assert text == (
        "table inet misrule\n"
        "delete table inet misrule\n"
        "table inet misrule {\n"
        "\tchain inbound {\n"
        "\t\ttype nat hook prerouting priority -100; policy accept;\n"
        "\t\tmeta l4proto != tcp return\n"
        '\t\tiifname "lo" return\n'
        "\t\tfib daddr type != local return\n"
        "\t\ttcp dport { 9905-9906, 15101, 15106 } return\n"
        "\t\tmeta l4proto tcp redirect to :15106\n"
        "\t}\n"
        "}\n"
    )


def test_outbound_lets_go_the_loopback_and_the_proxys_own_user() -> None:
    lines = [line.strip() for line in nft.ruleset(BOTH).splitlines()]
    at = lines.index("chain outbound {")
    assert lines[at + 2 : at + 7] == [
        "meta l4proto != tcp return",
        'oifname "lo" return',
        "meta skuid { 1337 } return",
        "meta skgid { 1337 } return",
        "meta l4proto tcp redirect to :15101",
    ]


def test_the_loopback_is_captured_on_request_but_for_our_own_ports() -> None:
    plan = Plan(None, Direction(15101), users=(7, 70, 8), groups=(), loopback=True, ipv6=False)
    text = nft.ruleset(plan)
    assert 'oifname "lo" tcp dport { 9905-9906, 15101, 15106 } return' in text
    assert "meta skuid { 7, 8, 70 } return" in text
    assert "skgid" not in text
    assert "meta nfproto ipv6 return" in text
    rules = iptables.ruleset(plan, 4)
    assert "-A MISRULE_OUTBOUND -o lo -p tcp -m multiport --dports 9905:9906,15101,15106 -j RETURN" in rules
    assert iptables.ruleset(plan, 6) == "*nat\nCOMMIT\n"


CHOSEN = Direction(
    15101,
    include_ports=((80, 80), (8000, 8010), (8005, 8020)),
    exclude_ports=((22, 22),),
    include_networks=("10.0.0.0/9", "10.128.0.0/9"),
    exclude_networks=("10.1.0.0/16", "fd00::/8"),
)


def test_what_is_chosen_in_nft() -> None:
    lines = [line.strip() for line in nft.ruleset(Plan(None, CHOSEN)).splitlines()]
    at = lines.index("tcp dport { 22 } return")
    assert lines[at : at + 7] == [
        "tcp dport { 22 } return",
        "tcp dport != { 80, 8000-8020 } return",
        "ip daddr { 10.1.0.0/16 } return",
        "ip daddr != { 10.0.0.0/8 } return",
        "ip6 daddr { fd00::/8 } return",
        "meta nfproto ipv6 return",
        "meta l4proto tcp redirect to :15101",
    ]


def test_what_is_chosen_in_iptables() -> None:
    rules = [line for line in iptables.ruleset(Plan(None, CHOSEN), 4).splitlines() if "MISRULE_OUT" in line]
    assert rules[-3:] == [
        "-A MISRULE_OUTBOUND -p tcp -m multiport --dports 22 -j RETURN",
        "-A MISRULE_OUTBOUND -d 10.1.0.0/16 -j RETURN",
        "-A MISRULE_OUTBOUND -p tcp -d 10.0.0.0/8 -m multiport --dports 80,8000:8020 "
        "-j REDIRECT --to-ports 15101",
    ]
    last = iptables.ruleset(Plan(None, CHOSEN), 6).splitlines()[-2]
    assert last == "-A MISRULE_OUTBOUND -d fd00::/8 -j RETURN"  # of IPv6 nothing was included


def test_inbound_chooses_by_where_clients_come_from() -> None:
    plan = Plan(Direction(15106, exclude_networks=("192.0.2.1/32",)), None)
    assert "ip saddr { 192.0.2.1/32 } return" in nft.ruleset(plan)
    assert "-A MISRULE_INBOUND -s 192.0.2.1/32 -j RETURN" in iptables.ruleset(plan, 4)


def test_a_multiport_match_takes_fifteen_ports() -> None:
    ports = tuple((port, port) for port in range(1, 100, 3))
    plan = Plan(Direction(15106, exclude_ports=ports), None, own_ports=())
    rules = [line for line in iptables.ruleset(plan, 4).splitlines() if "--dports" in line][1:]
    assert [line.count(",") + 1 for line in rules] == [15, 15, 3]
    ranges = tuple((port, port + 1) for port in range(1, 100, 3))
    plan = Plan(Direction(15106, exclude_ports=ranges), None, own_ports=())
    rules = [line for line in iptables.ruleset(plan, 4).splitlines() if "--dports" in line][1:]
    assert [line.count(":") for line in rules] == [7, 7, 7, 7, 5]


def test_iptables_takes_away_what_an_earlier_call_has_left() -> None:
    lines = iptables.ruleset(Plan(Direction(15106), None), 4, SAVED).splitlines()
    assert lines[:7] == [
        "*nat",
        ":MISRULE_INBOUND - [0:0]",
        "-D PREROUTING -p tcp -j MISRULE_INBOUND",
        "-D OUTPUT -p tcp -j MISRULE_OUTBOUND",
        "-F MISRULE_OUTBOUND",
        "-X MISRULE_OUTBOUND",
        "-A PREROUTING -p tcp -j MISRULE_INBOUND",
    ]
    assert "DOCKER" not in "\n".join(lines)


def test_iptables_removes_what_is_ours_and_no_more() -> None:
    assert iptables.removal(SAVED).splitlines() == [
        "*nat",
        "-D PREROUTING -p tcp -j MISRULE_INBOUND",
        "-D OUTPUT -p tcp -j MISRULE_OUTBOUND",
        "-F MISRULE_INBOUND",
        "-F MISRULE_OUTBOUND",
        "-X MISRULE_INBOUND",
        "-X MISRULE_OUTBOUND",
        "COMMIT",
    ]
    assert iptables.removal(SAVED.replace("MISRULE", "OTHER")) == ""
    assert len(iptables.ours(SAVED)) == 6


@pytest.mark.parametrize(
    ("given", "found"),
    [([(80, 80), (81, 90), (85, 100)], ((80, 100),)), ([(443, 443), (80, 80)], ((80, 80), (443, 443)))],
)
def test_ranges_of_ports_are_merged(given: list[tuple[int, int]], found: tuple[tuple[int, int], ...]) -> None:
    assert merged(given) == found


def test_networks_are_sorted_by_version() -> None:
    given = ["fd00::/9", "10.0.0.0/8", "fd80::/9", "10.1.0.0/16"]
    assert of_version(given, 4) == ["10.0.0.0/8"]
    assert of_version(given, 6) == ["fd00::/8"]
