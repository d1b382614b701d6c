"""``misrule rules history`` and ``misrule rules rollback``: the versions of the rules of a running proxy."""

from typing import Any

import click

from proxy.cli.output import count, emit_json, say, show_diff, table
from proxy.cli.remote import Admin, admin_options, json_option


@click.command()
@click.argument("version", type=click.IntRange(1), required=False)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Show so many at most.")
@admin_options
@json_option
def history(version: int | None, limit: int, admin: Admin, as_json: bool) -> None:
    """Show the versions of the rules, newest first, or of one VERSION what it changed."""
    path = f"/v1/rules/versions?limit={limit}" if version is None else f"/v1/rules/versions/{version}"
    found = admin.call("GET", path).value
    if as_json:
        emit_json(found)
    elif version is None:
        _list(found)
    else:
        _show(found)


def _list(found: dict[str, Any]) -> None:
    rows = [
        (
            f"{one['version']}{'*' if one['version'] == found['version'] else ''}",
            one["created"],
            _author(one),
            one["source"],
            f"+{len(one['added'])} ~{len(one['changed'])} -{len(one['removed'])}",
            one["sha256"][:12],
        )
        for one in found["versions"]
    ]
    table(("version", "made", "by", "source", "rules", "sha256"), rows)
    say("* in force" if found["lasting"] else "* in force; without state_dir, a restart forgets all this")


def _show(found: dict[str, Any]) -> None:
    about = found["about"]
    say(f"version {about['version']}, {about['created']}, by {_author(about)}, from {about['source']}")
    say(f"SHA-256 {about['sha256']}, {count(len(found['rules']), 'rule')}")
    if found["before"] is None:
        say("the version before is not kept")
    elif not found["diff"]:
        say(f"no difference to version {found['before']}")
    show_diff(found["diff"])


def _author(one: dict[str, Any]) -> str:
    return f"{one['author']} {one['client']}".rstrip()


@click.command()
@click.argument("version", type=click.IntRange(1))
@click.option("--dry-run", is_flag=True, help="Check and show what would change; change nothing.")
@click.option("--if-match", "expected", type=click.IntRange(0), help="Only if this version is in force.")
@admin_options
@json_option
def rollback(version: int, dry_run: bool, expected: int | None, admin: Admin, as_json: bool) -> None:
    """Put the rules of VERSION in force again, as a new version.

    Where the files have changed since, their rules are covered by rules of the admin layer, so that what
    was in force then is in force again; `rules delete` uncovers them.
    """
    from proxy.cli.rules import report_change

    headers = {} if expected is None else {"if-match": f'"{expected}"'}
    path = f"/v1/rules/rollback{'?dry_run=true' if dry_run else ''}"
    report_change(admin.call("POST", path, {"version": version}, headers=headers).value, as_json)
