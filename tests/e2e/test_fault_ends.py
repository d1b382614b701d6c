"""reset and close: each client sees what it sees when a real peer does that; exact bytes come first."""

from collections.abc import Callable

import pytest

from tests.support.clients import CLIENTS, CLOSED, RESET, Call, Seen, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling, plain
from tests.support.upstreams import Corpus
from tests.support.wait import eventually, pause
from tests.support.wire import FIN, OPEN, Message, Wire, chunked, get, request, response
from tests.support.wire import RESET as RST

_KINDS = ["reset", "close"]
_TROUBLE = {"reset": RESET, "close": CLOSED}
_END = {"reset": RST, "close": FIN}
_FRAMINGS = ["length", "chunked"]
_BEFORE_UPSTREAM = ["accept", "request_head", "resolve", "connect"]


def _content(data: bytes, framing: str) -> bytes:
    """Take the content out of a body that was cut off; what is not whole framing fails."""
    if framing == "length":
        return data
    found = b""
    while data:
        line, mark, data = data.partition(b"\r\n")
        if not mark or not data:
            break  # cut within or right behind a chunk's size line
        size = int(line.split(b";")[0], 16)
        assert size, "the last chunk came: the message looks whole"
        found += data[:size]
        assert data[size : size + 2] in (b"", b"\r", b"\r\n")
        data = data[size + 2 :]
    return found


# Each client sees the real thing


