"""limit: its figures, whom it asks for a place, what those get who have none, and what it refuses."""

import pytest

from rules.actions import Action, Answer, Nothing, Reset
from rules.facts import TCP, Facts
from rules.fault import ON_NEXT, ON_OPEN
from rules.faults.limit import LimitFault
from rules.limits import NO_CONNECTION, NO_REQUEST, NO_TOKEN
from rules.phases import REQUEST_HEAD
from rules.way_actions import Admit, Say
from tests.faults.cases import FACTS, dice, problem, read

MINUTE = 60_000_000


def tcp() -> Facts:
    return Facts("db", "127.0.0.1", TCP)


def admit(fields: str, facts: Facts = FACTS) -> Admit:
    action = read(f"{{limit: {fields}}}").decide(facts, dice())
    assert isinstance(action, Admit)
    return action


def test_where_it_acts() -> None:
    fault = read("{limit: 50/s}")
    assert isinstance(fault, LimitFault)
    assert (fault.phase, fault.on, fault.ends_exchange) == (REQUEST_HEAD, ON_NEXT, False)
    assert fault.limit is fault.own
    assert read("{limit: {connections: 5}}", "{protocol: [tcp]}").on == ON_OPEN
    assert read("{limit: {connections: 5, on: new}}", "{protocol: [tcp]}").on != ON_OPEN


def figures(fields: str) -> tuple[int, ...]:
    made = admit(fields).figures
    return made.connections, made.requests, made.rate_count, made.rate_unit, made.burst, made.queue


