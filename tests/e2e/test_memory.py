"""Back-pressure: a peer that does not take what is sent holds up the sender, and the proxy does not grow."""

import hashlib
import threading

import pytest

from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.wait import pause
from tests.support.wire import Message, Wire, chunked, get, request, response

_PIECE = 1_048_576
_PIECES = 128
_GROWTH = 16 * 1024  # KiB
_KERNEL = 32  # MiB that the sockets of both legs and the proxy may hold between them


def _settled(counter: list[int]) -> int:
    """Wait until a count stops growing; return it."""
    count = -1
    while count != len(counter):
        count = len(counter)
        pause(0.3)
    return count


def _piece(number: int) -> bytes:
    return number.to_bytes(8, "big") * (_PIECE // 8)


def _hash() -> str:
    digest = hashlib.sha256()
    for number in range(_PIECES):
        digest.update(_piece(number))
    return digest.hexdigest()


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_that_does_not_read(proxy: Proxy, shop: Scripted, framing: str) -> None:
    sent: list[int] = []

    def play(wire: Wire, asked: Message) -> None:
        wire.send(
            response(
                200,
                "transfer-encoding: chunked"
                if framing == "chunked"
                else f"content-length: {_PIECES * _PIECE}",
            )
        )
        for number in range(_PIECES):
            piece = _piece(number)
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            sent.append(number)
        if framing == "chunked":
            wire.send(chunked())

    shop.play = play
    before = proxy.process.memory()
    with Wire.to(proxy.address, receive_buffer=65_536) as wire:
        wire.send(get("/huge"))
        head = wire.read_head()
        held = _settled(sent)
        assert held < _KERNEL, f"{held} MiB left the upstream though the client read nothing"
        assert proxy.process.memory() - before < _GROWTH
        digest = hashlib.sha256()
        if framing == "chunked":
            for piece in wire.chunks(head):
                digest.update(piece)
                head.framed = b""
        else:
            for _ in range(_PIECES):
                digest.update(wire.take(_PIECE))
        assert digest.hexdigest() == _hash()
    assert proxy.process.peak() - before < _GROWTH


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upstream_that_does_not_read(proxy: Proxy, shop: Scripted, framing: str) -> None:
    sent: list[int] = []
    go = threading.Event()
    digest = hashlib.sha256()

    def play(wire: Wire, asked: Message) -> None:
        go.wait(20)
        if framing == "chunked":
            for piece in wire.chunks(asked):
                digest.update(piece)
                asked.framed = b""
        else:
            for _ in range(_PIECES):
                digest.update(wire.take(_PIECE))
        wire.send(response(200, body=b"ok"))

    def upload(wire: Wire) -> None:
        for number in range(_PIECES):
            piece = _piece(number)
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            sent.append(number)
        if framing == "chunked":
            wire.send(chunked())

    shop.play = play
    before = proxy.process.memory()
    with Wire.to(proxy.address, timeout=30) as wire:
        framed = (
            "transfer-encoding: chunked" if framing == "chunked" else f"content-length: {_PIECES * _PIECE}"
        )
        wire.send(request("POST", "/huge", framed))
        sender = threading.Thread(target=upload, args=(wire,))
        sender.start()
        held = _settled(sent)
        assert held < _KERNEL, f"{held} MiB were taken though the upstream read nothing"
        assert proxy.process.memory() - before < _GROWTH
        go.set()
        sender.join(30)
        assert wire.answer().body == b"ok"
    assert digest.hexdigest() == _hash()
    assert proxy.process.peak() - before < _GROWTH


def test_other_clients_are_served_meanwhile(proxy: Proxy, shop: Scripted) -> None:
    def play(wire: Wire, asked: Message) -> None:
        if asked.target == "/huge":
            wire.send(response(200, f"content-length: {64 * _PIECE}"))
            for _ in range(64):
                wire.send(bytes(_PIECE))
        else:
            wire.send(response(200, body=b"quick"))

    shop.play = play
    slow = [Wire.to(proxy.address, receive_buffer=65_536) for _ in range(10)]
    for wire in slow:
        wire.send(get("/huge"))
        wire.read_head()
    with Wire.to(proxy.address) as wire:
        for _ in range(50):
            assert wire.ask(get("/quick")).body == b"quick"
    for wire in slow:
        wire.close()
