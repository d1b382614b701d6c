"""The command group that loads each command when it is asked for, and prints errors as one line."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import click

from proxy.cli import exits

# Name on the command line -> module and the command in it.
COMMANDS: Final[dict[str, str]] = {
    "run": "proxy.cli.run:run",
    "check": "proxy.cli.check:check",
    "explain": "proxy.cli.explain:explain",
    "rules": "proxy.cli.rules:rules",
    "breakers": "proxy.cli.breakers:breakers",
    "stop": "proxy.cli.switch:stop",
    "resume": "proxy.cli.switch:resume",
    "drain": "proxy.cli.switch:drain",
    "ready": "proxy.cli.ready:ready",
    "capture": "proxy.cli.capture:capture",
    "certs": "proxy.cli.certs:certs",
    "injector": "proxy.cli.injector:injector",
    "presets": "proxy.cli.presets:presets",
    "schema": "proxy.cli.schema:schema",
    "demo": "proxy.cli.demo:demo",
}

# What click raises where a group is called without a command; before 8.2 it prints help by itself.
NO_ARGUMENTS: Final[tuple[type[click.UsageError], ...]] = tuple(
    found for found in [getattr(click.exceptions, "NoArgsIsHelpError", None)] if found is not None
)


class Commands(click.Group):
    """A click group whose commands are imported on demand (``misrule --version`` imports none)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, name = target.split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its code; every error is one clear line on standard error."""
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            report(error)
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            code = exits.INTERRUPTED
        except BrokenPipeError:
            # The reader of our output went away (`misrule rules get | head`): nobody is left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = exits.FAILURE
        code = code if isinstance(code, int) else exits.OK
        if standalone_mode:
            sys.exit(code)
        return code


def report(error: click.ClickException) -> None:
    """Print what went wrong: the command, then the message; of a usage error also where help is.

    A group that is called without a command has its help for a message: that is printed as it is.
    """
    from proxy.cli.output import paint, tell

    if isinstance(error, exits.Failed):
        for line in error.lines:
            tell(f"{paint('misrule:', 'error')} {line}", sys.stderr)
        return
    if isinstance(error, NO_ARGUMENTS):
        click.echo(error.format_message(), err=True)
        return
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "misrule"
    text = " ".join(error.format_message().split()).rstrip(".")
    text = text[:1].lower() + text[1:] if not text.startswith("'") else text
    tell(f"{paint(f'{command}:', 'error')} {text} (see `{command} --help`)", sys.stderr)
