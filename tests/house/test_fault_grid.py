"""docs/faults.md has a cell for each fault on each protocol: a test that exists, or why there is none.

And the rule language agrees: what a cell calls refused is, and nothing else.
"""

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rules.facts import PROTOCOLS
from rules.faults import FAULTS
from rules.model import Rule
from rules.parse import parse_rules
from rules.phases import REQUEST_HEAD
from rules.text import RulesError
from tests.house import ROOT
from tests.house.markdown import fences, sections

PAGE = ROOT / "docs" / "faults.md"
LINK = re.compile(r'\[[^\]]+\]\((\S+\.py) "([^"]+)"\)')
CELLS = [(kind, protocol) for kind in FAULTS for protocol in PROTOCOLS]


def tables(page: str) -> list[list[list[str]]]:
    """Give the tables of a page: rows of cells, without the line below the head."""
    found: list[list[list[str]]] = [[]]
    for line in page.splitlines():
        if line.startswith("| ---"):
            continue
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


@cache
def grid() -> dict[str, dict[str, str]]:
    """Give the first table: by fault, by protocol."""
    head, *rows = tables(PAGE.read_text())[0]
    kinds = [re.sub(r"\[(\w+)\].*", r"\1", row[0]) for row in rows]
    return {kind: dict(zip(head[1:], row[1:], strict=True)) for kind, row in zip(kinds, rows, strict=True)}


@cache
def functions(file: Path) -> set[str]:
    """Give the names of the tests in a file."""
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def missing(text: str) -> list[str]:
    """Give the tests that a text names and that do not exist."""
    wanted = [(PAGE.parent / file, name) for file, names in LINK.findall(text) for name in names.split(", ")]
    return [
        f"{file}::{name}"
        for file, name in wanted
        if not file.exists() or not name.startswith("test_") or name not in functions(file.resolve())
    ]


@cache
def example(kind: str) -> Any:
    """Give what the first example of a fault's section says below ``faults``."""
    for language, text, _ in fences(sections((ROOT / "rules/faults/README.md").read_text())[kind]):
        rules = parse_rules(f"version: 1\nrules:\n{text}".encode(), kind) if language == "yaml" else []
        for rule in rules:
            for entry in rule.written["faults"]:
                if kind in entry:
                    return entry
    raise AssertionError(f"{kind} has no example")


def read(kind: str, **parts: object) -> Rule:
    """Read a rule with that fault; raises RulesError where it is refused."""
    rule = {"name": "r", "faults": [example(kind)], **parts}
    return parse_rules(json.dumps({"version": 1, "rules": [rule]}).encode(), "r.json")[0]


def test_every_fault_has_a_row_and_every_protocol_a_column() -> None:
    assert sorted(grid()) == sorted(FAULTS)
    assert {tuple(row) for row in grid().values()} == {tuple(PROTOCOLS)}


@pytest.mark.parametrize(("kind", "protocol"), CELLS)
def test_every_cell_names_a_test_or_says_why_there_is_none(kind: str, protocol: str) -> None:
    cell = grid()[kind][protocol]
    assert missing(cell) == []
    if cell.startswith("n/a"):
        assert re.match(r"n/a because \w+ ", cell)
        assert ": refused" in cell or LINK.search(cell)
    else:
        assert LINK.search(cell)


@pytest.mark.parametrize(("kind", "protocol"), CELLS)
def test_the_rule_language_agrees(kind: str, protocol: str) -> None:
    """A fault that acts before a protocol is known cannot ask for one; all protocols meet it."""
    cell = grid()[kind][protocol]
    asks = {"match": {"protocol": [protocol]}}
    if cell.startswith("n/a") and ": refused" in cell:
        with pytest.raises(RulesError):
            read(kind, **asks)
    elif protocol == "tcp" or read(kind).faults[0].fault.phase >= REQUEST_HEAD:
        read(kind, **asks)


def test_all_other_links_lead_to_tests() -> None:
    """The second table, too."""
    text = PAGE.read_text()
    assert missing(text) == []
    assert len(LINK.findall(text)) == len(re.findall(r"\.py\b", text)), "each names its test"


def test_the_check_sees_what_is_not_there() -> None:
    assert missing('[a](../tests/e2e/test_tcp.py "test_delays, test_nothing")')[0].endswith("::test_nothing")
    assert missing('[a](../tests/e2e/test_none.py "test_delays")')
