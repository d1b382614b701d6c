"""Whole messages, changed: what arrives, with which framing, and what is left alone."""

import gzip
import json
import zlib

import pytest

from proxy.gathering import PATIENCE
from rules.message_actions import MOST
from tests.support.fakes import Stage

GET = b"GET /a?q=1 HTTP/1.1\r\nHost: a\r\nX-Old: 1\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
CHUNKED = b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def rules(fields: str, more: str = "") -> str:
    return f"  - {{name: r, faults: [rewrite: {{{fields}}}]{more}}}"


def injected(stage: Stage) -> int:
    return stage.snapshot.by_name["r"].state.injected[0]


def skipped(stage: Stage) -> dict[str, int]:
    return stage.snapshot.by_name["r"].state.faults[0].skipped


def lines(raw: bytes) -> list[bytes]:
    return raw.partition(b"\r\n\r\n")[0].split(b"\r\n")


def body(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]


async def asked(stage: Stage, request: bytes) -> bytes:
    """Send a request; gives what the upstream got."""
    stage.client().gives(request)
    return (await stage.connected()).taken()


async def answered(stage: Stage, answer: bytes, request: bytes = GET) -> bytes:
    """Send a request and an answer; gives what the client got."""
    client = stage.client()
    client.gives(request)
    (await stage.connected()).gives(answer)
    return client.taken()


# --- heads


async def test_the_head_of_a_request() -> None:
    stage = Stage(
        rules(
            "request: {method: PUT, path: /b, headers: {set: {x-old: '2'}, add: {x-new: [a, b]}, remove: x}}"
        )
    )
    got = lines(await asked(stage, GET))
    assert got[:5] == [b"PUT /b?q=1 HTTP/1.1", b"Host: a", b"x-old: 2", b"x-new: a", b"x-new: b"]
    assert injected(stage) == 1


async def test_a_path_with_a_query_takes_the_place_of_both() -> None:
    got = await asked(Stage(rules("request: {path: '/b?x=2'}")), GET)
    assert got.startswith(b"GET /b?x=2 HTTP/1.1\r\n")


async def test_another_host() -> None:
    stage = Stage(rules("request: {headers: {set: {host: 'b:81'}}}"))
    got = lines(await asked(stage, GET))
    assert b"host: b:81" in got
    assert b"Host: a" not in got


async def test_an_absolute_target_keeps_its_authority() -> None:
    got = lines(
        await asked(Stage(rules("request: {path: /b}")), b"GET http://z/a HTTP/1.1\r\nhost: a\r\n\r\n")
    )
    assert got[:2] == [b"GET /b HTTP/1.1", b"host: z"]


async def test_the_body_of_a_request_is_not_waited_for() -> None:
    stage = Stage(rules("request: {path: /b}"))
    client = stage.client()
    client.gives(CHUNKED)
    upstream = await stage.connected()
    assert upstream.taken().startswith(b"POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n")
    client.gives(b"3\r\nabc\r\n")
    assert upstream.taken() == b"3\r\nabc\r\n"
    client.gives(b"0\r\nx-sum: 7\r\n\r\n")
    assert upstream.taken() == b"0\r\nx-sum: 7\r\n\r\n"


async def test_the_access_line_says_what_the_client_has_sent() -> None:
    stage = Stage(rules("request: {method: PUT, path: /b}"))
    await answered(stage, OK)
    (line,) = stage.logged("access")
    assert (line["method"], line["path"], line["injected"]) == ("GET", "/a", ["r/rewrite"])


async def test_the_head_of_an_answer() -> None:
    stage = Stage(rules("response: {status: 418, headers: {set: {a: b}, add: {c: d}}}"))
    got = await answered(stage, OK)
    assert got.startswith(b"HTTP/1.1 418 I'm a Teapot\r\ncontent-length: 5\r\na: b\r\nc: d\r\n")
    assert b"x-misrule: rule=r; fault=rewrite; ms=0; version=1\r\n" in got
    assert body(got) == b"hello"


