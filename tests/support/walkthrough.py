"""What a page tells its reader to type, typed: every command of a page's section, and what it printed."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.house.markdown import fences, sections
from tests.support.process import ROOT

_MARK = "@@next@@"  # before the output of each command; nothing else prints it
_CALLS_ADMIN = "ready|rules|stop|resume|explain"
_ADMIN = "9905"

# What differs from one run to another, or between versions of the peers.
_VARYING = (
    (r"(?m)^(Date|Last-Modified|Server): .*", r"\1: …"),
    (r"\bms=\d+", "ms=…"),
    (r"\d{4}-\d\d-\d\d(T[\d:.]+Z)?", "…"),
    (r"(Misrule \w+) [0-9a-f]{6}\b", r"\1 …"),
    (r"([0-9a-f]{2}:){31}[0-9a-f]{2}", "…"),
    (r"(failed to connect to all addresses).*", r"\1"),
    (r"(?m)[ \t]+$", ""),
)


def steps(page: str, section: str) -> Iterator[tuple[str, str]]:
    """Yield each command in the ``console`` blocks of a section, with the output that is shown below it."""
    text = sections((ROOT / page).read_text())[section]
    for language, block, _ in fences(text):
        if language == "console":
            for part in re.split(r"(?m)^\$ ", block)[1:]:
                command, _, output = part.partition("\n")
                yield command, output


def same(text: str) -> str:
    """Take out of an output what is another at each run, and empty lines."""
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text)
    return "\n".join(line for line in text.splitlines() if line)


def walk(commands: list[str], folder: Path, ports: Mapping[str, int]) -> list[str]:
    """Run the commands in one shell, in ``folder``, and return what each of them printed.

    ``ports`` are those that the page writes, and what stands for them on this machine: in the commands, in
    the files of the folder and, the other way round, in what is printed.
    """
    here = {name: str(port) for name, port in ports.items()}
    for file in folder.iterdir():
        file.write_text(_other(file.read_text(), here))
    tools = folder / ".bin"
    _write_tools(tools, ports[_ADMIN])
    mark = f"printf {_MARK}"
    typed = [f"{mark}\n{_other(command, here)}" for command in commands]
    script = ["exec 2>&1", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT", *typed, mark]
    printed = _run("\n".join(script), folder, {"PATH": f"{tools}:{os.environ['PATH']}", "LC_ALL": "C"})
    back = {port: name for name, port in here.items()}
    return [_other(part, back) for part in printed.split(_MARK)[1:-1]]


def _run(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a script to its end, and leave none of its processes behind."""
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        return shell.communicate(timeout=100)[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def _other(text: str, names: Mapping[str, str]) -> str:
    """Put other numbers in the place of these, where they stand alone."""
    return re.sub(r"\b(" + "|".join(names) + r")\b", lambda found: names[found[1]], text)


def _write_tools(folder: Path, admin: int) -> None:
    """Put what a reader has on the PATH there: misrule, from these sources, and the Python of the tests.

    The command's default is port 9905: the one in its place is given behind what was typed.
    """
    given = [str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(":") if part]
    path = ":".join(dict.fromkeys([*given, str(ROOT)]))
    folder.mkdir()
    misrule = f"""\
        #!/bin/sh
        case "$1" in {_CALLS_ADMIN}) set -- "$@" --admin 127.0.0.1:{admin};; esac
        PYTHONPATH={shlex.quote(path)} exec {shlex.quote(sys.executable)} -m proxy "$@"
        """
    for name, text in (
        ("misrule", textwrap.dedent(misrule)),
        ("python3", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n'),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
