"""Each preset as a user runs it: a real client sees the failure that it promises.

The cases ``http2-*`` are in ``tests/e2e/grpc/test_presets.py``, databases in ``test_tcp_databases.py``.
"""

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from tests.e2e.test_fault_grpc import MESSAGES, Shop, get, watched
from tests.support.clients import CLOSED, RESET, TIMEOUT, Call, Seen, ask
from tests.support.dns_server import Resolver
from tests.support.need import need
from tests.support.presets import written
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling, plain
from tests.support.tls_clients import Target, curl, python_ssl
from tests.support.wait import eventually
from tests.support.wire import Message, Wire

NAME = "shop.example"
CODES = grpc.StatusCode


@dataclass
class Stage:
    """A proxy with listeners ``web``, ``tls`` (its own authority's certificates), ``calls`` and for DNS."""

    proxy: Proxy
    shop: Scripted
    root: Path  # of the authority
    dns: int  # port

    def rehearse(self, name: str) -> None:
        """Put a preset in force, as `misrule rules apply preset:NAME` does."""
        self.proxy.put(*written(name))

    def curl(self, path: str = "/bytes/1000", **how: Any) -> Seen:
        """Ask with curl."""
        return ask("curl", Call(self.proxy.url + path, **how))

    def curls(self, number: int) -> list[tuple[str, float]]:
        """Ask so often with one curl, up to 30 at once; gives each status and how long it took."""
        shown = ["-s", "-o", "/dev/null", "-w", "%{http_code} %{time_total}\n"]
        many = [
            "-Z",
            "--parallel-immediate",
            "--parallel-max",
            "30",
            f"{self.proxy.url}/bytes/9?[1-{number}]",
        ]
        done = subprocess.run([need("curl"), *shown, *many], capture_output=True, text=True, check=True)
        lines = [line.split() for line in done.stdout.splitlines()]
        return [(code, float(seconds)) for code, seconds in lines]

    def port(self, listener: str) -> int:
        return int(self.proxy.listeners[listener].rpartition(":")[2])


def listener(name: str, upstream: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "address": "127.0.0.1:0",
        "timeouts": {"drain": "1s"},
        "routes": [{"upstream": upstream}],
        **more,
    }


@pytest.fixture(scope="module")
def _stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("presets")
    with ExitStack() as running:
        shop = Scripted()
        running.callback(shop.close)
        names = running.enter_context(Resolver({NAME: {"A": ["192.0.2.1"]}}))
        server = grpc.server(ThreadPoolExecutor(8))
        server.add_generic_rpc_handlers((Shop(),))
        calls = server.add_insecure_port("127.0.0.1:0")
        server.start()
        running.callback(lambda: server.stop(None).wait())
        shop_options = {"address": shop.address, "timeouts": {"connect": "200ms"}, "retry": {"attempts": 1}}
        proxy = Proxy(
            folder,
            config={
                "listeners": [
                    listener("web", "shop"),
                    listener("tls", "shop", tls={"mode": "terminate"}),
                    listener("calls", "calls"),
                ],
                "upstreams": {
                    "shop": shop_options,
                    "calls": {"address": f"127.0.0.1:{calls}", "protocol": "http2"},
                },
                "certs": {"dir": str(folder / "ca")},
                "dns": {"listen": "127.0.0.1:0", "resolvers": [names.address]},
            },
        )
        running.callback(proxy.stop)
        port = int(proxy.process.wait_line(r"misrule ready: .*; dns 127\.0\.0\.1:(\d+)")[1])
        yield Stage(proxy, shop, folder / "ca" / "root.pem", port)


@pytest.fixture
def stage(_stage: Stage) -> Iterator[Stage]:
    _stage.proxy.calm()
    _stage.shop.forget()
    yield _stage
    _stage.proxy.calm()


