"""drip and loss on streams of HTTP/2."""

import pytest

from tests.support.clients import HTTP2_CLIENTS, Call, ask
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import filling

_FAULTS: dict[str, Rule] = {
    "drip": {"drip": {"bytes": 500, "every": "5ms"}},
    "loss": {"loss": {"percent": 50, "rto": "20ms"}},
}


@pytest.mark.parametrize("fault", _FAULTS)
@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_each_client(h2_proxy: Proxy, client: str, fault: str) -> None:
    h2_proxy.put(rule("slow", _FAULTS[fault], sample={"sticky": "path"}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/50000", http2=True))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(50_000), "")
    assert 0.2 <= seen.seconds < 10.0
    assert h2_proxy.injections(rule="slow", fault=fault) == 1
