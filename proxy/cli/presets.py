"""``misrule presets``: ready rule files, one for each failure that people rehearse."""

import click

from proxy.cli.exits import Failed
from proxy.cli.output import emit_json, say, table
from proxy.cli.remote import json_option
from rules.presets import SCHEME, preset
from rules.presets import presets as all_presets


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def presets(context: click.Context, as_json: bool) -> None:
    """List ready rule files, one for each failure that people rehearse.

    \b
    misrule presets show rate-limit > rules.yaml
    misrule run --listen :8080 --upstream http://127.0.0.1:3000 --rules preset:rate-limit
    misrule rules apply preset:rate-limit
    """
    if context.invoked_subcommand is not None:
        return
    found = all_presets()
    if as_json:
        emit_json(
            [
                {"name": one.name, "rehearses": one.rehearses, "protocols": one.protocols, "path": one.path}
                for one in found
            ]
        )
        return
    table(
        ("preset", "rehearses", "protocols"),
        [(one.name, one.rehearses, ", ".join(one.protocols)) for one in found],
    )


@presets.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Print the file of the preset NAME, to be used as it is or changed."""
    try:
        found = preset(name.removeprefix(SCHEME))
    except ValueError as error:
        raise Failed(str(error)) from None
    if not as_json:
        say(found.text.rstrip("\n"))
        return
    from rules.parse import parse_rules

    rules = [rule.written for rule in parse_rules(found.text.encode(), found.path)]
    emit_json({"version": 1, "rules": rules})
