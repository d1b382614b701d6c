"""Either peer goes away at any point: the other is told as a real proxy tells, and nothing is left over."""

import time

import pytest

from tests.support.clients import CLIENTS, Call, ask
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted, filling, plain
from tests.support.upstreams import Corpus
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, OPEN, RESET, Message, Wire, chunked, get, request, response

_LEAVE = ["fin", "reset"]


def _leave(wire: Wire, how: str) -> None:
    if how == "fin":
        wire.close()
    else:
        wire.reset()


def _works(proxy: Proxy, shop: Scripted) -> None:
    """The next request finds everything in order."""
    shop.play = plain
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/1000")).body == filling(1000)


# The client goes away


@pytest.mark.parametrize("how", _LEAVE)
def test_client_leaves_in_its_head(proxy: Proxy, shop: Scripted, how: str) -> None:
    wire = Wire.to(proxy.address)
    wire.send(get()[:-4])
    pause(0.02)
    _leave(wire, how)
    _works(proxy, shop)
    assert [asked.target for asked in shop.requests] == ["/bytes/1000"]


@pytest.mark.parametrize("how", _LEAVE)
@pytest.mark.parametrize("framing", ["content-length: 1000", "transfer-encoding: chunked"])
def test_client_leaves_in_its_body(proxy: Proxy, shop: Scripted, how: str, framing: str) -> None:
    """The upstream must not take what came for the whole: its connection ends."""
    wire = Wire.to(proxy.address)
    wire.send(request("POST", "/echo", framing) + (b"5\r\nhello\r\n" if "chunked" in framing else b"hello"))
    eventually(lambda: shop.requests, what="the head at the upstream")
    pause(0.02)
    _leave(wire, how)
    eventually(lambda: shop.ended, what="the end of the upstream's leg")
    assert not shop.last.wholly
    _works(proxy, shop)


@pytest.mark.parametrize("how", _LEAVE)
def test_client_leaves_while_it_waits(proxy: Proxy, shop: Scripted, how: str) -> None:
    """The upstream is told within a second that nobody waits any more (after FIN: once it answers)."""

    def play(wire: Wire, asked: Message) -> None:
        wire.rest(1.0 if how == "reset" else 0.1)
        ends.append(wire)
        wire.send(response(200, body=b"for nobody"))

    ends: list[Wire] = []
    shop.play = play
    wire = Wire.to(proxy.address)
    wire.send(get("/wait"))
    eventually(lambda: shop.requests, what="the head at the upstream")
    _leave(wire, how)
    eventually(lambda: ends, 15.0, "the end of the upstream's leg")
    _works(proxy, shop)


def test_upstream_learns_that_a_client_reset_while_it_waited(proxy: Proxy, shop: Scripted) -> None:
    ended: list[str] = []
    shop.play = lambda wire, _: ended.append(wire.rest(5.0)[1])
    wire = Wire.to(proxy.address)
    wire.send(get("/wait"))
    eventually(lambda: shop.requests, what="the head at the upstream")
    wire.reset()
    eventually(lambda: ended, 15.0, "the end of the upstream's leg")
    assert ended[0] in (FIN, RESET)


@pytest.mark.parametrize("how", _LEAVE)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_client_leaves_in_the_answer(proxy: Proxy, shop: Scripted, how: str, framing: str) -> None:
    """The rest of the answer is not taken in for nobody."""
    sent: list[int] = []

    def play(wire: Wire, asked: Message) -> None:
        head = f"content-length: {1 << 30}" if framing == "length" else "transfer-encoding: chunked"
        wire.send(response(200, head))
        while True:
            piece = bytes(65_536)
            wire.send(piece if framing == "length" else b"10000\r\n" + piece + b"\r\n")
            sent.append(1)

    shop.play = play
    wire = Wire.to(proxy.address)
    wire.send(get("/endless"))
    wire.take(100_000)
    _leave(wire, how)
    eventually(lambda: shop.ended, what="the end of the upstream's leg")
    assert len(sent) < 1000
    _works(proxy, shop)


