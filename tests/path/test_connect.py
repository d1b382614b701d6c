"""Phase connect: kept and new connections, what may be tried again, what fails how."""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from proxy.net.identity import Credentials
from proxy.net.pool import HTTP1, HTTP2
from tests.support.fakes import FakeLoop, Stage
from tests.support.h2_stage import Http2Stage


class Between(FakeLoop):
    """Something happens when a connection stands and who has asked for it does not know it yet."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self.happens = happens

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> Any:
        made = await super().create_connection(factory, host, port)
        self.happens()
        return made


class Hasty(Between):
    """Its connections end as soon as they stand."""

    def __init__(self) -> None:
        super().__init__(lambda: self.upstreams[-1].lost())


GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("error", "status", "token", "kind"),
    [
        (ConnectionRefusedError(111, "refused"), 502, "connection_refused", "connect_refused"),
        (TimeoutError(), 504, "connection_timeout", "connect_timeout"),
        (OSError(113, "no route to host"), 502, "destination_ip_unroutable", "connect_unreachable"),
        (socket.gaierror(-2, "unknown"), 502, "dns_error", "dns_error"),
    ],
)
async def test_why_a_connection_cannot_be_made_is_told_apart(
    error: Exception, status: int, token: str, kind: str
) -> None:
    stage = Stage()
    stage.loop.refuse = error
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    answer = client.taken().decode()
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert f"proxy-status: misrule; error={token}\r\n" in answer
    assert stage.upstream.cells.failures == {kind: 1}
    assert stage.upstream.open == 0
    assert not client.closing  # the client's connection is as good as before


@pytest.mark.parametrize("http2", [False, True])
async def test_a_bug_in_connecting_fails_the_request_and_frees_its_place(http2: bool) -> None:
    stage = Stage()
    stage.upstream.protocol = stage.upstream.endpoints[0].protocol = HTTP2 if http2 else HTTP1
    stage.loop.refuse = KeyError("unthinkable")
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    answer = client.taken().decode()
    assert answer.startswith("HTTP/1.1 500 ")
    assert "proxy-status: misrule; error=proxy_internal_error\r\n" in answer
    (line,) = stage.logged("internal_error")
    assert (line["phase"], "unthinkable" in line["message"]) == ("connect", True)
    assert (stage.upstream.open, stage.worker.connections) == (0, {client.protocol: None})


@pytest.mark.parametrize("idle_timeout", [300.0, 0.05])
async def test_a_look_at_the_deadlines_ends_no_stream_whose_connection_stands_just_now(
    idle_timeout: float,
) -> None:
    stage = Http2Stage()
    stage.upstream.idle_timeout = idle_timeout

    def time_passes() -> None:
        for _ in range(2):
            stage.timers.advance(1.0)
            stage.worker.sweep()

    stage.loop = stage.worker.loop = Between(time_passes)  # type: ignore[assignment]
    client = stage.peer()
    sid = client.ask()
    server = await stage.both(client)
    server.head(server.requests()[0], [(":status", "204")], end=True)
    assert client.sync().fields(sid)[":status"] == "204"
    assert stage.upstream.cells.failures == {}


async def test_every_address_is_tried_before_a_request_fails() -> None:
    stage = Stage(endpoints=3)
    stage.loop.refuse = ConnectionRefusedError(111, "refused")
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    assert client.taken().startswith(b"HTTP/1.1 502 ")
    assert stage.upstream.cells.failures == {"connect_refused": 3}


async def test_a_kept_connection_that_died_is_replaced_for_a_get() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    first = await stage.connected()
    first.gives(OK)
    client.taken()
    client.gives(GET)
    first.lost(ConnectionResetError())
    second = await stage.connected(1)
    assert second.taken().startswith(b"GET / HTTP/1.1\r\n")
    second.gives(OK)
    assert client.taken() == OK
    assert stage.upstream.cells.retries == 1


async def test_a_post_is_never_sent_twice() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    first = await stage.connected()
    first.gives(OK)
    client.taken()
    client.gives(POST)
    first.lost(ConnectionResetError())
    await stage.turn()
    assert len(stage.loop.upstreams) == 1
    assert client.taken().startswith(b"HTTP/1.1 502 ")


async def test_a_first_use_is_not_tried_again() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    first = await stage.connected()
    first.lost(None)
    await stage.turn()
    assert len(stage.loop.upstreams) == 1
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert stage.upstream.cells.failures == {"upstream_closed": 1}


async def test_half_an_answer_is_never_tried_again() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    first = await stage.connected()
    first.gives(OK)
    client.gives(GET)
    first.gives(b"HTTP/1.1 200 OK\r\ncont")
    first.lost(ConnectionResetError())
    await stage.turn()
    assert len(stage.loop.upstreams) == 1
    assert stage.upstream.cells.failures == {"upstream_reset": 1}


async def test_attempts_allow_a_first_use_to_be_tried_again() -> None:
    stage = Stage(attempts=1)
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).lost(ConnectionResetError())
    (await stage.connected(1)).lost(ConnectionResetError())
    await stage.turn()
    assert len(stage.loop.upstreams) == 2
    assert client.taken().startswith(b"HTTP/1.1 502 ")


async def test_a_full_pool_makes_requests_wait_and_then_turns_them_away() -> None:
    stage = Stage(max_connections=1)
    first, second, third = stage.client(), stage.client(), stage.client()
    first.gives(GET)
    upstream = await stage.connected()
    second.gives(GET)
    third.gives(GET)
    assert stage.upstream.cells.queued == 2
    upstream.taken()
    upstream.gives(OK)
    assert upstream.taken().startswith(b"GET ")
    stage.sweep(5.5)
    assert third.taken().startswith(b"HTTP/1.1 503 ")
    assert stage.upstream.cells.failures == {"pool_exhausted": 1}
    upstream.gives(OK)
    assert first.taken() == second.taken() == OK


async def test_a_waiting_client_that_leaves_leaves_the_queue() -> None:
    stage = Stage(max_connections=1)
    first, second = stage.client(), stage.client()
    first.gives(GET)
    upstream = await stage.connected()
    second.gives(GET)
    second.ends()
    assert stage.upstream.cells.queued == 0
    upstream.taken()
    upstream.gives(OK)
    assert upstream.taken() == b""


async def test_an_upstream_that_does_not_answer_is_504_after_its_time() -> None:
    stage = Stage(response_timeout=2.0)
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    stage.sweep(1.5)
    assert client.taken() == b""
    stage.sweep(1.0)
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"error=http_response_timeout" in answer
    assert upstream.closing


async def test_the_time_that_a_fault_injects_is_not_the_upstreams() -> None:
    stage = Stage("  - {name: slow, faults: [{delay: 60s}]}", response_timeout=2.0)
    client = stage.client()
    client.gives(GET)
    stage.sweep(59)
    assert client.taken() == b""
    stage.sweep(1.25)
    upstream = await stage.connected()
    stage.sweep(1.0)
    upstream.gives(OK)
    assert client.taken().startswith(b"HTTP/1.1 200 OK\r\n")


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(OK + b"HTTP/1.1 200 OK\r\n")
    assert upstream.closing
    upstream.lost(None)
    client.gives(GET)
    await stage.connected(1)


async def test_an_invalid_answer_is_502() -> None:
    stage = Stage()
    client = stage.client()
    client.gives(GET)
    upstream = await stage.connected()
    upstream.gives(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n")
    answer = client.taken()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"error=http_protocol_error" in answer
    assert upstream.closing


class Trusting(Credentials):
    """Verifies what an upstream shows."""

    def context(self, offer: int) -> ssl.SSLContext:
        return ssl.create_default_context()


def secured(fault: str) -> Stage:
    """Set a stage whose upstream speaks TLS, and what is wrong with that by rule."""
    stage = Stage(f"  - {{name: r, faults: [{{tls: {{side: upstream, {fault}}}}}]}}\n")
    for endpoint in stage.upstream.endpoints:
        endpoint.credentials = Trusting("")
    return stage


@pytest.mark.parametrize(
    ("fault", "token"),
    [
        ("certificate: expired", "tls_certificate_error"),
        ("handshake: {alert: unknown_ca}", "tls_alert_received"),
        ("handshake: reset", "connection_terminated"),
    ],
)
async def test_an_upstream_whose_tls_is_said_to_be_bad_is_not_asked(fault: str, token: str) -> None:
    stage = secured(fault)
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    answer = client.taken().decode()
    assert answer.startswith("HTTP/1.1 502 ")
    assert f"proxy-status: misrule; error={token}\r\n" in answer
    assert "x-misrule: rule=r; fault=tls; ms=0; version=1\r\n" in answer
    assert (stage.loop.upstreams, stage.upstream.cells.failures) == ([], {})
    assert stage.snapshot.by_name["r"].state.injected == [1]
    assert not client.closing


async def test_an_upstream_that_is_said_to_stall_has_its_time() -> None:
    stage = secured("handshake: stall")
    client = stage.client()
    client.gives(GET)
    stage.timers.advance(stage.upstream.connect_timeout - 0.001)
    assert client.taken() == b""
    stage.timers.advance(0.001)
    answer = client.taken().decode()
    assert answer.startswith("HTTP/1.1 504 ")
    assert "proxy-status: misrule; error=connection_timeout\r\n" in answer
    assert f"ms={stage.upstream.connect_timeout * 1000:.0f}; " in answer


async def test_an_upstream_without_tls_cannot_have_that_trouble() -> None:
    stage = Stage("  - {name: r, faults: [{tls: {side: upstream, certificate: expired}}]}\n")
    client = stage.client()
    client.gives(GET)
    (await stage.connected()).gives(OK)
    assert client.taken() == OK
    assert stage.snapshot.by_name["r"].state.injected == [0]


async def test_a_connection_that_ends_before_anything_was_sent() -> None:
    stage = Stage()
    stage.loop = Hasty()
    stage.worker.loop = stage.loop  # type: ignore[assignment]
    client = stage.client()
    client.gives(GET)
    await stage.turn()
    assert b"proxy-status: misrule; error=connection_terminated\r\n" in client.taken()
    assert stage.upstream.cells.failures == {"upstream_closed": 1}
    assert stage.upstream.open == 0
