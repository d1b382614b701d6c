"""The red button, figures, events, connections, configuration, health, and what becomes of errors."""

import asyncio
import json
from typing import Any

import pytest

from proxy.admin.live_views import MASK, masked
from proxy.metrics.cells import EndpointCells
from tests.unit.proxy.admin.fake_proxy import Endpoint, read_answer


async def test_the_red_button(endpoint: Endpoint) -> None:
    assert (await endpoint.call("POST", "/v1/stop")).json == {"stopped": True, "version": 1}
    assert endpoint.proxy.worker.live.stopped
    assert (await endpoint.call("GET", "/v1/rules")).json["stopped"] is True
    assert (await endpoint.call("POST", "/v1/resume")).json == {"stopped": False, "version": 1}


@pytest.mark.parametrize("path", ["/v1/stop", "/v1/resume", "/v1/rules/from-file/reset", "/v1/explain"])
async def test_no_get_changes_anything(endpoint: Endpoint, path: str) -> None:
    answer = await endpoint.call("GET", path)
    assert (answer.status, answer.kind, answer.headers["allow"]) == (405, "method", "POST")
    assert not endpoint.proxy.worker.live.stopped


async def test_unknown_calls_are_problems(endpoint: Endpoint) -> None:
    for path in ("/", "/v1", "/v1/rules/", "/v1/rules/a/b", "/v2/rules", "/v1/rules/../config"):
        assert (await endpoint.call("GET", path)).status == 404
    for method in ("PUT", "TRACE", "PROPFIND"):
        assert (await endpoint.call(method, "/healthz")).kind == "method"


