"""throttle on gRPC calls."""

from tests.e2e.grpc.conftest import Backend, Call
from tests.support.grpc_calls import Rpc, ask
from tests.support.proxy import rule


def test_each_client(shop_of_calls: Backend, call: Call) -> None:
    shop_of_calls.proxy.put(rule("slow", {"throttle": "40KB/s"}))
    sizes = ask({"sizes": [10_000, 10_000]})
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (sizes,), "server"))
    assert (got.code, [len(one) for one in got.messages]) == ("OK", [10_000, 10_000])
    assert got.seconds >= 0.5
