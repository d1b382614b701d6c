"""The profile envoy against Envoy: what its overflow looks like, and what ejects a host for how long."""

import http.client
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from rules.breakers import figures as of
from rules.breakers.figures import MILLION, OPEN, Figures
from rules.breakers.keeper import Breakers
from tests.conformance.breakers.mesh import Seen, call, envoy, see, without
from tests.support.clients import Call
from tests.support.clients import ask as http_ask
from tests.support.need import step_aside
from tests.support.proxy import Proxy, rule

TRACES = 32
INTERVAL = 0.5  # seconds between Envoy's sweeps
BASE = 1.5  # seconds of the first ejection
PATIENCE = 20.0  # on a machine with other things to do


def outlier(number: int) -> dict[str, Any]:
    """Give the outlier detection of cluster ``number``: its failures in a row differ."""
    return {
        "consecutive_5xx": 1 + number % 5,
        "interval": f"{INTERVAL}s",
        "base_ejection_time": f"{BASE}s",
        "max_ejection_percent": 100,
    }


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Envoy's port."""
    with envoy(tmp_path_factory.mktemp("envoy"), [outlier(number) for number in range(TRACES)]) as found:
        yield found


@pytest.fixture(scope="module")
def ours(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Our proxy, before an upstream that is not there."""
    running = Proxy(tmp_path_factory.mktemp("ours"), "127.0.0.1:9")
    yield running
    running.stop()


def ask(address: str, path: str = "/") -> Seen:
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        return see(connection, path)
    finally:
        connection.close()


@pytest.mark.parametrize("breaker", [{"profile": "envoy", "max_requests": 0}, {"force": "open"}])
def test_overflow_is_the_same_answer(ours: Proxy, port: int, breaker: dict[str, Any]) -> None:
    ours.put(rule("full", {"breaker": breaker}))
    theirs = ask(f"127.0.0.1:{port}")
    assert dict(theirs.headers)["x-envoy-overloaded"] == "true"
    assert ask(ours.address) == theirs


# Not POST by HTTP/2: curl 7.88 often loses an answer, Envoy's too, that comes before it has sent its body.
@pytest.mark.parametrize(
    ("method", "http2"),
    [
        ("GET", False),
        ("HEAD", False),
        ("POST", False),
        ("DELETE", False),
        ("GET", True),
        ("HEAD", True),
        ("DELETE", True),
    ],
)
def test_overflow_is_the_same_answer_to_each_method(
    ours: Proxy, port: int, tmp_path: Path, method: str, http2: bool
) -> None:
    """But for ``connection: close``, by which Envoy ends HTTP/1.1 where it has not read the whole request."""
    ours.put(rule("full", {"breaker": {"profile": "envoy", "max_requests": 0}}))
    sent = tmp_path / "sent"
    sent.write_bytes(b"x" * 10)
    seen = []
    for address in (f"127.0.0.1:{port}", ours.address):
        asked = Call(f"http://{address}/", method, file=sent if method == "POST" else None, http2=http2)
        answer = http_ask("curl", asked)
        headers = [line for line in without(answer.headers) if line[0] != "connection"]
        seen.append((answer.trouble, answer.status, headers, answer.body))
    assert seen[0][1] == 503
    assert seen[1] == seen[0]


def test_overflow_is_the_same_end_of_a_grpc_call(ours: Proxy, port: int) -> None:
    ours.put(rule("full", {"breaker": {"profile": "envoy", "max_requests": 0}}))
    theirs = call(f"127.0.0.1:{port}")
    assert theirs[0] is grpc.StatusCode.UNAVAILABLE
    assert call(ours.address) == theirs


def test_an_ejected_host_is_the_same_answer(ours: Proxy, port: int) -> None:
    """Cluster 0 ejects at the first 5xx; so does ours, which finds nobody at all."""
    ours.put(rule("ejects", {"breaker": {"profile": "envoy", "consecutive_failures": 1}}))
    assert ask(ours.address).status == 502
    assert ask(f"127.0.0.1:{port}", "/c0/500").status == 500
    theirs = until_ejected(port, 0)
    assert theirs.body == b"no healthy upstream"
    assert ask(ours.address) == theirs


def until_ejected(port: int, number: int) -> Seen:
    """Ask until the host is seen to be ejected: Envoy's main thread does that, a little later."""
    until = time.monotonic() + PATIENCE
    while True:
        seen = ask(f"127.0.0.1:{port}", f"/c{number}/200")
        if seen.status == 503:
            return seen
        assert time.monotonic() < until, f"cluster {number} is not ejected"
        time.sleep(0.005)


def until_back(port: int, number: int) -> None:
    """Ask until the host is back."""
    until = time.monotonic() + PATIENCE
    while ask(f"127.0.0.1:{port}", f"/c{number}/200").status == 503:
        assert time.monotonic() < until, f"cluster {number} does not come back"
        time.sleep(0.02)


def take(port: int, number: int) -> None:
    """Take Envoy and ours through one trace: to an ejection, and back; then again."""
    made = Figures(of.ENVOY)
    made.consecutive_failures = 1 + number % 5
    made.interval, made.open_for = int(INTERVAL * MILLION), int(BASE * MILLION)
    breakers = Breakers("a", made)
    dice = Random(number)
    for _ in range(40):
        bad = dice.random() < 0.7
        sent = time.monotonic()
        seen = ask(f"127.0.0.1:{port}", f"/c{number}/{500 if bad else 200}")
        passed = breakers.admit(b"", 0)
        assert passed is not None
        passed.judge(0, bad, False)
        assert seen.status == (500 if bad else 200)
        if breakers.keys[b""].state == OPEN:
            break
    assert breakers.keys[b""].state == OPEN
    until_ejected(port, number)
    until_back(port, number)
    assert time.monotonic() - sent >= BASE
    assert breakers.admit(b"", made.open_for - 1) is None
    assert breakers.admit(b"", made.open_for + made.interval) is not None


def test_what_ejects_and_for_how_long(port: int) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: take(port, number), range(1, TRACES)))


def test_the_second_ejection_is_longer(port: int) -> None:
    """A failure right after an ejection, before Envoy has forgotten any of it, is out for twice as long."""
    until_back(port, 0)
    for _ in range(3):
        sent = time.monotonic()
        ask(f"127.0.0.1:{port}", "/c0/500")
        until_ejected(port, 0)
        until_back(port, 0)
        again = time.monotonic()
        ask(f"127.0.0.1:{port}", "/c0/500")
        late = time.monotonic() - again
        until_ejected(port, 0)
        until_back(port, 0)
        if late < INTERVAL / 2:
            assert time.monotonic() - again >= 2 * BASE
            return
        assert time.monotonic() - sent >= 2 * BASE
    step_aside("this machine is too busy to fail twice within half a second")
