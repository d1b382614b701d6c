"""``misrule schema``: JSON Schema of what people write, for editors."""

import click

from proxy.cli.output import emit_json


@click.command()
@click.argument("kind", type=click.Choice(["rules", "config"]))
def schema(kind: str) -> None:
    """Print the JSON Schema (2020-12) of rule files or of the configuration file.

    For an editor with the YAML language server, save it and write into the first line of a rules file:
    # yaml-language-server: $schema=rules.schema.json
    """
    if kind == "rules":
        from rules.schema import rules_schema

        emit_json(rules_schema())
        return
    from proxy.config.schema import config_schema

    emit_json(config_schema())