FIGURES = [
    ("{connections: 10}", (10, -1, 0, 1, 1, 0)),
    ("{requests: 0}", (-1, 0, 0, 1, 1, 0)),
    ("50/s", (-1, -1, 50, MINUTE // 60, 50, 0)),
    ("{rate: 100/m, burst: 5}", (-1, -1, 100, MINUTE, 5, 0)),
    ("{rate: 1000/h}", (-1, -1, 1000, 60 * MINUTE, 1000, 0)),
    ("{connections: 1, requests: 2, rate: 3/s, queue: 20}", (1, 2, 3, MINUTE // 60, 3, 20)),
    ("{requests: 1, over: wait}", (-1, 1, 0, 1, 1, 10_000)),
    ("{requests: 1, over: wait, queue: 3}", (-1, 1, 0, 1, 1, 3)),
]


@pytest.mark.parametrize(("fields", "expected"), FIGURES)
def test_figures(fields: str, expected: tuple[int, ...]) -> None:
    assert figures(fields) == expected


def test_how_long_they_wait() -> None:
    assert admit("{requests: 1, queue: 5, queue_timeout: 1500ms}").figures.timeout == 1.5
    assert admit("{requests: 1, queue: 5}").figures.timeout < 0


def answers(fields: str) -> list[Action]:
    made = admit(f"{{connections: 1, requests: 1, rate: 1/s{fields}}}").over
    return [made[verdict] for verdict in (NO_CONNECTION, NO_REQUEST, NO_TOKEN)]


def statuses(fields: str) -> list[tuple[int, int]]:
    found = []
    for made in answers(fields):
        assert isinstance(made, Answer)
        found.append((made.status, made.grpc_status))
    return found


def test_what_those_get_who_are_over_it() -> None:
    assert statuses("") == statuses(", over: wait") == [(503, 14), (503, 14), (429, 8)]
    assert statuses(", over: 429") == [(429, 8)] * 3
    assert statuses(", over: 503") == [(503, 14)] * 3
    for made in answers(", over: refuse"):
        assert isinstance(made, Reset)
        assert (made.code, made.connection) == (7, False)
    assert statuses(", response: 420") == [(420, -1)] * 3
    assert statuses(", over: 429, response: {body: {text: slow down}}") == [(429, -1)] * 3


def test_what_they_are_told() -> None:
    (connection, _, token) = answers("")
    assert isinstance(token, Answer)
    assert token.headers == [(b"content-type", b"text/plain; charset=utf-8")]
    assert (token.body, token.grpc_message) == (b"too many requests\n", b"too many requests")
    assert isinstance(connection, Answer)
    assert connection.body == b"no connection is free\n"


REPLIES = [
    ("redis", b"-ERR max number of clients reached\r\n"),
    ("mysql", b"\x17\x00\x00\x00\xff\x10\x04Too many connections"),
    ("postgres", b"E\x00\x00\x00\x3bSFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"),
    ("{text: '421 too many'}", b"421 too many"),
    ("{base64: AAEC}", b"\x00\x01\x02"),
]


@pytest.mark.parametrize(("reply", "data"), REPLIES)
def test_what_tcp_clients_are_told(reply: str, data: bytes) -> None:
    made = admit(f"{{connections: 1, reply: {reply}}}", tcp())
    said = made.over[NO_CONNECTION]
    assert isinstance(said, Say)
    assert said.data == data
    assert not made.requests
    if data.startswith(b"E"):
        assert int.from_bytes(data[1:5], "big") == len(data) - 1


def test_tcp_is_reset_otherwise() -> None:
    for fields in ("{connections: 1}", "{rate: 1/s, over: 503}"):
        assert isinstance(admit(fields, tcp()).over[NO_CONNECTION], Reset)


def test_requests_concern_no_tcp() -> None:
    assert isinstance(read("{limit: {requests: 1}}").decide(tcp(), dice()), Nothing)


def test_the_key() -> None:
    facts = Facts("web", "192.0.2.9")
    facts.upstream = "pay"
    facts.headers = {b"x-tenant": [b"a"]}
    keys = {"rule": b"", "upstream": b"pay", "route": b"web/pay", "source": b"192.0.2.9"}
    for per, key in (keys | {"header:X-Tenant": b"a"}).items():
        assert admit(f"{{requests: 1, per: '{per}'}}", facts).key == key
    fault = read("{limit: {requests: 1, per: 'header:x-other'}}")
    assert fault.header == b"x-other"
    assert isinstance(fault.decide(facts, dice()), Nothing)


INVALID = [
    ("{}", "", "expected at least one of connections, requests and rate"),
    ("{queue: 5}", "", "expected at least one of"),
    ("50", "", "a bare number has no unit: use /s, /m or /h"),
    ("{rate: 0/s}", "rate", "expected a rate such as 50/s"),
    ("{rate: 5/d}", "rate", "expected a rate such as 50/s"),
    ("{rate: 50KiB/s}", "rate", "expected a rate such as 50/s"),
    ("{connections: -1}", "connections", "from 0 to 1000000"),
    ("{requests: 5, burst: 5}", "burst", "is for rate"),
    ("{requests: 5, queue_timeout: 1s}", "queue_timeout", "nobody waits"),
    ("{requests: 5, queue: 0, queue_timeout: 1s}", "queue_timeout", "nobody waits"),
    ("{requests: 5, queue: 0, over: wait}", "queue", "needs room"),
    ("{requests: 5, over: 500}", "over", "expected 429, 503, wait or refuse"),
    ("{requests: 5, over: reject}", "over", "expected 429, 503, wait or refuse"),
    ("{requests: 5, over: refuse, response: 503}", "response", "gives no response"),
    ("{requests: 5, response: {status: 204, body: {text: a}}}", "response.body", "has no body"),
    ("{connections: 5, reply: oracle}", "reply", "postgres, mysql or redis, or a mapping"),
    ("{connections: 5, reply: {base64: 'x y'}}", "reply", "postgres, mysql or redis, or a mapping"),
    ("{requests: 5, per: host}", "per", "expected rule, upstream, route, source or header:NAME"),
    ("{request: 5}", "request", 'did you mean "requests"?'),
    ("{requests: 5, on: always}", "on", "expected next, new or open"),
    ("[]", "", "got a list"),
]


@pytest.mark.parametrize(("fields", "path", "message"), INVALID)
def test_what_is_wrong(fields: str, path: str, message: str) -> None:
    found = problem(f"{{limit: {fields}}}")
    where = "limit" + (f".{path}" if path else "")
    assert found.startswith(f"{where}: "), found
    assert message in found


@pytest.mark.parametrize(
    "fields", ["{requests: 5}", "{connections: 5, over: 503}", "{rate: 5/s, response: 503}"]
)
def test_what_tcp_has_not(fields: str) -> None:
    assert "of tcp none are read" in problem(f"{{limit: {fields}}}", "{protocol: [tcp]}")


def test_a_grpc_status_alone_needs_grpc() -> None:
    fields = "{limit: {requests: 1, response: {grpc_status: RESOURCE_EXHAUSTED}}}"
    assert "grpc_status needs a match that implies gRPC" in problem(fields)
    assert read(fields, "{protocol: grpc}").needs_grpc
