"""corrupt on streams of HTTP/2."""

import pytest

from tests.support.clients import HTTP2_CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import filling


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_each_client(h2_proxy: Proxy, client: str) -> None:
    h2_proxy.put(rule("wrong", {"corrupt": {"flips": 3}}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/20000", http2=True))
    assert (seen.status, seen.trouble) == (200, "")
    pairs = zip(seen.body, filling(20_000), strict=True)
    assert [(a ^ b).bit_count() for a, b in pairs if a != b] == [1, 1, 1]
