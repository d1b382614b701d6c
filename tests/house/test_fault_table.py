"""One kind of fault is one file, one line in the table, one test file and one section of docs."""

import ast
import re
from pathlib import Path

import pytest

from rules.faults import FAULTS
from tests.house import ROOT, modules, relative
from tests.house.markdown import fences, sections

README = ROOT / "rules" / "faults" / "README.md"
KINDS = sorted(FAULTS)


def test_every_file_is_in_the_table_and_the_other_way_round() -> None:
    files = {path.stem for path in (ROOT / "rules" / "faults").glob("*.py")} - {"__init__"}
    assert {FAULTS[kind].__module__.rpartition(".")[2] for kind in KINDS} == set(KINDS)
    assert {name for name in files if not name.startswith("_")} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_class_knows_its_kind(kind: str) -> None:
    assert kind == FAULTS[kind].KIND


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_tests(kind: str) -> None:
    assert (ROOT / "tests" / "faults" / f"test_{kind}.py").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_section_that_names_every_field(kind: str) -> None:
    """Fields that several kinds share stand once, before the first section."""
    page = README.read_text()
    text = sections(page)[kind] + page.partition("\n## ")[0]
    assert [name for name in FAULTS[kind].PARAMS.fields if f"`{name}`" not in text] == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_section_has_an_example(kind: str) -> None:
    """That each example parses is checked with all others in test_docs."""
    blocks = fences(sections(README.read_text())[kind])
    examples = [text for language, text, _ in blocks if language == "yaml"]
    assert any(re.search(rf"\b{kind}:", example) for example in examples)


def kinds_known_to(path: Path) -> list[str]:
    """Where a file outside of ``rules/faults/`` imports one kind or compares a string with its name."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [f"{node.module}"]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = []
        found += [name for name in names if re.match(rf"rules\.faults\.({'|'.join(KINDS)})\b", name)]
        if isinstance(node, ast.Compare):
            constants = [c.value for c in ast.walk(node) if isinstance(c, ast.Constant)]
            found += [f"line {node.lineno}: {c}" for c in constants if isinstance(c, str) and c in FAULTS]
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            found += [f"line {node.value.lineno}"] if node.value.value in FAULTS else []
    return found


# The demo shows the kinds one by one and says what a client saw: it is a user of rules, not the engine.
USERS = ("rules/faults/", "proxy/cli/demo/")
OUTSIDE = [path for path in modules() if not relative(path).startswith(USERS)]


# Words that happen to be a kind's name too.
OTHER_MEANINGS = {
    ("proxy/admin/server.py", "close"): "the token of HTTP's connection header",
    ("proxy/config/checks.py", "dns"): "the name of the DNS listener",
    ("proxy/config/checks.py", "tls"): "the section of a listener or an upstream",
    ("rules/contradictions.py", "grpc"): "the part of a match, and the protocol",
}


@pytest.mark.parametrize("path", OUTSIDE, ids=relative)
def test_the_engine_knows_no_kind(path: Path) -> None:
    known = [
        found for found in kinds_known_to(path) if (relative(path), found.split()[-1]) not in OTHER_MEANINGS
    ]
    assert known == []


def test_the_check_sees_a_leak(tmp_path: Path) -> None:
    leak = tmp_path / "leak.py"
    leak.write_text("from rules.faults.delay import Delay\nif kind == 'reset':\n    pass\n")
    assert len(kinds_known_to(leak)) == 3