async def test_head_is_get_without_a_body(endpoint: Endpoint) -> None:
    reader, writer = await endpoint.open()
    writer.write(b"HEAD /v1/rules HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    data = await reader.read()
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert data.endswith(b"\r\n\r\n")
    writer.close()


async def test_answers_are_safe_to_show(endpoint: Endpoint) -> None:
    headers = (await endpoint.call("GET", "/v1/rules")).headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert headers["server"] == "misrule"


async def test_events_are_as_safe_to_show(endpoint: Endpoint) -> None:
    headers = (await endpoint.call("HEAD", "/v1/events")).headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert headers["server"] == "misrule"
    assert headers["content-type"] == "text/event-stream"


async def test_an_error_of_our_own_is_a_problem_and_logged(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[dict[str, Any]]:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(endpoint.proxy, "connections", broken)
    answer = await endpoint.call("GET", "/v1/connections")
    assert (answer.status, answer.kind) == (500, "internal")
    assert "oops" not in answer.body.decode()
    (line,) = endpoint.proxy.log_lines("internal_error")
    assert line["error"] == "ZeroDivisionError('oops')"
    assert endpoint.proxy.worker.cells.internal_errors == 1


# Health


async def test_alive_and_ready(endpoint: Endpoint) -> None:
    assert (await endpoint.call("GET", "/healthz")).json == {"status": "alive"}
    answer = await endpoint.call("GET", "/readyz")
    assert (answer.status, answer.json["ready"], answer.json["reload"]) == (200, True, "ok")


async def test_bad_files_do_not_make_it_unready_but_show(endpoint: Endpoint) -> None:
    endpoint.proxy.changes.reloads.files_bad(["rules.yaml:1:1: secret detail"])
    answer = await endpoint.call("GET", "/readyz", to="health")
    assert (answer.status, answer.json["reload"]) == (200, "failed: the last good rules are in force")
    assert "secret" not in answer.body.decode()
    shown = (await endpoint.call("GET", "/v1/rules")).json["reload"]
    assert (shown["ok"], shown["problems"]) == (False, ["rules.yaml:1:1: secret detail"])


async def test_unready_while_it_drains_or_does_not_listen(endpoint: Endpoint) -> None:
    endpoint.proxy.worker.draining = True
    assert (await endpoint.call("GET", "/readyz")).status == 503
    endpoint.proxy.worker.draining = False
    endpoint.proxy.listening = False
    answer = await endpoint.call("GET", "/readyz")
    assert (answer.status, answer.json["ready"], answer.json["listeners"]) == (503, False, False)


async def test_a_drain_is_answered_while_it_begins(endpoint: Endpoint) -> None:
    answer = await endpoint.call("POST", "/v1/drain")
    assert (answer.status, answer.json) == (202, {"draining": True, "grace": 10.0, "connections": 3})
    ready = await endpoint.call("GET", "/readyz", to="health")
    assert (ready.status, ready.json["ready"], ready.json["draining"]) == (503, False, True)
    assert (await endpoint.call("POST", "/v1/drain", to="health")).status == 404
    (line,) = endpoint.proxy.log_lines("audit")
    assert (line["call"], line["draining"]) == ("POST /v1/drain", True)


# Figures


async def test_stats_count_with_and_without_injection(endpoint: Endpoint) -> None:
    route = endpoint.proxy.worker.cells.routes[0]
    for seconds in (0.002, 0.002, 0.3):
        route.statuses[200] += 1
        route.duration.observe(seconds)
    route.statuses[799] += 1
    route.duration.observe(0.002)
    route.injected_gross.observe(0.3)
    route.injected_net.observe(0.002)
    endpoint.proxy.changes.store.snapshot.by_name["from-file"].state.matches = 4
    stats = (await endpoint.call("GET", "/v1/stats")).json
    (found,) = stats["routes"]
    assert found["total"]["codes"] == {"200": 3, "7xx": 1}
    assert found["recent"]["requests"] == 4
    assert found["total"]["duration_ms"]["p99"] > 250
    assert found["total"]["duration_without_injection_ms"]["p99"] < 2.6
    (rule,) = stats["rules"]
    assert (rule["name"], rule["matches"], rule["injected"]) == ("from-file", 4, 0)
    assert rule["matches_rate"] > 0


async def test_stats_show_what_health_checks_found(endpoint: Endpoint) -> None:
    assert (await endpoint.call("GET", "/v1/stats")).json["endpoints"] == []
    cells = EndpointCells("10.0.0.1:80", 1_700_000_000.25)
    cells.state, cells.last, cells.checks = "unhealthy", "status 503, not 200-299", {"failed": 3}
    endpoint.proxy.worker.cells.upstreams[0].endpoints.append(cells)
    assert (await endpoint.call("GET", "/v1/stats")).json["endpoints"] == [
        {
            "upstream": "stable",
            "address": "10.0.0.1:80",
            "state": "unhealthy",
            "since": "2023-11-14T22:13:20.250Z",
            "last": "status 503, not 200-299",
            "checks": {"failed": 3},
        }
    ]


# Connections and configuration


async def test_connections_are_shown_up_to_a_limit(endpoint: Endpoint) -> None:
    shown = (await endpoint.call("GET", "/v1/connections?limit=2")).json
    assert (shown["total"], len(shown["connections"])) == (3, 2)
    for limit in ("0", "-1", "x", "1e3", "100001", "²"):
        path = "/v1/connections?limit=" + ("%C2%B2" if limit == "²" else limit)
        assert (await endpoint.call("GET", path)).kind == "invalid-parameter"


async def test_the_configuration_is_shown(endpoint: Endpoint) -> None:
    shown = (await endpoint.call("GET", "/v1/config")).json
    assert shown["listeners"][0]["name"] == "web"
    assert shown["admin"]["address"] == "127.0.0.1:0"


def test_secrets_are_masked() -> None:
    given = {
        "token": "t",
        "admin": {"token_file": "/run/token", "api_key": "k", "Client-Secret": ["a", "b"]},
        "headers": [["authorization", {"how": "exact", "value": "Bearer x"}], ["x-a", {"value": "seen"}]],
        "password": "",
        "tokens": {"limit": 5},
        "upstreams": {"address": ["token-service-1:8080", "token-service-2:8080"]},
        "targets": [["token-service", 95], ["secret-canary", 5]],
    }
    assert masked(given) == {
        "token": MASK,
        "admin": {"token_file": "/run/token", "api_key": MASK, "Client-Secret": MASK},
        "headers": [["authorization", MASK], ["x-a", {"value": "seen"}]],
        "password": "",
        "tokens": {"limit": 5},
        "upstreams": {"address": ["token-service-1:8080", "token-service-2:8080"]},
        "targets": [["token-service", 95], ["secret-canary", 5]],
    }


# Events


async def read_event(reader: asyncio.StreamReader) -> tuple[str, Any]:
    """Read one server-sent event from a chunked answer."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(5):
        while True:
            line = (await reader.readline()).decode().rstrip("\n")
            name, colon, value = line.partition(": ")
            if name in ("id", "event", "data") and colon:
                fields[name] = value
            elif not line and "data" in fields:
                return fields["event"], json.loads(fields["data"])


async def subscribe(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await endpoint.open()
    writer.write(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"200 OK" in head
        assert b"text/event-stream" in head
        await reader.readuntil(b": misrule events\n\n")
    return reader, writer


async def test_events_tell_of_injections_and_changes(endpoint: Endpoint) -> None:
    reader, writer = await subscribe(endpoint)
    log = endpoint.proxy.worker.log
    log.injection("from-file", "delay", 2, 1, "web", "stable", "10.0.0.1", b"id\xff", 100.0)
    kind, fields = await read_event(reader)
    assert (kind, fields["rule"], fields["fault"], fields["request_id"]) == (
        "injection",
        "from-file",
        "delay",
        "id\xff",
    )
    await endpoint.call("POST", "/v1/stop")
    kind, fields = await read_event(reader)
    assert (kind, fields["call"]) == ("audit", "POST /v1/stop")
    writer.close()


async def test_a_reader_that_is_too_slow_is_told_what_it_missed(endpoint: Endpoint) -> None:
    reader, writer = await subscribe(endpoint)
    events = endpoint.proxy.worker.log.events
    for number in range(1100):  # more than the queue of one reader, without a turn of the loop in between
        events.publish("n", {"number": number})
    kind, fields = await read_event(reader)
    assert (kind, fields) == ("n", {"number": 0})
    assert await read_event(reader) == ("dropped", {"dropped": 1100 - 1024})
    assert "misrule_events_dropped_total 76.0" in (await endpoint.call("GET", "/metrics")).body.decode()
    writer.close()


async def test_readers_are_bounded_and_forgotten_when_they_go(endpoint: Endpoint) -> None:
    readers = [await subscribe(endpoint) for _ in range(16)]
    assert (await endpoint.call("GET", "/v1/events")).kind == "too-many-readers"
    events = endpoint.proxy.worker.log.events
    for _, writer in readers:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(5):
        while events.subscribers:
            events.publish("ping", {})
            await asyncio.sleep(0)
    assert not events.wanted


async def test_a_silent_stream_says_that_it_lives(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.admin.live_views.HEARTBEAT", 0.01)
    reader, writer = await subscribe(endpoint)
    async with asyncio.timeout(5):
        await reader.readuntil(b": still here\n\n")
    writer.close()


async def test_streams_do_not_keep_it_from_stopping(endpoint: Endpoint) -> None:
    reader, writer = await subscribe(endpoint)
    async with asyncio.timeout(3):
        await endpoint.server.stop()
        while await reader.read(1000):
            pass
    writer.close()


async def test_a_connection_may_be_used_again(endpoint: Endpoint) -> None:
    reader, writer = await endpoint.open()
    for path in ("/healthz", "/v1/rules", "/nothing", "/v1/rules"):
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        answer = await read_answer(reader)
        assert answer.status == (404 if path == "/nothing" else 200)
    writer.close()


async def test_the_health_listener_answers_for_the_authority(endpoint: Endpoint) -> None:
    """As the path came, before decoding; the admin endpoint has none of it."""
    answer = await endpoint.call("GET", "/crl?x=%2F", to="health")
    assert (answer.status, answer.body) == (200, b"GET /crl?x=%2F 0")
    assert answer.headers["content-type"] == "application/pkix-crl"
    kind = {"content_type": "application/ocsp-request"}
    answer = await endpoint.call("POST", "/ocsp", b"12345", to="health", **kind)
    assert answer.body == b"POST /ocsp 5"
    answer = await endpoint.call("PUT", "/crl", to="health")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert (await endpoint.call("GET", "/crl/none", to="health")).status == 404
    assert (await endpoint.call("GET", "/crl")).status == 404
