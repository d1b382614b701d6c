"""The command line: one file for each group of commands, imported when it is called."""

import click

from proxy.cli import exits
from proxy.cli.commands import Commands


def _print_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from proxy.cli.version import version_line

    click.echo(version_line())
    context.exit(exits.OK)


@click.command(cls=Commands, epilog=exits.TEXT, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and which build runs: compiled or interpreted.",
)
def main() -> None:
    """Misrule: a proxy that breaks service traffic by rule, and proves what it did."""


__all__ = ["main"]
