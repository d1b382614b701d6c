"""abort: the exact status, headers and body, in every situation, for every client."""

import json
import time

import pytest

from tests.support.clients import CLIENTS, Call, ask
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted, filling
from tests.support.upstreams import Corpus
from tests.support.wait import pause
from tests.support.wire import FIN, Wire, chunked, get, request

_FULL: Rule = {
    "abort": {
        "status": 503,
        "headers": {"x-reason": "injected", "retry-after": "7"},
        "body": {"json": {"error": "no", "code": [1, 2]}},
    }
}
_TEXT = '{"error":"no","code":[1,2]}'


@pytest.mark.parametrize("phase", ["request_head", "response_head"])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client(proxy: Proxy, shop: Scripted, client: str, phase: str) -> None:
    proxy.put(rule("deny", {"abort": {**_FULL["abort"], "at": phase}}))
    seen = ask(client, Call(proxy.url + "/bytes/100"))
    assert (seen.trouble, seen.status, seen.body.decode()) == ("", 503, _TEXT), seen.native
    assert (seen.all("x-reason"), seen.all("retry-after")) == (["injected"], ["7"])
    assert seen.all("content-type") == ["application/json"]
    assert seen.all("content-length") == [str(len(_TEXT))]
    proof = f"rule=deny; fault=abort; ms=0; version={proxy.version}"
    assert seen.all("x-misrule") == [proof]
    assert len(shop.requests) == (1 if phase == "response_head" else 0)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_while_it_uploads(
    proxy: Proxy, shop: Scripted, corpus: Corpus, client: str, chunks: bool
) -> None:
    proxy.put(rule("deny", _FULL))
    call = Call(proxy.url + "/echo", "POST", file=corpus.path(10 * 1024 * 1024), chunked=chunks)
    for _ in range(3):
        seen = ask(client, call)
        assert (seen.trouble, seen.status, seen.body.decode()) == ("", 503, _TEXT), seen.native
    assert shop.requests == []


@pytest.mark.parametrize("client", ["curl", "aiohttp"])
def test_each_client_that_expects_100(proxy: Proxy, shop: Scripted, corpus: Corpus, client: str) -> None:
    proxy.put(rule("deny", _FULL))
    call = Call(proxy.url, "POST", (("expect", "100-continue"),), corpus.path(10 * 1024 * 1024))
    seen = ask(client, call)
    assert (seen.trouble, seen.status, seen.body.decode()) == ("", 503, _TEXT), seen.native


def test_no_100_is_sent(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("deny", {"abort": 503}))
    with Wire.to(proxy.address) as wire:
        wire.send(request("PUT", "/echo", "content-length: 8000000", "expect: 100-continue"))
        answer = wire.read_head()
        assert (answer.status, answer.get("content-length")) == (503, "0")
    assert shop.requests == []


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_answer_comes_at_once_and_the_rest_of_the_upload_is_read_over(
    proxy: Proxy, shop: Scripted, framing: str
) -> None:
    """The client sends on for a while, as clients do: no RST may destroy the answer before it reads it."""
    proxy.put(rule("deny", {"abort": 503}, match={"path": "/upload"}))
    size, half = 8_000_000, 4_000_000
    with Wire.to(proxy.address) as wire:
        if framing == "length":
            wire.send(request("POST", "/upload", f"content-length: {size}") + bytes(half))
        else:
            wire.send(request("POST", "/upload", "transfer-encoding: chunked"))
            wire.send(b"%x\r\n%b\r\n" % (half, bytes(half)))
        pause(0.1)
        wire.send(bytes(half) if framing == "length" else chunked(bytes(half)))
        begun = time.monotonic()
        answer = wire.answer()
        assert answer.status == 503
        assert time.monotonic() - begun < 5.0
        if answer.get("connection") == "close":
            assert wire.rest() == (b"", FIN)
        else:
            assert wire.ask(get("/bytes/5")).body == filling(5)


def test_answer_is_there_before_the_upload_ends(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("deny", {"abort": 503}))
    with Wire.to(proxy.address) as wire:
        wire.send(request("POST", "/upload", "content-length: 8000000") + bytes(1000))
        assert wire.read_head().status == 503


