"""rewrite: its fields, where it acts, and what it refuses."""

import pytest

from rules.message_actions import MessageEdit, Rewrite
from rules.phases import REQUEST_HEAD, RESPONSE_HEAD
from tests.faults.cases import FACTS, dice, problem, read


def edits(fields: str) -> tuple[MessageEdit | None, MessageEdit | None]:
    decided = read(f"{{rewrite: {fields}}}").decide(FACTS, dice())
    assert isinstance(decided, Rewrite)
    return decided.request, decided.response


@pytest.mark.parametrize(
    ("fields", "phase", "both"),
    [
        ("{request: {path: /a}}", REQUEST_HEAD, False),
        ("{response: {status: 500}}", RESPONSE_HEAD, False),
        ("{request: {path: /a}, response: {status: 500}}", REQUEST_HEAD, True),
    ],
)
def test_where_it_acts(fields: str, phase: int, both: bool) -> None:
    fault = read(f"{{rewrite: {fields}}}")
    assert (fault.phase, fault.both, fault.second) == (phase, both, RESPONSE_HEAD)
    assert fault.of_requests
    request, response = edits(fields)
    assert (request is None, response is None) == (phase == RESPONSE_HEAD, not both and phase == REQUEST_HEAD)


def test_heads() -> None:
    headers = "{set: {X-A: [a, b], host: 'c:8'}, add: {x-b: ' d '}, remove: [X-C, x-d]}"
    edit, _ = edits(f"{{request: {{method: PUT, path: '/a?b=c', headers: {headers}}}}}")
    assert edit is not None
    assert (edit.method, edit.path, edit.status, edit.body) == (b"PUT", b"/a?b=c", 0, None)
    assert edit.set == [(b"x-a", b"a"), (b"x-a", b"b"), (b"host", b"c:8")]
    assert (edit.add, edit.remove) == ([(b"x-b", b"d")], [b"x-c", b"x-d"])


BODIES: list[tuple[str, tuple[bytes | None, bytes, int, bytes]]] = [
    ("{replace: gone}", (b"gone", b"", 0, b"")),
    ("{replace: ''}", (b"", b"", 0, b"")),
    ("{replace: {text: gone}}", (b"gone", b"", 0, b"")),
    ("{replace: {json: {a: [1, null]}}}", (b'{"a":[1,null]}', b"application/json", 0, b"")),
    ("{append: '!'}", (None, b"", 0, b"!")),
    ("{json: [{path: $.a, value: 1}], append: b}", (None, b"", 1, b"b")),
]


@pytest.mark.parametrize(("fields", "wanted"), BODIES)
def test_bodies(fields: str, wanted: tuple[bytes | None, bytes, int, bytes]) -> None:
    _, edit = edits(f"{{response: {{body: {fields}}}}}")
    assert edit is not None
    assert edit.body is not None
    body = edit.body
    assert (body.replace, body.kind, len(body.json), body.append) == wanted


def test_json_values() -> None:
    _, edit = edits("{response: {body: {json: [{path: '$.a[0]', value: {b: 1.5}}, {path: $, value: null}]}}}")
    assert edit is not None
    assert edit.body is not None
    assert [(one.steps, one.value) for one in edit.body.json] == [(["a", 0], '{"b":1.5}'), ([], "null")]


BAD: list[tuple[str, str, str]] = [
    ("{}", "", "at least one of request, response"),
    ("{request: {}}", "request", "at least one of headers, method, path, body"),
    ("{response: {}}", "response", "at least one of headers, status, body"),
    ("{request: {status: 500}}", "request.status", "unknown key"),
    ("{response: {path: /a}}", "response.path", "unknown key"),
    ("{response: {status: 101}}", "response.status", "an HTTP status from 200 to 599"),
    ("{request: {method: HEAD}}", "request.method", "HEAD cannot be set"),
    ("{request: {method: CONNECT}}", "request.method", "cannot be set"),
    ("{request: {method: get}}", "request.method", 'write "GET"'),
    ("{request: {path: a}}", "request.path", "a path such as /orders/7"),
    ('{request: {path: "/a b"}}', "request.path", "a path such as /orders/7"),
    ('{request: {path: "/a#b"}}', "request.path", "a path such as /orders/7"),
    ('{request: {path: "/a\\r\\nx: y"}}', "request.path", "a path such as /orders/7"),
    ("{request: {headers: {}}}", "request.headers", "at least one of set, add, remove"),
    ("{request: {headers: {set: {x: 1}}}}", "request.headers.set.x", "quote it"),
    ('{request: {headers: {set: {x: "a\\r\\nb: c"}}}}', "request.headers.set.x", "no control characters"),
    ('{response: {headers: {add: {"x\\r\\ny": a}}}}', "response.headers.add", "is no header name"),
    ("{request: {headers: {add: {host: a}}}}", "request.headers.add.host", "exactly one; set it"),
    ("{request: {headers: {remove: host}}}", "request.headers.remove", "exactly one; set it"),
    ("{request: {headers: {set: {host: 'a b'}}}}", "request.headers.set.host", "expected a host"),
    ("{request: {headers: {set: {host: [a, b]}}}}", "request.headers.set.host", "exactly one host"),
    ("{request: {headers: {set: {x: a}, remove: x}}}", "request.headers.remove", '"x" is set, too'),
    ("{request: {headers: {set: {x-forwarded-for: a}}}}", "request.headers.set", "writes it itself"),
    ("{request: {headers: {set: {':path': a}}}}", "request.headers.set", "is a pseudo-header: use path"),
    ("{response: {headers: {set: {':status': a}}}}", "response.headers.set", "is a pseudo-header"),
    ("{response: {headers: {set: {grpc-status: '0'}}}}", "response.headers.set", "the fault grpc"),
    ("{response: {body: {}}}", "response.body", "at least one of replace, json, append"),
    ("{response: {body: {replace: a, append: b}}}", "response.body.replace", "nothing left to change"),
    ("{response: {body: {replace: {text: a, json: 1}}}}", "response.body.replace", "exactly one of text"),
    ("{response: {body: {replace: {}}}}", "response.body.replace", "exactly one of text"),
    ("{response: {body: {json: []}}}", "response.body.json", "an empty list"),
    ("{response: {body: {json: [{path: a, value: 1}]}}}", "response.body.json[0].path", "begins with $"),
    ("{response: {body: {json: [{path: $.a..b, value: 1}]}}}", "response.body.json[0].path", "is no step"),
    ("{response: {body: {json: [{path: $}]}}}", "response.body.json[0]", '"value" is missing'),
    ("{response: {status: 204, body: {append: a}}}", "response.body", "with status 204 has no body"),
    ("{reponse: {status: 204}}", "reponse", 'did you mean "response"?'),
]
FRAMING = ["content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"]
for name in FRAMING:
    for verb, written in (("set", f"{{{name}: a}}"), ("add", f"{{{name}: a}}"), ("remove", name)):
        for side in ("request", "response"):
            BAD.append(
                (f"{{{side}: {{headers: {{{verb}: {written}}}}}}}", f"{side}.headers.{verb}", "framed")
            )


@pytest.mark.parametrize(("fields", "path", "words"), BAD)
def test_what_it_refuses(fields: str, path: str, words: str) -> None:
    found = problem(f"{{rewrite: {fields}}}")
    assert found.startswith(f"rewrite.{path}" if path else "rewrite: "), found
    assert words in found


def test_of_tcp_there_are_no_messages() -> None:
    assert "of tcp none are read" in problem("{rewrite: {response: {status: 500}}}", "{protocol: [tcp]}")
