"""Time is passed in: only tests on real sockets and processes may wait for it."""

import ast
from pathlib import Path

import pytest

from tests.house import ROOT, relative

FOLDERS = ("unit", "faults", "wire", "path", "property", "house")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / "tests" / folder).rglob("*.py"))


def is_sleep(call: ast.Call) -> bool:
    """Whether a call waits: ``asyncio.sleep(0)`` only lets the loop turn."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr == "sleep"):
        return False
    turn = bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0
    return isinstance(function.value, ast.Name) and function.value.id in {"time", "asyncio"} and not turn


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_no_unit_test_sleeps(path: Path) -> None:
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    assert [f"line {call.lineno}" for call in calls if is_sleep(call)] == []
