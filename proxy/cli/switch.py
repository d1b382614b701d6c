"""``misrule stop`` and ``misrule resume``: the red button."""

import click

from proxy.cli.output import emit_json, say
from proxy.cli.remote import Admin, admin_options, json_option


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


def _press(admin: Admin, call: str, text: str, as_json: bool) -> None:
    answer = admin.call("POST", f"/v1/{call}")
    if as_json:
        emit_json(answer.value if answer.value is not None else {})
    else:
        say(text)
