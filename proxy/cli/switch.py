"""``misrule stop`` and ``misrule resume``, the red button; and ``misrule drain``, the end in order."""

import time
from typing import Final

import click

from proxy.cli.exits import Failed
from proxy.cli.output import count, emit_json, say
from proxy.cli.remote import Admin, Refused, admin_options, json_option
from proxy.cli.times import TIME

LOOK: Final = 0.1  # seconds between two looks whether it is still there
SPARE: Final = 5.0  # seconds beyond its grace that it may take to be gone


@click.command()
@admin_options
@json_option
def stop(admin: Admin, as_json: bool) -> None:
    """Stop all faults at once: nothing is injected, what is delayed or stalled goes on."""
    _press(admin, "stop", "stopped: no fault is injected until `misrule resume`", as_json)


@click.command()
@admin_options
@json_option
def resume(admin: Admin, as_json: bool) -> None:
    """Inject faults again after a stop."""
    _press(admin, "resume", "resumed: rules are in force again", as_json)


@click.command()
@click.option(
    "--after", type=TIME, metavar="TIME", default="0s", help="Begin only so long from now, such as 5s."
)
@click.option("--wait", is_flag=True, help="Return only when the proxy has ended.")
@admin_options
@json_option
def drain(after: float, wait: bool, admin: Admin, as_json: bool) -> None:
    """End the proxy in order, as SIGTERM does: it takes nothing new and finishes what is under way."""
    time.sleep(after)
    begun = time.monotonic()
    told = admin.call("POST", "/v1/drain").value
    grace = told["grace"]
    if as_json:
        emit_json(told)
    else:
        say(f"draining: {count(told['connections'], 'connection')} open, gone within {grace:g} s")
    if not wait:
        return
    while _there(admin):
        if time.monotonic() - begun > grace + SPARE:
            raise Failed(f"the proxy at {admin.address} is still there {grace + SPARE:g} s later")
        time.sleep(LOOK)
    if not as_json:
        say(f"gone after {time.monotonic() - begun:.1f} s")


def _there(admin: Admin) -> bool:
    """Whether anybody answers: a proxy that drains says that it is not ready."""
    try:
        admin.call("GET", "/readyz")
    except Refused:
        return True
    except Failed:
        return False
    return True


def _press(admin: Admin, call: str, text: str, as_json: bool) -> None:
    answer = admin.call("POST", f"/v1/{call}")
    if as_json:
        emit_json(answer.value if answer.value is not None else {})
    else:
        say(text)
