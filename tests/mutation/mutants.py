"""What is disabled, and how: one function body at a time, cut out by its place in the syntax tree."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NOTHING = "from rules.actions import Wait\nreturn Wait(0.0)"


@dataclass(frozen=True)
class Mutant:
    """One change of one file: ``text`` is the whole file with the thing disabled."""

    name: str
    file: str
    text: str


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function with its class's name ("" for those of the module)."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield "", node
        elif isinstance(node, ast.ClassDef):
            yield from ((node.name, item) for item in node.body if isinstance(item, ast.FunctionDef))


def _is_abstract(function: ast.FunctionDef) -> bool:
    return isinstance(function.body[-1], ast.Raise)


def replace(text: str, old: ast.stmt | ast.FunctionDef, new: str) -> str:
    """The file with a statement, or a function's body, replaced."""
    lines = text.splitlines()
    body = old.body if isinstance(old, ast.FunctionDef) else [old]
    indent = " " * body[0].col_offset
    first, last = body[0].lineno - 1, body[-1].end_lineno
    return "\n".join([*lines[:first], *(indent + line for line in new.splitlines()), *lines[last:]]) + "\n"


def bodies(root: Path, file: str, function: str, new: str, owner: str = "") -> list[Mutant]:
    """One mutant for each function of that name in a file: its body becomes ``new``."""
    text = (root / file).read_text()
    return [
        Mutant(f"{file}: {f'{found}.' if found else ''}{function}", file, replace(text, node, new))
        for found, node in _functions(ast.parse(text))
        if node.name == function and not _is_abstract(node) and owner in ("", found)
    ]


def guards(root: Path, file: str, owner: str, function: str) -> list[Mutant]:
    """One mutant for each top-level ``if`` of a function: it is never taken."""
    text = (root / file).read_text()
    return [
        Mutant(
            f"{file}: {owner}.{function}: if {ast.unparse(guard.test)}", file, replace(text, guard, "pass")
        )
        for found, node in _functions(ast.parse(text))
        if node.name == function and found == owner
        for guard in node.body
        if isinstance(guard, ast.If)
    ]


def all_mutants(root: Path) -> list[Mutant]:
    """Everything that a rule can say, each disabled once."""
    kinds = sorted(path.stem for path in (root / "rules" / "faults").glob("*.py") if path.stem != "__init__")
    found = [
        mutant for kind in kinds for mutant in bodies(root, f"rules/faults/{kind}.py", "decide", NOTHING)
    ]
    found += bodies(root, "rules/faults/delay.py", "at", "return 0.001")
    found += bodies(root, "rules/faults/delay.py", "correlated", "return u")
    found += bodies(root, "rules/conditions.py", "holds", "return True")
    found += bodies(root, "rules/matchers.py", "test", "return True")
    found += guards(root, "rules/sample.py", "Sampling", "verdict")
    found += bodies(root, "rules/sample.py", "unit_of", 'return b"#%d" % ordinal')
    found += bodies(root, "rules/sample.py", "find", 'return b"same"', "StickyKey")
    found += bodies(root, "rules/plan.py", "_unit_of_fault", "return unit")
    found += bodies(root, "rules/plan.py", "give_back_fault", "pass", "Grant")
    found += bodies(root, "rules/draw.py", "millionth", "return 0", "Draws")
    return found
