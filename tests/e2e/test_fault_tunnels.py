"""Faults in what is neither length nor chunks: tunnels, and answers that end with their connection."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, OPEN, RESET, Message, Wire, get, response

_END = {"reset": RESET, "close": FIN}
_ASK = get("/chat", "connection: upgrade", "upgrade: chat")


def _echo(wire: Wire, asked: Message) -> None:
    """Switch, then send back whatever comes, piece by piece."""
    wire.send(response(101, "connection: upgrade", "upgrade: chat"))
    while True:
        wire.send(wire.take(1))


@pytest.fixture
def tunnel(proxy: Proxy, shop: Scripted) -> Iterator[Wire]:
    """A client's end of a tunnel through the proxy to an echo."""
    shop.play = _echo
    with Wire.to(proxy.address) as wire:
        wire.send(_ASK)
        assert wire.read_head().status == 101
        wire.send(b"a")
        assert wire.take(1) == b"a"
        yield wire


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_a_new_rule_reaches_an_open_tunnel(proxy: Proxy, tunnel: Wire, kind: str) -> None:
    """A tunnel plans anew at each snapshot: exactly so many bytes pass from then on."""
    proxy.put(rule("end", {kind: {"after_bytes": "5B"}}, match={"path": "/chat"}))
    tunnel.send(b"0123456789")
    assert tunnel.rest() == (b"01234", _END[kind])
    assert proxy.injections(rule="end") == 1


def test_a_rule_for_others_leaves_a_tunnel_alone(proxy: Proxy, tunnel: Wire) -> None:
    proxy.put(rule("end", {"reset": {"after_bytes": "1B"}}, match={"path": "/other"}))
    tunnel.send(b"0123")
    assert tunnel.take(4) == b"0123"


def test_bytes_to_the_upstream(proxy: Proxy, tunnel: Wire, shop: Scripted) -> None:
    """after_bytes at request_body counts what the client sends."""
    proxy.put(rule("end", {"reset": {"at": "request_body", "after_bytes": "3B", "side": "both"}}))
    tunnel.send(b"0123456789")
    data, how = tunnel.rest()
    assert b"012".startswith(data)
    assert how == RESET
    eventually(lambda: shop.ended, what="the upstream's leg ends, too")
    assert shop.ended[-1][1] == "reset"


def test_stall_and_release_in_a_tunnel(proxy: Proxy, tunnel: Wire) -> None:
    proxy.put(rule("stuck", {"stall": {"after_bytes": "2B"}}))
    tunnel.send(b"0123")
    assert tunnel.take(2) == b"01"
    assert tunnel.quiet(0.2)
    tunnel.send(b"45")
    assert tunnel.quiet(0.1)
    begun = time.monotonic()
    proxy.put()
    assert tunnel.take(4) == b"2345"
    assert time.monotonic() - begun < 5.0  # the stall has no end of its own
    tunnel.send(b"b")
    assert tunnel.take(1) == b"b"


def test_delay_in_a_tunnel(proxy: Proxy, tunnel: Wire) -> None:
    # A tunnel plans anew at each snapshot: the time counts from when the rule came, not from the first byte.
    begun = time.monotonic()
    proxy.put(rule("slow", {"delay": {"fixed": "200ms", "at": "response_body"}}))
    tunnel.send(b"0123")
    assert tunnel.take(4) == b"0123"
    assert time.monotonic() - begun >= 0.2


