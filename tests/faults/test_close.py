"""close: its fields, its phases, and its one verdict."""

import pytest

from rules.actions import Close, GoAway
from tests.faults.cases import BAD_CONNECTION_FIELDS, FACTS, dice, problem, read
from tests.faults.connection import PLACES, Placed, placed

CASES = ["close", "{close: null}", *(f"{{close: {fields}}}" for fields, _ in PLACES)]


@pytest.mark.parametrize("entry", CASES)
def test_it_decides_to_close(entry: str) -> None:
    fault = read(entry)
    assert type(fault.decide(FACTS, dice())) is Close
    assert fault.ends_exchange
    assert not fault.needs_grpc


@pytest.mark.parametrize(("fields", "where"), PLACES)
def test_where_it_acts(fields: str, where: Placed) -> None:
    assert placed("close", fields) == where


@pytest.mark.parametrize(("fields", "path", "words"), BAD_CONNECTION_FIELDS)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{close: {fields}}}")
    assert found.startswith(f"close.{path}: " if path else "close: ")
    assert words in found


@pytest.mark.parametrize(
    ("fields", "said"), [("{}", True), ("{close_notify: true}", True), ("{close_notify: false}", False)]
)
def test_the_end_of_tls_is_announced_unless_told_otherwise(fields: str, said: bool) -> None:
    close = read(f"{{close: {fields}}}").decide(FACTS, dice())
    assert isinstance(close, Close)
    assert close.close_notify is said


BAD_ENDS = [
    ("{close_notify: 0}", "expected true or false"),
    ("{close_notify: false, at: accept}", "at accept there is no TLS yet whose end could be announced"),
    ("{close_notify: false, at: tls}", "at tls there is no TLS yet"),
    ("{close_notify: false, goaway: {graceful: true}}", "a graceful end is announced"),
]


@pytest.mark.parametrize(("fields", "words"), BAD_ENDS)
def test_where_no_end_can_be_left_unannounced(fields: str, words: str) -> None:
    found = problem(f"{{close: {fields}}}")
    assert found.startswith("close.close_notify: ")
    assert words in found


GOAWAYS: list[tuple[str, tuple[int, bytes, int]]] = [
    ("{}", (0, b"", -1)),
    ("{code: ENHANCE_YOUR_CALM, debug: too_many_pings}", (11, b"too_many_pings", -1)),
    ("{code: 4294967295, last_stream_id: 0}", (4294967295, b"", 0)),
    ("{last_stream_id: 2147483647, graceful: false}", (0, b"", 2147483647)),
]


@pytest.mark.parametrize(("fields", "says"), GOAWAYS)
def test_a_goaway_goes_before_the_fin(fields: str, says: tuple[int, bytes, int]) -> None:
    fault = read(f"{{close: {{goaway: {fields}}}}}")
    close = fault.decide(FACTS, dice())
    assert isinstance(close, Close)
    assert close.goaway is not None
    assert (close.goaway.code, close.goaway.debug, close.goaway.last_stream_id) == says
    assert fault.ends_exchange


def test_a_graceful_goaway_ends_nothing() -> None:
    fault = read("{close: {goaway: {graceful: true, debug: é}, at: response_head}}")
    goaway = fault.decide(FACTS, dice())
    assert isinstance(goaway, GoAway)
    assert (goaway.graceful, goaway.debug) == (True, "é".encode())
    assert not fault.ends_exchange


BAD_GOAWAYS = [
    ("{goaway: []}", "goaway", "expected a mapping such as {code: ENHANCE_YOUR_CALM}, or {}, got a list"),
    ("{goaway: {code: CALM_DOWN}}", "goaway.code", "expected an HTTP/2 error code"),
    ("{goaway: {code: CANCELL}}", "goaway.code", 'did you mean "CANCEL"?'),
    ("{goaway: {code: 4294967296}}", "goaway.code", "from 0 to 4294967295"),
    ("{goaway: {last_stream_id: -1}}", "goaway.last_stream_id", "from 0 to 2147483647"),
    ("{goaway: {graceful: true, last_stream_id: 5}}", "goaway.last_stream_id", "leave it out"),
    ("{goaway: {graceful: 1}}", "goaway.graceful", "expected true or false"),
    ("{goaway: {}, side: both, at: connect}", "goaway", "needs side: client"),
    ("{goaway: {}, at: accept}", "goaway", "at accept nobody knows yet whether this is HTTP/2"),
]


@pytest.mark.parametrize(("fields", "path", "words"), BAD_GOAWAYS)
def test_which_goaways_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{close: {fields}}}")
    assert found.startswith(f"close.{path}: ")
    assert words in found


def test_it_has_no_short_form() -> None:
    assert "expected a mapping such as {after_bytes: 1KiB}, or {}, got" in problem("{close: 1KiB}")