async def test_the_body_of_an_answer_is_not_waited_for() -> None:
    stage = Stage(rules("response: {status: 500}"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert body(client.taken()) == b"3\r\nabc\r\n"
    upstream.gives(b"0\r\n\r\n")
    assert client.taken() == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer", [OK, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize(("status", "length"), [(204, False), (205, True), (304, False)])
async def test_a_status_without_a_body_takes_it_away(answer: bytes, status: int, length: bool) -> None:
    stage = Stage(rules(f"response: {{status: {status}}}"))
    client = stage.client()
    for _ in range(2):  # the connections stay in step
        client.gives(GET)
        (await stage.connected()).gives(answer)
        got = client.taken()
        assert got.startswith(b"HTTP/1.1 %d " % status)
        assert body(got) == b""
        assert (b"content-length: 0" in got) is length
        assert b"transfer-encoding" not in got
    assert len(stage.loop.upstreams) == 1


@pytest.mark.parametrize("came", [b"204 No Content\r\n", b"304 Not Modified\r\ncontent-length: 70\r\n"])
async def test_a_status_with_a_body_gets_an_empty_one(came: bytes) -> None:
    got = await answered(Stage(rules("response: {status: 200}")), b"HTTP/1.1 " + came + b"\r\n")
    assert got.startswith(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n")
    assert b"70" not in got


async def test_an_answer_to_head_stays_one() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    stage = Stage(rules("response: {status: 500}"))
    got = await answered(stage, answer, GET.replace(b"GET", b"HEAD"))
    assert (b"content-length: 5\r\n" in got, body(got)) == (True, b"")


# --- bodies


async def test_a_request_is_read_before_it_goes_on() -> None:
    stage = Stage(rules("request: {body: {append: ' you'}}"))
    client = stage.client()
    client.gives(POST[:-1])
    await stage.turn()
    assert stage.loop.upstreams == []
    assert stage.worker.cells.waiting == 1
    client.gives(POST[-1:])
    got = (await stage.connected()).taken()
    assert b"content-length: 9\r\n" in got
    assert body(got) == b"hello you"
    assert (injected(stage), stage.worker.cells.waiting, stage.timers.armed) == (1, 0, 0)


async def test_chunks_stay_chunks_and_keep_their_trailers() -> None:
    stage = Stage(rules("request: {body: {append: '!'}}"))
    got = await asked(stage, CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 7\r\n\r\n")
    assert body(got) == b"6\r\nabcde!\r\n0\r\nx-sum: 7\r\n\r\n"


async def test_a_request_without_a_body_gets_one() -> None:
    stage = Stage(rules("request: {method: POST, body: {replace: {json: {a: 1}}}}"))
    client = stage.client()
    client.gives(GET + GET)  # the next one is not taken for its body
    upstream = await stage.connected()
    got = upstream.taken()
    assert got.startswith(b"POST /a?q=1 HTTP/1.1\r\n")
    assert b"content-type: application/json\r\ncontent-length: 7\r\n" in got
    assert body(got) == b'{"a":1}'
    upstream.gives(OK)
    assert body(client.taken()) == b"hello"
    assert body(upstream.taken()) == b'{"a":1}'


async def test_the_proxy_asks_for_a_body_that_waits_to_be_asked_for() -> None:
    stage = Stage(rules("request: {body: {replace: bye}}"))
    client = stage.client()
    client.gives(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n")
    assert client.taken() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.gives(b"hello")
    upstream = await stage.connected()
    got = upstream.taken()
    assert b"expect" not in got
    assert body(got) == b"bye"
    upstream.gives(OK)
    assert body(client.taken()) == b"hello"
    assert not client.closing


async def test_an_answer_is_read_before_it_goes_on() -> None:
    stage = Stage(rules("response: {body: {replace: bye}}"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK[:-1])
    assert client.taken() == b""
    upstream.gives(OK[-1:])
    got = client.taken()
    assert (b"content-length: 3\r\n" in got, body(got)) == (True, b"bye")
    client.gives(GET)
    upstream.gives(OK)
    assert body(client.taken()) == b"bye"
    assert len(stage.loop.upstreams) == 1
    assert stage.worker.cells.waiting == 0


async def test_an_answer_that_ends_with_its_connection() -> None:
    stage = Stage(rules("response: {body: {append: '!'}}"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 200 OK\r\n\r\nhello")
    upstream.ends()
    assert body(client.taken()) == b"6\r\nhello!\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_json_values(size: int) -> None:
    came = b'{ "id": 7, "price": 1.10, "items": [{"n": 1}, {"n": 2}] }'
    fields = "[{path: $.price, value: 0}, {path: '$.items[*].n', value: null}]"
    stage = Stage(rules(f"response: {{body: {{json: {fields}}}}}"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(came) + came
    for at in range(0, len(whole), size):
        upstream.gives(whole[at : at + size])
    assert body(client.taken()) == b'{ "id": 7, "price": 0, "items": [{"n": null}, {"n": null}] }'


def packed(coding: str, content: bytes) -> bytes:
    if coding == "raw":
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(content) + packer.flush()
    return gzip.compress(content) if coding == "gzip" else zlib.compress(content)


def unpacked(coding: str, content: bytes) -> bytes:
    return zlib.decompress(content, {"gzip": 31, "deflate": 15, "raw": -15}[coding])


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw"])
async def test_compressed_answers(coding: str) -> None:
    content = packed(coding, json.dumps({"a": 1}).encode())
    name = coding.replace("raw", "deflate").encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (name, len(content))
    stage = Stage(
        rules("response: {body: {json: [{path: $.a, value: [2]}], append: '\\n'}}".replace("'\\n'", '"\\n"'))
    )
    got = await answered(stage, head + content)
    assert b"content-encoding: " + name in got
    assert unpacked(coding, body(got)) == b'{"a": [2]}\n'


async def test_what_is_replaced_is_compressed_no_more() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 5\r\n\r\nhello"
    got = await answered(Stage(rules("response: {body: {replace: bye}}")), head)
    assert (b"content-encoding" in got, body(got)) == (False, b"bye")


# --- what is left alone


BOMB = gzip.compress(bytes(MOST + 1), mtime=0)
LEFT_ALONE: list[tuple[str, str, bytes, bytes]] = [
    ("not_json", "json: [{path: $.a, value: 1}]", b"", b"hello"),
    ("no_place", "json: [{path: $.b, value: 1}]", b"", b'{"a": 1}'),
    ("unknown_coding", "append: a", b"content-encoding: br\r\n", b"hello"),
    ("unknown_coding", "append: a", b"content-encoding: gzip, gzip\r\n", b"hello"),
    ("bad_coding", "append: a", b"content-encoding: gzip\r\n", b"hello"),
    ("bad_coding", "append: a", b"content-encoding: gzip\r\n", gzip.compress(b"hello", mtime=0)[:-1]),
    ("too_large", "append: a", b"content-encoding: gzip\r\n", BOMB),
    ("streaming", "append: a", b"content-type: text/event-stream\r\n", b"data: 1\n\n"),
]


@pytest.mark.parametrize(("why", "change", "fields", "content"), LEFT_ALONE)
async def test_an_answer_passes_as_it_came(why: str, change: str, fields: bytes, content: bytes) -> None:
    stage = Stage(rules(f"response: {{status: 500, body: {{{change}}}}}", ", sample: {first: 1}"))
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"content-length: %d\r\n\r\n" % len(content) + content
    client = stage.client()
    for _ in range(2):  # what did not fire is not charged
        client.gives(GET)
        (await stage.connected()).gives(answer)
        got = client.taken()
        assert got == answer
    assert (injected(stage), skipped(stage)) == (0, {why: 2})
    assert [line["reason"] for line in stage.logged("fault_skipped")] == [why, why]


@pytest.mark.parametrize("sized", [True, False])
async def test_a_large_answer_passes_as_it_came(sized: bool) -> None:
    stage = Stage(rules("response: {body: {append: a}}"))
    content = bytes(range(256)) * 4097
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    if sized:
        upstream.gives(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(content))
        assert client.taken() != b""
    else:
        upstream.gives(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    got = b""
    for at in range(0, len(content), 65536):
        piece = content[at : at + 65536]
        upstream.gives(piece if sized else b"%x\r\n%b\r\n" % (len(piece), piece))
        got += client.taken()
    upstream.gives(b"" if sized else b"0\r\nx-sum: 7\r\n\r\n")
    got += client.taken()
    if not sized:
        assert got.endswith(b"0\r\nx-sum: 7\r\n\r\n")
        joined = b""
        rest = got.partition(b"\r\n\r\n")[2]
        while size := int(rest.partition(b"\r\n")[0], 16):
            rest = rest.partition(b"\r\n")[2]
            joined += rest[:size]
            rest = rest[size + 2 :]
        got = joined
    assert got == content
    assert skipped(stage) == {"too_large": 1}
    client.gives(GET)
    assert upstream.taken() != b""


async def test_a_large_request_passes_as_it_came() -> None:
    stage = Stage(rules("request: {body: {append: a}}"))
    client = stage.client()
    client.gives(CHUNKED)
    got = b""
    for _ in range(17):
        client.gives(b"10000\r\n" + bytes(65536) + b"\r\n")
    upstream = await stage.connected()
    got = upstream.taken()
    client.gives(b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n")
    got += upstream.taken()
    assert body(got).count(b"\0") == 17 * 65536
    assert got.endswith(b"3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n")
    assert skipped(stage) == {"too_large": 1}


@pytest.mark.parametrize(
    ("request_line", "change", "why"),
    [
        (b"HEAD / HTTP/1.1\r\n", "request: {method: GET}", "head_request"),
        (
            b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
            "request: {method: POST}",
            "tunnel",
        ),
        (b"GET / HTTP/1.1\r\n", 'request: {headers: {set: {x: "\\u00e9"}}}', ""),
    ],
)
async def test_requests_that_cannot_be_changed_so(request_line: bytes, change: str, why: str) -> None:
    stage = Stage(rules(change))
    await asked(stage, request_line + b"host: a\r\n\r\n")
    assert skipped(stage) == ({why: 1} if why else {})
    assert injected(stage) == (0 if why else 1)


async def test_an_answer_to_head_gets_no_body() -> None:
    stage = Stage(rules("response: {body: {replace: a}}"))
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    assert await answered(stage, answer, GET.replace(b"GET", b"HEAD")) == answer
    assert skipped(stage) == {"no_body": 1}


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever() -> None:
    stage = Stage(rules("response: {body: {append: a}}"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK[:-1])
    stage.timers.advance(PATIENCE - 0.1)
    assert client.taken() == b""
    stage.timers.advance(0.2)
    assert client.taken() == OK[:-1]
    upstream.gives(OK[-1:])
    assert client.taken() == OK[-1:]
    assert skipped(stage) == {"too_slow": 1}


async def test_a_rule_that_goes_lets_go() -> None:
    stage = Stage(rules("request: {body: {append: a}}"))
    client = stage.client()
    client.gives(POST[:-1])
    stage.change_rules("")
    upstream = await stage.connected()
    client.gives(POST[-1:])
    assert body(upstream.taken()) == b"hello"
    assert stage.worker.cells.waiting == 0


async def test_an_upstream_that_breaks_off() -> None:
    stage = Stage(rules("response: {body: {append: a}}"))
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK[:-1])
    upstream.ends()
    assert client.taken().startswith(b"HTTP/1.1 502 ")
    assert stage.worker.cells.waiting == 0


async def test_a_client_that_goes_away() -> None:
    stage = Stage(rules("request: {body: {append: a}}"))
    client = stage.client()
    client.gives(POST[:-1])
    client.ends()
    assert (stage.worker.cells.waiting, stage.timers.armed) == (0, 0)


async def test_a_shadow_changes_nothing() -> None:
    stage = Stage(rules("request: {path: /b}, response: {body: {append: a}}", ", mode: shadow"))
    assert await answered(stage, OK) == OK
    assert stage.snapshot.by_name["r"].state.shadowed == [1]


# --- both, and with other faults


async def test_both_messages_count_as_one() -> None:
    stage = Stage(rules("request: {path: /b}, response: {status: 500}"))
    got = await answered(stage, OK)
    assert got.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert got.count(b"x-misrule") == 1
    assert injected(stage) == 1
    assert len(stage.logged("injection")) == 1


async def test_the_answer_is_changed_where_the_request_could_not_be() -> None:
    stage = Stage(rules("request: {body: {json: [{path: $.a, value: 1}]}}, response: {status: 500}"))
    got = await answered(stage, OK, POST)
    assert got.startswith(b"HTTP/1.1 500 ")
    assert (injected(stage), skipped(stage)) == (1, {"not_json": 1})


async def test_two_rules_change_the_same_body() -> None:
    one = "  - {name: r, faults: [rewrite: {response: {body: {append: b}}}]}"
    delay = "delay: {fixed: 1s, at: response_body}"
    stage = Stage(
        f"{one}\n{one.replace('name: r', 'name: s').replace('append: b', 'append: c')[:-2]}, {delay}]}}"
    )
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK)
    assert body(client.taken()) == b""
    stage.timers.advance(1.1)
    assert client.taken() == b"hellobc"


async def test_a_changed_body_is_cut_where_another_rule_says() -> None:
    faults = "rewrite: {response: {body: {append: abc}}}}, {reset: {after_bytes: 7B}"
    stage = Stage(f"  - {{name: r, faults: [{{{faults}}}]}}")
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    assert body(client.taken()) == b"helloab"
    stage.timers.advance(1.0)
    assert client.aborted


async def test_a_changed_request_is_held_up_on_its_way() -> None:
    faults = "rewrite: {request: {body: {append: abc}}}}, {delay: {fixed: 1s, at: request_body}"
    stage = Stage(f"  - {{name: r, faults: [{{{faults}}}]}}")
    client = stage.client()
    client.gives(POST)
    upstream = await stage.connected()
    assert body(upstream.taken()) == b""
    stage.timers.advance(1.1)
    assert upstream.taken() == b"helloabc"
