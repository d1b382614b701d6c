"""corrupt: real clients get whole messages with wrong bits in them."""

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.e2e.conftest import Launch
from tests.support.chat import echo_server
from tests.support.clients import CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.upstreams import Corpus


def _flips(one: bytes, other: bytes) -> list[int]:
    """Give how many bits differ, for each byte that does."""
    return [(a ^ b).bit_count() for a, b in zip(one, other, strict=True) if a != b]


@pytest.mark.parametrize("path", ["bytes", "chunked"])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client(proxy: Proxy, client: str, path: str) -> None:
    proxy.put(rule("wrong", {"corrupt": {"flips": 3}}))
    seen = ask(client, Call(f"{proxy.url}/{path}/20000"))
    assert (seen.status, seen.trouble) == (200, ""), seen.native
    assert _flips(seen.body, filling(20_000)) == [1, 1, 1]
    assert any("fault=corrupt; at=response_body" in line for line in seen.all("x-misrule"))


def test_an_upload(proxy: Proxy, shop: Scripted, corpus: Corpus) -> None:
    proxy.put(rule("wrong", {"corrupt": {"percent_of_bytes": 0.1, "direction": "request"}}))
    file = corpus.path(65_536)
    seen = ask("curl", Call(f"{proxy.url}/echo", "POST", file=file, chunked=True))
    hit = _flips(seen.body, file.read_bytes())
    assert 20 < len(hit) < 140
    assert set(hit) == {1}


def test_a_websocket(launch: Launch) -> None:
    """Binary messages arrive with wrong bits; text that is no UTF-8 any more ends the connection by 1007."""
    with echo_server() as address:
        proxy = launch(address)
        proxy.put(rule("wrong", {"corrupt": {"flips": 2}}))
        with connect(f"ws://{proxy.address}/chat", compression=None) as chat:
            chat.send(bytes(100))
            got = chat.recv(timeout=10)
            assert isinstance(got, bytes)
            assert _flips(got, bytes(100)) == [1, 1]
            chat.send(bytes(100))
            assert chat.recv(timeout=10) == bytes(100)  # that was all
        proxy.put(rule("wrong", {"corrupt": {"percent_of_bytes": 100}}))
        with connect(f"ws://{proxy.address}/chat", compression=None) as chat:
            chat.send("\u20ac" * 100)
            with pytest.raises(ConnectionClosedError, match="1007"):
                chat.recv(timeout=10)