@pytest.mark.parametrize("status", [200, 204, 301, 304, 400, 418, 429, 500, 599])
def test_any_status(proxy: Proxy, shop: Scripted, status: int) -> None:
    """A client that knows the protocol finds the end of each, and goes on."""
    proxy.put(rule("deny", {"abort": status}, match={"path": "/hit"}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/hit")).status == status
        assert wire.ask(get("/bytes/5")).body == filling(5)


def test_answer_to_head_has_no_body(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("deny", _FULL, match={"method": ["HEAD"]}))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(request("HEAD", "/"), "HEAD")
        assert (answer.status, answer.get("content-length")) == (503, str(len(_TEXT)))
        assert wire.ask(get("/bytes/5")).body == filling(5)


def test_http_1_0(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("deny", _FULL))
    with Wire.to(proxy.address) as wire:
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = wire.answer()
        assert (answer.status, answer.body.decode()) == (503, _TEXT)
        assert wire.rest() == (b"", FIN)


def test_headers_that_repeat_and_a_large_body(proxy: Proxy, shop: Scripted) -> None:
    text = "é" * 100_000
    fault = {"abort": {"status": 500, "headers": {"set-cookie": ["a=1", "b=2"]}, "body": {"text": text}}}
    proxy.put(rule("deny", fault))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get())
        assert answer.all("set-cookie") == ["a=1", "b=2"]
        assert (answer.get("content-type"), answer.body) == ("text/plain; charset=utf-8", text.encode())


def test_upstream_did_the_work_at_response_head(proxy: Proxy, shop: Scripted) -> None:
    """Its answer, of any size, is replaced; the client's connection goes on."""
    proxy.put(rule("deny", {"abort": {**_FULL["abort"], "at": "response_head"}}, match={"method": ["POST"]}))
    with Wire.to(proxy.address) as wire:
        for size in [0, 10, 3_000_000]:
            answer = wire.ask(request("POST", f"/bytes/{size}", body=b"work"))
            assert (answer.status, answer.body.decode()) == (503, _TEXT)
            assert wire.ask(get("/bytes/5")).body == filling(5)
    assert [asked.body for asked in shop.requests if asked.method == "POST"] == [b"work"] * 3


def test_match_on_the_answer(proxy: Proxy, shop: Scripted) -> None:
    """Rules may look at what the upstream said."""
    when = {"response": {"status": [404], "headers": {"content-length": "0"}}}
    proxy.put(rule("hide", {"abort": {"status": 200, "at": "response_head"}}, match=when))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/status/404")).status == 200
        assert wire.ask(get("/status/405")).status == 405
        assert wire.ask(get("/bytes/5")).body == filling(5)


def test_first_rule_by_priority_ends_the_exchange(proxy: Proxy, shop: Scripted) -> None:
    """What had not acted is cancelled and not counted; what came before did act."""
    proxy.put(
        rule("late", {"abort": 500}, priority=-1),
        rule("slow", {"delay": "60ms"}, priority=5),
        rule("winner", {"abort": 503}),
    )
    with Wire.to(proxy.address) as wire:
        begun = time.monotonic()
        answer = wire.ask(get())
        assert answer.status == 503
        assert time.monotonic() - begun >= 0.06
        assert [line.split(";")[0] for line in answer.all("x-misrule")] == ["rule=slow", "rule=winner"]
    counts = {name: proxy.injections(rule=name) for name in ["late", "slow", "winner"]}
    assert counts == {"late": 0, "slow": 1, "winner": 1}


def test_final_keeps_later_rules_away(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("only", {"delay": "10ms"}, final=True), rule("never", {"abort": 500}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 200
    proxy.put(rule("only", {"delay": "10ms"}), rule("now", {"abort": 500}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 500


def test_body_from_a_json_document(proxy: Proxy, shop: Scripted) -> None:
    values: list[object] = [None, True, 1.5, "text", [], {"a": {"b": [None]}}]
    for value in values:
        proxy.put(rule("deny", {"abort": {"status": 500, "body": {"json": value}}}))
        with Wire.to(proxy.address) as wire:
            assert json.loads(wire.ask(get()).body) == value
