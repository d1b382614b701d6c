"""rewrite, duplicate and slow heads on streams of HTTP/2."""

import pytest

from tests.support.clients import HTTP2_CLIENTS, Call, ask
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import filling
from tests.support.upstreams import Corpus
from tests.support.wait import eventually

CHANGES: Rule = {
    "request": {"path": "/echo", "headers": {"set": {"x-user": "gold"}}, "body": {"append": "!"}},
    "response": {"status": 203, "headers": {"add": {"x-cost": "7"}}, "body": {"append": "?"}},
}


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_rewrite(h2_proxy: Proxy, h2_shop: ScriptedH2, corpus: Corpus, client: str) -> None:
    h2_proxy.put(rule("changed", {"rewrite": CHANGES}))
    file = corpus.path(65_536)
    seen = ask(client, Call(f"{h2_proxy.url}/other", "POST", file=file, http2=True))
    assert (seen.status, seen.trouble) == (203, ""), seen.native
    assert (seen.body, seen.all("x-cost")) == (file.read_bytes() + b"!?", ["7"])
    asked = h2_shop.requests[-1]
    assert (asked.path, asked.get("x-user"), asked.length) == ("/echo", "gold", 65_537)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body(h2_proxy: Proxy, status: int) -> None:
    h2_proxy.put(rule("changed", {"rewrite": {"response": {"status": status}}}))
    for client in HTTP2_CLIENTS:
        seen = ask(client, Call(f"{h2_proxy.url}/bytes/20000", http2=True))
        assert (seen.status, seen.body, seen.trouble) == (status, b"", ""), seen.native


@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_duplicate(h2_proxy: Proxy, h2_shop: ScriptedH2, corpus: Corpus, client: str) -> None:
    h2_proxy.put(rule("twice", {"duplicate": 2}))
    file = corpus.path(65_536)
    seen = ask(client, Call(f"{h2_proxy.url}/echo", "POST", file=file, http2=True))
    assert (seen.status, seen.sha256, seen.trouble) == (200, corpus.sha256(65_536), ""), seen.native
    eventually(lambda: len(h2_shop.requests) == 2, what="both requests")
    assert [one.sha256 for one in h2_shop.requests] == [corpus.sha256(65_536)] * 2


@pytest.mark.parametrize("at", ["request_head", "response_head"])
@pytest.mark.parametrize("client", HTTP2_CLIENTS)
def test_slow_heads(h2_proxy: Proxy, client: str, at: str) -> None:
    h2_proxy.put(rule("drops", {"drip": {"bytes": 5, "every": "10ms", "at": at}}))
    seen = ask(client, Call(f"{h2_proxy.url}/bytes/1000", headers=(("x-long", "y" * 200),), http2=True))
    assert (seen.status, seen.body, seen.trouble) == (200, filling(1000), ""), seen.native
    assert seen.seconds >= 0.1
    assert len(seen.all("x-misrule")) == 1
    assert h2_proxy.injections(rule="drops", fault="drip", phase=at) == 1
