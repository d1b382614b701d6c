"""A file has one subject and a function fits on a screen."""

import ast
from collections.abc import Iterator

from tests.house import modules, relative

FILE_LINES = 400
FUNCTION_LINES = 40

# What may be longer, and why.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def length(function: Function) -> int:
    """Lines of a function from ``def`` to its end, without its docstring."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def functions() -> Iterator[tuple[str, int]]:
    """Every function of the packages with its length."""
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{relative(path)}:{node.name}", length(node)


def test_the_measure_counts_code_and_not_the_docstring() -> None:
    tree = ast.parse('def f():\n    """One\n    two."""\n    return 1\n')
    assert isinstance(tree.body[0], ast.FunctionDef)
    assert length(tree.body[0]) == 2


def test_no_file_is_longer_than_one_subject() -> None:
    long = {relative(path): len(path.read_text().splitlines()) for path in modules()}
    assert {
        name: lines for name, lines in long.items() if lines > FILE_LINES and name not in LONG_FILES
    } == {}


def test_no_function_is_longer_than_a_screen() -> None:
    too_long = {name: n for name, n in functions() if n > FUNCTION_LINES and name not in LONG_FUNCTIONS}
    assert too_long == {}


def test_each_exception_is_still_needed() -> None:
    lengths = dict(functions())
    files = {relative(path): len(path.read_text().splitlines()) for path in modules()}
    assert [name for name in LONG_FUNCTIONS if lengths.get(name, 0) <= FUNCTION_LINES] == []
    assert [name for name in LONG_FILES if files.get(name, 0) <= FILE_LINES] == []
