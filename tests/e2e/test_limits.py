"""Limits and time-outs: each with its status, its ``proxy-status`` and its metric."""

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.support.h2_peer import Peer
from tests.support.process import free_port
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling, plain
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, Message, Wire, chunked, get, request, response

_LIMITS = {"limits": {"head_size": "4KiB", "headers": 20}}


def _refused(proxy: Proxy, data: bytes, status: int, kind: str) -> None:
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(data)
        assert answer.status == status
        assert answer.get("connection") == "close"
        assert wire.rest() == (b"", FIN)
    assert proxy.failures(kind) >= 1


@pytest.fixture
def narrow(launch: Launch, shop: Scripted) -> Proxy:
    """A proxy with small limits."""
    return launch(shop.address, listener=_LIMITS)


def test_head_too_large(narrow: Proxy, shop: Scripted) -> None:
    _refused(narrow, get("/", "x-a: " + "a" * 5000), 431, "head_too_large")
    assert shop.requests == []


def test_head_too_large_while_it_has_no_end(narrow: Proxy, shop: Scripted) -> None:
    _refused(narrow, get("/", "x-a: " + "a" * 50_000)[:-4], 431, "head_too_large")


def test_target_too_long(narrow: Proxy, shop: Scripted) -> None:
    _refused(narrow, get("/" + "a" * 5000), 414, "uri_too_long")


def test_too_many_fields(narrow: Proxy, shop: Scripted) -> None:
    _refused(narrow, get("/", *[f"x-{number}: 1" for number in range(30)]), 431, "too_many_fields")
    with Wire.to(narrow.address) as wire:
        assert wire.ask(get("/", *[f"x-{number}: 1" for number in range(15)])).status == 200


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ([("x-a", "a" * 5000)], "head_too_large"),
        ([(f"x-{number}", "1") for number in range(30)], "too_many_fields"),
    ],
)
def test_heads_of_http2(narrow: Proxy, shop: Scripted, fields: list[tuple[str, str]], kind: str) -> None:
    with Peer.to(narrow.address) as peer:
        refused = peer.wait(peer.ask("/", *fields))
        assert refused.status == 431
        assert peer.wait(peer.ask("/", *[(f"x-{number}", "1") for number in range(15)])).status == 200
    assert len(shop.requests) == 1
    assert narrow.failures(kind) == 1
    assert narrow.metric("misrule_requests_total", code="431") == 1


def test_version_that_is_not_spoken(proxy: Proxy, shop: Scripted) -> None:
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(b"GET / HTTP/3.0\r\nhost: a\r\n\r\n")
    assert answer.status == 505
    assert shop.requests == []


def test_more_connections_than_allowed(launch: Launch, shop: Scripted) -> None:
    proxy = launch(shop.address, listener={"limits": {"connections": 3}})
    wires = [Wire.to(proxy.address) for _ in range(3)]
    for wire in wires:
        assert wire.ask(get()).status == 200
    with Wire.to(proxy.address) as wire, contextlib.suppress(OSError):
        wire.send(get())
        data, how = wire.rest()
        assert data == b"" or data.startswith(b"HTTP/1.1 503 ")
        assert how != "open"
    for wire in wires:
        assert wire.ask(get()).status == 200
        wire.close()
    eventually(lambda: proxy.metric("misrule_connections_open") == 0, what="their end at the proxy")
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 200


# Time-outs of the client's side


@pytest.fixture
def hasty(launch: Launch, shop: Scripted) -> Proxy:
    """A proxy with short time-outs."""
    times = {"connect": "300ms", "response_head": "300ms", "idle": "400ms"}
    return launch(
        shop.address,
        listener={"timeouts": {"head": "300ms", "idle": "600ms", "drain": "300ms"}},
        upstream_options={"timeouts": times},
    )


@pytest.fixture
def patient(launch: Launch, shop: Scripted) -> Proxy:
    """A proxy whose time-outs are not to be met: longer than a busy machine stands still."""
    times = {"connect": "800ms", "response_head": "800ms", "idle": "800ms"}
    return launch(
        shop.address,
        listener={"timeouts": {"head": "800ms", "idle": "800ms", "drain": "300ms"}},
        upstream_options={"timeouts": times},
    )


def test_head_that_does_not_come_to_its_end(hasty: Proxy, shop: Scripted) -> None:
    """408 after the head time, also for a client that sends a byte now and then (slowloris)."""
    with Wire.to(hasty.address) as wire:
        begun = time.monotonic()
        for byte in get()[:8]:
            wire.send(bytes([byte]))
            pause(0.02)
        answer = wire.answer()
        assert 0.3 <= time.monotonic() - begun < 5.0
        assert answer.status == 408
        assert wire.rest() == (b"", FIN)
    assert hasty.failures("head_timeout") == 1
    assert shop.requests == []


