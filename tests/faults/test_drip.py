"""drip: its fields, where it acts, and what it refuses."""

import pytest

from rules.body_actions import Drip
from rules.fault import ON_NEXT, ON_OPEN
from rules.phases import REQUEST_BODY, RESPONSE_BODY
from tests.faults.cases import FACTS, dice, problem, read

CASES: list[tuple[str, int, bool, int, tuple[int, float]]] = [
    ("10ms", RESPONSE_BODY, False, ON_NEXT, (1, 0.01)),
    ("{every: 1ms}", RESPONSE_BODY, False, ON_NEXT, (1, 0.001)),
    ("{bytes: 100, every: 1s, direction: request}", REQUEST_BODY, False, ON_NEXT, (100, 1.0)),
    ("{bytes: 65536, every: 1s, direction: both, on: open}", REQUEST_BODY, True, ON_OPEN, (65536, 1.0)),
]


@pytest.mark.parametrize(("fields", "phase", "both", "on", "action"), CASES)
def test_what_it_says(fields: str, phase: int, both: bool, on: int, action: tuple[int, float]) -> None:
    fault = read(f"{{drip: {fields}}}")
    assert (fault.phase, fault.both, fault.on) == (phase, both, on)
    assert fault.shapes
    decided = fault.decide(FACTS, dice())
    assert isinstance(decided, Drip)
    assert (decided.size, decided.every) == action


BAD: list[tuple[str, str, str]] = [
    ("{}", "", '"every" is missing'),
    ("{bytes: 1}", "", '"every" is missing'),
    ("5", "", "a bare number has no unit"),
    ("{every: 0s}", "every", "from 1ms to 24h"),
    ("{bytes: 0, every: 1s}", "bytes", "a whole number from 1 to 65536, got 0"),
    ("{bytes: 1KiB, every: 1s}", "bytes", "a whole number from 1 to 65536"),
    ("{every: 1s, direction: down}", "direction", "expected request, response or both"),
    ("{every: 1s, evry: 1s}", "evry", 'did you mean "every"?'),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{drip: {fields}}}")
    assert found.startswith(f"drip.{path}: " if path else "drip: "), found
    assert words in found
