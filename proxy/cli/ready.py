"""``misrule ready``: whether a running proxy is ready, for health checks and for what starts behind it."""

import time
from typing import Final

import click

from proxy.cli.exits import Failed
from proxy.cli.output import say
from proxy.cli.remote import Admin, admin_options

LOOK: Final = 0.1  # seconds between two looks


@click.command()
@click.option(
    "--wait", metavar="TIME", default="0s", help="Wait so long for it, such as 30s (default: not at all)."
)
@admin_options
def ready(wait: str, admin: Admin) -> None:
    """Ask whether the proxy is ready: its listeners are open, its rules loaded, and it is not draining."""
    end = time.monotonic() + _seconds(wait)
    while True:
        try:
            admin.call("GET", "/readyz")
        except Failed:
            if time.monotonic() >= end:
                raise
            time.sleep(LOOK)
        else:
            say("ready")
            return


def _seconds(wait: str) -> float:
    from rules.params import BadValue, Duration

    try:
        return Duration().parse(wait)
    except BadValue as bad:
        raise click.BadParameter(str(bad), param_hint="--wait") from None
