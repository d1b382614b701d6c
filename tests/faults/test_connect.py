"""connect: its one field, where it acts, and what it refuses."""

import pytest

from rules.phases import CONNECT
from rules.way_actions import (
    REFUSED,
    RESET,
    TIMED_OUT,
    UNREACHABLE,
    FailToConnect,
)
from tests.faults.cases import FACTS, dice, problem, read

CASES: list[tuple[str, int]] = [
    ("refused", REFUSED),
    ("timeout", TIMED_OUT),
    ("unreachable", UNREACHABLE),
    ("reset", RESET),
    ("{failure: refused}", REFUSED),
]


@pytest.mark.parametrize(("fields", "reason"), CASES)
def test_why_there_is_no_connection(fields: str, reason: int) -> None:
    fault = read(f"{{connect: {fields}}}")
    assert (fault.phase, fault.ends_exchange) == (CONNECT, True)
    action = fault.decide(FACTS, dice())
    assert isinstance(action, FailToConnect)
    assert action.reason == reason


def test_it_may_look_at_requests_and_at_tcp() -> None:
    assert read("{connect: refused}", "{path: /a}").phase == CONNECT
    assert read("{connect: refused}", "{protocol: [tcp]}").phase == CONNECT


BAD: list[tuple[str, str, str]] = [
    ("refusd", "", 'expected refused, timeout, unreachable or reset, got "refusd"; did you mean "refused"?'),
    ("{}", "", '"failure" is missing'),
    ("{failure: refused, at: connect}", "at", "unknown key"),
    ("{failure: 3}", "failure", "expected refused, timeout, unreachable or reset"),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{connect: {fields}}}")
    assert found.startswith(f"connect.{path}: " if path else "connect: "), found
    assert words in found


def test_it_comes_before_the_answer() -> None:
    assert "match.response is known only from response_head on" in problem(
        "{connect: refused}", "{response: {status: 500}}"
    )
