"""Exit codes, and the one error that commands raise.

0 done; 1 it did not work: invalid input, a refusal, something not reachable, a difference found;
2 the command line itself is wrong; 130 interrupted (128 + SIGINT, as shells count).
"""

import signal
from typing import Final

import click

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

TEXT: Final = (
    "Exit codes: 0 done, 1 failure (invalid input, refusal, not reachable, a difference found), "
    "2 wrong usage, 130 interrupted."
)


class Failed(click.ClickException):
    """A command could not do what was asked: one or more lines say why; exit code 1."""

    exit_code = FAILURE

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Misused(Failed):
    """What was given on the command line cannot be: exit code 2."""

    exit_code = USAGE


def ignore_signals() -> None:
    """Let no signal end a process whose loop has ended in order: it is about to give its own exit code.

    Who drains a proxy and then sends SIGTERM, as a kubelet does behind a hook, may meet it just then.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def reason(error: OSError) -> str:
    """Say in words what the operating system refused: ``permission denied``, ``no such file …``."""
    return (error.strerror or str(error)).lower()
