"""``misrule breakers``: the breakers of a running proxy."""

from typing import Any, Final
from urllib.parse import quote

import click

from proxy.cli.exits import Failed
from proxy.cli.output import emit_json, say, table
from proxy.cli.remote import Admin, admin_options, json_option

NONE: Final = "none"


@click.command()
@click.argument("rule", default="")
@click.option(
    "--force",
    type=click.Choice(["open", "half_open", "closed", NONE]),
    help="Hold the breaker of RULE in a state; none lets it go.",
)
@admin_options
@json_option
def breakers(rule: str, force: str | None, admin: Admin, as_json: bool) -> None:
    """Show the breakers of rules, or of one RULE; with --force, hold that one in a state."""
    if force is not None:
        if not rule:
            raise click.UsageError("--force needs the name of a rule")
        state = None if force == NONE else force
        done = admin.call("PATCH", f"/v1/breakers/{quote(rule, safe='')}", {"force": state}).value
        if as_json:
            emit_json(done)
        else:
            say(f"{rule}: {'works by itself' if state is None else f'forced {state}'}")
        return
    shown = admin.call("GET", "/v1/breakers").value
    found = [one for one in shown["breakers"] if rule in ("", one["rule"])]
    if rule and not found:
        raise Failed(f'the rule "{rule}" has no breaker, or there is no such rule')
    if as_json:
        emit_json({**shown, "breakers": found})
    else:
        _show(found)


def _show(found: list[dict[str, Any]]) -> None:
    rows: list[tuple[str, ...]] = []
    for one in found:
        profile = one["figures"]["profile"] + (" (forced)" if "force" in one["figures"] else "")
        rows += [
            (
                one["rule"], profile, key["key"], key["state"], str(key["calls"]), str(key["failures"]),
                str(key["slow"]), str(key["refused"]),
            )
            for key in one["keys"]
        ]  # fmt: skip
        if not one["keys"]:
            rows.append((one["rule"], profile, "", "not asked yet", "", "", "", ""))
    if rows:
        table(("rule", "profile", "key", "state", "calls", "failures", "slow", "refused"), rows)
    else:
        say("no breakers")
