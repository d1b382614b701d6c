"""Health checks by gRPC's health protocol, against grpcio; and gRPC calls that go where it is well."""

import collections
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.e2e.conftest import Launch
from tests.support.grpc_calls import GrpcIo, Rpc, start_server
from tests.support.grpc_health import NOT_SERVING, SERVICE_UNKNOWN, SERVING, HealthyServer, Said
from tests.support.h2_peer import Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.wait import eventually

FAST = {"interval": "100ms", "timeout": "5s", "healthy_after": 2, "unhealthy_after": 2}
Make = Callable[..., HealthyServer]


@pytest.fixture
def server() -> Iterator[Make]:
    """Make upstreams."""
    running: list[HealthyServer] = []

    def start(name: str, said: Said = SERVING, **options: Any) -> HealthyServer:
        running.append(HealthyServer(name, {"shop.Shop": said}, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def _launch(launch: Launch, addresses: list[str], **health: Any) -> Proxy:
    return launch(addresses, upstream_options={"health": {**FAST, "grpc": "shop.Shop", **health}})


def _shown(proxy: Proxy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = proxy.admin("GET", "/v1/stats")["endpoints"]
    return found


def _become(proxy: Proxy, *states: str) -> None:
    eventually(lambda: [one["state"] for one in _shown(proxy)] == list(states), 20.0, f"{states}")


def _who(proxy: Proxy, times: int) -> collections.Counter[str]:
    """Call so many times; which server answered how often, or with which code it failed."""
    client = GrpcIo()
    outcomes = [client.call(Rpc(proxy.address, "Who", service="shop.Shop")) for _ in range(times)]
    client.close()
    return collections.Counter(
        one.messages[0].decode() if one.messages else f"{one.code}: {one.details}" for one in outcomes
    )


def test_calls_go_where_it_is_serving(launch: Launch, server: Make) -> None:
    a, b = server("a"), server("b", NOT_SERVING)
    proxy = _launch(launch, [a.address, b.address])
    _become(proxy, "healthy", "unhealthy")
    assert [one["last"] for one in _shown(proxy)] == ["SERVING", "NOT_SERVING"]
    assert _who(proxy, 6) == {"a": 6}
    b.says["shop.Shop"] = SERVING
    _become(proxy, "healthy", "healthy")
    assert _who(proxy, 6) == {"a": 3, "b": 3}
    a.says["shop.Shop"] = NOT_SERVING
    _become(proxy, "unhealthy", "healthy")
    assert _who(proxy, 6) == {"b": 6}


NOT_WELL: list[tuple[Said, str]] = [
    (0, "UNKNOWN"),
    (SERVICE_UNKNOWN, "SERVICE_UNKNOWN"),
    (7, "7"),
    (b"", "UNKNOWN"),
    (b"\x08", "not a HealthCheckResponse: a number that does not end"),
    (grpc.StatusCode.NOT_FOUND, "NOT_FOUND: as the test says"),
    (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE: as the test says"),
]


def test_what_is_not_serving_is_unhealthy(launch: Launch, server: Make) -> None:
    proxy = _launch(launch, [server("a", said).address for said, _ in NOT_WELL])
    _become(proxy, *["unhealthy"] * len(NOT_WELL))
    shown = _shown(proxy)
    assert [one["last"] for one in shown] == [last for _, last in NOT_WELL]
    assert [list(one["checks"]) for one in shown] == [["failed"]] * len(NOT_WELL)


def test_silence_is_a_timeout(launch: Launch, server: Make) -> None:
    proxy = _launch(launch, [server("a", 2.0).address], timeout="300ms")
    _become(proxy, "unhealthy")
    (shown,) = _shown(proxy)
    assert (shown["last"], list(shown["checks"])) == ("no answer within 0.3 s", ["timeout"])


def test_the_whole_server_is_asked_for_by_an_empty_name(launch: Launch, server: Make) -> None:
    a = server("a", NOT_SERVING)
    a.says[""] = SERVING
    _become(_launch(launch, [a.address], grpc=""), "healthy")
    _become(_launch(launch, [a.address], grpc="another.Service"), "unhealthy")


@pytest.mark.parametrize("engine", ["grpcio", "grpclib"])
def test_a_server_without_the_health_service_is_taken_as_well(launch: Launch, engine: str) -> None:
    process, address = start_server(engine)
    try:
        proxy = _launch(launch, [address])
        _become(proxy, "healthy")
        assert set(_shown(proxy)[0]["checks"]) == {"unimplemented"}
        assert proxy.wait_record(event="upstream_health")["level"] == "warning"
        assert len(proxy.records(event="upstream_health")) == 1
    finally:
        process.stop()


def test_when_none_is_serving_calls_fail_as_unavailable(launch: Launch, server: Make) -> None:
    a = server("a", NOT_SERVING)
    proxy = _launch(launch, [a.address], when_all_unhealthy="fail")
    _become(proxy, "unhealthy")
    assert _who(proxy, 2) == {"UNAVAILABLE: misrule: no healthy upstream": 2}
    a.says["shop.Shop"] = SERVING
    _become(proxy, "healthy")
    assert _who(proxy, 2) == {"a": 2}


def test_a_server_that_goes_and_comes(launch: Launch, server: Make) -> None:
    a, b = server("a"), server("b")
    proxy = _launch(launch, [a.address, b.address])
    _become(proxy, "healthy", "healthy")
    a.stop()
    _become(proxy, "unhealthy", "healthy")
    assert _shown(proxy)[0]["last"] == "upstream refused the connection"
    assert _who(proxy, 4) == {"b": 4}
    server("again", port=a.port)
    _become(proxy, "healthy", "healthy")
    assert _who(proxy, 4) == {"again": 2, "b": 2}


def test_a_message_that_is_too_large_is_not_waited_for(launch: Launch) -> None:
    def play(peer: Peer, asked: Heard) -> None:
        length = (1 << 30).to_bytes(4, "big")
        peer.answer(
            asked, 200, ("content-type", "application/grpc+proto"), body=b"\0" + length + bytes(1 << 20)
        )

    huge = ScriptedH2(play)
    proxy = _launch(launch, [huge.address])
    _become(proxy, "unhealthy")
    assert _shown(proxy)[0]["last"].startswith("the call broke off")
    proxy.stop()
    huge.close()


def test_what_speaks_no_http2_is_unhealthy(launch: Launch) -> None:
    """Neither silence after the connection's end nor bytes of another protocol ends the checks."""
    rude = Scripted(on_open=lambda wire: wire.send(b"220 smtp.example ESMTP\r\n"), play=lambda *_: None)
    gone = Scripted(on_open=lambda wire: wire.close())
    proxy = _launch(launch, [rude.address, gone.address], timeout="500ms")
    _become(proxy, "unhealthy", "unhealthy")
    eventually(lambda: all(sum(one["checks"].values()) >= 3 for one in _shown(proxy)), 20.0, "checks go on")
    assert set(_shown(proxy)[0]["checks"]) <= {"unreachable", "timeout", "failed"}
    assert set(_shown(proxy)[1]["checks"]) == {"unreachable"}
    rude.errors.clear()
    for one in (rude, gone):
        one.close()
