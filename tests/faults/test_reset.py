"""reset: its fields, its phases, and its one verdict."""

import pytest

from proxy.wire.h2_errors import CODES
from rules.actions import Reset
from rules.http_params import H2_CODES
from tests.faults.cases import BAD_CONNECTION_FIELDS, FACTS, dice, problem, read
from tests.faults.connection import PLACES, Placed, placed

CASES = ["reset", "{reset: null}", *(f"{{reset: {fields}}}" for fields, _ in PLACES)]


@pytest.mark.parametrize("entry", CASES)
def test_it_decides_to_reset(entry: str) -> None:
    fault = read(entry)
    assert type(fault.decide(FACTS, dice())) is Reset
    assert fault.ends_exchange
    assert not fault.needs_grpc


@pytest.mark.parametrize(("fields", "where"), PLACES)
def test_where_it_acts(fields: str, where: Placed) -> None:
    assert placed("reset", fields) == where


@pytest.mark.parametrize(("fields", "path", "words"), BAD_CONNECTION_FIELDS)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{reset: {fields}}}")
    assert found.startswith(f"reset.{path}: " if path else "reset: ")
    assert words in found


SAYS = [
    ("{}", (8, False)),
    ("{code: REFUSED_STREAM}", (7, False)),
    ("{code: 4294967295, scope: stream}", (4294967295, False)),
    ("{scope: connection, after_bytes: 1KiB}", (8, True)),
]


@pytest.mark.parametrize(("fields", "says"), SAYS)
def test_what_it_says_in_http2(fields: str, says: tuple[int, bool]) -> None:
    reset = read(f"{{reset: {fields}}}").decide(FACTS, dice())
    assert isinstance(reset, Reset)
    assert (reset.code, reset.connection) == says


def test_its_codes_are_those_of_the_codec() -> None:
    assert {name: number for number, name in enumerate(H2_CODES)} == CODES


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        ("{code: CANCELED}", "code", 'did you mean "CANCEL"?'),
        ("{code: -1}", "code", "a number from 0 to 4294967295, got -1"),
        ("{code: true}", "code", "got true"),
        ("{scope: exchange}", "scope", "expected stream or connection"),
    ],
)
def test_what_it_refuses_of_http2(fields: str, path: str, words: str) -> None:
    found = problem(f"{{reset: {fields}}}")
    assert found.startswith(f"reset.{path}: ")
    assert words in found


def test_it_has_no_short_form() -> None:
    assert "expected a mapping such as {after_bytes: 1KiB}, or {}, got" in problem("{reset: 1KiB}")