def test_idle_connection_is_closed(hasty: Proxy, shop: Scripted) -> None:
    with Wire.to(hasty.address) as wire:
        begun = time.monotonic()
        assert wire.ask(get()).status == 200
        assert wire.rest() == (b"", FIN), "in order and without a word"
        assert time.monotonic() - begun >= 0.6


def test_connection_on_which_nothing_ever_comes(hasty: Proxy) -> None:
    begun = time.monotonic()
    with Wire.to(hasty.address) as wire:
        data, how = wire.rest()
        assert how == FIN
        assert data == b"" or data.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun >= 0.3


def test_a_busy_connection_is_not_idle(patient: Proxy, shop: Scripted) -> None:
    """Time-outs count from the last sign of life: a slow but living exchange goes on."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "transfer-encoding: chunked"))
        for _ in range(24):
            wire.send(b"4\r\ntick\r\n")
            pause(0.05)
        wire.send(chunked())

    shop.play = play
    with Wire.to(patient.address) as wire:
        assert wire.ask(get()).body == b"tick" * 24


# Time-outs and failures of the upstream's side


def _failed(proxy: Proxy, status: int, token: str, kind: str, method: str = "GET") -> float:
    """Ask; check all that is told of the failure; return how long it took."""
    before = proxy.failures(kind)
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        answer = wire.ask(request(method, "/"))
        took = time.monotonic() - begun
        assert answer.status == status
        assert answer.get("proxy-status") == f"misrule; error={token}"
        assert answer.body, "a person finds a word of explanation"
        assert answer.all("x-misrule") == [], "real trouble is not our doing"
    assert proxy.failures(kind) == before + 1
    return took


def test_connect_refused(launch: Launch) -> None:
    proxy = launch(f"127.0.0.1:{free_port()}")
    assert _failed(proxy, 502, "connection_refused", "connect_refused") < 5.0


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address where connecting gets no answer: its queue is full, so the kernel drops what comes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    address = listener.getsockname()
    waiting = []
    for _ in range(4):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(address)
        waiting.append(sock)
    yield f"127.0.0.1:{address[1]}"
    for sock in [*waiting, listener]:
        sock.close()


def test_connect_timeout(launch: Launch, deaf: str) -> None:
    proxy = launch(deaf, upstream_options={"timeouts": {"connect": "300ms"}})
    # It is a timer of uvloop's own, which may fire up to 1.4 ms early (proxy.net.timers).
    assert 0.3 - 0.0014 <= _failed(proxy, 504, "connection_timeout", "connect_timeout") < 5.0


def test_response_head_timeout(hasty: Proxy, shop: Scripted) -> None:
    shop.play = lambda wire, _: wire.rest(5.0) and None
    assert 0.3 <= _failed(hasty, 504, "http_response_timeout", "response_timeout") < 5.0


def test_response_head_time_begins_when_the_request_is_whole(patient: Proxy, shop: Scripted) -> None:
    """A slow upload is no slow upstream."""
    with Wire.to(patient.address) as wire:
        wire.send(request("POST", "/echo", "content-length: 5"))
        for byte in b"hello":
            pause(0.2)
            wire.send(bytes([byte]))
        assert wire.answer().body == b"hello"


def test_upstream_that_falls_silent_in_its_body(hasty: Proxy, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "content-length: 100") + b"half")
        wire.rest(5.0)

    shop.play = play
    with Wire.to(hasty.address) as wire:
        wire.send(get())
        assert wire.read_head().status == 200
        data, how = wire.rest(3.0)
        assert (data, how != "open") == (b"half", True)


def test_injected_time_does_not_run_the_time_outs(patient: Proxy, shop: Scripted) -> None:
    """A delay longer than every time-out, at every phase where one could run: no 408, no 504."""
    for phase in ["request_head", "connect", "response_head", "response_body"]:
        patient.put({"name": "slow", "faults": [{"delay": {"fixed": "1100ms", "at": phase}}]})
        shop.play = plain
        with Wire.to(patient.address) as wire:
            begun = time.monotonic()
            answer = wire.ask(get("/bytes/10", "connection: close"))
            assert (answer.status, answer.body) == (200, filling(10)), phase
            assert time.monotonic() - begun >= 1.1, phase
