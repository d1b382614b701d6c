"""One source, two builds: what is compiled is said once, and the tests know which one they run on."""

import ast
import fnmatch
import os
import subprocess
import sys

import pytest

import build_native
import proxy
from tests.house import ROOT

EXPECTED = os.environ.get("MISRULE_EXPECT", "interpreted")


def test_every_module_is_compiled_or_says_why_not() -> None:
    others = set(build_native.sources()) - set(build_native.compiled_sources())
    assert sorted(s for s in others if not build_native.reason_interpreted(s)) == []


def test_no_compiled_module_is_also_listed_as_interpreted() -> None:
    assert [s for s in build_native.compiled_sources() if build_native.reason_interpreted(s)] == []


def test_every_pattern_fits_something_and_stands_once() -> None:
    patterns = [*build_native.COMPILED, *build_native.INTERPRETED]
    assert len(set(patterns)) == len(patterns)
    found = build_native.sources()
    assert [pattern for pattern in patterns if not fnmatch.filter(found, pattern)] == []


@pytest.mark.parametrize("source", build_native.compiled_sources())
def test_compiled_modules_use_nothing_that_mypyc_makes_slow(source: str) -> None:
    """Dataclasses and enums work in compiled code, but slower than a plain class does interpreted."""
    tree = ast.parse((ROOT / source).read_text())
    imported = {
        name.name if isinstance(node, ast.Import) else f"{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported & {"dataclasses", "enum", "msgspec", "abc", "functools"} == set()


def test_the_expected_build_runs_here() -> None:
    assert proxy.build_kind() == EXPECTED


def test_the_expected_build_runs_in_child_processes() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "proxy", "--version"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert EXPECTED in shown.stdout


def test_no_compiled_file_lies_beside_the_sources() -> None:
    """With compiled files in the tree import-linter ends without a result and without a reason."""
    assert [str(p) for package in build_native.PACKAGES for p in (ROOT / package).rglob("*.so")] == []
