"""abort: its fields, its phases, and the answer that it gives."""

import pytest

from rules import phases
from rules.actions import Answer
from tests.faults.cases import FACTS, GRPC, dice, problem, read

JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")

Said = tuple[int, list[tuple[bytes, bytes]], bytes]

CASES: list[tuple[str, Said]] = [
    ("503", (503, [], b"")),
    ("{status: 200}", (200, [], b"")),
    ("{status: 599}", (599, [], b"")),
    ("{status: 204}", (204, [], b"")),
    ("{status: 429, headers: {Retry-After: '5', x: [a, b]}}",
     (429, [(b"retry-after", b"5"), (b"x", b"a"), (b"x", b"b")], b"")),
    ("{status: 500, headers: {x: é}}", (500, [(b"x", "é".encode())], b"")),
    ("{status: 500, body: {text: sorry é}}", (500, [TEXT], "sorry é".encode())),
    ("{status: 500, body: {text: ''}}", (500, [TEXT], b"")),
    ("{status: 500, body: {json: {error: [1, null, é]}}}", (500, [JSON], '{"error":[1,null,"é"]}'.encode())),
    ("{status: 500, body: {json: 0}}", (500, [JSON], b"0")),
    ("{status: 500, headers: {Content-Type: text/x}, body: {json: 1}}",
     (500, [(b"content-type", b"text/x")], b"1")),
]  # fmt: skip


def answer(entry: str, match: str = "{}") -> Answer:
    decided = read(entry, match).decide(FACTS, dice())
    assert isinstance(decided, Answer)
    return decided


@pytest.mark.parametrize(("written", "said"), CASES)
def test_the_answer(written: str, said: Said) -> None:
    given = answer(f"{{abort: {written}}}")
    assert (given.status, given.headers, given.body) == said
    assert given.grpc_status == -1


GRPC_CASES: list[tuple[str, tuple[int, int, bytes]]] = [
    ("{grpc_status: UNAVAILABLE}", (200, 14, b"")),
    ("{grpc_status: 0}", (200, 0, b"")),
    ("{grpc_status: 5, grpc_message: 'no 100% é'}", (200, 5, b"no 100%25 %C3%A9")),
    ("{status: 503, grpc_status: ABORTED, grpc_message: \"a\\nb~\"}", (503, 10, b"a%0Ab~")),
]  # fmt: skip


@pytest.mark.parametrize(("written", "said"), GRPC_CASES)
def test_the_answer_to_a_grpc_call(written: str, said: tuple[int, int, bytes]) -> None:
    given = answer(f"{{abort: {written}}}", GRPC)
    assert (given.status, given.grpc_status, given.grpc_message) == said


def test_trailers() -> None:
    given = answer("{abort: {grpc_status: 5, trailers: {X-Why: [a, b]}, trailers_only: false}}", GRPC)
    assert given.trailers == [(b"x-why", b"a"), (b"x-why", b"b")]
    assert not given.trailers_only
    assert answer("{abort: 503}").trailers_only
    assert answer("{abort: 503}").trailers == []


def test_it_needs_grpc_only_where_it_has_nothing_for_others() -> None:
    assert read("{abort: {grpc_status: 5}}", GRPC).needs_grpc
    assert not read("{abort: {grpc_status: 5, status: 404}}").needs_grpc
    assert "grpc_status needs a match that implies gRPC" in problem("{abort: {grpc_status: 5}}")


@pytest.mark.parametrize(
    ("fields", "phase"),
    [
        ("", phases.REQUEST_HEAD),
        (", at: request_head", phases.REQUEST_HEAD),
        (", at: response_head", phases.RESPONSE_HEAD),
    ],
)
def test_where_it_acts(fields: str, phase: int) -> None:
    fault = read(f"{{abort: {{status: 503{fields}}}}}")
    assert fault.phase == phase
    assert fault.ends_exchange


@pytest.mark.parametrize("phase", sorted({*phases.NAMES} - {"request_head", "response_head"}))
def test_where_it_cannot_act(phase: str) -> None:
    found = problem(f"{{abort: {{status: 503, at: {phase}}}}}")
    assert found.startswith("abort.at: expected request_head or response_head, got")


