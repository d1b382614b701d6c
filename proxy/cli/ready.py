"""``misrule ready``: whether a running proxy is ready, for health checks and for what starts behind it."""

import time
from typing import Final

import click

from proxy.cli.exits import Failed
from proxy.cli.output import say
from proxy.cli.remote import Admin, admin_options
from proxy.cli.times import TIME

LOOK: Final = 0.1  # seconds between two looks


@click.command()
@click.option("--wait", type=TIME, metavar="TIME", default="0s", help="Wait so long for it, such as 30s.")
@admin_options
def ready(wait: float, admin: Admin) -> None:
    """Ask whether the proxy is ready: its listeners are open, its rules loaded, and it is not draining."""
    end = time.monotonic() + wait
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