def _really(kind: str, framing: str = "", size: int = 0) -> Callable[[Wire, Message], None]:
    """Do in earnest what the fault pretends."""

    def play(wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        if framing == "length":
            wire.send(response(200, "content-length: 5000") + filling(size))
        elif framing == "chunked":
            wire.send(response(200, "transfer-encoding: chunked") + b"1388\r\n" + filling(size))
        if framing:
            pause(0.05)  # the RST must not overtake the bytes
        if kind == "reset":
            wire.reset()
        else:
            wire.close()

    return play


def _alike(client: str, real: Seen, injected: Seen) -> None:
    assert injected.status == real.status
    # requests gives no part of a piece that did not come whole, and its pieces follow the packets.
    assert injected.length == real.length or client == "requests"
    assert injected.trouble == real.trouble, f"{injected.native!r} instead of {real.native!r}"
    assert injected.native.split(" ")[0] == real.native.split(" ")[0]


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_before_the_answer(proxy: Proxy, shop: Scripted, client: str, kind: str) -> None:
    shop.play = _really(kind)
    real = ask(client, Call(shop.url))
    assert (real.status, real.trouble) == (0, _TROUBLE[kind]), real.native
    shop.forget()
    proxy.put(rule("end", {kind: {}}))
    _alike(client, real, ask(client, Call(proxy.url)))
    assert shop.requests == []


@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_in_the_answer(
    proxy: Proxy, shop: Scripted, client: str, kind: str, framing: str
) -> None:
    shop.play = _really(kind, framing, 1000)
    real = ask(client, Call(shop.url))
    assert (real.status, real.trouble) == (200, _TROUBLE[kind]), real.native
    shop.forget()
    proxy.put(rule("end", {kind: {"after_bytes": "1000B"}}))
    path = "bytes" if framing == "length" else "chunked"
    _alike(client, real, ask(client, Call(f"{proxy.url}/{path}/5000")))


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_in_its_upload(
    proxy: Proxy, shop: Scripted, corpus: Corpus, client: str, kind: str
) -> None:
    """A connection that ends under a running upload never looks like success.

    httpx and requests look for an answer when sending fails: by then the system has told them of the
    reset, once, and reading finds just an end.
    """
    proxy.put(rule("end", {kind: {"at": "request_body", "after_bytes": "100KiB"}}))
    seen = ask(client, Call(proxy.url, "POST", file=corpus.path(10 * 1024 * 1024)))
    assert seen.status == 0
    certain = kind == "reset" and client not in ("httpx", "requests")
    assert seen.trouble in ((RESET,) if certain else (RESET, CLOSED)), seen.native


# Every phase


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("phase", [*_BEFORE_UPSTREAM, "request_body", "response_head"])
def test_phases_before_the_answer(proxy: Proxy, shop: Scripted, kind: str, phase: str) -> None:
    """Not a byte comes; upstream was asked where the phase is behind the asking."""
    proxy.put(rule("end", {kind: {"at": phase}}))
    try:
        with Wire.to(proxy.address) as wire:
            if phase != "accept":
                wire.send(request("POST", "/x", body=b"hello"))
            assert wire.rest() == (b"", _END[kind])
    except ConnectionResetError:  # connecting itself may tell already
        assert (phase, kind) == ("accept", "reset")
    if phase in _BEFORE_UPSTREAM:
        assert shop.requests == []
    elif phase == "response_head":
        assert shop.last.body == b"hello"
    else:
        assert not any(asked.wholly for asked in shop.requests)
    assert proxy.injections(rule="end", fault=kind) == 1


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("framing", _FRAMINGS)
def test_phase_response_body(proxy: Proxy, shop: Scripted, kind: str, framing: str) -> None:
    """The head comes, and nothing of the body."""
    proxy.put(rule("end", {kind: {"at": "response_body"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/5000" if framing == "length" else "/chunked/5000"))
        assert wire.read_head().status == 200
        data, how = wire.rest()
        assert (_content(data, framing), how) == (b"", _END[kind])


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("framing", _FRAMINGS)
def test_phase_end(proxy: Proxy, shop: Scripted, kind: str, framing: str) -> None:
    """The answer comes whole, then the connection ends."""
    proxy.put(rule("end", {kind: {"at": "end"}}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/5000" if framing == "length" else "/chunked/5000")).body == filling(5000)
        assert wire.rest() == (b"", _END[kind])


@pytest.mark.parametrize("kind", _KINDS)
def test_only_what_matches_is_hit(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """On one connection, pipelined: the answers before arrive whole, what comes after is never asked."""
    proxy.put(rule("end", {kind: {}}, match={"path": "/status/500"}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/3000") + get("/chunked/3000") + get("/status/500") + get("/bytes/1"))
        assert wire.answer().body == filling(3000)
        assert wire.answer().body == filling(3000)
        assert wire.rest() == (b"", _END[kind])
    assert [asked.target for asked in shop.requests] == ["/bytes/3000", "/chunked/3000"]


# Exactly so many bytes


@pytest.mark.parametrize("size", [1, 100, 16_384, 16_385, 65_537, 1_000_000])
@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("kind", _KINDS)
def test_after_bytes_of_the_answer(proxy: Proxy, shop: Scripted, kind: str, framing: str, size: int) -> None:
    proxy.put(rule("end", {kind: {"after_bytes": f"{size}B"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/1500000" if framing == "length" else "/chunked/1500000"))
        assert wire.read_head().status == 200
        data, how = wire.rest()
        assert (_content(data, framing) == filling(size), how) == (True, _END[kind])


@pytest.mark.parametrize("kind", _KINDS)
def test_after_bytes_reach_a_slow_reader(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """A RST throws away what is unsent, so it must wait until all has left."""
    proxy.put(rule("end", {kind: {"after_bytes": "3000000B"}}))
    with Wire.to(proxy.address, receive_buffer=16_384) as wire:
        wire.send(get("/bytes/4000000"))
        assert wire.read_head().status == 200
        pause(0.7)
        data, how = wire.rest(20)
        assert (len(data), data == filling(3_000_000), how) == (3_000_000, True, _END[kind])


@pytest.mark.parametrize("size", [1, 100, 65_537, 1_000_000])
@pytest.mark.parametrize("framing", _FRAMINGS)
@pytest.mark.parametrize("kind", _KINDS)
def test_after_bytes_of_the_request(proxy: Proxy, shop: Scripted, kind: str, framing: str, size: int) -> None:
    """The upstream got exactly so many; with side: upstream it also sees the kind of end."""
    taken: list[tuple[bytes, str]] = []
    shop.play = lambda wire, _: taken.append(wire.rest(5.0))
    proxy.put(rule("end", {kind: {"at": "request_body", "after_bytes": f"{size}B", "side": "upstream"}}))
    body = filling(1_500_000)
    with Wire.to(proxy.address) as wire:
        if framing == "length":
            wire.send(request("POST", "/x", body=body))
        else:
            wire.send(
                request("POST", "/x", "transfer-encoding: chunked") + chunked(body[:70_000], body[70_000:])
            )
        answer = wire.answer()
        assert answer.status == 502
        assert answer.get("proxy-status") == "misrule; error=connection_terminated"
    eventually(lambda: taken, what="the end of the upstream's leg")
    data, how = taken[0]
    assert (_content(data, framing) == filling(size), how) == (True, _END[kind])


@pytest.mark.parametrize("kind", _KINDS)
def test_body_shorter_than_after_bytes_is_not_hit(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """What had no occasion to act is not counted, and not charged to ``first``."""
    proxy.put(rule("end", {kind: {"after_bytes": "10KiB"}}, sample={"first": 1}))
    with Wire.to(proxy.address) as wire:
        for path in ["/bytes/5000", "/chunked/5000", "/bytes/0"]:
            assert wire.ask(get(path)).status == 200
        assert proxy.injections(rule="end") == 0
        wire.send(get("/bytes/20000"))
        assert wire.read_head().status == 200
        assert wire.rest() == (filling(10_240), _END[kind])
    assert proxy.injections(rule="end") == 1
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/20000")).body == filling(20_000)


# Which leg


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("phase", ["connect", "response_head"])
def test_side_upstream_before_the_answer(proxy: Proxy, shop: Scripted, kind: str, phase: str) -> None:
    """The client gets the 502 that a real proxy gives; its connection goes on."""
    proxy.put(rule("end", {kind: {"at": phase, "side": "upstream"}}, match={"path": "/hit"}))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get("/hit"))
        assert answer.status == 502
        assert answer.get("proxy-status") == "misrule; error=connection_terminated"
        assert answer.all("x-misrule") != []
        assert wire.ask(get("/bytes/5")).body == filling(5)


@pytest.mark.parametrize("side", ["upstream", "both"])
@pytest.mark.parametrize("kind", _KINDS)
def test_what_the_upstream_sees(proxy: Proxy, shop: Scripted, kind: str, side: str) -> None:
    ends: list[str] = []

    def play(wire: Wire, asked: Message) -> None:
        wire.send(response(200, "content-length: 1000000") + filling(5000))
        ends.append(wire.rest(5.0)[1])

    shop.play = play
    proxy.put(rule("end", {kind: {"after_bytes": "1000B", "side": side}}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/x"))
        assert wire.read_head().status == 200
        data, how = wire.rest()
        assert data == filling(1000)
        assert how == _END[kind] if side == "both" else how in (FIN, RST)
    eventually(lambda: ends, what="the end of the upstream's leg")
    # A FIN that meets unread bytes becomes a RST: only a reset is certain to be one.
    assert ends == [RST] if kind == "reset" else ends[0] in (FIN, RST)


@pytest.mark.parametrize("kind", _KINDS)
def test_side_client_leaves_the_upstream_unharmed(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """Its leg ends as when a client goes away: not as a reset of the rule's making, and others live on."""
    proxy.put(rule("end", {kind: {"at": "end", "side": "client"}}, match={"path": "/bytes/50"}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/50")).body == filling(50)
        assert wire.rest() == (b"", _END[kind])
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/51")).body == filling(51)
    assert shop.requests[0].opening == shop.requests[1].opening, (
        "the upstream's connection went back to the pool"
    )


# Which connections


@pytest.mark.parametrize("kind", _KINDS)
def test_on_next(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """Also a connection opened before the rule: at its next exchange, not sooner."""
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/5")).body == filling(5)
        proxy.put(rule("end", {kind: {}}))
        assert wire.quiet(0.2)
        wire.send(get("/bytes/5"))
        assert wire.rest() == (b"", _END[kind])


@pytest.mark.parametrize("kind", _KINDS)
def test_on_new(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """What is open stays unharmed; what comes after the rule is hit."""
    with Wire.to(proxy.address) as old:
        assert old.ask(get("/bytes/5")).body == filling(5)
        proxy.put(rule("end", {kind: {"on": "new"}}))
        assert old.ask(get("/bytes/6")).body == filling(6)
        with Wire.to(proxy.address) as wire:
            wire.send(get("/bytes/7"))
            assert wire.rest() == (b"", _END[kind])
        assert old.ask(get("/bytes/8")).body == filling(8)


@pytest.mark.parametrize("kind", _KINDS)
def test_on_open(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """At once: idle connections, and exchanges under way; then new ones, as ``new``."""
    shop.play = lambda wire, asked: plain(wire, asked) if asked.target != "/wait" else wire.rest(5.0) and None
    with Wire.to(proxy.address) as idle, Wire.to(proxy.address) as busy, Wire.to(proxy.address) as fresh:
        assert idle.ask(get("/bytes/5")).body == filling(5)
        busy.send(get("/wait"))
        eventually(lambda: shop.requests and shop.last.target == "/wait", what="the request at the upstream")
        proxy.put(rule("end", {kind: {"on": "open"}}))
        for wire in [idle, busy, fresh]:
            assert wire.rest() == (b"", _END[kind])
        with Wire.to(proxy.address) as wire:
            wire.send(get("/bytes/7"))
            assert wire.rest() == (b"", _END[kind])


def test_on_open_draws_once_for_each(proxy: Proxy, shop: Scripted) -> None:
    """Half of what is open goes, and the other half stays however often the connection is used."""
    wires = [Wire.to(proxy.address) for _ in range(60)]
    for wire in wires:
        assert wire.ask(get("/bytes/1")).body == filling(1)
    proxy.put(rule("half", {"reset": {"on": "open"}}, sample={"percent": 50}))
    pause(0.2)
    ends = [wire.rest(0.01)[1] for wire in wires]
    assert set(ends) == {RST, OPEN}
    assert 12 <= ends.count(RST) <= 48  # 30 expected; more than four standard deviations either way
    for wire, end in zip(wires, ends, strict=True):
        if end == OPEN:
            for _ in range(5):
                assert wire.ask(get("/bytes/2")).body == filling(2)
        wire.close()
