"""Upgrade: what follows 101 passes as it comes, both ways."""

import contextlib
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.e2e.conftest import Launch
from tests.support.chat import echo_server
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, RESET, Message, Wire, get, response


@pytest.fixture
def echo() -> Iterator[str]:
    """A WebSocket server that sends back what it gets; "bye" makes it close with 4001."""
    with echo_server() as address:
        yield address


@pytest.mark.parametrize("via", ["direct", "proxied"])
def test_websocket(echo: str, launch: Launch, via: str) -> None:
    address = echo if via == "direct" else launch(echo).address
    with connect(f"ws://{address}/chat", max_size=None) as socket:
        assert socket.protocol.extensions, "permessage-deflate is between the two ends"
        messages: list[str | bytes] = ["hello", "", "ü" * 1000, b"\0\1\2", filling(3_000_000)]
        for message in messages:
            socket.send(message)
            assert socket.recv(timeout=10) == message
        socket.send(["frag", "ment", "ed"])
        assert socket.recv(timeout=10) == "fragmented"
        assert socket.ping(b"there?").wait(5), "pong"
        socket.send("bye")
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "so long")


def test_many_websockets_at_once(echo: str, launch: Launch) -> None:
    address = launch(echo).address
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(connect(f"ws://{address}/{number}")) for number in range(20)]
        for number, socket in enumerate(sockets):
            socket.send(f"from {number}")
        for number, socket in enumerate(sockets):
            assert socket.recv(timeout=10) == f"from {number}"


def _switch(wire: Wire, asked: Message) -> None:
    wire.send(response(101, "connection: upgrade", "upgrade: chat", reason="Switching Protocols") + b"first")
    while (got := wire.take(4)) != b"over":
        wire.send(got.upper())
    wire.send(b"last")
    wire.close()


_ASK = get("/", "connection: upgrade", "upgrade: chat")


def test_any_protocol(door: str, shop: Scripted) -> None:
    """Bytes that come along with the 101 or right behind the request are not lost."""
    shop.play = _switch
    with Wire.to(door) as wire:
        wire.send(_ASK)
        head = wire.read_head()
        assert (head.status, head.get("upgrade")) == (101, "chat")
        assert (head.get("connection") or "").lower() == "upgrade"
        assert wire.take(5) == b"first"
        for _ in range(5):
            wire.send(b"talk")
            assert wire.take(4) == b"TALK"
        wire.send(b"over")
        assert wire.rest() == (b"last", FIN)
    assert (shop.last.get("connection") or "").lower() == "upgrade"
    assert shop.last.get("upgrade") == "chat"


def test_the_end_of_a_tunnel_passes(proxy: Proxy, shop: Scripted) -> None:
    """FIN is passed on as FIN; the other direction stays open until it ends, too."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(101, "connection: upgrade", "upgrade: chat"))
        data, how = wire.rest()
        wire.send(f"got {data!r} and {how}".encode())
        wire.close()

    shop.play = play
    with Wire.to(proxy.address) as wire:
        wire.send(_ASK)
        assert wire.read_head().status == 101
        wire.send(b"bye")
        wire.half_close()
        assert wire.rest() == (b"got b'bye' and fin", FIN)


def test_reset_in_a_tunnel_passes(proxy: Proxy, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(101, "connection: upgrade", "upgrade: chat"))
        wire.take(1)
        wire.reset()

    shop.play = play
    with Wire.to(proxy.address) as wire:
        wire.send(_ASK)
        assert wire.read_head().status == 101
        wire.send(b"!")
        assert wire.rest() == (b"", RESET)
        shop.forget()
    shop.play = _switch
    with Wire.to(proxy.address) as wire:
        wire.send(_ASK)
        assert wire.read_head().status == 101
        wire.reset()
    eventually(lambda: shop.wires[-1].closed, what="the upstream's leg ends when the client resets")


@pytest.mark.parametrize("end", ["upstream closes", "client closes", "client half-closes", "client resets"])
def test_tunnels_leave_nothing_behind(proxy: Proxy, shop: Scripted, end: str) -> None:
    """However a tunnel ends: its connections and its exchange are let go."""
    shop.play = _switch
    with Wire.to(proxy.address) as wire:
        wire.send(_ASK)
        assert wire.read_head().status == 101
        wire.take(5)
        assert proxy.metric("misrule_requests_active") == 1
        if end == "upstream closes":
            wire.send(b"over")
            assert wire.rest() == (b"last", FIN)
        elif end == "client half-closes":
            wire.half_close()
            assert wire.rest() == (b"", FIN)
        elif end == "client resets":
            wire.reset()
    for name in ["misrule_requests_active", "misrule_connections_open"]:
        eventually(lambda name=name: proxy.metric(name) == 0, what=f"{name} is 0")  # type: ignore[misc]


def test_an_upgrade_that_is_refused_is_an_answer_like_any_other(door: str, shop: Scripted) -> None:
    shop.play = lambda wire, asked: wire.send(
        response(426, "upgrade: other", "connection: upgrade", body=b"no")
    )
    with Wire.to(door) as wire:
        for _ in range(2):
            answer = wire.ask(_ASK)
            assert (answer.status, answer.body) == (426, b"no")


def test_a_switch_that_nobody_asked_for_is_502(proxy: Proxy, shop: Scripted) -> None:
    shop.play = _switch
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get())
    assert answer.status == 502


def test_a_tunnel_bounds_what_it_holds(proxy: Proxy, shop: Scripted) -> None:
    """One end sends 64 MiB while the other does not read: the sender is held, the proxy does not grow."""
    sent: list[int] = []

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(101, "connection: upgrade", "upgrade: chat"))
        for _ in range(64):
            wire.send(bytes(1_048_576))
            sent.append(1)
        wire.close()

    shop.play = play
    with Wire.to(proxy.address, receive_buffer=65_536) as wire:
        before = proxy.process.memory()
        wire.send(_ASK)
        assert wire.read_head().status == 101
        eventually(lambda: len(sent) >= 1, what="the upstream begins to send")
        settled = -1
        while settled != len(sent):
            settled = len(sent)
            pause(0.3)
        assert settled < 32, f"{settled} MiB left the sender though nothing was read"
        assert proxy.process.memory() - before < 16 * 1024
        size, how = wire.count(20)
        assert (size, how) == (64 * 1_048_576, FIN)
