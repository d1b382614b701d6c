"""``misrule run``: the proxy itself."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from proxy.cli.exits import FAILURE, Failed, Misused, ignore_signals
from rules.presets import SCHEME

if TYPE_CHECKING:
    from proxy.config import Config

# Name, what it takes, whether it may be given several times, what it is for.
OPTIONS: Final[tuple[tuple[str, str, bool, str], ...]] = (
    ("config", "FILE", False, "Configuration file; `misrule schema config` describes it."),
    (
        "listen",
        "ADDRESS",
        False,
        "Where clients connect: host:port, :port or unix:/path; port 0: a free one. h2c://…: HTTP/2 only.",
    ),
    (
        "upstream",
        "URL",
        True,
        "Where requests go: http://host:port, https://…, tcp://… Several: each in turn.",
    ),
    (
        "capture",
        "WHICH",
        False,
        "In the place of both: take what `misrule capture apply` brings, inbound, outbound or both.",
    ),
    ("rules", "PATH", True, "File or directory with rules, or preset:NAME; several: one after the other."),
    (
        "admin",
        "ADDRESS",
        False,
        "Where the admin endpoint listens, such as 127.0.0.1:9905; absent or off: none.",
    ),
    (
        "token-file",
        "FILE",
        False,
        "Bearer token of the admin endpoint; a must where other machines reach it.",
    ),
    (
        "certs",
        "FOLDER",
        False,
        "Authority that mints certificates; absent: in memory, a new one at each start.",
    ),
    (
        "state-dir",
        "FOLDER",
        False,
        "Where rules made over the admin endpoint outlive a restart; absent: they do not.",
    ),
    ("access", "WHICH", False, "Which exchanges leave a log line: all, injected (default) or none."),
    ("log-level", "LEVEL", False, "debug, info (default), warning or error."),
    ("log-format", "FORMAT", False, "json (default) or text."),
)
VARIABLES: Final = {"token-file": "MISRULE_ADMIN_TOKEN_FILE"}


class RulePath(click.Path):
    """Paths that are separated by colons in the environment, where ``preset:NAME`` has one of its own."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Split them, but for the colon behind ``preset``."""
        found: list[str] = []
        for part in super().split_envvar_value(rv):
            if found and f"{found[-1]}:" == SCHEME:
                found[-1] += f":{part}"
            else:
                found.append(part)
        return found


def variable(name: str) -> str:
    """Name the environment variable of an option."""
    return VARIABLES.get(name) or f"MISRULE_{name.upper().replace('-', '_')}"


def with_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options of the table; each also from the environment."""
    for name, takes, several, doc in reversed(OPTIONS):
        option = click.option(
            f"--{name}",
            envvar=variable(name),
            metavar=takes,
            multiple=several,
            default=None if several else "",
            type=RulePath() if takes == "PATH" else str,  # MISRULE_RULES is split as $PATH is
            help=f"{doc}  [{variable(name)}]",
        )
        command = option(command)
    return command


@click.command()
@with_options
@click.pass_context
def run(context: click.Context, /, **given: Any) -> int:
    """Run the proxy until SIGTERM or SIGINT.

    \b
    misrule run --listen :8080 --upstream http://127.0.0.1:3000 --rules rules.yaml
    misrule run --capture inbound --rules rules.yaml
    misrule run --config misrule.yaml

    Changed rules come into force by themselves. With --config, the options --rules, --admin,
    --token-file, --certs, --state-dir and those of the log take the place of what the file says.
    """
    if context.get_parameter_source("token_file") is ParameterSource.ENVIRONMENT:
        given["token_file"] = Spare(given["token_file"])
    try:
        config = configured(given)
    except Misused as error:
        raise Misused(*(_as_given(line, context) for line in error.lines)) from None
    return serve(config)


def _as_given(line: str, context: click.Context) -> str:
    """Begin a mistake in an option, ``--access: …``, with its variable where that has given the value."""
    option, colon, rest = line.partition(": ")
    name = option.removeprefix("--")
    if context.get_parameter_source(name.replace("-", "_")) is ParameterSource.ENVIRONMENT:
        return f"{variable(name)}{colon}{rest}"
    return line


class Spare(str):
    """A token file of the environment: it may be there only for the commands that call an endpoint."""


def configured(given: dict[str, Any]) -> "Config":
    """Make the configuration that file and options ask for; every mistake is reported at once."""
    from proxy.config import OptionsError
    from rules.text import RulesError

    try:
        return _from_file(given) if given["config"] else _from_options(given)
    except OptionsError as error:
        raise Misused(*error.lines) from None
    except RulesError as error:
        from proxy.cli.problems import show_problems

        show_problems(error.problems, sys.stderr)
        raise click.exceptions.Exit(FAILURE) from None


def _from_options(given: dict[str, Any]) -> "Config":
    from proxy.config import from_options

    if given["capture"]:
        _exclude(given, "capture", ("listen", "upstream"))
        return from_options("", (), capture=given["capture"], **_others(given, has_admin=False))
    listen, upstream = _required(given, "listen"), _required(given, "upstream")
    return from_options(listen, upstream, **_others(given, has_admin=False))


def _exclude(given: dict[str, Any], one: str, others: tuple[str, ...]) -> None:
    """Refuse options that have no meaning beside another one."""
    beside = f"--{one}" if one == "config" else f"--{one} ({variable(one)})"
    for name in others:
        if given[name]:
            raise click.UsageError(f"--{name} ({variable(name)}) and {beside} exclude each other")


def _from_file(given: dict[str, Any]) -> "Config":
    from proxy.config import load, with_options
    from rules.text import Problem

    _exclude(given, "config", ("listen", "upstream", "capture"))
    warnings: list[Problem] = []
    config = load(given["config"], warnings)
    config = with_options(config, **_others(given, has_admin=config.admin is not None))
    if warnings:
        from proxy.cli.problems import warn

        warn(warnings)
    return config


def _others(given: dict[str, Any], has_admin: bool) -> dict[str, Any]:
    """Give the options that both forms have; a spare token file only where there is something to guard."""
    names = ("admin", "token_file", "certs", "state_dir", "access", "log_level", "log_format")
    others = {name: given[name] for name in names}
    if isinstance(others["token_file"], Spare) and not has_admin and not given["admin"]:
        others["token_file"] = ""
    others["token_file"] = str(others["token_file"])
    return others | {"rules": list(given["rules"] or ())}


def _required(given: dict[str, Any], name: str) -> Any:
    if not given[name]:
        raise click.UsageError(f"missing option --{name} (or --config FILE)")
    return given[name]


def serve(config: "Config") -> int:
    """Run the proxy in this process until a signal ends it; gives the exit code."""
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_serve(config))
    ignore_signals()
    return code


async def _serve(config: "Config") -> int:
    from proxy.app import App, StartError

    app = App(config)
    app.take_signals()
    try:
        await app.start()
    except StartError as error:
        raise Failed(*error.lines) from None
    return await app.run_until_signal()
