"""grpc: its troubles, one to an entry, and what each asks of the proxy."""

import pytest

from rules import phases
from rules.actions import (
    DROP,
    GARBLE,
    HOLD_BACK,
    REPEAT,
    EndCall,
    Nothing,
    ShapeMessages,
    WaitForDeadline,
)
from rules.facts import GRPC as GRPC_BIT
from rules.facts import HTTP2, Facts
from rules.fault import Fault
from rules.phases import REQUEST_BODY, REQUEST_HEAD, RESPONSE_BODY
from tests.faults.cases import FACTS, GRPC, dice, problem, read

CALL = Facts("web", "127.0.0.1", HTTP2 | GRPC_BIT)


def fault(fields: str) -> Fault:
    return read(f"{{grpc: {fields}}}", GRPC)


ENDS: list[tuple[str, int, tuple[int, bytes, bytes, int]]] = [
    ("{after_messages: 3, status: UNAVAILABLE}", RESPONSE_BODY, (3, b"14", b"", -1)),
    (
        "{after_messages: 0, status: 5, message: 'no 100% é'}",
        RESPONSE_BODY,
        (0, b"5", b"no 100%25 %C3%A9", -1),
    ),
    ("{after_messages: 1, direction: request, status: OK}", REQUEST_BODY, (1, b"0", b"", -1)),
    ("{after_messages: 2, status: missing}", RESPONSE_BODY, (2, b"", b"", -1)),
    ("{after_messages: 2, reset: INTERNAL_ERROR}", RESPONSE_BODY, (2, b"", b"", 2)),
    ("{after_messages: 2, reset: 4000000000, direction: response}", RESPONSE_BODY, (2, b"", b"", 4000000000)),
    ("{status: missing}", RESPONSE_BODY, (-1, b"", b"", -1)),
    ("{status: garbled, message: odd}", RESPONSE_BODY, (-1, b"fourteen", b"odd", -1)),
    ("{status: DATA_LOSS}", RESPONSE_BODY, (-1, b"15", b"", -1)),
]


@pytest.mark.parametrize(("fields", "phase", "end"), ENDS)
def test_how_a_call_ends(fields: str, phase: int, end: tuple[int, bytes, bytes, int]) -> None:
    found = fault(fields)
    action = found.decide(CALL, dice())
    assert isinstance(action, EndCall)
    reset = -1 if action.reset is None else action.reset.code
    assert (action.after, action.status, action.message, reset) == end
    assert found.phase == phase


MESSAGES: list[tuple[str, int, tuple[int, int, float]]] = [
    ("{drop_message: 2}", RESPONSE_BODY, (DROP, 2, 0.0)),
    ("{drop_message: each, direction: request}", REQUEST_BODY, (DROP, 0, 0.0)),
    ("{duplicate_message: 1000000000}", RESPONSE_BODY, (REPEAT, 1_000_000_000, 0.0)),
    ("{corrupt_length_prefix: 1, direction: response}", RESPONSE_BODY, (GARBLE, 1, 0.0)),
    ("{delay_message: 100ms}", RESPONSE_BODY, (HOLD_BACK, 0, 0.1)),
    ("{delay_message: {message: 3, delay: 1s}, direction: request}", REQUEST_BODY, (HOLD_BACK, 3, 1.0)),
]


@pytest.mark.parametrize(("fields", "phase", "shape"), MESSAGES)
def test_what_becomes_of_messages(fields: str, phase: int, shape: tuple[int, int, float]) -> None:
    found = fault(fields)
    action = found.decide(CALL, dice())
    assert isinstance(action, ShapeMessages)
    assert (action.what, action.message, action.seconds) == shape
    assert found.phase == phase
    assert found.shapes


@pytest.mark.parametrize(
    ("written", "seconds"), [("-50ms", -0.05), ("0ms", 0.0), ("1.5s", 1.5), ("-1h", -3600.0)]
)
def test_delays_to_the_deadline(written: str, seconds: float) -> None:
    found = fault(f"{{delay_to_deadline: {written}}}")
    action = found.decide(CALL, dice())
    assert isinstance(action, WaitForDeadline)
    assert action.seconds == seconds
    assert found.phase == REQUEST_HEAD
    assert not found.shapes


@pytest.mark.parametrize("fields", [fields for fields, _, _ in [*ENDS, *MESSAGES]])
def test_it_leaves_other_requests_alone(fields: str) -> None:
    assert isinstance(fault(fields).decide(FACTS, dice()), Nothing)


def test_it_needs_no_match_that_implies_grpc() -> None:
    assert not read("{grpc: {drop_message: 1}}").needs_grpc


BAD: list[tuple[str, str, str]] = [
    ("{}", "", "expected one trouble: after_messages or status, or one of drop_message"),
    ("{drop_message: 1, duplicate_message: 1}", "", "expected one trouble"),
    ("{status: OK, drop_message: 1}", "", "expected one trouble"),
    ("{direction: request}", "", "expected one trouble"),
    ("{after_messages: 3}", "", "expected a status (or a reset)"),
    ("{message: a}", "", "expected a status (or a reset)"),
    ("{after_messages: -1, status: OK}", "after_messages", "from 0 to"),
    ("{after_messages: 3, status: OK, reset: CANCEL}", "reset", "either a status or a reset, got both"),
    ("{reset: CANCEL}", "reset", "a reset needs after_messages"),
    ("{status: OK, direction: response}", "direction", "without after_messages there is nothing to count"),
    ("{status: missing, message: a}", "message", "a message needs a status beside it"),
    ("{after_messages: 1, reset: CANCEL, message: a}", "message", "a message needs a status beside it"),
    ("{status: UNAVAILABL}", "status", 'did you mean "UNAVAILABLE"?'),
    ("{status: lost}", "status", "expected a gRPC status such as UNAVAILABLE, missing or garbled"),
    ("{status: 17}", "status", "missing or garbled, got 17"),
    ("{drop_message: 0}", "drop_message", "the number of a message from 1 to 1000000000, or each, got 0"),
    ("{drop_message: all}", "drop_message", 'or each, got "all"'),
    ("{drop_message: true}", "drop_message", "or each, got true"),
    ("{delay_message: 5}", "delay_message", "a bare number has no unit"),
    ("{delay_message: 0ms}", "delay_message", "from 1ms"),
    ("{delay_message: {message: 2}}", "delay_message", '"delay" is missing'),
    ("{delay_to_deadline: 50}", "delay_to_deadline", "a bare number has no unit"),
    ("{delay_to_deadline: --50ms}", "delay_to_deadline", "expected a duration"),
    ("{delay_to_deadline: 50ms, direction: response}", "direction", "leave direction out"),
    ("{direction: both, drop_message: 1}", "direction", "expected request or response"),
    ("{after_message: 1}", "after_message", 'did you mean "after_messages"?'),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{grpc: {fields}}}", GRPC)
    assert found.startswith(f"grpc.{path}: " if path else "grpc: ")
    assert words in found


def test_it_acts_too_late_for_no_part_of_a_match() -> None:
    match = "{protocol: grpc, response: {status: [200]}}"
    assert read("{grpc: {drop_message: 1}}", match).phase == RESPONSE_BODY
    found = problem("{grpc: {drop_message: 1, direction: request}}", match)
    assert f"acts at {phases.NAMES[REQUEST_BODY]}, but match.response" in found
