"""limit on gRPC calls: the statuses that servers give which have no room."""

import pytest

from tests.e2e.grpc.conftest import Backend, Client
from tests.support.grpc_calls import Rpc
from tests.support.proxy import rule

SEEN = [
    ({"rate": "1/h"}, "RESOURCE_EXHAUSTED", "too many requests"),
    ({"rate": "1/h", "over": 503}, "UNAVAILABLE", "too many requests"),
    ({"rate": "1/h", "response": {"grpc_status": 10, "grpc_message": "not now"}}, "ABORTED", "not now"),
]


@pytest.mark.parametrize(("limit", "code", "details"), SEEN)
def test_each_client(
    backend: Backend, client: Client, limit: dict[str, object], code: str, details: str
) -> None:
    backend.proxy.put(rule("r", {"limit": limit}, match={"protocol": ["grpc"]}))
    assert client.call(Rpc(backend.address, "UnaryCall")).code == "OK"
    seen = client.call(Rpc(backend.address, "UnaryCall"))
    assert (seen.code, seen.details) == (code, details)


def test_refused_is_unavailable(backend: Backend, client: Client) -> None:
    """REFUSED_STREAM: nothing was done, and a client may try again by itself."""
    backend.proxy.put(rule("r", {"limit": {"requests": 0, "over": "refuse"}}))
    assert client.call(Rpc(backend.address, "UnaryCall")).code == "UNAVAILABLE"
    assert backend.proxy.injections(rule="r") >= 1
