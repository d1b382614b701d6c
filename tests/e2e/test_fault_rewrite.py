"""rewrite: real clients and real upstreams get other messages than were sent, each well-formed."""

import gzip
from collections.abc import Callable

import pytest
from websockets.exceptions import NegotiationError
from websockets.sync.client import connect

from tests.e2e.conftest import Launch
from tests.support.chat import echo_server
from tests.support.clients import CLIENTS, Call, Seen, ask
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted, filling
from tests.support.upstreams import Corpus, Upstream
from tests.support.wait import once_within
from tests.support.wire import Message, Wire, get, response

ORDER = b'{"id": 7, "price": 1.10, "items": [{"n": 1}, {"n": 2}]}'
CHANGED = b'{"id": 7, "price": 0, "items": [{"n": null}, {"n": null}]}\n'
CHANGES: Rule = {
    "request": {"path": "/orders/8", "method": "PUT", "headers": {"set": {"x-user": "gold"}}},
    "response": {
        "status": 203,
        "headers": {"add": {"x-cost": ["1", "2"]}, "remove": "server"},
        "body": {
            "json": [{"path": "$.price", "value": 0}, {"path": "$.items[*].n", "value": None}],
            "append": "\n",
        },
    },
}


def _order(wire: Wire, asked: Message) -> None:
    """Answer with an order, packed."""
    wire.read_body(asked)
    lines = ["content-type: application/json", "content-encoding: gzip", "server: shop"]
    wire.send(response(200, *lines, body=gzip.compress(ORDER)))


def _plain(seen: Seen) -> bytes:
    """Unpack what came, unless the client has done so."""
    assert seen.all("content-encoding") == ["gzip"]
    if not seen.body.startswith(b"\x1f\x8b"):
        return seen.body
    assert seen.all("content-length") == [str(len(seen.body))]
    return gzip.decompress(seen.body)


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client(proxy: Proxy, shop: Scripted, corpus: Corpus, client: str) -> None:
    shop.play = _order
    proxy.put(rule("changed", {"rewrite": CHANGES}))
    for _ in range(2):
        call = Call(f"{proxy.url}/orders/7?a=b", "POST", (("x-user", "tin"),), corpus.path(65_536))
        seen = ask(client, call)
        assert (seen.status, seen.trouble, _plain(seen)) == (203, "", CHANGED), seen.native
        assert (", ".join(seen.all("x-cost")), seen.all("server")) == ("1, 2", [])
        assert shop.last.first[:2] == ["PUT", "/orders/8?a=b"]
        assert (shop.last.all("x-user"), len(shop.last.body)) == (["gold"], 65_536)
        assert len(seen.all("x-misrule")) == 1
    assert proxy.injections(rule="changed", fault="rewrite", phase="request_head") == 2
    line = proxy.wait_record(event="injection", rule="changed")
    assert (line["fault"], line["phase"], line["shadow"]) == ("rewrite", "request_head", False)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("client", ["curl", "httpx", "node"])
def test_an_upload(proxy: Proxy, shop: Scripted, corpus: Corpus, client: str, chunked: bool) -> None:
    proxy.put(rule("longer", {"rewrite": {"request": {"body": {"append": "!"}}}}))
    file = corpus.path(65_536)
    seen = ask(client, Call(f"{proxy.url}/echo", "POST", file=file, chunked=chunked))
    assert (seen.status, seen.trouble, seen.body) == (200, "", file.read_bytes() + b"!"), seen.native
    framed = shop.last.all("content-length"), shop.last.all("transfer-encoding")
    assert framed == (([], ["chunked"]) if chunked else (["65537"], []))


def test_what_waits_to_be_asked_for(proxy: Proxy, shop: Scripted, corpus: Corpus) -> None:
    """curl waits a second for 100 Continue, and would send the body without it only then."""
    proxy.put(rule("other", {"rewrite": {"request": {"body": {"replace": "bye"}}}}))
    expects = (("expect", "100-continue"),)

    def attempt() -> float:
        seen = ask("curl", Call(f"{proxy.url}/echo", "POST", expects, corpus.path(65_536)))
        assert (seen.status, seen.body) == (200, b"bye")
        assert shop.last.all("expect") == []
        return seen.seconds

    once_within(0.9, attempt)


