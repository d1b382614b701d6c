"""Each danger once: what must be refused is refused, and what is right goes through."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.admin.guard import FAILURES, Failures, host_of, is_local, same_address
from proxy.config import AdminConfig
from tests.unit.proxy.admin.fake_proxy import Endpoint, FakeProxy, read_answer, token_file

TOKEN = "kT9x0s7Qm2Vb8LrE5uYw3A"
OTHER = "b64-of-another-128-bits"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Endpoint]:
    """An endpoint that asks for a token."""
    admin = AdminConfig("127.0.0.1:0", str(token_file(tmp_path, TOKEN)), ["misrule.mesh"])
    made = Endpoint(FakeProxy(admin))
    await made.proxy.load()
    await made.server.start()
    yield made
    await made.server.stop()
    made.proxy.worker.log.close()


# Host: DNS rebinding


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9905", "127.0.0.1", "127.0.0.1:1", "[::1]:9905", "localhost."]
)
async def test_own_names_are_known(endpoint: Endpoint, host: str) -> None:
    assert (await endpoint.call("GET", "/v1/rules", host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "127.0.0.2",
        "[::2]",
        "",
        "a:b:c",
        "[",
        "169.254.169.254",
    ],
)
async def test_other_names_are_misdirected(endpoint: Endpoint, host: str) -> None:
    for method, path in (
        ("GET", "/v1/rules"),
        ("POST", "/v1/stop"),
        ("GET", "/healthz"),
        ("GET", "/nothing"),
    ):
        answer = await endpoint.call(method, path, host=host)
        assert (answer.status, answer.kind) == (421, "unknown-host")
    assert not endpoint.proxy.worker.live.stopped


async def test_without_or_with_two_hosts_nothing_is_answered(endpoint: Endpoint) -> None:
    two = b"GET /v1/rules HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert (await endpoint.send(two)).status in (400, 421)
    assert (await endpoint.send(b"GET /v1/rules HTTP/1.0\r\n\r\n")).status == 421


async def test_configured_names_are_known(guarded: Endpoint) -> None:
    assert (await guarded.call("GET", "/healthz", host="misrule.mesh:80")).status == 200
    assert (await guarded.call("GET", "/healthz", host="misrule.mesh.evil")).status == 421


# Origin and Sec-Fetch-Site: cross-site requests


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1234"},
        {"origin": "http://localhost", "sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "file://"},
    ],
)
async def test_pages_of_other_sites_are_refused(endpoint: Endpoint, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/v1/rules"), ("POST", "/v1/stop")):
        answer = await endpoint.call(method, path, **headers)
        assert (answer.status, answer.kind) == (403, "cross-site")
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert not endpoint.proxy.worker.live.stopped


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://localhost"}, {"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}],
)
async def test_its_own_pages_are_heard(endpoint: Endpoint, headers: dict[str, str]) -> None:
    assert (await endpoint.call("POST", "/v1/stop", **headers)).status == 200


async def test_there_is_no_preflight(endpoint: Endpoint) -> None:
    answer = await endpoint.call(
        "OPTIONS", "/v1/rules", origin="http://evil.example", access_control_request_method="PUT"
    )
    assert answer.status == 403
    answer = await endpoint.call("OPTIONS", "/v1/rules")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, PUT, POST, HEAD")


async def test_a_route_of_the_data_path_does_not_lead_here(endpoint: Endpoint) -> None:
    answer = await endpoint.call("GET", "/v1/rules", via="1.1 misrule")
    assert (answer.status, answer.kind) == (403, "through-proxy")


# Content types: what a form can send is refused


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "text/plain, application/json",
        None,
    ],
)
async def test_bodies_of_other_types_are_refused(endpoint: Endpoint, kind: str | None) -> None:
    body = b'{"version":1,"rules":[]}'
    answer = await endpoint.call("PUT", "/v1/rules", body, content_type=kind)
    assert (answer.status, answer.kind) == (415, "content-type")
    assert endpoint.proxy.changes.store.version == 1


async def test_a_form_cannot_press_the_button(endpoint: Endpoint) -> None:
    answer = await endpoint.call(
        "POST", "/v1/stop", content_type="application/x-www-form-urlencoded", content_length="0"
    )
    assert answer.status == 415
    assert not endpoint.proxy.worker.live.stopped


async def test_a_compressed_body_is_refused(endpoint: Endpoint) -> None:
    answer = await endpoint.call("PUT", "/v1/rules", b"x", content_encoding="gzip")
    assert answer.status in (400, 415)


# Sizes and times


async def test_a_body_that_is_too_large(endpoint: Endpoint) -> None:
    assert (await endpoint.call("PUT", "/v1/rules", b" " * ((1 << 20) + 1))).kind == "body-too-large"
    head = "PUT /v1/rules HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    chunked = (
        head.encode() + b"transfer-encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * 17
    )
    assert (await endpoint.send(chunked)).kind == "body-too-large"
    assert (await endpoint.call("PUT", "/v1/rules", b" " * (1 << 20))).status == 422


async def test_a_body_that_says_it_is_too_large_is_not_waited_for(endpoint: Endpoint) -> None:
    answer = await endpoint.call("PUT", "/v1/rules", b"{}", content_length=str((1 << 20) + 1))
    assert (answer.status, answer.kind) == (413, "body-too-large")


async def test_a_body_that_does_not_come(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.admin.calls.BODY_TIME", 0.05)
    answer = await endpoint.call("PUT", "/v1/rules", b"{}", content_length="3")
    assert (answer.status, answer.kind) == (408, "body-too-slow")


@pytest.mark.parametrize("framing", ["content-length: 24", "transfer-encoding: chunked"])
async def test_a_client_that_waits_with_its_body_is_told_to_send_it(endpoint: Endpoint, framing: str) -> None:
    body = b'{"version":1,"rules":[]}'
    reader, writer = await endpoint.open()
    head = "PUT /v1/rules HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}{framing}\r\nexpect: 100-Continue\r\n\r\n".encode())
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body if "length" in framing else b"18\r\n" + body + b"\r\n0\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await read_answer(reader)).status == 200
    writer.close()


async def test_a_body_that_is_refused_is_not_asked_for(endpoint: Endpoint) -> None:
    waits = {"expect": "100-continue", "content_length": "2"}
    assert (await endpoint.call("PUT", "/v1/rules", b"", content_type="text/plain", **waits)).status == 415
    waits["content_length"] = str((1 << 20) + 1)
    assert (await endpoint.call("PUT", "/v1/rules", b"", **waits)).status == 413


async def test_an_expectation_without_a_body_has_nothing_to_wait_for(endpoint: Endpoint) -> None:
    assert (await endpoint.call("POST", "/v1/stop", expect="100-continue")).status == 200


async def test_other_expectations_are_not_met(endpoint: Endpoint) -> None:
    answer = await endpoint.call("POST", "/v1/explain", {}, expect="200-ok")
    assert (answer.status, answer.kind, answer.headers["connection"]) == (417, "expectation", "close")
    body = b'{"version":1,"rules":[]}'
    old = b"PUT /v1/rules HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    old += b"content-length: 24\r\nexpect: 100-continue\r\n\r\n" + body
    assert (await endpoint.send(old)).status == 200


async def test_a_head_that_is_too_large(endpoint: Endpoint) -> None:
    answer = await endpoint.call("GET", "/v1/rules", x_large="x" * 20_000)
    assert answer.status in (400, 431)
    assert answer.kind == "malformed"


async def test_what_is_no_http_gets_a_problem_document(endpoint: Endpoint) -> None:
    assert (await endpoint.send(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")).kind == "malformed"
    assert endpoint.proxy.log_lines("internal_error") == []


async def test_connections_are_bounded(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.admin.server.CONNECTIONS", 2)
    held = [await endpoint.open() for _ in range(2)]
    for _, writer in held:
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    for reader, _ in held:
        assert (await read_answer(reader)).status == 200
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await endpoint.call("GET", "/healthz")
    held[0][1].close()
    await held[0][1].wait_closed()
    for _ in range(100):
        try:
            assert (await endpoint.call("GET", "/healthz")).status == 200
            break
        except (asyncio.IncompleteReadError, ConnectionError):
            await asyncio.sleep(0)
    else:
        pytest.fail("the place was not given back")
    held[1][1].close()


# Tokens


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        TOKEN,
        "Bearer grüße",
    ],
)
async def test_a_wrong_token_is_refused_and_logged(guarded: Endpoint, sent: str | None) -> None:
    answer = await guarded.call("POST", "/v1/stop", authorization=sent)
    assert (answer.status, answer.kind) == (401, "not-authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert not guarded.proxy.worker.live.stopped
    (line,) = guarded.proxy.log_lines("authentication_failed")
    assert line["call"] == "POST /v1/stop"
    assert line["client"].startswith("127.0.0.1:")
    assert TOKEN[:-1] not in guarded.proxy.sink.getvalue()


async def test_the_right_token_is_heard(guarded: Endpoint) -> None:
    assert (await guarded.call("POST", "/v1/stop", authorization=f"Bearer {TOKEN}")).status == 200
    assert (await guarded.call("POST", "/v1/resume", authorization=f"bearer  {TOKEN}")).status == 200
    assert [line["who"] for line in guarded.proxy.log_lines("audit")] == ["token", "token"]


async def test_what_is_not_there_is_not_told_to_strangers(guarded: Endpoint) -> None:
    assert (await guarded.call("GET", "/v1/nothing")).status == 401
    assert (await guarded.call("GET", "/metrics")).status == 401
    assert (await guarded.call("GET", "/healthz")).status == 200
    assert (await guarded.call("GET", "/readyz")).status == 200


async def test_a_token_in_the_query_is_none(guarded: Endpoint) -> None:
    assert (await guarded.call("GET", f"/v1/rules?token={TOKEN}&access_token={TOKEN}")).status == 401


async def test_failures_are_limited_but_lock_nobody_out(guarded: Endpoint) -> None:
    statuses = [
        (await guarded.call("GET", "/v1/rules", authorization="Bearer x")).status for _ in range(FAILURES + 5)
    ]
    assert statuses[:FAILURES] == [401] * FAILURES
    assert 429 in statuses
    assert (await guarded.call("GET", "/v1/rules", authorization=f"Bearer {TOKEN}")).status == 200
    assert len(guarded.proxy.log_lines("authentication_failed")) < len(statuses)
    text = (await guarded.call("GET", "/metrics", authorization=f"Bearer {TOKEN}")).body.decode()
    assert f"misrule_admin_authentication_failures_total {len(statuses)}.0" in text


def test_buckets_fill_up_again_and_are_bounded() -> None:
    now = 0.0
    failures = Failures(lambda: now)
    assert [failures.spend("a") for _ in range(FAILURES)] == [float(n) for n in reversed(range(FAILURES))]
    assert failures.spend("a") < 0
    assert failures.spend("b") == FAILURES - 1
    now = 0.5
    assert failures.spend("a") < 0
    now = 1.0
    assert failures.spend("a") == 0
    assert failures.spend("a") < 0
    for number in range(5000):
        failures.spend(str(number))
    assert len(failures._buckets) == 1024


async def test_tokens_are_read_again_and_two_may_live(guarded: Endpoint, tmp_path: Path) -> None:
    async def status(token: str) -> int:
        return (await guarded.call("GET", "/v1/rules", authorization=f"Bearer {token}")).status

    token_file(tmp_path, TOKEN, OTHER)
    assert (await status(TOKEN), await status(OTHER)) == (200, 200)
    token_file(tmp_path, OTHER)
    assert (await status(TOKEN), await status(OTHER)) == (401, 200)
    for bad in ("", "short"):
        token_file(tmp_path, bad)
        assert (await status(OTHER), await status("")) == (200, 401)
    (tmp_path / "token").unlink()
    assert (await status(OTHER), await status("")) == (200, 401)
    assert len(guarded.proxy.log_lines("token_file_bad")) == 3
    token_file(tmp_path, TOKEN)
    assert (await status(TOKEN), await status(OTHER)) == (200, 401)


# Addresses


LOCAL = ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1", "unix:/a"]
OPEN = ["0.0.0.0:1", "[::]:1", ":1", "8.8.8.8:1"]


@pytest.mark.parametrize("address", LOCAL + OPEN)
def test_which_addresses_are_local(address: str) -> None:
    assert is_local(address) is (address in LOCAL)


def test_addresses_compare_as_numbers() -> None:
    assert same_address("::ffff:10.0.0.1", "10.0.0.1")
    assert same_address("::1", "0:0:0:0:0:0:0:1")
    assert not same_address("10.0.0.1", "pay.example")
    assert host_of("[::1]:9905") == "::1"
