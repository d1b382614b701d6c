"""``misrule check``: every mistake in its place, for people and for machines."""

import io
import json
from pathlib import Path

import pytest

from proxy.cli.problems import as_json, show_problems
from rules.model import Place
from rules.text import Problem
from tests.unit.proxy.test_cli import run

GOOD = "version: 1\nrules:\n  - {name: slow, faults: [delay: 100ms]}\n"
MISTAKES = """\
version: 1
rules:
  - name: Slow
    faults: [delay: 100]
  - name: a
    match: {pth: /x}
    faults: [abort: 700]
  - name: a
    sample: {percent: 101}
    faults: []
  - name: b
    mode: shadwo
    priority: high
    match: {path: {regex: "("}}
    faults: [dealy: 1s]
"""
CONFIG = """\
version: 1
listeners:
  - {name: web, address: ":8080", routes: [{upstream: default}]}
upstreams: {default: {address: "127.0.0.1:3000"}}
rules: [rules.yaml]
"""


def write(folder: Path, **files: str) -> None:
    """Write files, each named by its stem."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_good_files_are_named_with_what_they_hold(tmp_path: Path) -> None:
    write(tmp_path, rules=GOOD)
    code, out, err = run("check", str(tmp_path / "rules.yaml"))
    assert (code, out, err) == (0, f"{tmp_path}/rules.yaml: ok, 1 rule\n", "")


def test_every_mistake_is_a_line_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(MISTAKES)
    code, out, err = run("check", str(file))
    assert code == 1
    assert err == "11 errors in 1 file\n"
    assert [line.removeprefix(f"{file}:").split(": ")[:2] for line in out.splitlines()] == [
        ["3:11", "rules[0].name"],
        ["4:21", "rules[0].faults[0].delay"],
        ["6:13", "rules[1].match.pth"],
        ["7:21", "rules[1].faults[0].abort"],
        ["8:11", "rules[2].name"],
        ["9:23", "rules[2].sample.percent"],
        ["10:13", "rules[2].faults"],
        ["12:11", "rules[3].mode"],
        ["13:15", "rules[3].priority"],
        ["14:27", "rules[3].match.path.regex"],
        ["15:14", "rules[3].faults[0].dealy"],
    ]


def test_a_directory_is_checked_as_the_proxy_reads_it(tmp_path: Path) -> None:
    write(tmp_path, a=GOOD, b=GOOD)
    (tmp_path / "notes.txt").write_text("no rules")
    code, out, _ = run("check", str(tmp_path))
    assert code == 1
    assert (
        f'{tmp_path}/b.yaml:3:5: slow: name: the name "slow" is taken by a rule in {tmp_path}/a.yaml' in out
    )
    assert "notes.txt" not in out


def test_a_directory_without_rule_files_says_so(tmp_path: Path) -> None:
    (tmp_path / "rules.txt").write_text(GOOD)
    code, out, err = run("check", str(tmp_path))
    assert (code, err) == (0, "")
    assert out == f"{tmp_path}: ok, 0 rules: no file in it ends in .yaml, .yml, .json\n"


def test_an_empty_or_missing_file_is_a_mistake(tmp_path: Path) -> None:
    write(tmp_path, empty="")
    code, out, _ = run("check", str(tmp_path / "empty.yaml"), str(tmp_path / "none.yaml"))
    assert code == 1
    assert f"{tmp_path}/empty.yaml: the file is empty" in out
    assert f"{tmp_path}/none.yaml: the file does not exist" in out


def test_a_configuration_is_checked_with_its_rules(tmp_path: Path) -> None:
    strangers = GOOD.replace("faults", "match: {listener: webb, upstream: [default, spare]}, faults")
    write(tmp_path, misrule=CONFIG, rules=strangers)
    code, out, _ = run("check", str(tmp_path / "misrule.yaml"))
    assert code == 0
    assert out.splitlines() == [
        f"{tmp_path}/rules.yaml:3:5: warning: slow: match.listener: the configuration has no listener "
        '"webb", so this never matches',
        f"{tmp_path}/rules.yaml:3:5: warning: slow: match.upstream: the configuration has no upstream "
        '"spare", so this never matches',
        f"{tmp_path}/misrule.yaml: ok, 1 listener, 1 upstream",
        f"{tmp_path}/rules.yaml: ok, 1 rule",
    ]
    assert run("check", "--strict", str(tmp_path / "misrule.yaml"))[0] == 1


def test_mistakes_of_a_configuration_are_found(tmp_path: Path) -> None:
    write(tmp_path, misrule=CONFIG.replace("upstream: default", "upstream: other"))
    code, out, _ = run("check", str(tmp_path / "misrule.yaml"))
    assert code == 1
    assert 'misrule.yaml:3:55: listeners[0].routes[0].upstream: there is no upstream "other"' in out


def test_standard_input_is_read_for_a_dash() -> None:
    code, out, _ = run("check", "-", input=MISTAKES)
    assert code == 1
    assert out.startswith("<stdin>:3:11: rules[0].name: ")


def test_machines_get_json(tmp_path: Path) -> None:
    write(tmp_path, rules=GOOD, bad="version: 1\nrules: 7\n")
    code, out, err = run("check", "--json", str(tmp_path))
    assert (code, err) == (1, "")
    assert json.loads(out) == {
        "ok": False,
        "files": [
            {"path": f"{tmp_path}/bad.yaml", "ok": False, "holds": ""},
            {"path": f"{tmp_path}/rules.yaml", "ok": True, "holds": "1 rule"},
        ],
        "problems": [
            {
                "severity": "error",
                "source": f"{tmp_path}/bad.yaml",
                "line": 2,
                "column": 8,
                "path": "rules",
                "message": "expected a list of rules, got 7",
            }
        ],
    }


class Person(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def seen(problems: list[Problem], text: str | None) -> list[str]:
    """The lines that a person sees of problems in a text."""
    stream = Person()
    show_problems(problems, stream, lambda _: text)
    return stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def _without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_person_sees_the_line_and_a_caret() -> None:
    problem = Problem(Place("r.yaml", 2, 8), "rules", "expected a list")
    assert seen([problem], "version: 1\nrules: 7\n") == [
        "r.yaml:2:8: rules: expected a list",
        "    2 | rules: 7",
        "               ^",
    ]


def test_a_long_line_is_cut_around_the_mistake() -> None:
    line = "x" * 500 + "HERE" + "y" * 500
    shown, caret = seen([Problem(Place("r.yaml", 1, 501), "", "wrong")], line)[1:]
    assert shown[caret.index("^") :].startswith("HERE")
    assert len(shown) <= 110


def test_what_has_no_line_is_shown_without() -> None:
    gone = Problem(Place("r.yaml", 9, 1), "", "wrong")
    assert seen([Problem(Place("r.yaml"), "", "missing"), gone], None) == [
        "r.yaml: missing",
        "r.yaml:9:1: wrong",
    ]


def test_a_problem_for_machines_has_its_place() -> None:
    assert as_json(Problem(Place("r.yaml", 2, 8), "rules", "wrong"), "warning") == {
        "severity": "warning",
        "source": "r.yaml",
        "line": 2,
        "column": 8,
        "path": "rules",
        "message": "wrong",
    }
