"""corrupt on gRPC calls: messages stay whole, and are wrong."""

from tests.e2e.grpc.conftest import Backend, Call
from tests.support.grpc_calls import Rpc, ask
from tests.support.proxy import rule


def test_each_client(shop_of_calls: Backend, call: Call) -> None:
    sizes = ask({"sizes": [1_000, 1_000]})
    straight = call(Rpc(shop_of_calls.direct, "StreamingOutputCall", (sizes,), "server"))
    shop_of_calls.proxy.put(rule("wrong", {"corrupt": {"percent_of_bytes": 100}}))
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (sizes,), "server"))
    assert (got.code, [len(one) for one in got.messages]) == ("OK", [1_000, 1_000])
    for one, other in zip(got.messages, straight.messages, strict=True):
        assert {(a ^ b).bit_count() for a, b in zip(one, other, strict=True)} == {1}
