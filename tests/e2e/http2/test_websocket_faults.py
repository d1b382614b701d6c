"""The faults of tunnels where HTTP/2 is on one side, or both: what both ends see."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from proxy.wire.websocket import accept_of
from tests.e2e.conftest import Launch
from tests.e2e.http2.conftest import HTTP2
from tests.support.chat import ASK, CONNECT_PROTOCOL
from tests.support.h2_peer import CANCEL, Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wait import eventually
from tests.support.wire import FIN, RESET, Message, Wire, response

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
_ASK = (
    "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    f"sec-websocket-version: 13\r\nsec-websocket-key: {_KEY}\r\n\r\n"
).encode()
KINDS = ["h2-h1", "h1-h2", "h2-h2"]


def _echo(wire: Wire, asked: Message) -> None:
    accept = accept_of((asked.get("sec-websocket-key") or "").encode()).decode()
    wire.send(response(101, "connection: upgrade", "upgrade: websocket", f"sec-websocket-accept: {accept}"))
    while True:
        wire.send(wire.take(1))


def _echo_2(peer: Peer, asked: Heard) -> None:
    peer.head(asked.sid, [(":status", "200")])
    passed = 0
    while not peer.gone and asked.reset is None and not asked.ended:
        peer.step(0.02)
        if asked.length > passed:
            peer.push(asked.sid, asked.body[passed:])
            passed = asked.length


@dataclass
class Tunnel:
    """A tunnel's client, whose upstream is an echo; and what that saw of its end."""

    proxy: Proxy
    wire: Wire | None
    peer: Peer | None
    heard: Heard
    upstream_end: Callable[[], str]
    seen: int = 0

    def send(self, data: bytes) -> None:
        if self.wire is not None:
            self.wire.send(data)
        elif self.peer is not None:
            self.peer.push(self.heard.sid, data)

    def take(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        if self.wire is not None:
            return self.wire.take(count)
        assert self.peer is not None
        self.peer.until(lambda: self.heard.length >= self.seen + count)
        self.seen += count
        return self.heard.body[self.seen - count : self.seen]

    def quiet(self, seconds: float) -> bool:
        if self.wire is not None:
            return self.wire.quiet(seconds)
        assert self.peer is not None
        return self.peer.quiet(seconds)

    def rest(self) -> tuple[bytes, str]:
        """Read to the end; RESET, FIN, or (the end of the connection) GOAWAY."""
        if self.wire is not None:
            return self.wire.rest()
        peer, heard = self.peer, self.heard
        assert peer is not None
        peer.until(lambda: heard.ended or heard.reset is not None or peer.goaways, what="an end")
        how = "goaway" if peer.goaways else RESET if heard.reset == CANCEL else FIN
        return heard.body[self.seen :], how


@pytest.fixture(params=KINDS)
def tunnel(request: pytest.FixtureRequest, launch: Launch) -> Iterator[Tunnel]:
    """An open tunnel of each kind, through which one byte has gone."""
    client, _, upstream = request.param.partition("-")
    with contextlib.ExitStack() as stack:
        if upstream == "h1":
            shop = Scripted()
            stack.callback(shop.close)
            shop.play = _echo
            proxy = launch(shop.address)
        else:
            shop_2 = ScriptedH2(settings={CONNECT_PROTOCOL: 1})
            stack.callback(shop_2.close)
            shop_2.on_head = _echo_2
            proxy = launch(shop_2.address, upstream_options=HTTP2)

        def upstream_end() -> str:
            if upstream == "h1":
                return shop.ended[-1][1] if shop.ended else ""
            code = shop_2.last.reset
            return "" if code is None else "reset" if code == CANCEL else "end"

        if client == "h1":
            wire = stack.enter_context(Wire.to(proxy.address))
            wire.send(_ASK)
            assert wire.read_head().status == 101
            made = Tunnel(proxy, wire, None, Heard(0), upstream_end)
        else:
            peer = stack.enter_context(Peer.to(proxy.address))
            heard = peer.open(ASK, end=False)
            peer.until(lambda: heard.status == 200, what="the answer")
            made = Tunnel(proxy, None, peer, heard, upstream_end)
        made.send(b"a")
        assert made.take(1) == b"a"
        yield made


def test_faults_one_after_the_other(tunnel: Tunnel) -> None:
    """Delay, stall and release, then a reset after so many bytes, on one tunnel."""
    proxy = tunnel.proxy
    begun = time.monotonic()
    proxy.put(rule("slow", {"delay": {"fixed": "200ms", "at": "response_body"}}))
    tunnel.send(b"0123")
    assert tunnel.take(4) == b"0123"
    assert time.monotonic() - begun >= 0.2

    proxy.put(rule("stuck", {"stall": {"at": "request_body", "after_bytes": "2B"}}))
    tunnel.send(b"4567")
    assert tunnel.take(2) == b"45"
    assert tunnel.quiet(0.2)
    proxy.put()
    assert tunnel.take(2) == b"67"

    proxy.put(rule("end", {"reset": {"after_bytes": "5B"}}, match={"protocol": ["websocket"]}))
    tunnel.send(b"0123456789")
    assert tunnel.rest() == (b"01234", RESET)
    assert proxy.injections(rule="end") == 1
    eventually(lambda: tunnel.upstream_end() == "reset", what="the upstream's leg ends so, too")
    eventually(lambda: proxy.metric("misrule_requests_active") == 0, what="nothing is left")
    record = proxy.wait_record(event="access")
    assert (record["bytes_in"], record["bytes_out"]) == (1 + 4 + 4 + 10, 1 + 4 + 4 + 5)
    if tunnel.peer is not None:
        assert not tunnel.peer.goaways


def test_close_after_bytes_to_the_upstream(tunnel: Tunnel) -> None:
    tunnel.proxy.put(rule("end", {"close": {"at": "request_body", "after_bytes": "3B"}}))
    tunnel.send(b"0123456789")
    data, how = tunnel.rest()
    assert b"012".startswith(data)
    assert how == (FIN if tunnel.peer is None else "goaway")


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_on_open(tunnel: Tunnel, kind: str) -> None:
    tunnel.proxy.put(rule("end", {kind: {"on": "open"}}))
    data, how = tunnel.rest()
    assert (data, how) == (b"", RESET if kind == "reset" else FIN if tunnel.peer is None else "goaway")


def test_a_client_that_gives_up_resets_the_upstream(tunnel: Tunnel) -> None:
    if tunnel.wire is not None:
        tunnel.wire.reset()
    elif tunnel.peer is not None:
        tunnel.peer.reset(tunnel.heard.sid, CANCEL)
    eventually(lambda: tunnel.upstream_end() == "reset", what="the upstream's leg ends with a reset")
