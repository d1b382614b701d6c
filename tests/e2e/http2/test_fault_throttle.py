"""throttle on streams of HTTP/2."""

import pytest

from tests.support.clients import HTTP2_CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import filling


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_each_client(h2_proxy: Proxy, client: str) -> None:
    h2_proxy.put(rule("slow", {"throttle": "200KB/s"}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/150000", http2=True))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(150_000), "")
    assert 0.75 <= seen.seconds < 6.0
