"""``misrule demo``: an upstream, the proxy and a client in one process, and a tour of what rules do."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Final, TextIO

import click

from proxy.cli.exits import FAILURE, INTERRUPTED, OK, Failed
from proxy.cli.output import emit_json, say, watched
from proxy.cli.remote import json_option

if TYPE_CHECKING:
    from proxy.app import App
    from proxy.cli.demo.stage import Stage
    from proxy.cli.demo.tour import Tour

LISTEN: Final = 8080
ADMIN: Final = 9905


@click.command()
@click.option("--once", is_flag=True, help="End after the tour (also where no person is at the terminal).")
@json_option
def demo(once: bool, as_json: bool) -> int:
    """Show what rules do to real requests, then keep serving so that you can try.

    Nothing is needed but this program: upstream, proxy and client run in one process, on ports of
    the loopback interface, with rules in a temporary directory. The exit code is 1 if a fault did not
    show as the real trouble would.
    """
    import uvloop

    stay = not once and not as_json and watched(sys.stdin) and watched(sys.stdout)
    with (
        tempfile.TemporaryDirectory(prefix="misrule-demo-") as home,
        open(os.path.join(home, "misrule.log"), "w", encoding="utf-8") as log,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_perform(home, log, stay, as_json))


async def _perform(home: str, log: TextIO, stay: bool, as_json: bool) -> int:
    """Start everything, play the tour, serve on if somebody is there, stop everything."""
    from proxy.cli.demo.stage import Stage
    from proxy.cli.demo.upstream import Upstream

    upstream = Upstream()
    await upstream.start()
    rules = os.path.join(home, "rules.yaml")
    app = await _start(upstream.address, rules, log)
    stage = Stage(app.addresses["web"], app.addresses["admin"], rules, log.name)
    try:
        code = await _tour(stage, upstream.address, as_json)
        if code == OK and stay:
            from proxy.cli.demo.show import hints

            hints(stage)
            return await app.run_until_signal()
    finally:
        await app.stop()
        await upstream.stop()
    return code


async def _start(upstream: str, rules: str, log: TextIO) -> "App":
    """Start the proxy with no rules yet; its log goes to a file, so that the tour can be read."""
    from proxy.app import App, StartError
    from proxy.cli.demo.story import NO_RULES
    from proxy.config import from_options

    with open(rules, "w", encoding="utf-8") as file:
        file.write(NO_RULES)
    config = from_options(_address(LISTEN), [f"http://{upstream}"], [rules], admin=_address(ADMIN))
    with contextlib.redirect_stderr(log):
        app = App(config)
    try:
        await app.start()
    except StartError as error:
        raise Failed(*error.lines) from None
    return app


def _address(port: int) -> str:
    """Give the loopback address with this port if it is free, else with any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return "127.0.0.1:0"
    return f"127.0.0.1:{port}"


async def _tour(stage: "Stage", upstream: str, as_json: bool) -> int:
    """Play the tour in a thread of its own, as a client does that knows nothing of the proxy's loop."""
    from proxy.cli.demo.show import opening
    from proxy.cli.demo.stage import Interrupted
    from proxy.cli.demo.tour import Tour

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stage.stopping.set)
    tour = Tour(stage, (lambda _: None) if as_json else say)
    if not as_json:
        opening(stage, upstream)
    try:
        await asyncio.to_thread(_play, tour, as_json)
    except Interrupted:
        return INTERRUPTED
    return FAILURE if tour.wrong else OK


def _play(tour: "Tour", as_json: bool) -> None:
    from proxy.cli.demo import show

    for part, print_part in (
        (tour.compare, show.results),
        (tour.change_rules, show.change),
        (tour.prove, show.proof),
    ):
        part()
        if not as_json:
            print_part(tour)
    if as_json:
        emit_json(tour.plain())
    else:
        show.failures(tour)
