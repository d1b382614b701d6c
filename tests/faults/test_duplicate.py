"""duplicate: its field, where it acts, and what it refuses."""

import pytest

from rules.message_actions import Duplicate
from rules.phases import REQUEST_HEAD
from tests.faults.cases import FACTS, dice, problem, read

CASES: list[tuple[str, int]] = [
    ("duplicate", 2),
    ("{duplicate: 3}", 3),
    ("{duplicate: {}}", 2),
    ("{duplicate: {times: 100}}", 100),
]


@pytest.mark.parametrize(("entry", "times"), CASES)
def test_what_it_says(entry: str, times: int) -> None:
    fault = read(entry)
    assert (fault.phase, fault.of_requests, fault.ends_exchange) == (REQUEST_HEAD, True, False)
    decided = fault.decide(FACTS, dice())
    assert isinstance(decided, Duplicate)
    assert decided.times == times


BAD: list[tuple[str, str, str]] = [
    ("1", "", "a whole number from 2 to 100, got 1"),
    ("{times: 1}", "times", "a whole number from 2 to 100, got 1"),
    ("{times: 101}", "times", "a whole number from 2 to 100, got 101"),
    ("{time: 2}", "time", 'did you mean "times"?'),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{duplicate: {fields}}}")
    assert found.startswith(f"duplicate.{path}: " if path else "duplicate"), found
    assert words in found


def test_of_tcp_there_are_no_requests() -> None:
    assert "of tcp none are read" in problem("duplicate", "{protocol: [tcp]}")
