"""throttle: its fields, where it acts, and what it refuses."""

import pytest

from rules.body_actions import Throttle
from rules.fault import ON_NEW, ON_NEXT, ON_OPEN
from rules.phases import REQUEST_BODY, RESPONSE_BODY
from tests.faults.cases import FACTS, dice, problem, read

CASES: list[tuple[str, int, bool, int, tuple[float, float, bool]]] = [
    ("64KiB/s", RESPONSE_BODY, False, ON_NEXT, (65536.0, 0.0, False)),
    ("{rate: 1B/s}", RESPONSE_BODY, False, ON_NEXT, (1.0, 0.0, False)),
    ("{rate: 1MB/s, direction: request}", REQUEST_BODY, False, ON_NEXT, (1e6, 0.0, False)),
    ("{rate: 1MB/s, direction: both, burst: 1KiB}", REQUEST_BODY, True, ON_NEXT, (1e6, 1024.0, False)),
    ("{rate: 1MB/s, scope: rule, on: open}", RESPONSE_BODY, False, ON_OPEN, (1e6, 0.0, True)),
    ("{rate: 1MB/s, scope: exchange, on: new}", RESPONSE_BODY, False, ON_NEW, (1e6, 0.0, False)),
]


@pytest.mark.parametrize(("fields", "phase", "both", "on", "action"), CASES)
def test_what_it_says(
    fields: str, phase: int, both: bool, on: int, action: tuple[float, float, bool]
) -> None:
    fault = read(f"{{throttle: {fields}}}")
    assert (fault.phase, fault.both, fault.on) == (phase, both, on)
    assert fault.shapes
    assert not fault.ends_exchange
    decided = fault.decide(FACTS, dice())
    assert isinstance(decided, Throttle)
    assert (decided.rate, decided.burst, decided.shared) == action


BAD: list[tuple[str, str, str]] = [
    ("{}", "", '"rate" is missing'),
    ("64", "", "a bare number has no unit: use B/s, KB/s"),
    ("64KiB", "", "expected a rate such as 256KiB/s"),
    ("{rate: 0B/s}", "rate", "from 1B/s to"),
    ("{rate: 0.5B/s}", "rate", "expected whole bytes"),
    ("{rate: 1B/s, burst: 5}", "burst", "a bare number has no unit"),
    ("{rate: 1B/s, direction: up}", "direction", "expected request, response or both"),
    ("{rate: 1B/s, scope: rules}", "scope", 'did you mean "rule"?'),
    ("{rate: 1B/s, on: always}", "on", "expected next, new or open"),
    ("{rate: 1B/s, at: request_body}", "at", "unknown key"),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{throttle: {fields}}}")
    assert found.startswith(f"throttle.{path}: " if path else "throttle: "), found
    assert words in found


@pytest.mark.parametrize("direction", ["request", "both"])
def test_it_refuses_to_act_before_the_answer_that_its_rule_looks_at(direction: str) -> None:
    entry = f"{{throttle: {{rate: 1B/s, direction: {direction}}}}}"
    assert "throttle acts at request_body" in problem(entry, "{response: {status: 200}}")
