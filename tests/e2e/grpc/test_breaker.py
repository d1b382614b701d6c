"""breaker on gRPC calls: it counts by their status, and each client sees what a library's caller sees."""

from tests.e2e.grpc.conftest import Backend, Client
from tests.support.grpc_calls import Rpc, ask
from tests.support.proxy import rule


def failing(backend: Backend, code: int) -> Rpc:
    return Rpc(backend.address, "UnaryCall", (ask({"status": [code, "told to"]}),))


def test_it_counts_by_status(backend: Backend, client: Client) -> None:
    breaker = {"profile": "gobreaker", "consecutive_failures": 2, "open_for": "24h"}
    backend.proxy.put(rule("b", {"breaker": breaker}, match={"protocol": ["grpc"]}))
    for code, name in ((5, "NOT_FOUND"), (14, "UNAVAILABLE"), (5, "NOT_FOUND"), (14, "UNAVAILABLE")):
        assert client.call(failing(backend, code)).code == name
    assert client.call(failing(backend, 13)).code == "INTERNAL"
    seen = client.call(Rpc(backend.address, "UnaryCall"))
    assert (seen.code, seen.details) == ("UNAVAILABLE", "circuit breaker is open")
    (shown,) = backend.proxy.admin("GET", "/v1/breakers")["breakers"]
    assert (shown["admitted"], shown["refused"], shown["transitions"]["open"]) == (5, 1, 1)
    assert shown["keys"][0]["active"] == 0


def test_the_answer_may_be_another(backend: Backend, client: Client) -> None:
    response = {"grpc_status": "RESOURCE_EXHAUSTED", "grpc_message": "later, please"}
    backend.proxy.put(rule("b", {"breaker": {"force": "open", "response": response}}))
    seen = client.call(Rpc(backend.address, "UnaryCall"))
    assert (seen.code, seen.details) == ("RESOURCE_EXHAUSTED", "later, please")
