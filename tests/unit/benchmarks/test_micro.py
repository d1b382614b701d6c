"""The cases do what their names say, and the table sets both builds side by side."""

import pytest

from benchmarks.micro import __main__ as micro
from benchmarks.micro import cases, measure
from proxy.wire import h1


@pytest.mark.parametrize(
    ("role", "data", "events"),
    [
        (h1.REQUEST, cases.REQUEST, 2),  # head, end
        (h1.RESPONSE, cases.RESPONSE, 3),  # head, body, end
        (h1.RESPONSE, cases.CHUNKED, 3),
    ],
)
def test_a_message_is_read_whole_each_time(role: int, data: bytes, events: int) -> None:
    reader = cases.reader(role)
    assert [cases.read_all(reader, data) for _ in range(3)] == [events] * 3
    assert reader.idle


def test_no_rule_is_a_candidate_and_heads_are_passed_on() -> None:
    made = {**cases.codec(), **cases.index()}
    assert [case() for name, case in made.items() if name.startswith("candidates")] == [None, None]
    written = made["write a request head"]()
    assert isinstance(written, bytes)
    assert written == cases.REQUEST[:-2] + cases.EXTRA + b"\r\n"


def test_planned_cases_run_and_give_back_what_they_took() -> None:
    for case in cases.plans().values():
        case()
        case()


def test_the_time_of_a_call_is_near_what_it_does() -> None:
    spent = measure.nanoseconds(lambda: sum(range(2000)), 3)
    assert 1_000 < spent < 1_000_000


def test_both_builds_stand_side_by_side() -> None:
    text = micro.comparison({"interpreted": {"a": 9000.0, "b": 500.0}, "compiled": {"a": 3000.0}})
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["a", "9.00", "3.00", "3.0"],
        ["b", "0.50", "-", "-"],
    ]
