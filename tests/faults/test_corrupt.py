"""corrupt: its fields, where it acts, and what it refuses."""

import pytest

from rules.body_actions import Flip
from rules.phases import REQUEST_BODY, RESPONSE_BODY
from tests.faults.cases import FACTS, dice, problem, read

CASES: list[tuple[str, int, bool, tuple[float, int]]] = [
    ("{flips: 3}", RESPONSE_BODY, False, (0.0, 3)),
    ("{flips: 1000, direction: request}", REQUEST_BODY, False, (0.0, 1000)),
    ("{percent_of_bytes: 0.1, direction: both}", REQUEST_BODY, True, (0.001, 0)),
    ("{percent_of_bytes: 100}", RESPONSE_BODY, False, (1.0, 0)),
    ("{percent_of_bytes: 0}", RESPONSE_BODY, False, (0.0, 0)),
]


@pytest.mark.parametrize(("fields", "phase", "both", "action"), CASES)
def test_what_it_says(fields: str, phase: int, both: bool, action: tuple[float, int]) -> None:
    fault = read(f"{{corrupt: {fields}}}")
    assert (fault.phase, fault.both, fault.shapes) == (phase, both, True)
    decided = fault.decide(FACTS, dice())
    assert isinstance(decided, Flip)
    assert (decided.share, decided.flips) == action


BAD: list[tuple[str, str, str]] = [
    ("{}", "", "percent_of_bytes"),
    ("{flips: 1, percent_of_bytes: 1}", "", "percent_of_bytes"),
    ("{flips: 0}", "flips", "a whole number from 1 to 1000"),
    ("{flips: 1001}", "flips", "a whole number from 1 to 1000"),
    ("{percent_of_bytes: 101}", "percent_of_bytes", "a percentage from 0 to 100"),
    ("{flips: 1, direction: up}", "direction", "expected request, response or both"),
    ("{flips: 1, on: open}", "on", "unknown key"),
    ("3", "", "expected a mapping such as {flips: 3}"),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{corrupt: {fields}}}")
    assert found.startswith(f"corrupt.{path}: " if path else "corrupt"), found
    assert words in found
