"""duplicate: the upstream gets a request more than once, its client knows nothing of it."""

import pytest

from tests.support.clients import CLIENTS, Call, ask
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.upstreams import Corpus
from tests.support.wait import eventually


def _all(shop: Scripted, count: int) -> bool:
    """Tell whether so many requests have come with all of their bodies."""
    return len(shop.requests) == count and all(one.wholly for one in shop.requests)


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client(proxy: Proxy, shop: Scripted, corpus: Corpus, client: str) -> None:
    proxy.put(rule("twice", {"duplicate": 2}))
    file = corpus.path(65_536)
    seen = ask(client, Call(f"{proxy.url}/echo", "POST", file=file))
    assert (seen.status, seen.trouble, seen.sha256) == (200, "", corpus.sha256(65_536)), seen.native
    eventually(lambda: _all(shop, 2), what="both requests")
    assert [one.body for one in shop.requests] == [file.read_bytes()] * 2
    assert shop.requests[0].head == shop.requests[1].head
    assert [line.split("; ")[:2] for line in seen.all("x-misrule")] == [["rule=twice", "fault=duplicate"]]
    assert proxy.injections(rule="twice", fault="duplicate", phase="request_head") == 1
    assert proxy.metric("misrule_requests_total", upstream="shop", code="200") >= 1


def test_without_a_body(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("thrice", {"duplicate": {"times": 3}}))
    assert ask("curl", Call(f"{proxy.url}/small")).body == b"ok"
    eventually(lambda: len(shop.requests) == 3, what="three requests")
    assert {one.target for one in shop.requests} == {"/small"}


def test_chunks_and_what_waits_to_be_asked_for(proxy: Proxy, shop: Scripted, corpus: Corpus) -> None:
    proxy.put(rule("twice", {"duplicate": 2}))
    expects = (("expect", "100-continue"),)
    seen = ask("curl", Call(f"{proxy.url}/echo", "POST", expects, corpus.path(65_536), chunked=True))
    assert (seen.status, seen.sha256) == (200, corpus.sha256(65_536))
    eventually(lambda: _all(shop, 2), what="both requests")
    assert {one.get("transfer-encoding") for one in shop.requests} == {"chunked"}


def test_what_is_too_large_goes_once(proxy: Proxy, shop: Scripted, corpus: Corpus) -> None:
    proxy.put(rule("twice", {"duplicate": 2}))
    size = 10 * 1024 * 1024
    for chunked in (False, True):
        seen = ask("httpx", Call(f"{proxy.url}/echo", "POST", file=corpus.path(size), chunked=chunked))
        assert (seen.status, seen.sha256, seen.all("x-misrule")) == (200, corpus.sha256(size), [])
    assert len(shop.requests) == 2
    assert proxy.metric("misrule_faults_skipped_total", rule="twice", reason="too_large") == 2