def test_half_open_clients_are_let_go(proxy: Proxy, shop: Scripted) -> None:
    """A FIN says that the client gave up (as nginx and Envoy read it): nothing is kept for it."""
    before = proxy.process.files()
    wires = [Wire.to(proxy.address) for _ in range(20)]
    shop.play = lambda wire, _: pause(0.2)
    for wire in wires:
        wire.send(get("/bytes/10"))
    eventually(lambda: len(shop.requests) == 20, what="all requests are at the upstream")
    for wire in wires:
        wire.half_close()
    for wire in wires:
        data, how = wire.rest(3.0)
        assert (data, how) == (b"", FIN)
    eventually(lambda: proxy.process.files() <= before, what="the proxy has let go of them")
    for wire in wires:
        wire.close()


# The upstream goes away


@pytest.mark.parametrize("how", _LEAVE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_upstream_leaves_before_it_answers(proxy: Proxy, shop: Scripted, how: str, method: str) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        _leave(wire, how)

    shop.play = play
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(request(method, "/", body=b"x" * 10 if method == "POST" else None))
        assert answer.status == 502
        assert answer.get("proxy-status") == "misrule; error=connection_terminated"
        shop.forget()
        assert wire.ask(get("/bytes/3")).status == 200, "the client's connection lives"


@pytest.mark.parametrize("how", _LEAVE)
def test_upstream_leaves_in_its_head(proxy: Proxy, shop: Scripted, how: str) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-le")
        pause(0.02)
        _leave(wire, how)

    shop.play = play
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get())
    assert answer.status == 502
    assert (answer.get("proxy-status") or "").startswith("misrule; error=")


@pytest.mark.parametrize("how", _LEAVE)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upstream_leaves_in_its_body(proxy: Proxy, shop: Scripted, how: str, framing: str) -> None:
    """What came arrives, and it does not look whole."""

    def play(wire: Wire, asked: Message) -> None:
        if framing == "length":
            wire.send(response(200, "content-length: 1000") + b"x" * 100)
        else:
            wire.send(response(200, "transfer-encoding: chunked") + b"64\r\n" + b"x" * 100 + b"\r\n")
        pause(0.05)
        _leave(wire, how)

    shop.play = play
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        head = wire.read_head()
        data, ended = wire.rest()
        assert head.status == 200
        assert data == (b"x" * 100 if framing == "length" else b"64\r\n" + b"x" * 100 + b"\r\n")
        assert ended in (FIN, RESET)
    _works(proxy, shop)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reset_is_no_end_of_an_answer_without_length(proxy: Proxy, shop: Scripted, version: str) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200) + b"some of it")
        pause(0.05)  # the RST must not overtake the bytes
        wire.reset()

    shop.play = play
    before = proxy.failures("upstream_truncated")
    with Wire.to(proxy.address) as wire:
        wire.send(f"GET / HTTP/{version}\r\nhost: a\r\n\r\n".encode())
        data, how = wire.rest()
        assert b"some of it" in data
        assert how == (RESET if version == "1.0" else FIN)
        assert not data.endswith(b"0\r\n\r\n")
    assert proxy.failures("upstream_truncated") == before + 1
    _works(proxy, shop)


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_sees_that_an_answer_was_cut_short(proxy: Proxy, shop: Scripted, client: str) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "transfer-encoding: chunked") + b"64\r\n" + b"x" * 100 + b"\r\n")
        pause(0.02)
        wire.close()

    shop.play = play
    seen = ask(client, Call(proxy.url))
    assert seen.status == 200
    assert seen.trouble in ("closed", "reset"), seen.native


# Answers that end before the request does


