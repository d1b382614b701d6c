"""rewrite, duplicate and slow heads on gRPC calls."""

import pytest

from tests.e2e.grpc.conftest import Backend, Call
from tests.support.grpc_calls import SERVICE, Rpc, ask
from tests.support.proxy import rule
from tests.support.wait import eventually

ECHO = ("x-grpc-test-echo-initial", "tin")


def _ended(backend: Backend) -> int:
    """Count the calls that the server has told the end of; of those that end well it says "cancelled"."""
    return sum(line in ("ended", "cancelled") for line in list(backend.process.log))


def _begun(backend: Backend) -> float:
    """Count the streams that the proxy has opened at the server."""
    sums = ("misrule_upstream_connections_total", "misrule_upstream_connections_reused_total")
    return sum(backend.proxy.metric(name, upstream="shop") for name in sums)


def test_rewrite_of_metadata(shop_of_calls: Backend, call: Call) -> None:
    changes = {
        "request": {"headers": {"set": {ECHO[0]: "gold"}}},
        "response": {"headers": {"add": {"x-cost": "7"}}},
    }
    shop_of_calls.proxy.put(rule("changed", {"rewrite": changes}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (b"hello",), metadata=(ECHO,)))
    initial = {name: value.decode() if isinstance(value, bytes) else value for name, value in got.initial}
    assert (got.code, got.messages) == ("OK", [b"hello"])
    assert (initial[ECHO[0]], initial["x-cost"]) == ("gold", "7")


def test_rewrite_of_the_method(shop_of_calls: Backend, call: Call) -> None:
    shop_of_calls.proxy.put(rule("changed", {"rewrite": {"request": {"path": f"/{SERVICE}/Nothing"}}}))
    assert call(Rpc(shop_of_calls.address, "UnaryCall", (b"hello",))).code == "UNIMPLEMENTED"


def test_messages_are_not_rewritten(shop_of_calls: Backend, call: Call) -> None:
    shop_of_calls.proxy.put(rule("changed", {"rewrite": {"response": {"body": {"replace": "a"}}}}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (b"hello",)))
    assert (got.code, got.messages) == ("OK", [b"hello"])
    assert shop_of_calls.proxy.metric("misrule_faults_skipped_total", rule="changed", reason="grpc_body") == 1


def test_duplicate(shop_of_calls: Backend, call: Call) -> None:
    before, begun = _ended(shop_of_calls), _begun(shop_of_calls)
    shop_of_calls.proxy.put(rule("thrice", {"duplicate": 3}))
    message = b"x" * 100_000
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (message,)))
    assert (got.code, got.messages) == ("OK", [message])
    assert _begun(shop_of_calls) == begun + 3
    eventually(lambda: _ended(shop_of_calls) >= before + 3, what="the ends of all calls")


def test_duplicate_of_a_stream(shop_of_calls: Backend, call: Call) -> None:
    """It goes once: with its messages at once, and where each waits for the answer to the one before."""
    shop_of_calls.proxy.put(rule("twice", {"duplicate": 2}))
    begun = _begun(shop_of_calls)
    for ping_pong in (False, True):
        sizes = tuple(ask({"sizes": [size]}) for size in (10, 20, 30))
        rpc = Rpc(shop_of_calls.address, "FullDuplexCall", sizes, "bidi", ping_pong=ping_pong)
        got = call(rpc)
        assert (got.code, [len(one) for one in got.messages]) == ("OK", [10, 20, 30])
    assert _begun(shop_of_calls) == begun + 2
    reason = {"rule": "twice", "fault": "duplicate", "reason": "streaming"}
    assert shop_of_calls.proxy.metric("misrule_faults_skipped_total", **reason) == 2


@pytest.mark.parametrize("at", ["request_head", "response_head"])
def test_slow_heads(shop_of_calls: Backend, call: Call, at: str) -> None:
    shop_of_calls.proxy.put(rule("drops", {"drip": {"bytes": 5, "every": "10ms", "at": at}}))
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (b"hello",), metadata=(("x-long", "y" * 200),)))
    assert (got.code, got.messages) == ("OK", [b"hello"])
    assert got.seconds >= 0.1
    assert shop_of_calls.proxy.injections(rule="drops", fault="drip", phase=at) == 1
