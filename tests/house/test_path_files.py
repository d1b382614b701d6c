"""The phase list is the spine: files, import layers, docs and tests carry its names in its order."""

import configparser
import re

import proxy
from rules import phases
from tests.house import ROOT

# Phases that this version cannot run yet: no file, but the name is reserved.
WITHOUT_FILE: dict[str, str] = {}


def test_one_file_per_phase() -> None:
    files = {path.stem for path in (ROOT / "proxy" / "path").glob("*.py")} - {"__init__"}
    assert files == set(phases.NAMES) - set(WITHOUT_FILE)


def test_import_layers_are_the_phases_in_order() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:path"]["layers"]
    assert tuple(re.findall(r"proxy\.path\.(\w+)", layers)) == phases.NAMES


def test_the_package_docstring_lists_the_phases_in_order() -> None:
    table = (proxy.__doc__ or "").split("=====\n")[2]
    assert tuple(re.findall(r"^(\w+) ", table, re.MULTILINE)) == phases.NAMES


def test_the_rules_page_lists_the_phases_in_order() -> None:
    page = (ROOT / "docs" / "rules.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page.split("## Phases")[1].split("\n## ")[0], re.MULTILINE)
    assert tuple(rows) == phases.NAMES


def test_each_phase_file_has_its_tests() -> None:
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests" / "path").glob("test_*.py")}
    assert set(phases.NAMES) - set(WITHOUT_FILE) <= tests