def _upload(wire: Wire, size: int, framing: str) -> None:
    """Send a body in pieces, as fast as it is taken."""
    piece = bytes(65_536)
    if framing == "length":
        wire.send(request("POST", "/upload", f"content-length: {size}"))
    else:
        wire.send(request("POST", "/upload", "transfer-encoding: chunked"))
    for _ in range(size // len(piece)):
        wire.send(piece if framing == "length" else b"10000\r\n" + piece + b"\r\n")
    wire.send(bytes(size % len(piece)) if framing == "length" else chunked(bytes(size % len(piece))))


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("then", ["reads on", "fin", "reset"])
def test_early_answer_arrives_whole(proxy: Proxy, shop: Scripted, framing: str, then: str) -> None:
    """413 while 8 MB are on their way, from an upstream that reads on, closes, or resets."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(413, "connection: close", "x-why: size", body=b"too large " * 100))
        if then == "reads on":
            wire.rest(2.0)
            wire.close()
        elif then == "fin":
            wire.close()
        else:
            pause(0.05)  # so that the answer is on its way before the RST overtakes it
            wire.reset()

    shop.play = play
    for _ in range(5):
        with Wire.to(proxy.address) as wire:
            _upload(wire, 8_000_000, framing)
            answer = wire.answer()
            assert (answer.status, answer.get("x-why"), answer.body) == (413, "size", b"too large " * 100)
    _works(proxy, shop)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_gets_an_early_answer(
    proxy: Proxy, shop: Scripted, corpus: Corpus, client: str, chunks: bool
) -> None:
    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(413, "connection: close", body=b"too large"))
        wire.close()

    shop.play = play
    seen = ask(client, Call(proxy.url, "POST", file=corpus.path(10 * 1024 * 1024), chunked=chunks))
    assert (seen.trouble, seen.status, seen.body) == ("", 413, b"too large"), seen.native


def test_connection_goes_on_after_an_early_answer(proxy: Proxy, shop: Scripted) -> None:
    """A small rest of the request is read over; then the connection goes on, or it was said to close."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(401, "connection: close", body=b"who?"))
        wire.close()

    shop.play = play
    with Wire.to(proxy.address) as wire:
        wire.send(request("POST", "/upload", "content-length: 100000") + bytes(50_000))
        answer = wire.answer()
        assert (answer.status, answer.body) == (401, b"who?")
        wire.send(bytes(50_000))
        if answer.get("connection") == "close":
            assert wire.rest() == (b"", FIN)
        else:
            shop.forget()
            assert wire.ask(get("/bytes/5")).body == filling(5)


def _send_for(wire: Wire, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        wire.send(bytes(65_536))


def test_upload_without_end_after_an_early_answer_is_cut(proxy: Proxy, shop: Scripted) -> None:
    """What is read after the answer is bounded, in bytes before the FIN and in time (1 s here) after it."""

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(413, "connection: close", body=b"no"))
        wire.close()

    shop.play = play
    begun = time.monotonic()
    with Wire.to(proxy.address) as wire:
        wire.send(request("POST", "/upload", f"content-length: {1 << 40}"))
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            _send_for(wire, 10.0)
    assert time.monotonic() - begun < 5


def test_nothing_is_left_over(proxy: Proxy, shop: Scripted) -> None:
    """After all that may go wrong, 30 times each: no descriptor more than before."""

    def play(wire: Wire, asked: Message) -> None:
        what = asked.target
        if what == "/reset":
            wire.reset()
        elif what == "/close":
            wire.close()
        elif what == "/cut":
            wire.send(response(200, "content-length: 10") + b"x")
            wire.close()
        else:
            plain(wire, asked)

    shop.play = play
    open_files = []
    for _ in range(2):  # the first round fills the pool and whatever else is kept
        for path in ["/reset", "/close", "/cut", "/bytes/70000", "/bytes/0"] * 30:
            with Wire.to(proxy.address) as wire:
                wire.send(get(path))
                if path == "/cut":
                    assert wire.rest()[1] != OPEN
                elif path != "/bytes/70000":  # of that one, the client takes nothing
                    wire.answer()
        pause(0.2)
        open_files.append(proxy.process.files())
    assert open_files[1] <= open_files[0] + 3
