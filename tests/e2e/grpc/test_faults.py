"""Faults on gRPC calls: each client sees the status and details that the real trouble gives it."""

import threading
from collections.abc import Callable

import pytest

from tests.e2e.grpc.conftest import Backend, Call, Client
from tests.support.grpc_alike import HEAD, alike, framed
from tests.support.grpc_calls import Outcome, Rpc, ask
from tests.support.h2_peer import REFUSED_STREAM, Heard, Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Rule, rule
from tests.support.wait import eventually, pause

Play = Callable[[Peer, Heard], None]

# abort


def test_abort_as_a_server_fails(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    """Trailers alone, as real servers have it."""
    end = [("grpc-status", "5"), ("grpc-message", "no such thing %E2%98%BA")]
    real.play = lambda upstream, asked: upstream.answer(asked, 200, *HEAD[1:], *end)
    seen = call(Rpc(real.address, "UnaryCall", fresh=True))
    assert (seen.code, seen.details) == ("NOT_FOUND", "no such thing ☺")
    fault = {"abort": {"grpc_status": "NOT_FOUND", "grpc_message": "no such thing ☺"}}
    shop_of_calls.proxy.put(rule("end", fault, match={"protocol": ["grpc"]}))
    injected = call(Rpc(shop_of_calls.address, "UnaryCall"))
    alike(seen, injected)
    assert injected.all("x-misrule") == [
        b"rule=end; fault=abort; ms=0; version=%d" % shop_of_calls.proxy.version
    ]
    assert not injected.initial


def test_abort_with_headers_and_trailers(shop_of_calls: Backend, call: Call) -> None:
    fault = {
        "abort": {
            "grpc_status": 8,
            "grpc_message": "too much",
            "trailers_only": False,
            "headers": {"x-early": "1"},
            "trailers": {"x-late-bin": "AAE="},
        }
    }
    shop_of_calls.proxy.put(rule("end", fault, match={"protocol": ["grpc"]}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall"))
    assert (got.code, got.details) == ("RESOURCE_EXHAUSTED", "too much")
    assert ("x-early", b"1") in got.initial
    assert ("x-late-bin", b"\0\1") in got.trailing
    assert "x-misrule" in dict(got.initial)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INTERNAL"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "UNIMPLEMENTED"),
        (429, "UNAVAILABLE"),
        (500, "UNKNOWN"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "UNAVAILABLE"),
    ],
)
def test_abort_with_http_status(
    shop_of_calls: Backend, real: ScriptedH2, call: Call, status: int, code: str
) -> None:
    """The code is the one that the client itself makes of such an answer."""
    real.play = lambda upstream, asked: upstream.answer(
        asked, status, ("content-type", "text/plain"), body=b"no"
    )
    assert call(Rpc(real.address, "UnaryCall", fresh=True)).code == code
    shop_of_calls.proxy.put(rule("end", {"abort": {"status": status, "body": {"text": "why ☺"}}}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall"))
    assert (got.code, got.details) == (code, "why ☺")


@pytest.mark.parametrize("number", range(1, 17))
def test_abort_with_every_status(shop_of_calls: Backend, call: Call, number: int) -> None:
    fault = {"abort": {"grpc_status": number, "grpc_message": "so"}}
    shop_of_calls.proxy.put(rule("end", fault, match={"protocol": ["grpc"]}))
    straight = call(Rpc(shop_of_calls.direct, "UnaryCall", (ask({"status": [number, "so"]}),)))
    alike(straight, call(Rpc(shop_of_calls.address, "UnaryCall")))


def test_abort_while_the_client_streams(shop_of_calls: Backend, call: Call) -> None:
    """The status arrives although much is still being sent."""
    shop_of_calls.proxy.put(rule("end", {"abort": 503}))
    got = call(Rpc(shop_of_calls.address, "StreamingInputCall", (bytes(100_000),) * 20, "client"))
    assert got.code == "UNAVAILABLE"


def test_abort_in_place_of_the_answer(shop_of_calls: Backend, call: Call) -> None:
    shop_of_calls.proxy.put(rule("end", {"abort": {"status": 503, "at": "response_head"}}))
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (ask({"sizes": [10, 20]}),), "server"))
    assert (got.code, got.messages) == ("UNAVAILABLE", [])


# reset and close


_CODES = {"NO_ERROR": 0, "PROTOCOL_ERROR": 1, "INTERNAL_ERROR": 2, "CANCEL": 8, "ENHANCE_YOUR_CALM": 11}


@pytest.mark.parametrize("code", _CODES)
def test_reset(shop_of_calls: Backend, real: ScriptedH2, call: Call, code: str) -> None:
    real.play = lambda upstream, asked: upstream.reset(asked.sid, _CODES[code])
    seen = call(Rpc(real.address, "UnaryCall", fresh=True))
    assert seen.code not in ("OK", "")
    shop_of_calls.proxy.put(rule("end", {"reset": {"code": code}}))
    alike(seen, call(Rpc(shop_of_calls.address, "UnaryCall")))
    assert shop_of_calls.proxy.injections(rule="end", fault="reset") == 1
    shop_of_calls.proxy.put()
    assert call(Rpc(shop_of_calls.address, "EmptyCall")).code == "OK"


def test_refused_stream(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    """A client may try once more: the server says that it did nothing."""
    real.play = lambda upstream, asked: upstream.reset(asked.sid, REFUSED_STREAM)
    seen = call(Rpc(real.address, "UnaryCall", fresh=True))
    assert seen.code == "UNAVAILABLE"
    tries = len(real.requests)
    shop_of_calls.proxy.put(rule("end", {"reset": {"code": "REFUSED_STREAM"}}))
    alike(seen, call(Rpc(shop_of_calls.address, "EmptyCall", fresh=True)))
    assert shop_of_calls.proxy.injections(rule="end") == tries


def test_reset_of_the_connection(shop_of_calls: Backend, real: ScriptedH2, call: Call) -> None:
    real.play = lambda upstream, asked: upstream.abort()
    seen = call(Rpc(real.address, "UnaryCall", fresh=True))
    shop_of_calls.proxy.put(rule("end", {"reset": {"scope": "connection"}}))
    injected = call(Rpc(shop_of_calls.address, "UnaryCall", fresh=True))
    assert (injected.code, seen.code) == ("UNAVAILABLE", "UNAVAILABLE")
    assert "reset" in injected.details.lower()


def _in_the_answer(kind: str) -> Play:
    def play(upstream: Peer, asked: Heard) -> None:
        upstream.head(asked.sid, HEAD)
        upstream.push(asked.sid, framed(300, 300, 1_000)[:1_000])
        pause(0.1)
        if kind == "reset":
            upstream.reset(asked.sid)
        else:
            upstream.goaway(max(0, asked.sid - 2))
            upstream.close()

    return play


@pytest.mark.parametrize("kind", ["reset", "close"])
def test_end_after_bytes(shop_of_calls: Backend, real: ScriptedH2, call: Call, kind: str) -> None:
    """Two messages and a part of the third: the client sees the two, and the end as it is."""
    real.play = _in_the_answer(kind)
    seen = call(Rpc(real.address, "StreamingOutputCall", (b"x",), "server", fresh=True))
    assert [len(one) for one in seen.messages] == [300, 300]
    stall: Rule = {
        "stall": {"for": "100ms", "then": "continue", "at": "response_body", "after_bytes": "1000B"}
    }
    shop_of_calls.proxy.put(rule("end", stall, {kind: {"at": "response_body", "after_bytes": "1000B"}}))
    message = ask({"sizes": [300, 300, 1_000]})
    rpc = Rpc(shop_of_calls.address, "StreamingOutputCall", (message,), "server", fresh=True)
    alike(seen, call(rpc))


def test_close_before_the_answer(shop_of_calls: Backend, call: Call) -> None:
    """GOAWAY tells that the call was not processed: clients try it once more, and then give up."""
    shop_of_calls.proxy.put(rule("end", {"close": {}}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", fresh=True))
    assert got.code == "UNAVAILABLE"
    assert shop_of_calls.proxy.injections(rule="end") >= 1


# delay and stall


@pytest.mark.parametrize("phase", ["request_head", "connect", "response_head", "response_body"])
def test_delay(shop_of_calls: Backend, call: Call, phase: str) -> None:
    shop_of_calls.proxy.put(rule("slow", {"delay": {"fixed": "150ms", "at": phase}}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (ask({"size": 100}),)))
    assert (got.code, got.messages) == ("OK", [bytes(100)])
    assert 0.15 <= got.seconds < 5.0
    proof = got.all("x-misrule")[0].decode()
    assert proof.startswith("rule=slow; fault=delay; ")
    assert ("ms=15" in proof) == (phase != "response_body")


def test_delay_beyond_the_deadline(shop_of_calls: Backend, call: Call) -> None:
    shop_of_calls.proxy.put(rule("slow", {"delay": "20s"}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", timeout=0.2))
    assert got.code == "DEADLINE_EXCEEDED"
    assert 0.15 < got.seconds < 10.0
    eventually(lambda: shop_of_calls.proxy.metric("misrule_requests_active") == 0)


def test_many_deadlines(shop_of_calls: Backend, client: Client) -> None:
    """500 calls in a second, each given up before its delay is over: no flood, and nothing but deadlines."""
    shop_of_calls.proxy.put(rule("slow", {"delay": "1s"}))
    calls = [Rpc(shop_of_calls.address, "UnaryCall", timeout=0.1)] * 500
    got = client.many(calls, 0.002)
    assert {one.code for one in got} == {"DEADLINE_EXCEEDED"}
    shop_of_calls.proxy.put()
    assert client.call(Rpc(shop_of_calls.address, "EmptyCall")).code == "OK"
    assert shop_of_calls.proxy.failures("rapid_reset") == 0
    eventually(lambda: shop_of_calls.proxy.metric("misrule_requests_active") == 0)


@pytest.mark.parametrize("phase", ["request_head", "response_head", "response_body"])
def test_stall_until_the_client_gives_up(shop_of_calls: Backend, call: Call, phase: str) -> None:
    shop_of_calls.proxy.put(rule("hole", {"stall": {"at": phase}}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", timeout=0.3))
    assert got.code == "DEADLINE_EXCEEDED"
    eventually(lambda: shop_of_calls.proxy.injections(rule="hole") == 1)


def test_stall_then_abort(shop_of_calls: Backend, call: Call) -> None:
    fault = {
        "stall": {"for": "100ms", "then": "abort", "abort": {"status": 504, "body": {"text": "gave up"}}}
    }
    shop_of_calls.proxy.put(rule("hole", fault))
    got = call(Rpc(shop_of_calls.address, "UnaryCall"))
    assert (got.code, got.details) == ("UNAVAILABLE", "gave up")
    assert got.seconds >= 0.1


@pytest.mark.parametrize("fault", [{"delay": "20s"}, {"stall": {}}, {"stall": {"at": "response_body"}}])
def test_release(shop_of_calls: Backend, call: Call, fault: Rule) -> None:
    """A rule that goes away lets its calls go on, long before the fault's own end."""
    shop_of_calls.proxy.put(rule("held", fault))
    got: list[Outcome] = []
    message = ask({"sizes": [10, 20]})
    rpc = Rpc(shop_of_calls.address, "StreamingOutputCall", (message,), "server")
    waiting = threading.Thread(target=lambda: got.append(call(rpc)))
    waiting.start()
    eventually(lambda: "held" in shop_of_calls.proxy.call("GET", "/v1/connections")[2], 15.0, "the fault")
    pause(0.1)
    assert not got
    shop_of_calls.proxy.put()
    waiting.join(10.0)
    assert got[0].code == "OK"
    assert [len(one) for one in got[0].messages] == [10, 20]


# What is matched


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        ({"protocol": ["grpc"]}, True),
        ({"protocol": ["http2"]}, True),
        ({"protocol": ["http1"]}, False),
        ({"grpc": {"service": "misrule.test.TestService"}}, True),
        ({"grpc": {"service": "misrule.test.TestService", "method": "UnaryCall"}}, True),
        ({"grpc": {"service": "misrule.test.TestService", "method": "EmptyCall"}}, False),
        ({"grpc": {"service": "misrule.test.Other"}}, False),
        ({"path": "/misrule.test.TestService/UnaryCall"}, True),
        ({"headers": {"x-tier": "gold"}}, True),
        ({"headers": {"x-tier": "silver"}}, False),
    ],
)
def test_match(shop_of_calls: Backend, call: Call, match: Rule, hit: bool) -> None:
    shop_of_calls.proxy.put(rule("some", {"abort": 503}, match=match))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", metadata=(("x-tier", "gold"),)))
    assert got.code == ("UNAVAILABLE" if hit else "OK")


def test_match_on_the_status_of_the_answer(shop_of_calls: Backend, call: Call) -> None:
    """It is known at the head where the answer is trailers alone."""
    match = {"protocol": ["grpc"], "response": {"grpc_status": ["NOT_FOUND"]}}
    shop_of_calls.proxy.put(rule("some", {"delay": {"fixed": "150ms", "at": "response_head"}}, match=match))
    slow = call(Rpc(shop_of_calls.address, "UnaryCall", (ask({"status": [5, "no"]}),)))
    quick = call(Rpc(shop_of_calls.address, "UnaryCall", (ask({"status": [7, "no"]}),)))
    assert (slow.code, quick.code) == ("NOT_FOUND", "PERMISSION_DENIED")
    assert slow.seconds >= 0.15 > quick.seconds


@pytest.mark.parametrize(("status", "seen"), [(5, "UNAVAILABLE"), (7, "PERMISSION_DENIED"), (0, "OK")])
def test_match_on_the_status_behind_messages(
    shop_of_calls: Backend, call: Call, status: int, seen: str
) -> None:
    """In trailers it is known when the messages have passed: what can act then does."""
    match = {"protocol": ["grpc"], "response": {"grpc_status": ["NOT_FOUND"]}}
    faults: list[Rule] = [
        {"delay": {"fixed": "150ms", "at": "response_body"}},
        {"grpc": {"status": "UNAVAILABLE", "message": "again"}},
        {"delay": {"fixed": "20s", "at": "response_head"}},
    ]
    shop_of_calls.proxy.put(rule("some", *faults, match=match))
    message = ask({"sizes": [10, 20], **({"status": [status, "no"]} if status else {})})
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (message,), "server"))
    assert (got.code, [len(one) for one in got.messages]) == (seen, [10, 20])
    assert (got.details == "again") == (status == 5)
    assert (got.seconds >= 0.15) or status != 5
    assert got.seconds < 10.0
    assert shop_of_calls.proxy.injections(rule="some") == (2 if status == 5 else 0)


def test_a_reset_in_place_of_a_status(shop_of_calls: Backend, call: Call) -> None:
    match = {"protocol": ["grpc"], "response": {"grpc_status": ["OK"]}}
    fault = {"reset": {"at": "response_body", "code": "INTERNAL_ERROR"}}
    shop_of_calls.proxy.put(rule("some", fault, match=match))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (ask({"size": 30}),)))
    assert got.code == "INTERNAL"
    assert shop_of_calls.proxy.injections(rule="some", phase="response_body") == 1


# The fault of gRPC's own


@pytest.mark.parametrize("after", [0, 1, 3])
def test_status_after_messages(shop_of_calls: Backend, call: Call, after: int) -> None:
    """Exactly so many messages were delivered."""
    fault = {"grpc": {"after_messages": after, "status": "UNAVAILABLE", "message": "broken"}}
    shop_of_calls.proxy.put(rule("end", fault))
    message = ask({"sizes": [10, 2_000, 70_000, 5, 6]})
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (message,), "server"))
    assert (got.code, got.details) == ("UNAVAILABLE", "broken")
    assert [len(one) for one in got.messages] == [10, 2_000, 70_000][:after]


def test_reset_after_messages(shop_of_calls: Backend, call: Call) -> None:
    """At most so many were."""
    shop_of_calls.proxy.put(rule("end", {"grpc": {"after_messages": 2, "reset": "CANCEL"}}))
    message = ask({"sizes": [10, 20, 30]})
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (message,), "server"))
    assert got.code == "CANCELLED"
    assert [len(one) for one in got.messages] in ([], [10], [10, 20])
