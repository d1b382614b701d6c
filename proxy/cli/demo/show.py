"""What the demo prints for people; all of it on standard output, plain in a pipe."""

import os
import shutil
import sys
from typing import Final

from proxy.cli.demo.change import CALLERS
from proxy.cli.demo.stage import Stage
from proxy.cli.demo.story import NEW, OLD
from proxy.cli.demo.tour import Tour
from proxy.cli.output import say, table
from proxy.cli.remote import ADMIN

COLUMNS: Final = ("fault", "request", "without it the client saw", "with it the client saw", "")


def opening(stage: Stage, upstream: str) -> None:
    """Say who is who."""
    say("misrule demo", "strong")
    say(f"  client -> proxy {stage.proxy} -> upstream {upstream}, all in this process, over real sockets")
    say(f"  rules: {stage.rules}")
    say()


def results(tour: Tour) -> None:
    """Draw the table."""
    say()
    rows = [
        (row.fault, row.request, row.without, row.with_rule, "WRONG" if row.wrong else "ok")
        for row in tour.rows
    ]
    table(COLUMNS, rows)
    say()


def change(tour: Tour) -> None:
    """Tell how a change of the rules went."""
    seen = tour.change
    say(
        f"The rules change while {CALLERS} clients keep sending: orders-down answers {NEW} instead of {OLD}",
        "strong",
    )
    say(f"  {seen.answers[OLD]} answers were {OLD}, then {seen.answers[NEW]} were {NEW}; no request was lost")
    say(f"  first answer by the new rules {seen.first_new * 1000:.0f} ms after the file was replaced")
    say()


def proof(tour: Tour) -> None:
    """Show what one injection left behind."""
    found = tour.proof
    say("Each injection leaves proof", "strong")
    say(f"  header  x-misrule: {found.header}")
    say(f"  log     {found.log}")
    say(f"  metric  {found.metric}   (as often as the client saw it)")
    say()


def failures(tour: Tour) -> None:
    """Say which parts did not show what they should."""
    for line in tour.wrong:
        say(f"WRONG: {line}", "bad")


def hints(stage: Stage) -> None:
    """Tell what to try while the demo goes on serving."""
    web, command = f"http://{stage.proxy}", own_command()
    admin = "" if stage.admin == ADMIN else f" --admin {stage.admin}"
    say("It keeps serving. Try in another terminal (Ctrl-C here ends it):", "strong")
    for line in (
        f"curl -i {web}/hello",
        f"curl -i {web}/orders",
        f"curl -o /dev/null {web}/big",
        f"curl -i -H 'x-user-tier: gold' {web}/echo",
        f"sed -i s/200ms/1s/ {stage.rules}   # or edit it; then the first line again",
        f"{command} explain {web}/orders{admin}",
        f"{command} rules get{admin}",
        f"{command} stop{admin}   # the red button; {command} resume{admin}",
        f"curl -s http://{stage.admin}/metrics | grep misrule_injections",
        f"tail -f {stage.log}",
    ):
        say(f"  {line}", "name")
    sys.stdout.flush()


def own_command() -> str:
    """Give the command as the reader can type it here."""
    found = shutil.which("misrule")
    if found is not None:
        return "misrule"
    beside = os.path.join(os.path.dirname(sys.executable), "misrule")
    return _short(beside) if os.path.exists(beside) else f"{_short(sys.executable)} -m proxy"


def _short(path: str) -> str:
    """Give a path as it is shortest from here."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
