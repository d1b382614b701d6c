"""Phase request_head: bytes become an exchange."""

import pytest
from h2.events import RequestReceived

from proxy.net.pool import HTTP1, HTTP2
from tests.support.fakes import Stage
from tests.support.h2_stage import Http2Stage

GET = b"GET /a?b=1 HTTP/1.1\r\nhost: shop.example:8080\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def test_a_request_is_passed_on_with_who_asked_and_by_which_way() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    line, *fields = upstream.taken().decode().rstrip().split("\r\n")
    assert line == "GET /a?b=1 HTTP/1.1"
    assert fields[:5] == [
        "host: shop.example:8080",
        "x-forwarded-for: 192.0.2.7",
        "via: 1.1 misrule",
        "x-forwarded-proto: http",
        "x-forwarded-host: shop.example:8080",
    ]
    assert fields[5].startswith("x-request-id: ")
    upstream.gives(OK)
    assert client.taken() == OK


async def test_a_kept_connection_serves_the_next_request_without_task_or_timer() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK)
    tasks = stage.loop.tasks
    for _ in range(1000):
        client.gives(GET)
        upstream.gives(OK)
    assert stage.loop.tasks == tasks == 1
    assert stage.timers.armed == 0
    assert client.taken() == OK * 1001
    assert stage.worker.cells.route("web", "app").statuses[200] == 1001


async def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET + GET + GET)
    upstream = await stage.connected()
    assert upstream.taken().count(b"GET /a") == 1
    for _ in range(2):
        upstream.gives(OK)
        assert upstream.taken().count(b"GET /a") == 1
    upstream.gives(OK)
    assert client.taken() == OK * 3
    assert upstream.taken() == b""


async def test_forwarded_headers_of_untrusted_clients_are_continued_and_replaced() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(
        b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 1.1.1.1\r\nx-forwarded-proto: https\r\n"
        b"x-forwarded-host: evil\r\nx-request-id: mine\r\n\r\n"
    )
    sent = (await stage.connected()).taken()
    assert b"x-forwarded-for: 1.1.1.1, 192.0.2.7\r\n" in sent
    assert b"x-forwarded-proto: http\r\n" in sent
    assert b"x-forwarded-host: a\r\n" in sent
    assert sent.count(b"x-request-id: mine\r\n") == 1


