"""truncate over HTTP/2: END_STREAM comes early; clients take it as they take a real server that does so."""

import pytest

from tests.support.clients import HTTP2_CLIENTS, Call, ask
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy, rule
from tests.support.scripted import filling


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_each_client(h2_proxy: Proxy, h2_shop: ScriptedH2, client: str, announced: bool) -> None:
    """Where the length was announced they all call it an error; where it was not, nobody can tell."""
    length = [("content-length", "5000")] if announced else []
    h2_shop.play = lambda peer, asked: peer.answer(asked, 200, *length, body=filling(1000))
    real = ask(client, Call(f"http://{h2_shop.address}/", http2=True, timeout=5.0))
    h2_shop.play = lambda peer, asked: peer.answer(asked, 200, *length, body=filling(5000))
    h2_proxy.put(rule("cut", {"truncate": "1000B"}))
    seen = ask(client, Call(h2_proxy.url, http2=True, timeout=5.0))
    assert (seen.trouble, seen.native) == (real.trouble, real.native)
    assert bool(seen.trouble) is announced
    if not announced:  # else curl may throw away the head that it read together with the error
        assert (seen.status, seen.body) == (200, filling(1000))


def test_the_next_stream_of_the_connection_is_not_concerned(h2_proxy: Proxy, h2_shop: ScriptedH2) -> None:
    h2_proxy.put(rule("cut", {"truncate": "1000B"}, match={"path": "/bytes/5000"}))
    assert ask("node", Call(f"{h2_proxy.url}/bytes/5000", http2=True)).trouble
    seen = ask("node", Call(f"{h2_proxy.url}/bytes/4999", http2=True))
    assert (seen.status, seen.length, seen.trouble) == (200, 4999, "")
