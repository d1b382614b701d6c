"""What the proxy adds to a head and takes from it."""

import re

import pytest

from tests.e2e.conftest import Launch
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.wire import Message, Wire, get, request, response


def _sent(proxy: Proxy, shop: Scripted, *lines: str, host: str = "shop.example:8080") -> Message:
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/", *lines, host=host)).status == 200
    return shop.last


def test_the_upstream_learns_who_asked_and_how(proxy: Proxy, shop: Scripted) -> None:
    asked = _sent(proxy, shop)
    assert asked.get("host") == "shop.example:8080"
    assert asked.get("x-forwarded-for") == "127.0.0.1"
    assert asked.get("x-forwarded-proto") == "http"
    assert asked.get("x-forwarded-host") == "shop.example:8080"
    assert asked.get("via") == "1.1 misrule"


def test_claims_of_an_untrusted_client(proxy: Proxy, shop: Scripted) -> None:
    """Who stands in the chain is kept, with the true peer as its last; the rest is replaced."""
    lines = ["X-Forwarded-For: 192.0.2.1", "x-forwarded-proto: https", "x-forwarded-host: evil.example"]
    asked = _sent(proxy, shop, *lines)
    assert asked.get("x-forwarded-for") == "192.0.2.1, 127.0.0.1"
    assert asked.get("x-forwarded-proto") == "http"
    assert asked.get("x-forwarded-host") == "shop.example:8080"


def test_claims_of_a_trusted_proxy_are_kept(launch: Launch, shop: Scripted) -> None:
    proxy = launch(shop.address, listener={"trusted_hops": 1})
    lines = ["X-Forwarded-For: 192.0.2.1", "x-forwarded-proto: https", "x-forwarded-host: pay.example"]
    asked = _sent(proxy, shop, *lines)
    assert [v for value in asked.all("x-forwarded-for") for v in value.split(", ")] == [
        "192.0.2.1",
        "127.0.0.1",
    ]
    assert asked.get("x-forwarded-proto") == "https"
    assert asked.get("x-forwarded-host") == "pay.example"


def test_via_is_added_to_what_is_there(proxy: Proxy, shop: Scripted) -> None:
    shop.play = lambda wire, _: wire.send(response(200, "via: 1.0 back", body=b""))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get("/", "via: 1.1 front"))
    assert [v for value in shop.last.all("via") for v in value.split(", ")] == ["1.1 front", "1.1 misrule"]
    assert answer.all("via")[0] == "1.0 back"


def test_requests_get_an_id_of_their_own(proxy: Proxy, shop: Scripted) -> None:
    ids = [_sent(proxy, shop).get("x-request-id") or "" for _ in range(20)]
    assert len(set(ids)) == 20
    assert all(re.fullmatch(r"[0-9a-f-]{16,36}", one) for one in ids), ids


def test_an_id_that_came_is_kept(proxy: Proxy, shop: Scripted) -> None:
    assert _sent(proxy, shop, "X-Request-Id: from-the-caller").get("x-request-id") == "from-the-caller"


_HOP_BY_HOP = [
    "Connection: x-private, Keep-Alive",
    "X-Private: secret",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: gzip",
    "Upgrade: ",
]


def test_hop_by_hop_fields_of_a_request_end_here(proxy: Proxy, shop: Scripted) -> None:
    asked = _sent(proxy, shop, *_HOP_BY_HOP, "x-kept: yes")
    for name in ["connection", "x-private", "keep-alive", "proxy-connection", "te", "upgrade"]:
        assert asked.all(name) == [], name
    assert asked.get("x-kept") == "yes"


def test_hop_by_hop_fields_of_an_answer_end_here(proxy: Proxy, shop: Scripted) -> None:
    lines = ["Connection: x-private", "X-Private: secret", "Keep-Alive: timeout=5", "x-kept: yes"]
    shop.play = lambda wire, _: wire.send(response(200, *lines, body=b"ok"))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get())
    for name in ["x-private", "keep-alive"]:
        assert answer.all(name) == [], name
    assert answer.all("connection") in ([], ["keep-alive"])
    assert (answer.get("x-kept"), answer.body) == ("yes", b"ok")


def test_te_belongs_to_the_connection(proxy: Proxy, shop: Scripted) -> None:
    """RFC 9110, section 10.1.4: TE says what the next hop may send to us; trailers pass all the same."""
    assert _sent(proxy, shop, "te: trailers", "connection: te").get("te") is None


@pytest.mark.parametrize("named", ["host", "content-length", "transfer-encoding", "x-forwarded-for", "via"])
def test_connection_cannot_name_away_what_the_proxy_needs(proxy: Proxy, shop: Scripted, named: str) -> None:
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(request("POST", "/echo", f"connection: {named}", body=b"hello"))
    if answer.status == 400:  # refusing is as good as keeping
        assert shop.requests == []
        return
    assert answer.body == b"hello"
    assert shop.last.get("host") == "shop.example"
    assert shop.last.get("x-forwarded-for") == "127.0.0.1"
    assert shop.last.get("content-length") == "5"


def test_absolute_form(proxy: Proxy, shop: Scripted) -> None:
    """RFC 9112 section 3.2.2: the target's authority wins over host; upstream gets the origin form."""
    with Wire.to(proxy.address) as wire:
        assert wire.ask(request("GET", "http://pay.example:81/a?b=c", host="shop.example")).status == 200
    assert (shop.last.target, shop.last.get("host")) == ("/a?b=c", "pay.example:81")


def test_no_proof_where_nothing_was_done(proxy: Proxy, shop: Scripted) -> None:
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).all("x-misrule") == []
    assert shop.last.all("x-misrule") == []
