"""Problems of documents, as people and machines want to read them."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from proxy.cli.output import paint, tell, watched
from rules.text import Problem

# Gives the text of a source, None where there is none to show.
Sources = Callable[[str], str | None]


def read_source(source: str) -> str | None:
    """Read a file again to show the line of a mistake; None where that is not possible."""
    try:
        with open(source, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 24)
    except OSError:
        return None


def show_problems(
    problems: Iterable[Problem], stream: TextIO, sources: Sources = read_source, kind: str = "error"
) -> None:
    """Print each as ``file:line:col: path: message``; for a person with the line and a caret below."""
    person = watched(stream)
    texts: dict[str, list[str]] = {}
    for problem in problems:
        note = "" if kind == "error" else paint(f"{kind}: ", kind, stream)
        place, rest = _parts(problem)
        tell(f"{paint(place, 'strong', stream)}: {note}{rest}", stream)
        if person and problem.place.line:
            if problem.place.source not in texts:
                texts[problem.place.source] = (sources(problem.place.source) or "").splitlines()
            _show_line(problem, texts[problem.place.source], stream)


def _parts(problem: Problem) -> tuple[str, str]:
    where = problem.place.source
    if problem.place.line:
        where += f":{problem.place.line}:{problem.place.column}"
    return where, ": ".join(part for part in (problem.path, problem.message) if part)


def _show_line(problem: Problem, lines: Sequence[str], stream: TextIO) -> None:
    """Print the line of a mistake, cut to what is around it, and a caret."""
    if problem.place.line > len(lines):
        return
    line = lines[problem.place.line - 1].expandtabs(1)
    start = max(0, problem.place.column - 60)
    shown = line[start : start + 100]
    number = f"{problem.place.line:>5} | "
    tell(paint(number, "faint", stream) + shown, stream)
    caret = " " * (len(number) + problem.place.column - 1 - start)
    tell(caret + paint("^", "error", stream), stream)


def as_json(problem: Problem, kind: str = "error") -> dict[str, Any]:
    """Give a problem for machines."""
    return {
        "severity": kind,
        "source": problem.place.source,
        "line": problem.place.line,
        "column": problem.place.column,
        "path": problem.path,
        "message": problem.message,
    }


def warn(problems: Iterable[Problem]) -> None:
    """Print what is most likely not meant."""
    show_problems(problems, sys.stderr, kind="warning")
