"""Faults on WebSockets, new ones and open ones, as the package websockets sees them."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.asyncio.client import connect as connect_tls
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.chat import echo_server
from tests.support.pki import the_pki
from tests.support.proxy import Proxy, Rule, rule
from tests.support.wait import eventually, once_within

NAME = "chat.example"
CHATS: Rule = {"match": {"protocol": ["websocket"]}}


@pytest.fixture(scope="module")
def _chats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    leaf = the_pki().leaf(NAME)
    shown = {"mode": "terminate", "certificate": str(leaf.chain), "key": str(leaf.key)}
    with ExitStack() as running:
        echo = running.enter_context(echo_server())
        common = {"address": "127.0.0.1:0", "routes": [{"upstream": "chat"}], "timeouts": {"drain": "1s"}}
        proxy = Proxy(
            tmp_path_factory.mktemp("chats"),
            config={
                "listeners": [{"name": "ws", **common}, {"name": "wss", "tls": shown, **common}],
                "upstreams": {"chat": {"address": echo}},
            },
        )
        running.callback(proxy.stop)
        yield proxy


@pytest.fixture
def chats(_chats: Proxy) -> Iterator[Proxy]:
    _chats.calm()
    yield _chats
    _chats.calm()


def chat(chats: Proxy, **more: Any) -> ClientConnection:
    made: ClientConnection = connect(
        f"ws://{chats.address}/chat", compression=None, proxy=None, close_timeout=1, **more
    )
    return made


def seconds_of_an_echo(client: ClientConnection, message: str | bytes = b"x" * 2_000) -> float:
    begun = time.monotonic()
    client.send(message)
    assert client.recv(timeout=20) == message
    return time.monotonic() - begun


# Before it is open


def test_its_opening_is_delayed(chats: Proxy) -> None:
    chats.put(rule("slow", {"delay": "150ms"}, **CHATS))
    begun = time.monotonic()
    with chat(chats) as client:
        assert time.monotonic() - begun >= 0.15
        seconds_of_an_echo(client)
    assert chats.injections(rule="slow", fault="delay") == 1


@pytest.mark.parametrize("at", ["request_head", "response_head"])
def test_the_heads_of_its_handshake_are_slow(chats: Proxy, at: str) -> None:
    chats.put(rule("drops", {"drip": {"bytes": 10, "every": "10ms", "at": at}}, **CHATS))
    begun = time.monotonic()
    with chat(chats) as client:
        assert time.monotonic() - begun >= 0.1
        seconds_of_an_echo(client)
    assert chats.injections(rule="drops", fault="drip", phase=at) == 1


def test_its_handshake_is_not_sent_twice(chats: Proxy) -> None:
    chats.put(rule("twice", {"duplicate": 2}, **CHATS))
    with chat(chats) as client:
        seconds_of_an_echo(client)
    assert chats.metric("misrule_faults_skipped_total", rule="twice", reason="tunnel") == 1


ANSWERS: dict[str, tuple[Rule, int, bytes]] = {
    "abort": ({"abort": {"status": 503, "body": {"text": "no"}}}, 503, b"no"),
    "connect": ({"connect": "refused"}, 502, b""),
    "dns": ({"dns": "nxdomain"}, 502, b""),
    "breaker": ({"breaker": {"profile": "gobreaker", "force": "open"}}, 503, b"circuit breaker is open"),
    "limit": ({"limit": {"requests": 0, "over": 429}}, 429, b"too many requests at once"),
}


@pytest.mark.parametrize("fault", ANSWERS)
def test_its_opening_is_answered_otherwise(chats: Proxy, fault: str) -> None:
    made, status, body = ANSWERS[fault]
    chats.put(rule("end", made, **CHATS))
    with pytest.raises(InvalidStatus) as caught:
        chat(chats)
    answer = caught.value.response
    assert answer.status_code == status
    assert body in (answer.body or b"")
    assert f"fault={fault}" in answer.headers["x-misrule"]


def test_it_has_its_place_until_it_ends(chats: Proxy) -> None:
    chats.put(rule("r", {"limit": {"requests": 1}}, **CHATS))
    with chat(chats) as client:
        seconds_of_an_echo(client)
        with pytest.raises(InvalidStatus):
            chat(chats)
    eventually(lambda: chats.metric("misrule_limits", rule="r", of="requests") == 0 or None, what="free")
    with chat(chats) as client:
        seconds_of_an_echo(client)


@pytest.mark.parametrize("fault", ["reset", "close"])
def test_its_opening_ends(chats: Proxy, fault: str) -> None:
    chats.put(rule("end", {fault: {}}, **CHATS))
    with pytest.raises(InvalidMessage):  # it makes no difference
        chat(chats)
    assert chats.injections(rule="end", fault=fault) == 1


async def test_its_handshake_of_tls_fails(chats: Proxy) -> None:
    """With the client of one thread: that of two shares an SSLSocket, which Python 3.11 does not guard."""
    port = int(chats.listeners["wss"].rpartition(":")[2])
    place: dict[str, Any] = {"host": "127.0.0.1", "port": port, "server_hostname": NAME}

    async def talk() -> None:
        async with connect_tls(f"wss://{NAME}:{port}/chat", ssl=the_pki().client(), **place) as client:
            await client.send("hello")
            assert await asyncio.wait_for(client.recv(), 20) == "hello"

    await talk()
    chats.put(rule("old", {"tls": {"handshake": {"alert": "certificate_expired"}}}))
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.expired"):
        await talk()
    assert chats.injections(rule="old", fault="tls") == 1


# While it is open


@pytest.mark.parametrize("fault", ["reset", "close"])
def test_one_that_is_open_ends(chats: Proxy, fault: str) -> None:
    """At once, by a rule that comes; no close frame says why."""
    with chat(chats) as client:
        seconds_of_an_echo(client)
        chats.put(rule("end", {fault: {"on": "open"}}, **CHATS))
        with pytest.raises(ConnectionClosedError, match="no close frame") as caught:
            client.recv(timeout=20)
    assert isinstance(caught.value.__cause__, ConnectionResetError) is (fault == "reset")
    assert chats.injections(rule="end", fault=fault) == 1


SLOW: dict[str, tuple[Rule, float]] = {
    "delay": ({"delay": {"fixed": "150ms", "at": "response_body"}}, 0.0),
    "drip": ({"drip": {"bytes": 100, "every": "10ms"}}, 0.2),
    "loss": ({"loss": {"percent": 100, "rto": "2ms", "backoff": 1.2}}, 0.2),
}


@pytest.mark.parametrize("fault", SLOW)
def test_an_open_one_becomes_slow(chats: Proxy, fault: str) -> None:
    """A delay counts from when the rule came, the others from the byte that they hold."""
    made, least = SLOW[fault]
    with chat(chats) as client:
        seconds_of_an_echo(client)
        begun = time.monotonic()
        chats.put(rule("slow", made, **CHATS))
        assert seconds_of_an_echo(client) >= least
        assert time.monotonic() - begun >= 0.15
    assert chats.injections(rule="slow", fault=fault) == 1


def test_what_is_stalled_is_let_go_with_its_rule(chats: Proxy) -> None:
    def attempt() -> float:
        chats.put(rule("stuck", {"stall": {"at": "response_body"}}, **CHATS))
        client.send("there?")
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.05)
        chats.put()
        begun = time.monotonic()
        assert client.recv(timeout=20) == "there?"
        return time.monotonic() - begun

    with chat(chats) as client:
        once_within(0.1, attempt)


def test_a_message_is_cut(chats: Proxy) -> None:
    """The connection ends within a frame, in this direction."""
    with chat(chats) as client:
        seconds_of_an_echo(client)
        chats.put(rule("cut", {"truncate": "100B"}, **CHATS))
        client.send(bytes(2_000))
        with pytest.raises(ConnectionClosedError, match="no close frame"):
            client.recv(timeout=20)
    assert chats.injections(rule="cut", fault="truncate") == 1


def test_what_needs_frames_of_http_2_passes(chats: Proxy) -> None:
    """Over HTTP/1.1 there are none: nothing is done, and nothing is counted."""
    chats.put(rule("frames", {"http2": {"goaway": {}}}, **CHATS))
    with chat(chats) as client:
        seconds_of_an_echo(client)
    assert chats.injections(rule="frames") == 0