def test_faults_of_the_handshake(proxy: Proxy, shop: Scripted) -> None:
    """A WebSocket's request is a request like any other: aborted, delayed, matched by protocol."""
    shop.play = _echo
    websocket = get("/chat", "connection: upgrade", "upgrade: websocket")
    proxy.put(rule("deny", {"abort": 503}, match={"protocol": ["websocket"]}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(websocket).status == 503
    proxy.put(rule("slow", {"delay": {"fixed": "100ms", "at": "response_head"}}))
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        wire.send(websocket)
        head = wire.read_head()
        assert head.status == 101
        assert time.monotonic() - begun >= 0.1
        assert "rule=slow" in (head.get("x-misrule") or "")
        wire.send(b"x")
        assert wire.take(1) == b"x"


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_on_open_reaches_tunnels(proxy: Proxy, tunnel: Wire, kind: str) -> None:
    proxy.put(rule("end", {kind: {"on": "open"}}))
    assert tunnel.rest() == (b"", _END[kind])


# Answers without length or chunks


def _until_close(wire: Wire, asked: Message) -> None:
    wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n" + filling(100_000))
    wire.close()


@pytest.mark.parametrize("size", [1, 50_000])
@pytest.mark.parametrize("kind", ["reset", "close"])
def test_after_bytes_where_the_upstream_closes(proxy: Proxy, shop: Scripted, kind: str, size: int) -> None:
    shop.play = _until_close
    proxy.put(rule("end", {kind: {"after_bytes": f"{size}B"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        head = wire.read_head()
        assert head.get("transfer-encoding") == "chunked"
        data, how = wire.rest()
        content = b""
        while data:
            line, _, data = data.partition(b"\r\n")
            length = int(line, 16)
            content += data[:length]
            data = data[length + 2 :]
        assert (content == filling(size), how) == (True, _END[kind])


@pytest.mark.parametrize("phase", ["response_head", "response_body"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_upstream_that_ends_while_its_answer_is_held(
    proxy: Proxy, shop: Scripted, phase: str, end: str
) -> None:
    """What it had sent before its end arrives all the same."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, body=filling(30_000)))
        pause(0.05)
        if end == "reset":
            wire.reset()
        else:
            wire.close()

    shop.play = play
    proxy.put(rule("slow", {"delay": {"fixed": "200ms", "at": phase}}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).body == filling(30_000)
        shop.forget()
        proxy.put()
        assert wire.ask(get("/bytes/5")).body == filling(5)


@pytest.mark.parametrize("phase", ["request_head", "connect", "response_head", "response_body"])
def test_http_1_0_clients(proxy: Proxy, shop: Scripted, phase: str) -> None:
    proxy.put(rule("slow", {"delay": {"fixed": "50ms", "at": phase}}))
    for path in ["/bytes/70000", "/chunked/70000"]:
        with Wire.to(proxy.address) as wire:
            wire.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            assert wire.answer().body == filling(70_000)


def test_after_bytes_for_an_http_1_0_client(proxy: Proxy, shop: Scripted) -> None:
    """Its answer ends with the connection: so a FIN would look whole."""
    proxy.put(rule("end", {"reset": {"after_bytes": "1000B"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(b"GET /chunked/5000 HTTP/1.0\r\n\r\n")
        assert wire.read_head().status == 200
        assert wire.rest() == (filling(1000), RESET)


def test_interim_answers_pass_before_a_held_head(proxy: Proxy, shop: Scripted) -> None:
    """Faults act on the final answer."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(103, "link: </a>") + response(200, body=b"ok"))

    shop.play = play
    proxy.put(rule("slow", {"delay": {"fixed": "1s", "at": "response_head"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        assert wire.read_head().status == 103
        interim = time.monotonic()
        assert wire.answer().body == b"ok"
        assert time.monotonic() - interim >= 0.2


def test_expect_100_with_a_fault_that_lets_the_request_pass(proxy: Proxy, shop: Scripted) -> None:
    """A delay changes nothing of the conversation: 100 comes from the upstream, later."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(100))
        wire.read_body(asked)
        wire.send(response(200, body=asked.body))

    shop.play = play
    for phase in ["request_head", "request_body", "connect", "response_head"]:
        proxy.put(rule("slow", {"delay": {"fixed": "60ms", "at": phase}}))
        with Wire.to(proxy.address) as wire:
            wire.send(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n")
            assert wire.read_head().status == 100, phase
            wire.send(b"hello")
            assert wire.answer().body == b"hello", phase


def test_upload_held_back_bounds_memory(proxy: Proxy, shop: Scripted) -> None:
    """A client that uploads into a stall is held up, and all of it arrives after the release."""
    proxy.put(rule("stuck", {"stall": {"at": "request_body", "after_bytes": "100KiB"}}))
    before = proxy.process.memory()
    size = 60_000_000
    with Wire.to(proxy.address, timeout=20) as wire:
        sender = threading.Thread(
            target=lambda: wire.send(
                b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
            )
        )
        sender.start()
        pause(0.5)
        assert sender.is_alive(), "60 MB were taken in though nothing passes"
        assert proxy.process.memory() - before < 16 * 1024
        assert wire.quiet(0.05)
        proxy.put()
        answer = wire.answer()
        sender.join(10)
        assert answer.status == 200
    assert len(shop.last.body) == size


def test_nothing_answers_on_a_held_connection(proxy: Proxy, shop: Scripted) -> None:
    """Pipelined requests behind a stalled one wait their turn."""
    proxy.put(rule("stuck", {"stall": {}}, match={"path": "/stuck"}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/1") + get("/stuck") + get("/bytes/2"))
        assert wire.answer().body == filling(1)
        assert wire.rest(0.2) == (b"", OPEN)
        assert [asked.target for asked in shop.requests] == ["/bytes/1"]
        proxy.put()
        assert wire.answer().body == b"ok"
        assert wire.answer().body == filling(2)