@pytest.mark.parametrize(
    "more", ["", "x-request-id: 7\r\n", "x-forwarded-for: 10.1.1.1\r\n", "via: 1.1 cdn\r\n"]
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_via_has_the_version_that_came(version: str, more: str) -> None:
    stage = Stage()
    stage.client().gives(f"GET / HTTP/{version}\r\nhost: a\r\n{more}\r\n".encode())
    upstream = await stage.connected()
    head = upstream.taken().decode()
    assert [line for line in head.split("\r\n") if line.startswith("via: ")][-1] == f"via: {version} misrule"
    assert head.count("x-forwarded-for: ") == head.count("x-request-id: ") == 1


@pytest.mark.parametrize("name", ["", "x-request-id", "x-forwarded-for", "via"])
@pytest.mark.parametrize("upstream", [HTTP1, HTTP2])
async def test_via_has_the_version_that_came_by_http2(upstream: int, name: str) -> None:
    on = Http2Stage()
    on.upstream.protocol = upstream
    on.peer().ask("/", *([(name, "1.1 cdn")] if name else []))
    if upstream == HTTP2:
        server = await on.server()
        fields = server.came(RequestReceived)[0].headers or []
        said = [str(value) for key, value in fields if str(key) == "via"][-1]
    else:
        lines = (await on.connected()).taken().decode().split("\r\n")
        said = [line[5:] for line in lines if line.startswith("via: ")][-1]
    assert said == "2 misrule"


async def test_forwarded_headers_of_trusted_proxies_are_believed() -> None:
    stage = Stage('  - {name: r, match: {source: ["1.1.1.1/32"]}, faults: [{abort: 418}]}', trusted_hops=1)
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 9.9.9.9, 1.1.1.1\r\n\r\n")
    assert client.taken().startswith(b"HTTP/1.1 418 ")
    stage.change_rules("")
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-proto: https\r\nx-forwarded-host: b\r\n\r\n")
    sent = (await stage.connected()).taken()
    assert b"x-forwarded-proto: https\r\n" in sent
    assert b"x-forwarded-host: b\r\n" in sent


async def test_what_cannot_be_read_is_refused_and_the_connection_ends() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n")
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"proxy-status: misrule; error=http_request_error\r\n" in answer
    assert b"connection: close\r\n" in answer
    assert client.ended
    assert not client.closing  # not before the client has seen it
    client.ends()
    assert stage.worker.cells.listeners[0].failures == {"length_and_coding": 1}
    assert not stage.worker.connections


async def test_a_bad_chunk_after_the_head_ends_both_sides() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
    upstream = await stage.connected()
    client.gives(b"0x2\r\nab\r\n")
    assert client.taken().startswith(b"HTTP/1.1 400 ")
    assert upstream.closing
    assert client.ended


async def test_no_route_is_404() -> None:
    stage = Stage(no_route=True)
    client = stage.client()
    client.gives(GET + GET)
    answer = client.taken()
    assert answer.count(b"HTTP/1.1 404 Not Found\r\n") == 2
    assert b"error=destination_not_found" in answer


async def test_a_head_that_does_not_end_is_408_after_its_time() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\n")
    stage.sweep(9.5)
    assert client.taken() == b""
    stage.sweep(1.5)
    assert client.taken().startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert client.ended


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    stage.sweep(299)
    assert (client.closing, client.aborted) == (False, False)
    stage.sweep(3)
    assert (client.closing, client.aborted) == (True, False)
    assert client.taken() == OK


async def test_a_client_that_leaves_takes_its_request_along() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    client.ends()
    assert upstream.closing
    access = stage.logged("access")
    assert [(line["status"], line["outcome"]) for line in access] == [(0, "client_closed")]


async def test_the_plan_is_made_once_with_the_rules_in_force_at_the_head() -> None:
    one = "  - {name: one, faults: [{delay: 100ms}, {abort: 501}]}"
    stage = Stage(one)
    client = stage.client()
    client.gives(GET)
    stage.change_rules("  - {name: one, faults: [{delay: 100ms}, {abort: 502}]}")
    stage.timers.advance(0.1)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert answer.count(b"version=1\r\n") == 2
    client.gives(GET)
    stage.timers.advance(0.1)
    assert client.taken().startswith(b"HTTP/1.1 502 ")


async def test_a_bug_ends_one_connection_and_is_counted() -> None:
    stage = Stage()
    client = stage.client()
    other = stage.client()
    stage.listener.only = None
    stage.listener.routes = [None]  # type: ignore[list-item]  # a route that cannot be asked
    client.gives(GET)
    assert client.closing
    assert stage.worker.cells.internal_errors == 1
    assert not other.closing
    assert stage.logged("internal_error")


async def test_a_request_of_http10_without_host_gets_the_upstreams() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"GET / HTTP/1.0\r\n\r\n")
    assert b"\r\nhost: 10.0.0.1:80\r\n" in (await stage.connected()).taken()


async def test_a_proof_header_that_a_client_sends_goes_no_further() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(b"GET / HTTP/1.1\r\nhost: a\r\nX-Misrule: rule=forged\r\n\r\n")
    assert b"forged" not in (await stage.connected()).taken()


@pytest.mark.parametrize(
    ("faults", "waits"),
    [
        ("{delay: 100ms}", [0.07]),  # 30 ms have passed since the request was there
        ("{delay: 100ms}, {delay: 50ms}", [0.07, 0.05]),
        ("{delay: 10ms}, {delay: 50ms}", [0.0, 0.05]),
    ],
)
async def test_what_the_proxy_itself_takes_is_a_part_of_the_first_delay(
    faults: str, waits: list[float]
) -> None:
    stage = Stage(f"  - {{name: r, faults: [{faults}]}}")

    def busy() -> float:
        now = stage.timers.time
        stage.timers.time += 0.03
        return now

    stage.worker.clock = busy
    client = stage.client()
    client.gives(GET)
    begun = stage.timers.time
    for number, wait in enumerate(waits):
        (armed,) = [timer.when - stage.timers.time for timer in stage.timers.waiting if timer.callback]
        assert armed == pytest.approx(wait), number
        stage.timers.advance(armed)
    upstream = await stage.connected()
    assert stage.timers.time - begun == pytest.approx(sum(waits))
    upstream.gives(OK)
    assert b"x-misrule: rule=r; fault=delay; ms=" + (b"30" if waits[0] == 0.0 else b"100") in client.taken()
