"""gRPC's HTTP/2 negative interop cases: the presets beside servers that really do it, client by client.

https://github.com/grpc/grpc/blob/master/doc/negative-http2-interop-test-descriptions.md names them.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hyperframe.frame import DataFrame, PingFrame

from tests.e2e.grpc.conftest import Backend, Call, Client
from tests.support.grpc_alike import HEAD, alike, framed
from tests.support.grpc_calls import Outcome, Rpc, ask
from tests.support.h2_peer import MAX_STREAMS, NO_ERROR, Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.wait import eventually, pause

PRESETS = Path(__file__).parents[3] / "rules" / "presets"
SIZE = 314_159
OK = [("grpc-status", "0")]

Play = Callable[[Peer, Heard], None]


def preset(name: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = yaml.safe_load((PRESETS / f"http2-{name}.yaml").read_text())["rules"]
    return rules


def large(address: str, fresh: bool = True, size: int = SIZE) -> Rpc:
    """The call that all cases make."""
    return Rpc(address, "UnaryCall", (ask({"size": size}).ljust(271_828),), fresh=fresh)


def cut_behind(content: int) -> Play:
    """Answer with so many bytes of content, and then RST_STREAM."""

    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, HEAD)
        if content:
            upstream.push(asked.sid, framed(SIZE)[:content])
            upstream.until(lambda: not upstream._outs[asked.sid].waiting)
        pause(0.05)
        upstream.reset(asked.sid, NO_ERROR)

    return play


@pytest.mark.parametrize(
    ("name", "content"), [("rst-after-header", 0), ("rst-during-data", 157_079), ("rst-after-data", SIZE + 5)]
)
def test_resets(shop_of_calls: Backend, real: ScriptedH2, call: Call, name: str, content: int) -> None:
    real.play = cut_behind(content)
    seen = call(large(real.address))
    assert seen.code not in ("OK", "")
    shop_of_calls.proxy.put(*preset(name))
    alike(seen, call(large(shop_of_calls.address)))
    assert shop_of_calls.proxy.injections() == 1


def test_goaway(shop_of_calls: Backend, client: Client) -> None:
    """Two calls, and neither notices; the second one has a connection of its own."""
    client.call(Rpc(shop_of_calls.address, "EmptyCall"))
    shop_of_calls.proxy.put(*preset("goaway"))
    before = shop_of_calls.proxy.metric("misrule_connections_total")
    for _ in range(2):
        assert fits(client.call(large(shop_of_calls.address, False)))
        pause(0.1)
    assert shop_of_calls.proxy.metric("misrule_connections_total") == before + 1
    assert shop_of_calls.proxy.injections() == 1


def fits(got: Outcome, size: int = SIZE) -> bool:
    return (got.code, got.messages) == ("OK", [bytes(size)])


def test_ping(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    """Each PING is answered: by the client to a server, and so, as the codec sees it, to the proxy."""

    def pinging(upstream: Peer, asked: Heard) -> None:
        upstream.frame(PingFrame(0, b"before!!"))
        upstream.head(asked.sid, HEAD)
        upstream.frame(PingFrame(0, b"between!"))
        upstream.push(asked.sid, framed(SIZE), trailers=OK)
        upstream.frame(PingFrame(0, b"behind!!"))

    real.play = pinging
    seen = call(large(real.address, False))
    eventually(lambda: len(real.peers[-1].pongs) == 3)
    shop_of_calls.proxy.put(*preset("ping"))
    injected = call(large(shop_of_calls.address))
    alike(seen, injected)
    assert fits(injected)
    eventually(lambda: shop_of_calls.proxy.injections() == 4)


def test_max_streams(shop_of_calls: Backend, client: Client) -> None:
    """A first call, so that the client knows; then ten at once, one after the other on its connection."""
    shop = ScriptedH2(settings={MAX_STREAMS: 1})
    shop.play = lambda upstream, asked: upstream.answer(asked, 200, *HEAD[1:], body=framed(SIZE), trailers=OK)
    shop_of_calls.proxy.put(*preset("max-streams"))
    try:
        for address in (shop.address, shop_of_calls.address):
            assert fits(client.call(large(address, False)))
            slow = Rpc(address, "UnaryCall", (ask({"size": SIZE, "sleep": 0.02}),))
            begun = time.monotonic()
            got = client.many([slow] * 10, 0.0)
            assert all(fits(one) for one in got), got
        assert time.monotonic() - begun >= 10 * 0.02
    finally:
        shop.close()


@pytest.mark.parametrize(("name", "padding"), [("data-frame-padding", 255), ("no-df-padding-sanity", 0)])
def test_small_frames(shop_of_calls: Backend, real: ScriptedH2, call: Call, name: str, padding: int) -> None:
    """With padding grpcio fails, as it does before any server that pads; nobody fails without."""
    size = 500  # what a first window has room for in such frames

    def splitting(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, HEAD)
        sent = framed(size)
        flags = ("PADDED",) if padding else ()
        for at in range(0, len(sent), 5):
            upstream.frame(DataFrame(asked.sid, sent[at : at + 5], pad_length=padding, flags=flags))
        upstream.head(asked.sid, OK, True)

    real.play = splitting
    seen = call(large(real.address))
    shop_of_calls.proxy.put(*preset(name))
    alike(seen, call(large(shop_of_calls.address, size=size)))
    got = call(large(shop_of_calls.address))
    assert fits(got) == (seen.code == "OK"), (got.code, got.details, got.seconds)
    assert seen.code == "OK" or padding