@pytest.fixture
def channel(stage: Stage) -> Iterator[grpc.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    with grpc.insecure_channel(stage.proxy.listeners["calls"], options) as made:
        assert get(made)(b"hello", timeout=10) == b"hello"
        yield made


# --- HTTP


def test_canary_header(stage: Stage) -> None:
    stage.rehearse("canary-header")
    canary = (("x-canary", "true"), ("accept", "*/*"))
    assert [stage.curl(headers=canary).status, stage.curl().status] == [500, 200]
    assert stage.curl(headers=canary, http2=True).status == 500
    assert len(stage.shop.requests) == 1


def test_gateway_errors(stage: Stage) -> None:
    """300 requests of one curl: the draws are the rules' own, so that it is always the same ones."""
    stage.rehearse("gateway-errors")
    answers = stage.curls(300)
    counts = {code: sum(seen == code for seen, _ in answers) for code in ("200", "502", "503", "504")}
    assert sum(counts.values()) == 300
    assert all(5 <= counts[code] <= 30 for code in ("502", "503", "504")), counts
    assert min(seconds for code, seconds in answers if code == "504") >= 1.0


def test_rate_limit(stage: Stage) -> None:
    """Ten at once from the bucket, and then no more than it gets."""
    stage.rehearse("rate-limit")
    begun = time.monotonic()
    codes = [code for code, _ in stage.curls(60)]
    assert set(codes) <= {"200", "429"}
    assert 10 <= codes.count("200") <= 11 + 10 * (time.monotonic() - begun)

    def refused() -> list[requests.Response]:
        many = [session.get(stage.proxy.url, timeout=20) for _ in range(20)]
        return [answer for answer in many if answer.status_code == 429]

    with requests.Session() as session:
        session.trust_env = False
        late = eventually(refused, 20.0, "a request too many")
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in late)


def test_exhausted_pool(stage: Stage) -> None:
    """Of 30 requests ten are under way, ten wait for a second, and ten are turned away at once."""
    released = threading.Event()

    def hold(wire: Wire, asked: Message) -> None:
        released.wait(30)
        plain(wire, asked)

    def given_up() -> bool:
        counts = stage.proxy.rule("exhausted-pool-http")["counts"]
        return bool(counts["matches"] == 30 and counts["faults"][0]["limit"]["waiting"] == 0)

    stage.shop.play = hold
    stage.rehearse("exhausted-pool")
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(stage.curls, 30)
        try:
            eventually(given_up, 20.0, "thirty have asked, and none waits any more")
        finally:
            released.set()
        answers = asking.result(30)
    assert sorted(code for code, _ in answers) == ["200"] * 10 + ["503"] * 20
    assert sum(code == "503" and seconds >= 1.0 for code, seconds in answers) >= 10


def test_retry_storm(stage: Stage) -> None:
    """A client that tries four times without a pause: four times the load."""
    stage.rehearse("retry-storm")
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503], backoff_factor=0)))
        with pytest.raises(requests.exceptions.RetryError, match="too many 503 error responses"):
            session.get(stage.proxy.url, timeout=20)
    assert stage.proxy.injections(rule="retry-storm-outage") == 4
    assert stage.curl().all("retry-after") == []
    waiting = stage.proxy.rule("retry-storm-aftermath")["schedule"]
    assert waiting["state"] == "waiting"


def test_partial_answer(stage: Stage) -> None:
    stage.rehearse("partial-answer")
    for http2 in (False, True):
        seen = stage.curl(http2=http2)
        assert (seen.status, seen.body) == (200, filling(1000)[:100])
        assert seen.all("content-length") == ["1000"]
        assert seen.trouble == CLOSED or "INTERNAL_ERROR" in seen.trouble, seen.native


def test_brown_out(stage: Stage) -> None:
    stage.rehearse("brown-out")
    seen: set[str] = set()

    def both() -> bool:
        seen.update(code for code, _ in stage.curls(50))
        return all(stage.proxy.injections(rule=f"brown-out-{how}") for how in ("slow", "failing"))

    eventually(both, 60.0, "a request is slow, and one fails")
    assert seen == {"200", "503"}
    shown = stage.proxy.rule("brown-out-failing")["schedule"]
    assert shown["state"] == "active"
    assert 0 < shown["percent"] <= 50


def test_flapping_upstream(stage: Stage) -> None:
    stage.rehearse("flapping-upstream")
    refused = eventually(lambda: next(seen for seen in [stage.curl()] if seen.status != 200), 20.0)
    assert (refused.status, refused.all("proxy-status")[0].partition("; ")[2][:24]) == (
        502,
        "error=connection_refused",
    )
    eventually(lambda: stage.curl().status == 200, 20.0, "it is back")


