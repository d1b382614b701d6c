"""stall: its fields, its phases, how long it holds and what follows."""

import pytest

from rules import phases
from rules.actions import FOREVER, THEN_ABORT, THEN_CLOSE, THEN_CONTINUE, THEN_RESET, Hold
from tests.faults.cases import BAD_CONNECTION_FIELDS, FACTS, GRPC, dice, problem, read
from tests.faults.connection import PLACES, Placed, placed


def hold(entry: str, match: str = "{}") -> Hold:
    decided = read(entry, match).decide(FACTS, dice())
    assert isinstance(decided, Hold)
    return decided


CASES: list[tuple[str, float, int, bool]] = [
    ("stall", FOREVER, THEN_CONTINUE, True),
    ("{stall: {}}", FOREVER, THEN_CONTINUE, True),
    ("{stall: {until: client_gives_up}}", FOREVER, THEN_CONTINUE, True),
    ("{stall: 30s}", 30.0, THEN_CONTINUE, False),
    ("{stall: {for: 1ms}}", 0.001, THEN_CONTINUE, False),
    ("{stall: {for: 30s, then: continue}}", 30.0, THEN_CONTINUE, False),
    ("{stall: {for: 30s, then: reset}}", 30.0, THEN_RESET, True),
    ("{stall: {for: 30s, then: close}}", 30.0, THEN_CLOSE, True),
    ("{stall: {for: 30s, then: abort}}", 30.0, THEN_ABORT, True),
]


@pytest.mark.parametrize(("entry", "seconds", "then", "ends"), CASES)
def test_how_long_it_holds_and_what_follows(entry: str, seconds: float, then: int, ends: bool) -> None:
    held = hold(entry)
    assert (held.seconds, held.then) == (seconds, then)
    assert read(entry).ends_exchange is ends
    assert (held.answer is not None) is (then == THEN_ABORT)


def test_what_then_abort_answers() -> None:
    held = hold("{stall: {for: 1s, then: abort}}")
    assert held.answer is not None
    assert (held.answer.status, held.answer.headers, held.answer.body) == (504, [], b"")
    held = hold("{stall: {for: 1s, then: abort, abort: {status: 502, body: {text: x}}}}")
    assert held.answer is not None
    assert (held.answer.status, held.answer.body) == (502, b"x")
    assert hold("{stall: {for: 1s, then: abort, abort: 500}}").answer is not None


def test_an_answer_for_grpc_alone_needs_grpc() -> None:
    entry = "{stall: {for: 1s, then: abort, abort: {grpc_status: DEADLINE_EXCEEDED}}}"
    held = hold(entry, GRPC)
    assert held.answer is not None
    assert held.answer.grpc_status == 4
    assert "grpc_status needs a match that implies gRPC" in problem(entry)
    assert not read("{stall: {for: 1s, then: abort}}").needs_grpc


@pytest.mark.parametrize(("fields", "where"), PLACES)
def test_where_it_acts(fields: str, where: Placed) -> None:
    assert placed("stall", fields) == where


ANSWERABLE = {"request_head", "request_body", "resolve", "connect", "response_head"}


@pytest.mark.parametrize("name", phases.NAMES)
def test_where_it_can_end_in_an_answer(name: str) -> None:
    entry = f"{{stall: {{for: 1s, then: abort, at: {name}}}}}"
    if name in ANSWERABLE:
        assert read(entry).phase == phases.NAMES.index(name)
    else:
        assert (
            problem(entry) == f"stall.then: at {name} no answer can be given: use then: reset or then: close"
        )


BAD: list[tuple[str, str, str]] = [
    ("5", "", "a bare number has no unit"),
    ("0s", "", "expected a duration from 1ms to 24h"),
    ("{for: forever}", "for", "expected a duration"),
    ("{for: 25h}", "for", "expected a duration from 1ms to 24h"),
    ("{until: tomorrow}", "until", "expected client_gives_up"),
    ("{for: 1s, until: client_gives_up}", "until", "expected either for: or until:, got both"),
    ("{then: reset}", "then", "then: needs for: with a time"),
    ("{until: client_gives_up, then: close}", "then", "then: needs for: with a time"),
    ("{for: 1s, then: reeset}", "then", 'did you mean "reset"?'),
    ("{for: 1s, abort: 503}", "abort", "an answer needs then: abort"),
    ("{for: 1s, then: abort, abort: {status: 99}}", "abort.status", "got 99"),
    ("{for: 1s, then: abort, abort: {status: 204, body: {text: x}}}", "abort.body", "has no body"),
    *((fields, path, words) for fields, path, words in BAD_CONNECTION_FIELDS),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{stall: {fields}}}")
    assert found.startswith(f"stall.{path}: " if path else "stall: ")
    assert words in found