def test_the_same_connection_goes_on(proxy: Proxy) -> None:
    """Whatever becomes of a body, the next answer begins where it should."""
    changes: list[Rule] = [
        {"status": 204},
        {"status": 304},
        {"status": 205},
        {"status": 500},
        {"body": {"replace": ""}},
        {"body": {"append": "!"}},
    ]
    with Wire.to(proxy.address) as wire:
        for change in changes:
            proxy.put(
                rule("changed", {"rewrite": {"response": change}}, match={"path": {"not": "/status/200"}})
            )
            for path in ("/bytes/1000", "/chunked/40000", "/status/204", "/status/304"):
                for method in ("GET", "HEAD"):
                    request = get(path) if method == "GET" else get(path).replace(b"GET", b"HEAD")
                    answer = wire.ask(request, method)
                    wanted = change.get("status") or (200 if path[1] != "s" else int(path[-3:]))
                    assert answer.status == wanted, (change, path, method)
                    assert wire.ask(get("/status/200")).status == 200, (change, path, method)


def test_what_cannot_be_changed_passes(proxy: Proxy, corpus: Corpus) -> None:
    proxy.put(rule("changed", {"rewrite": {"response": {"status": 500, "body": {"append": "!"}}}}))
    file = corpus.path(10 * 1024 * 1024)
    seen = ask("httpx", Call(f"{proxy.url}/echo", "POST", file=file))
    assert (seen.status, seen.sha256) == (200, corpus.sha256(10 * 1024 * 1024))
    assert (seen.all("x-misrule"), proxy.injections(rule="changed")) == ([], 0)
    skipped = {"rule": "changed", "fault": "rewrite", "reason": "too_large"}
    assert proxy.metric("misrule_faults_skipped_total", **skipped) == 1
    assert proxy.wait_record(event="fault_skipped")["reason"] == "too_large"
    assert proxy.rule("changed")["counts"]["faults"][0]["skipped"] == {"too_large": 1}


@pytest.mark.parametrize("client", ["curl", "node"])
def test_nginx(
    fronts: Callable[[str], Proxy], upstreams: Callable[[str], Upstream], corpus: Corpus, client: str
) -> None:
    """It finds another file, says of which part of it, and writes what it gets, under another name."""
    front = fronts("nginx")
    front.put(
        rule("found", {"rewrite": {"request": {"path": "/files/65536"}}}, match={"path": "/nowhere"}),
        rule(
            "longer",
            {"rewrite": {"response": {"body": {"append": "!"}}}},
            match={"path": {"prefix": "/chunk"}},
        ),
        rule(
            "kept",
            {"rewrite": {"request": {"method": "PUT", "path": "/upload/b", "body": {"append": "!"}}}},
            match={"path": "/upload/a"},
        ),
    )
    whole = corpus.path(65_536).read_bytes()
    seen = ask(client, Call(f"{front.url}/nowhere"))
    assert (seen.status, seen.body) == (200, whole)
    part = ask(client, Call(f"{front.url}/nowhere", headers=(("range", "bytes=8-15"),)))
    assert (part.status, part.body) == (206, whole[8:16])
    longer = ask(client, Call(f"{front.url}/chunked/65536"))
    assert (longer.status, longer.body, longer.trouble) == (200, whole + b"!", "")
    file = corpus.path(1)
    ask(client, Call(f"{front.url}/upload/a", "POST", file=file))
    received = upstreams("nginx").received("b")
    assert received is not None
    assert received.length == 2


def test_a_websocket(launch: Launch) -> None:
    """The lines of its handshake are others; what follows is as ever."""
    with echo_server() as address:
        proxy = launch(address)
        headers = {"add": {"x-room": "7", "sec-websocket-protocol": "chess"}}
        proxy.put(rule("room", {"rewrite": {"response": {"headers": {"add": {"x-room": "7"}}}}}))
        with connect(f"ws://{proxy.address}/chat", compression=None, proxy=None) as chat:
            assert chat.response is not None
            assert chat.response.headers["x-room"] == "7"
            chat.send("hello")
            assert chat.recv(timeout=10) == "hello"
        proxy.put(rule("room", {"rewrite": {"response": {"headers": headers}}}))
        with pytest.raises(NegotiationError, match="chess"):
            connect(f"ws://{proxy.address}/chat", subprotocols=["go"], proxy=None)  # type: ignore[list-item]
        proxy.put(
            rule("plain", {"rewrite": {"request": {"headers": {"set": {"sec-websocket-version": "12"}}}}})
        )
        with pytest.raises(Exception, match="HTTP 400"):
            connect(f"ws://{proxy.address}/chat", proxy=None)


def test_filling_is_not_json(proxy: Proxy) -> None:
    proxy.put(rule("changed", {"rewrite": {"response": {"body": {"json": [{"path": "$", "value": 1}]}}}}))
    seen = ask("httpx", Call(f"{proxy.url}/bytes/1000"))
    assert seen.body == filling(1000)
    assert proxy.metric("misrule_faults_skipped_total", rule="changed", reason="not_json") == 1