def test_slow_upstream(stage: Stage) -> None:
    stage.rehearse("slow-upstream")
    for _ in range(2):
        seen = stage.curl()
        told = int(seen.all("x-misrule")[0].partition("ms=")[2].partition(";")[0])
        assert seen.status == 200
        assert seen.seconds >= told / 1000 > 0.01


def test_slow_network(stage: Stage) -> None:
    stage.rehearse("slow-network")
    seen = stage.curl("/bytes/20000")
    assert seen.body == filling(20_000)
    assert seen.seconds >= 0.4 + 0.2


def test_lossy_network(stage: Stage) -> None:
    stage.rehearse("lossy-network")
    seen = stage.curl("/bytes/100000")
    assert seen.body == filling(100_000)
    assert seen.seconds >= 0.2


def test_upstream_unreachable(stage: Stage) -> None:
    stage.rehearse("upstream-unreachable")
    seen = stage.curl()
    assert (seen.status, stage.shop.requests) == (504, [])
    assert "error=connection_timeout" in seen.all("proxy-status")[0]
    assert seen.seconds >= 0.2


def test_circuit_open(stage: Stage) -> None:
    stage.rehearse("circuit-open")
    seen = stage.curl()
    assert (seen.status, seen.all("x-envoy-overloaded"), stage.shop.requests) == (503, ["true"], [])


def test_black_hole(stage: Stage) -> None:
    stage.rehearse("black-hole")
    assert stage.curl(timeout=0.5).trouble == TIMEOUT


def test_connection_resets(stage: Stage) -> None:
    stage.rehearse("connection-resets")
    assert [stage.curl().trouble for _ in range(10)] == ["", "", "", "", RESET] * 2


# --- TLS


def test_expired_certificate(stage: Stage) -> None:
    target = Target(stage.port("tls"), NAME)
    assert python_ssl(target, stage.root).ok
    stage.rehearse("expired-certificate")
    assert python_ssl(target, stage.root).code == "10 certificate has expired"
    assert "certificate has expired" in curl(target, stage.root).words


def test_handshake_timeout(stage: Stage) -> None:
    stage.rehearse("handshake-timeout")
    with socket.create_connection(("127.0.0.1", stage.port("tls")), 5):
        pass  # the connection itself is taken
    said = python_ssl(Target(stage.port("tls"), NAME), stage.root, 0.5)
    assert said.words.startswith("TimeoutError"), said
    assert "handshake operation timed out" in said.words


# --- gRPC


def test_grpc_deadline(stage: Stage, channel: grpc.Channel) -> None:
    stage.rehearse("grpc-deadline")
    begun = time.monotonic()
    calls = [get(channel).future(b"hello", timeout=2.0) for _ in range(20)]
    codes = [call.code() for call in calls]
    assert time.monotonic() - begun >= 2.0
    assert set(codes) == {CODES.OK, CODES.DEADLINE_EXCEEDED}
    get(channel)(b"no deadline")


def test_grpc_stream_cut(stage: Stage, channel: grpc.Channel) -> None:
    stage.rehearse("grpc-stream-cut")
    assert watched(channel) == (MESSAGES[:3], CODES.UNAVAILABLE, "the stream was cut")


# --- DNS


def dig(stage: Stage, name: str = NAME) -> str:
    asked = ["+time=10", "+tries=1", "-p", str(stage.dns), "@127.0.0.1", name, "A"]
    return subprocess.run([need("dig"), *asked], capture_output=True, text=True, check=False).stdout


def test_dns_cache_poisoning(stage: Stage) -> None:
    assert "192.0.2.1" in dig(stage)
    stage.rehearse("dns-cache-poisoning")
    for name in (NAME, "anything.example"):
        (record,) = [line.split() for line in dig(stage, name).splitlines() if line.startswith(name)]
        assert record == [f"{name}.", "86400", "IN", "A", "192.0.2.66"]


def test_dns_outage(stage: Stage) -> None:
    stage.rehearse("dns-outage")
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: dig(stage), range(8)))
    assert time.monotonic() - begun >= 1.0
    failed = sum("status: SERVFAIL" in answer for answer in answers)
    assert 1 <= failed <= 7
    assert sum("192.0.2.1" in answer for answer in answers) == 8 - failed
