"""``misrule capture``: the kernel's rules that bring connections to a capturing listener."""

from collections.abc import Callable
from typing import Any, Final

import click

from proxy.cli.exits import Failed, Misused
from proxy.cli.output import paint, say

# Name, what it takes, its default, what it is for.
_OPTIONS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("direction", "WHICH", "inbound", "inbound, outbound or both."),
    ("inbound-port", "PORT", "15106", "Where the listener for inbound connections is."),
    ("outbound-port", "PORT", "15101", "Where the listener for outbound connections is."),
    ("include-inbound-ports", "PORTS", "*", "Capture only these, such as 80,8000-8010."),
    ("exclude-inbound-ports", "PORTS", "", "Do not capture these."),
    (
        "include-inbound-cidrs",
        "CIDRS",
        "*",
        "Capture only what comes from these, such as 10.0.0.0/8.",
    ),
    ("exclude-inbound-cidrs", "CIDRS", "", "Do not capture what comes from these."),
    ("include-outbound-ports", "PORTS", "*", "Capture only these."),
    ("exclude-outbound-ports", "PORTS", "", "Do not capture these."),
    ("include-outbound-cidrs", "CIDRS", "*", "Capture only what goes to these."),
    ("exclude-outbound-cidrs", "CIDRS", "", "Do not capture what goes to these."),
    (
        "own-ports",
        "PORTS",
        "9905,9906",
        "Of the admin endpoint and the health listener: never captured.",
    ),
    ("uid", "UIDS", "1337", "Whose outbound connections are not captured: the proxy's."),
    ("gid", "GIDS", "1337", "The same by group."),
    ("tool", "TOOL", "", "nft, iptables-nft, iptables-legacy or iptables; absent: the first that works."),
)
_ALL: Final = "*"


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the table; each also from the environment."""
    for name, takes, default, doc in reversed(_OPTIONS):
        variable = f"MISRULE_CAPTURE_{name.upper().replace('-', '_')}"
        shown = f" Default: {'all' if default == _ALL else default}." if default else ""
        command = click.option(
            f"--{name}", envvar=variable, metavar=takes, default=default, help=f"{doc}{shown}  [{variable}]"
        )(command)
    return command


@click.group()
def capture() -> None:
    """Bring connections to capturing listeners, by rules of the kernel.

    A listener with `capture: redirect` in the configuration gets connections that were on their way to
    other addresses. These rules, of nftables or iptables, send them there. They hold in the network
    namespace in which this runs (a pod's, say), and need root with NET_ADMIN; the proxy itself needs neither.
    """


@capture.command()
@with_options
@click.option("--loopback", is_flag=True, help="Outbound: capture also what this machine says to itself.")
@click.option("--ipv4-only", is_flag=True, help="Leave IPv6 alone.")
@click.option("--dry-run", is_flag=True, help="Print the rules, and change nothing.")
def apply(dry_run: bool, **given: Any) -> None:
    """Put the rules in force, in the place of those that an earlier call has made.

    \b
    misrule capture apply
    misrule capture apply --direction both --exclude-outbound-cidrs 169.254.0.0/16
    """
    from proxy.netfilter import tools

    plan = _plan(given)
    kind = given["tool"]
    if kind and kind not in tools.KINDS:
        raise Misused(f'--tool: expected {", ".join(tools.KINDS[:-1])} or {tools.KINDS[-1]}, got "{kind}"')
    if dry_run:
        known = next((one for one in tools.KINDS if tools.installed(one)), tools.NFT)
        click.echo(tools.written(plan, kind or known), nl=False)
        return
    try:
        tools.need_rights()
        kind = tools.apply(plan, kind)
    except tools.ToolError as error:
        raise Failed(*error.lines) from None
    for direction, one in (("inbound", plan.inbound), ("outbound", plan.outbound)):
        if one is not None:
            say(f"{direction} connections go to port {one.port}, by {kind}")


@capture.command()
def remove() -> None:
    """Take the rules away, whichever tool has put them in force; open connections stay as they are."""
    from proxy.netfilter import tools

    try:
        tools.need_rights()
        found = tools.remove()
    except tools.ToolError as error:
        raise Failed(*error.lines) from None
    say(f"removed from {', '.join(found)}" if found else "nothing was captured here")


@capture.command()
def show() -> None:
    """Print the rules that are in force, as the kernel tells them."""
    from proxy.netfilter import tools

    try:
        tools.need_rights()
        found = tools.show()
    except tools.ToolError as error:
        raise Failed(*error.lines) from None
    for kind, text in found.items():
        say(f"# {kind}", "faint")
        say(text)
    if not found:
        say(paint("# nothing is captured here", "faint"))


def _plan(given: dict[str, Any]) -> Any:
    """Make the plan that the options ask for; raises Misused with every mistake."""
    from proxy.netfilter.plan import Direction, Plan

    wrong: list[str] = []
    read = {name: _read(name, str(given[name.replace("-", "_")]), wrong) for name, _, _, _ in _OPTIONS}
    if given["direction"] not in ("inbound", "outbound", "both"):
        wrong.append(f'--direction: expected inbound, outbound or both, got "{given["direction"]}"')
    if wrong:
        raise Misused(*wrong)

    def direction(name: str) -> Direction | None:
        if given["direction"] not in (name, "both"):
            return None
        return Direction(
            read[f"{name}-port"],
            read[f"include-{name}-ports"],
            read[f"exclude-{name}-ports"],
            read[f"include-{name}-cidrs"],
            read[f"exclude-{name}-cidrs"],
        )

    return Plan(
        direction("inbound"),
        direction("outbound"),
        read["own-ports"],
        read["uid"],
        read["gid"],
        bool(given["loopback"]),
        not given["ipv4_only"],
    )


def _read(name: str, text: str, wrong: list[str]) -> Any:
    """Read the value of an option; what is wrong with it goes to ``wrong``."""
    from proxy.config.addresses import PortRange
    from rules.match_params import Network
    from rules.params import BadValue

    parts = [] if text == _ALL else [part.strip() for part in text.split(",") if part.strip()]
    try:
        if name.endswith("ports"):
            return tuple(PortRange().parse(part) for part in parts)
        if name.endswith("cidrs"):
            return tuple(Network().parse(part) for part in parts)
        if name.endswith("-port"):
            first, last = PortRange().parse(text)
            if first != last:
                raise BadValue(f'expected one port, got "{text}"')
            return first
        if name.endswith("id"):
            return tuple(_number(part) for part in parts)
    except BadValue as bad:
        wrong += [f"--{name}: {trouble.message}" for trouble in bad.troubles]
    return text


def _number(text: str) -> int:
    """Read the number of a user or group: names are those of an image, not of the kernel."""
    from rules.params import BadValue, show

    if not text.isascii() or not text.isdigit() or int(text[:11]) >= 2**32 - 1:
        raise BadValue(f"expected the number of a user or group, got {show(text)}")
    return int(text)
