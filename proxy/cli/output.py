"""What commands print: coloured where a person looks, plain in a pipe, JSON for machines.

A person looks where the stream is a terminal; ``NO_COLOR`` (no-color.org) takes the colour away,
``FORCE_COLOR`` gives it to a pipe.  rich is imported only when a table is drawn for a person.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

import click

STYLES: Final[dict[str, dict[str, Any]]] = {
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
    "name": {"fg": "cyan"},
    "faint": {"dim": True},
    "strong": {"bold": True},
}


def watched(stream: TextIO) -> bool:
    """Whether a person looks at this stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def coloured(stream: TextIO) -> bool:
    """Whether this stream gets colours."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return watched(stream) and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """Colour a piece of text for ``stream`` (standard error when not given), if it takes colours."""
    return click.style(text, **STYLES[style]) if coloured(stream or sys.stderr) else text


def tell(text: str, stream: TextIO) -> None:
    """Print a line, parts of which are painted, with colours only where the stream takes them."""
    click.echo(text, file=stream, color=coloured(stream))


def say(text: str = "", style: str = "") -> None:
    """Print a line on standard output."""
    tell(paint(text, style, sys.stdout) if style else text, sys.stdout)


def count(number: int, noun: str) -> str:
    """Give a number with its noun: ``1 rule``, ``2 rules``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def emit_json(value: Any) -> None:
    """Print a value for machines."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def show_diff(lines: Iterable[str]) -> None:
    """Print a unified diff."""
    styles = {"+": "good", "-": "bad", "@": "name"}
    for line in lines:
        say(line, "strong" if line.startswith(("+++", "---")) else styles.get(line[:1], ""))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table: drawn for a person, aligned plain text in a pipe."""
    if not watched(sys.stdout):
        _plain_table(columns, rows, title)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(no_color=not coloured(sys.stdout)).print(drawn)


def _plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    if title:
        say(title)
    for row in [columns, *rows]:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
