"""The frame of the command line: lazy commands, one line for each error, exit codes, colours."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner

import proxy
from proxy.cli import exits, main
from proxy.cli.commands import COMMANDS
from proxy.cli.output import emit_json, paint, say, table

COSTLY = ("aiohttp", "rich", "yaml", "re2", "uvloop", "asyncio", "msgspec", "proxy.app", "proxy.config")


def run(*words: str, **more: Any) -> tuple[int, str, str]:
    """Run a command in this process: exit code, standard output, standard error."""
    result = CliRunner().invoke(main, list(words), prog_name="misrule", **more)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_version_says_which_build_runs() -> None:
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith(
        f"misrule {proxy.__version__}, {proxy.build_kind()} (CPython {sys.version.split()[0]}, "
    )
    assert "uvloop 0." in out


def test_the_version_imports_nothing_costly() -> None:
    program = (
        "import sys\nfrom proxy.cli import main\n"
        "main(['--version'], standalone_mode=False)\n"
        f"print([name for name in {COSTLY} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[1] == "[]"


def test_python_m_proxy_is_the_same_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(f"misrule {proxy.__version__}, ")


def test_help_names_every_command_and_the_exit_codes() -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []
    assert " ".join(exits.TEXT.split()) in " ".join(out.split())


def leaves(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    """Every command with all words that lead to it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from leaves(found, *path, name)
        else:
            yield (*path, name)


@pytest.mark.parametrize("words", list(leaves(main)), ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert out.startswith(f"Usage: misrule {' '.join(words)}")
    assert len(out.splitlines()[2].split()) > 3


def test_unknown_commands_come_back_as_unknown() -> None:
    assert main.get_command(click.Context(main), "nothing") is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--verison"],
            "misrule: no such option '--verison'. Did you mean '--version'? (see `misrule --help`)",
        ),
        (["rnu"], "misrule: no such command 'rnu'"),
        (["run", "--lisen", ":0"], "misrule run: no such option '--lisen'. Did you mean '--listen'?"),
        (["run"], "misrule run: missing option --listen (or --config FILE) (see `misrule run --help`)"),
        (["run", "--listen", ":0"], "misrule run: missing option --upstream (or --config FILE)"),
        (["check"], "misrule check: missing argument 'PATH...'"),
        (["schema", "rule"], "misrule schema: "),
        (["rules", "apply"], "misrule rules apply: missing argument 'FILE'"),
        (
            ["explain", "/", "-H", "nonsense"],
            "misrule explain: invalid value for '-H': 'nonsense' is no header line",
        ),
        (["schema"], "misrule schema: missing argument '{rules|config}'. Choose from: rules, config (see "),
        (
            ["explain", "/", "--source", "10.0.0"],
            "misrule explain: invalid value for '--source': '10.0.0' is no IP address such as 10.0.0.7 (see ",
        ),
        (["stop", "--admin", "a:b"], "misrule stop: --admin: 'a:b' is not host:port"),
        (["stop", "--admin", "127.0.0.1"], "misrule stop: --admin: '127.0.0.1' is not host:port"),
        (["stop", "--admin", "[::1]"], "misrule stop: --admin: '[::1]' is not host:port"),
    ],
)
def test_wrong_usage_is_one_clear_line_and_exit_code_2(words: list[str], line: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (exits.USAGE, "")
    assert err.startswith(line)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["rules"], ["certs"], ["capture"]], ids=" ".join)
def test_a_group_without_a_command_prints_its_help_as_it_is(words: list[str]) -> None:
    _, out, err = run(*words)
    assert out + err == run(*words, "--help")[1]


def test_an_admin_endpoint_on_all_addresses_is_asked_on_loopback() -> None:
    _, _, err = run("stop", "--admin", ":1")
    assert err.startswith("misrule: admin not reachable at 127.0.0.1:1: connection refused")


def test_a_failure_prints_each_of_its_lines() -> None:
    code, _, err = run("run", "--listen", "80", "--upstream", "x")
    assert code == exits.USAGE
    assert [line.partition(":")[0] for line in err.splitlines()] == ["misrule"] * 2


def test_an_interrupt_has_the_exit_code_of_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: click.Context, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.get_command(click.Context(main), "schema"), "invoke", interrupted)
    assert run("schema", "config")[0] == exits.INTERRUPTED


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    piped = subprocess.run(
        f"{sys.executable} -m proxy schema config | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert piped.stdout == "{\n"
    assert piped.stderr == ""


def painted(capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether a styled line has colours now."""
    say("text", "good")
    return "\x1b[" in capsys.readouterr().out


def test_colours_are_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not painted(capsys)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert painted(capsys)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not painted(capsys)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert painted(capsys)
    monkeypatch.setenv("TERM", "dumb")
    assert not painted(capsys)


@pytest.mark.parametrize(
    "words", [["check", "nowhere.yaml"], ["schema", "rule"], ["stop", "--admin", "127.0.0.1:1"]], ids=" ".join
)
def test_errors_in_a_pipe_have_colours_only_where_asked_for(words: list[str]) -> None:
    plain = run(*words, env={"FORCE_COLOR": None, "NO_COLOR": None})
    forced = run(*words, env={"FORCE_COLOR": "1", "NO_COLOR": None})
    assert "\x1b[" not in plain[1] + plain[2]
    assert "\x1b[" in forced[1] + forced[2]


def test_standard_error_decides_for_what_is_printed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert paint("x", "error") == "x"
    assert paint("x", "error", sys.stdout) == "x"


def test_a_table_in_a_pipe_is_aligned_text(capsys: pytest.CaptureFixture[str]) -> None:
    table(("rule", "n"), [("slow", "10"), ("a-long-name", "2")], "Title")
    assert capsys.readouterr().out == "Title\nrule         n\nslow         10\na-long-name  2\n"


def test_a_table_for_a_person_is_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    table(("rule",), [("[bold]slow",)])
    out = capsys.readouterr().out
    assert "[bold]slow" in out  # a name is no markup
    assert "━" in out or "─" in out


def test_json_keeps_what_was_written(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"name": "zögern"})
    assert capsys.readouterr().out == '{\n  "name": "zögern"\n}\n'


@pytest.mark.parametrize("kind", ["rules", "config"])
def test_schema_prints_a_schema(kind: str) -> None:
    code, out, _ = run("schema", kind)
    assert code == 0
    assert "https://json-schema.org/draft/2020-12/schema" in out
