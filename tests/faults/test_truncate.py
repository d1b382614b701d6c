"""truncate: its fields, where it acts, and what it refuses."""

import pytest

from rules.actions import CutBody
from rules.phases import REQUEST_BODY, RESPONSE_BODY
from tests.faults.cases import FACTS, dice, problem, read

CASES: list[tuple[str, int, int, bool]] = [
    ("100B", RESPONSE_BODY, 100, True),
    ("{after_bytes: 0B}", RESPONSE_BODY, 0, True),
    ("{after_bytes: 1KiB, direction: response}", RESPONSE_BODY, 1024, True),
    ("{after_bytes: 1KiB, direction: request}", REQUEST_BODY, 1024, False),
]


@pytest.mark.parametrize(("fields", "phase", "after", "ends"), CASES)
def test_where_it_cuts(fields: str, phase: int, after: int, ends: bool) -> None:
    fault = read(f"{{truncate: {fields}}}")
    assert (fault.phase, fault.after_bytes, fault.ends_exchange) == (phase, after, ends)
    assert isinstance(fault.decide(FACTS, dice()), CutBody)


BAD: list[tuple[str, str, str]] = [
    ("{}", "", '"after_bytes" is missing'),
    ("100", "", "a bare number has no unit"),
    ("{after_bytes: -1B}", "after_bytes", "expected a size such as"),
    ("{after_bytes: 1B, direction: both}", "direction", 'expected request or response, got "both"'),
    ("{after_bytes: 1B, side: upstream}", "side", "unknown key"),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{truncate: {fields}}}")
    assert found.startswith(f"truncate.{path}: " if path else "truncate: "), found
    assert words in found


def test_it_refuses_to_act_before_the_answer_that_its_rule_looks_at() -> None:
    entry = "{truncate: {after_bytes: 1B, direction: request}}"
    assert "truncate acts at request_body" in problem(entry, "{response: {status: 200}}")
