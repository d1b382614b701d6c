"""The mutation run disables what it says that it disables, and forgets nothing."""

import ast
from pathlib import Path

from rules import sample
from rules.faults import FAULTS
from tests.house import ROOT
from tests.mutation.mutants import all_mutants, bodies, guards

MUTANTS = all_mutants(ROOT)


def test_every_mutant_is_a_program_that_differs() -> None:
    for mutant in MUTANTS:
        assert ast.dump(ast.parse(mutant.text)) != ast.dump(ast.parse((ROOT / mutant.file).read_text())), (
            mutant.name
        )


def test_every_kind_of_fault_is_disabled_once() -> None:
    disabled = [mutant.file for mutant in MUTANTS if mutant.name.endswith(".decide")]
    assert sorted(disabled) == sorted(f"rules/faults/{kind}.py" for kind in FAULTS)


def test_every_verdict_of_a_sample_is_disabled_once() -> None:
    guarded = [mutant for mutant in MUTANTS if "Sampling.verdict" in mutant.name]
    assert len(guarded) == len(sample.VERDICTS) - 1  # all but "fires"


def test_a_body_and_a_guard_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "class A:\n    def f(self, x):\n        if x:\n            return 1\n        return 2\n"
    )
    (body,) = bodies(tmp_path, "m.py", "f", "return 3")
    (guard,) = guards(tmp_path, "m.py", "A", "f")
    assert body.text == "class A:\n    def f(self, x):\n        return 3\n"
    assert guard.text == "class A:\n    def f(self, x):\n        pass\n        return 2\n"
