"""``misrule rules``: look at and change the rules of a running proxy."""

import sys
from typing import Any
from urllib.parse import quote

import click

from proxy.cli.exits import FAILURE, OK, Failed, reason
from proxy.cli.output import emit_json, paint, say, show_diff, table
from proxy.cli.problems import show_problems
from proxy.cli.remote import Admin, Refused, admin_options, json_option
from proxy.cli.versions import history, rollback
from rules.difference import Difference, compare
from rules.presets import located, missing

STDIN = "-"


@click.group()
def rules() -> None:
    """Look at and change the rules of a running proxy, over its admin endpoint."""


@rules.command()
@click.argument("name", default="")
@click.option("--document", is_flag=True, help="Print a document that `rules apply` takes (JSON).")
@admin_options
@json_option
def get(name: str, document: bool, admin: Admin, as_json: bool) -> None:
    """Show the rules in force and what they did, or one rule."""
    if name and not document:
        emit_json(admin.call("GET", f"/v1/rules/{quote(name, safe='')}").value)
        return
    running = admin.call("GET", "/v1/rules").value
    if document:
        emit_json({"version": 1, "rules": [r["rule"] for r in running["rules"] if name in ("", r["name"])]})
    elif as_json:
        emit_json(running)
    else:
        _show(running)


def _show(running: dict[str, Any]) -> None:
    stopped = paint("  stopped: nothing is injected", "warning", sys.stdout) if running["stopped"] else ""
    say(f"version {running['version']}, from {running['source']}, {running['created']}{stopped}")
    for problem in running["reload"]["problems"]:
        say(f"not in force: {problem}", "bad")
    rows = [
        (
            view["name"],
            view["layer"],
            _state(view),
            str(view["counts"]["matches"]),
            str(view["counts"]["injected"]),
            ", ".join(fault["fault"] for fault in view["counts"]["faults"]),
        )
        for view in running["rules"]
    ]
    if rows:
        table(("rule", "layer", "state", "matches", "injected", "faults"), rows)
    else:
        say("no rules")


def _state(view: dict[str, Any]) -> str:
    if not view["enabled"]:
        return "disabled"
    state = "shadow" if view["mode"] == "shadow" else "on"
    parts = [f"{state} until {view['expires']}" if view.get("expires") else state]
    schedule = view.get("schedule", {})
    if schedule.get("state") == "active":
        parts.append(f"open until {schedule['closes']}" if "closes" in schedule else "open")
    elif schedule:
        parts.append(f"opens {schedule['opens']}" if "opens" in schedule else str(schedule["state"]))
    return ", ".join(parts)


@rules.command()
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Check and show what would change; change nothing.")
@click.option("--if-match", "version", type=click.IntRange(0), help="Only if this version is in force.")
@admin_options
@json_option
def apply(file: str, dry_run: bool, version: int | None, admin: Admin, as_json: bool) -> int:
    """Put the rules of FILE in the place of all rules of the admin layer.

    FILE may be - for standard input, or preset:NAME (`misrule presets` lists them).

    Rules of the proxy's own files stay, but for those of the same name, which they cover. The
    change is whole or not at all, and exchanges under way keep the rules they began with.
    """
    data, source = _read(file)
    headers = {"content-type": "application/json" if data.lstrip()[:1] == b"{" else "application/yaml"}
    if version is not None:
        headers["if-match"] = f'"{version}"'
    try:
        changed = admin.call(
            "PUT", f"/v1/rules{'?dry_run=true' if dry_run else ''}", data=data, headers=headers
        )
    except Refused as refused:
        if refused.status in (400, 422) and _show_mistakes(data, source):
            return FAILURE
        raise
    report_change(changed.value, as_json)
    return OK


@rules.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Check and show what would change; change nothing.")
@click.option("--if-match", "version", type=click.IntRange(0), help="Only if this version is in force.")
@admin_options
@json_option
def delete(name: str, dry_run: bool, version: int | None, admin: Admin, as_json: bool) -> None:
    """Delete the rule NAME from the admin layer; a file's rule of that name comes back."""
    headers = {} if version is None else {"if-match": f'"{version}"'}
    path = f"/v1/rules/{quote(name, safe='')}{'?dry_run=true' if dry_run else ''}"
    report_change(admin.call("DELETE", path, headers=headers).value, as_json)


def report_change(changed: Any, as_json: bool) -> None:
    """Print what a change did."""
    if as_json:
        emit_json(changed)
        return
    marks = (("added", "+", "good"), ("changed", "~", "warning"), ("removed", "-", "bad"))
    for key, mark, style in marks:
        for name in changed[key]:
            say(f"{mark} {name}", style)
    if not any(changed[key] for key, _, _ in marks):
        say("nothing changes" if changed["dry_run"] else "nothing changed")
    say(f"version {changed['version']} is in force{', nothing was changed' if changed['dry_run'] else ''}")


def _read(file: str) -> tuple[bytes, str]:
    """Read a document and name its source."""
    if file == STDIN:
        return sys.stdin.buffer.read(), "<stdin>"
    if wrong := missing(file):
        raise Failed(wrong)
    try:
        with open(located(file), "rb") as opened:
            return opened.read(), located(file)
    except OSError as error:
        raise Failed(f"cannot read {file}: {reason(error)}") from None


def _show_mistakes(data: bytes, source: str) -> bool:
    """Show the mistakes of a document that the proxy refused; False if there are none."""
    from rules.parse import parse_rules
    from rules.text import RulesError

    try:
        parse_rules(data, source, api=True)
    except RulesError as error:
        text = data.decode("utf-8", "replace")
        show_problems(error.problems, sys.stderr, lambda _: text)
        return True
    return False


@rules.command()
@click.argument("file")
@click.option(
    "--layer",
    type=click.Choice(["all", "file", "admin"]),
    default="all",
    show_default=True,
    help="Compare with the rules of this layer only.",
)
@admin_options
@json_option
def diff(file: str, layer: str, admin: Admin, as_json: bool) -> int:
    """Show how the rules of FILE differ from those that run; exit code 1 if they do.

    Rules are compared by what they mean: comments, the order of keys and defaults that are written
    out make no difference.
    """
    data, source = _read(file)
    wanted = _written(data, source)
    if wanted is None:
        return FAILURE
    running = admin.call("GET", "/v1/rules").value
    views = [view for view in running["rules"] if layer in ("all", view["layer"])]
    difference = compare(wanted, [view["rule"] for view in views])
    if as_json:
        emit_json(difference.plain())
    else:
        _show_difference(difference, f"running, version {running['version']}", source)
    return FAILURE if difference else OK


def _written(data: bytes, source: str) -> list[dict[str, Any]] | None:
    """Give the rules of a document as written; None where it has mistakes, which are shown."""
    from rules.parse import parse_rules
    from rules.text import RulesError

    try:
        return [rule.written for rule in parse_rules(data, source)]
    except RulesError as error:
        try:  # a document for the admin endpoint: its rules may have a ttl
            return [rule.written for rule in parse_rules(data, source, api=True)]
        except RulesError:
            text = data.decode("utf-8", "replace")
            show_problems(error.problems, sys.stderr, lambda _: text)
            return None


def _show_difference(difference: Difference, running: str, source: str) -> None:
    if not difference:
        say(f"no difference between {source} and {running}")
        return
    show_diff(difference.lines(running, source))


rules.add_command(history)
rules.add_command(rollback)
