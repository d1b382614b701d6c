"""loss: its fields, where it acts, and what it refuses."""

import pytest

from rules.body_actions import Lose
from rules.fault import ON_NEXT, ON_OPEN
from rules.phases import REQUEST_BODY, RESPONSE_BODY
from tests.faults.cases import FACTS, dice, problem, read

CASES: list[tuple[str, int, bool, int, tuple[float, float, float, float]]] = [
    ("5", RESPONSE_BODY, False, ON_NEXT, (0.05, 0.0, 0.2, 2.0)),
    ("{percent: 0.0001}", RESPONSE_BODY, False, ON_NEXT, (1e-6, 0.0, 0.2, 2.0)),
    ("{percent: 100, rto: 1s, backoff: 1}", RESPONSE_BODY, False, ON_NEXT, (1.0, 0.0, 1.0, 1.0)),
    ("{percent: 1, correlation: 0.5, direction: request}", REQUEST_BODY, False, ON_NEXT, (0.01, 0.5, 0.2, 2)),
    ("{percent: 1, direction: both, on: open}", REQUEST_BODY, True, ON_OPEN, (0.01, 0.0, 0.2, 2.0)),
]


@pytest.mark.parametrize(("fields", "phase", "both", "on", "action"), CASES)
def test_what_it_says(
    fields: str, phase: int, both: bool, on: int, action: tuple[float, float, float, float]
) -> None:
    fault = read(f"{{loss: {fields}}}")
    assert (fault.phase, fault.both, fault.on) == (phase, both, on)
    assert fault.shapes
    decided = fault.decide(FACTS, dice())
    assert isinstance(decided, Lose)
    assert (decided.share, decided.correlation, decided.rto, decided.backoff) == action


BAD: list[tuple[str, str, str]] = [
    ("{}", "", '"percent" is missing'),
    ("5%", "", "expected a percentage from 0 to 100"),
    ("101", "", "expected a percentage from 0 to 100"),
    ("{percent: 0.00001}", "percent", "goes down to 0.0001"),
    ("{percent: 1, correlation: 2}", "correlation", "a number from 0 to 1"),
    ("{percent: 1, rto: 200}", "rto", "a bare number has no unit"),
    ("{percent: 1, backoff: 0.5}", "backoff", "a number from 1 to 10"),
    ("{percent: 1, direction: up}", "direction", "expected request, response or both"),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{loss: {fields}}}")
    assert found.startswith(f"loss.{path}: " if path else "loss: "), found
    assert words in found