BAD: list[tuple[str, str, str]] = [
    ("199", "", "expected an HTTP status from 200 to 599, got 199"),
    ("600", "", "got 600"),
    ("'503'", "", "expected an HTTP status"),
    ("[503]", "", "expected an HTTP status such as 503, or a mapping such as {status: 503}, got a list"),
    ("{}", "", "expected a status (or a grpc_status)"),
    ("null", "", "expected a status (or a grpc_status)"),
    ("{status: 100}", "status", "got 100"),
    ("{status: 503.0}", "status", "got 503.0"),
    ("{status: 503, headers: []}", "headers", "expected a mapping of header names, got a list"),
    ("{status: 503, headers: {'a b': c}}", 'headers["a b"]', "is no header name"),
    ("{status: 503, headers: {a: 5}}", "headers.a", "quote it"),
    ("{status: 503, headers: {a: []}}", "headers.a", "empty list"),
    ("{status: 503, headers: {a: \"b\\r\\nc: d\"}}", "headers.a", "no control characters"),
    ("{status: 503, headers: {a: [b, \"\\0\"]}}", "headers.a[1]", "no control characters"),
    ("{status: 503, headers: {Content-Length: '5'}}", "headers.Content-Length", "the proxy writes it itself"),
    ("{status: 503, headers: {transfer-encoding: x}}", "headers.transfer-encoding", "the proxy writes it"),
    ("{status: 503, headers: {connection: x}}", "headers.connection", "the proxy writes it itself"),
    ("{status: 503, body: x}", "body", "expected a mapping with one of text, json, file, got"),
    ("{status: 503, body: {}}", "body", "expected exactly one of text, json, file; got none"),
    ("{status: 503, body: {text: a, json: 1}}", "body", "got text and json"),
    ("{status: 503, body: {text: 5}}", "body.text", "quote it"),
    ("{status: 503, body: {json: .inf}}", "body.json", "JSON has no infinity and no NaN"),
    ("{status: 503, body: {file: ''}}", "body.file", "expected the path of a file"),
    ("{status: 503, body: {file: no/such}}", "body.file", "cannot read no/such: No such file"),
    ("{status: 204, body: {text: a}}", "body", "an answer with status 204 has no body"),
    ("{status: 304, body: {text: a}}", "body", "an answer with status 304 has no body"),
    ("{grpc_status: 5, body: {text: a}}", "body", "a body needs a status beside it"),
    ("{grpc_status: 17}", "grpc_status", "a number from 0 to 16"),
    ("{grpc_status: UNAVAILABL}", "grpc_status", 'did you mean "UNAVAILABLE"?'),
    ("{status: 503, grpc_message: a}", "grpc_message", "a grpc_message needs a grpc_status beside it"),
    ("{status: 503, trailers_only: 1}", "trailers_only", "expected true or false"),
    ("{status: 503, trailers: {grpc-status: '5'}}", "trailers.grpc-status", "the proxy writes it itself"),
    ("{status: 503, trailers: {content-length: '5'}}", "trailers.content-length", "the proxy writes it"),
    ("{status: 503, trailers: {a: []}}", "trailers.a", "empty list"),
    ("{status: 503, header: {}}", "header", 'did you mean "headers"?'),
]  # fmt: skip


@pytest.mark.parametrize(("written", "path", "words"), BAD)
def test_what_it_refuses(written: str, path: str, words: str) -> None:
    found = problem(f"{{abort: {written}}}", GRPC)
    assert found.startswith(f"abort.{path}: " if path else "abort: ")
    assert words in found


def test_a_body_is_at_most_a_mebibyte() -> None:
    limit = 1 << 20
    assert len(answer(f"{{abort: {{status: 500, body: {{text: {'x' * limit}}}}}}}").body) == limit
    assert "at most 1048576 characters" in problem(
        f"{{abort: {{status: 500, body: {{text: {'x' * (limit + 1)}}}}}}}"
    )
    assert "at most 1048576 bytes" in problem(f"{{abort: {{status: 500, body: {{json: {'x' * limit}}}}}}}")
