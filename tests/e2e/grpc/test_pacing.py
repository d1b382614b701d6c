"""drip and loss on gRPC calls."""

import pytest

from tests.e2e.grpc.conftest import Backend, Call
from tests.support.grpc_calls import Rpc, ask
from tests.support.proxy import Rule, rule


@pytest.mark.parametrize(
    "fault", [{"drip": {"bytes": 1000, "every": "5ms"}}, {"loss": {"percent": 50, "rto": "50ms"}}]
)
def test_each_client(shop_of_calls: Backend, call: Call, fault: Rule) -> None:
    shop_of_calls.proxy.put(rule("slow", fault, sample={"sticky": "path"}))
    sizes = ask({"sizes": [3_000, 20_000]})
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (sizes,), "server"))
    assert (got.code, [len(one) for one in got.messages]) == ("OK", [3_000, 20_000])
    assert got.seconds >= 0.1
