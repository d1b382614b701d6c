"""``misrule check``: are these files right, and if not, where and why not."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import click

from proxy.cli.exits import FAILURE, OK
from proxy.cli.output import count, emit_json, paint, say
from proxy.cli.problems import as_json, read_source, show_problems
from proxy.cli.remote import json_option
from proxy.config import Config, parse
from proxy.rulefiles import SUFFIXES, look, read_files
from rules.model import Place, Rule
from rules.parse import parse_rules
from rules.presets import SCHEME
from rules.text import Problem, RulesError, read

STDIN: Final = "-"
CONFIG_KEYS: Final = frozenset({"listeners", "upstreams", "admin", "health", "log", "workers", "state_dir"})


@dataclass
class Report:
    """What was found in all files together."""

    files: list[tuple[str, str]] = field(default_factory=list)  # path, what it holds; "" where it is wrong
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)  # of what cannot be read again: standard input

    def text(self, source: str) -> str | None:
        """Give the text of a source, to show the line of a mistake."""
        return self.texts.get(source) or read_source(source)


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@json_option
def check(paths: Sequence[str], strict: bool, as_json: bool) -> int:
    """Check rule files, directories of them and configuration files.

    Which of the two a file is shows in its keys. A configuration is checked together with the rules
    that it names. PATH - is standard input. All mistakes are printed, each as
    file:line:column: key: message; the exit code is 1 where there are any.
    """
    report = Report()
    for path in paths:
        _check_path(path, report)
    _check_names(report)
    if as_json:
        _print_json(report)
    else:
        _print(report)
    return FAILURE if report.errors or (strict and report.warnings) else OK


def _check_path(path: str, report: Report) -> None:
    if path == STDIN:
        data = sys.stdin.buffer.read()
        report.texts["<stdin>"] = data.decode("utf-8", "replace")
        _check_document("<stdin>", data, report)
        return
    listing = look([path])
    contents = read_files(listing)
    if not listing.files:  # a directory: what is missing is an error in its place
        report.files.append((path, f"0 rules: no file in it ends in {', '.join(SUFFIXES)}"))
    report.errors += contents.problems
    report.files += [(problem.place.source, "") for problem in contents.problems]
    for source, data in contents.documents:
        _check_document(source, data, report)


def _check_document(source: str, data: bytes, report: Report) -> None:
    try:
        if _is_config(data, source):
            _check_config(source, data, report)
            return
        rules = parse_rules(data, source)
    except RulesError as error:
        report.errors += error.problems
        report.files.append((source, ""))
        return
    report.rules += rules
    report.files.append((source, count(len(rules), "rule")))


def _is_config(data: bytes, source: str) -> bool:
    """Tell the two kinds of files apart: a configuration names listeners and the like, at its top."""
    value = read(data, source).value
    return isinstance(value, dict) and not CONFIG_KEYS.isdisjoint(value)


def _check_config(source: str, data: bytes, report: Report) -> None:
    config = parse(data, source, report.warnings)
    what = f"{count(len(config.listeners), 'listener')}, {count(len(config.upstreams), 'upstream')}"
    report.files.append((source, what))
    base = os.path.dirname(source)
    before = len(report.rules)
    for path in config.rules:
        _check_path(path if path.startswith(SCHEME) else os.path.join(base, path), report)
    report.warnings += _strangers(report.rules[before:], config)


def _strangers(rules: Iterable[Rule], config: Config) -> Iterable[Problem]:
    """Find rules that name listeners or upstreams which the configuration has not: they never match."""
    listeners = {listener.name for listener in config.listeners}
    for rule in rules:
        for what, names, known in (
            ("listener", rule.match.listener, listeners),
            ("upstream", rule.match.upstream, set(config.upstreams)),
        ):
            for name in sorted(set(names) - known):
                message = f'the configuration has no {what} "{name}", so this never matches'
                yield Problem(rule.place, f"{rule.name}: match.{what}", message)


def _check_names(report: Report) -> None:
    """Find names that two files share; within one file the reader has found them."""
    first: dict[str, Place] = {}
    for rule in report.rules:
        place = first.setdefault(rule.name, rule.place)
        if place.source != rule.place.source:
            message = f'the name "{rule.name}" is taken by a rule in {place.source}'
            report.errors.append(Problem(rule.place, f"{rule.name}: name", message))


def _print(report: Report) -> None:
    show_problems(report.errors, sys.stdout, report.text)
    show_problems(report.warnings, sys.stdout, report.text, kind="warning")
    for path, what in report.files:
        if what:
            say(f"{path}: {paint('ok', 'good', sys.stdout)}, {what}")
    if report.errors:
        bad = len({problem.place.source for problem in report.errors})
        click.echo(f"{count(len(report.errors), 'error')} in {count(bad, 'file')}", err=True)


def _print_json(report: Report) -> None:
    problems: list[dict[str, Any]] = [as_json(problem) for problem in report.errors]
    problems += [as_json(problem, "warning") for problem in report.warnings]
    files = [{"path": path, "ok": bool(what), "holds": what} for path, what in report.files]
    emit_json({"ok": not report.errors, "files": files, "problems": problems})
