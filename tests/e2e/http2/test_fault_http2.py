"""The fault http2, as clients of HTTP/2 see it; what speaks no HTTP/2 passes."""

import pytest

from tests.support.clients import HTTP2_CLIENTS, TIMEOUT, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import filling
from tests.support.upstreams import Corpus

GENTLE = {
    "goaway": {"goaway": {}, "at": "end"},
    "settings": {"settings": {"max_concurrent_streams": 1, "initial_window_size": 1000}},
    "frames": {"padding": 200, "frame_size": 500, "ping": True},
}


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
@pytest.mark.parametrize("fault", GENTLE)
def test_what_a_good_client_passes(h2_proxy: Proxy, client: str, fault: str) -> None:
    h2_proxy.put(rule("odd", {"http2": GENTLE[fault]}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/50000", http2=True))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(50_000), ""), seen.native
    assert h2_proxy.injections(rule="odd", fault="http2") == 1


@pytest.mark.parametrize("client", ["curl", "node"])  # httpx does not wait, unless it has read the answer too
def test_a_goaway_before_the_answer(h2_proxy: Proxy, client: str) -> None:
    h2_proxy.put(rule("leave", {"http2": {"goaway": {}}}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/50000", http2=True))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(50_000), ""), seen.native
    assert h2_proxy.injections(rule="leave", fault="http2") == 1


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_an_upload_without_window_updates_stops(h2_proxy: Proxy, corpus: Corpus, client: str) -> None:
    h2_proxy.put(rule("shut", {"http2": {"withhold_window_updates": "stream"}}))
    upload = Call(f"{h2_proxy.url}/hash", "POST", file=corpus.path(1_048_576), http2=True, timeout=0.6)
    seen = ask(client, upload)
    assert (seen.status, seen.trouble) == (0, TIMEOUT), seen.native
    assert h2_proxy.injections(rule="shut", fault="http2") == 1


@pytest.mark.parametrize("http2", [False, True])
def test_what_is_for_others_passes(h2_proxy: Proxy, http2: bool) -> None:
    """A rule for everything: HTTP/1.1 has no frames, and a request of HTTP/2 that is no call no messages."""
    h2_proxy.put(rule("calls", {"grpc": {"after_messages": 0, "status": "UNAVAILABLE"}}))
    h2_proxy.admin("POST", "/v1/rules", rule("frames", {"http2": {"goaway": {}}}))
    seen = ask("curl", Call(f"{h2_proxy.url}/bytes/50000", http2=http2))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(50_000), ""), seen.native
    assert h2_proxy.injections(rule="calls") == 0
    assert h2_proxy.injections(rule="frames") == http2
