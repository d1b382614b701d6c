"""Compressed messages (gRPC's interop cases *_compressed_*): they pass as they are, smaller on the wire.

With grpcio and grpc-js; grpclib knows no compression.
"""

import pytest

from tests.e2e.grpc.conftest import Backend, Call
from tests.support.grpc_calls import Rpc, ask

BYTES = ("misrule_received_bytes_total", "misrule_sent_bytes_total")
SMALL = 5_000  # what is compressed has much less than it holds


def passed(backend: Backend) -> list[float]:
    """Give the bytes that have passed, from and to the client."""
    return [backend.proxy.metric(name) for name in BYTES]


@pytest.mark.parametrize("compress", ["request", "answer", "both"])
def test_unary(shop_of_calls: Backend, call: Call, compress: str) -> None:
    before = passed(shop_of_calls)
    message = ask({"size": 300_000, "compress": compress != "request"}).ljust(200_000)
    got = call(Rpc(shop_of_calls.address, "UnaryCall", (message,), compressed=compress != "answer"))
    assert (got.code, got.messages) == ("OK", [bytes(300_000)])
    asked, answered = (after - earlier for after, earlier in zip(passed(shop_of_calls), before, strict=True))
    assert (asked < SMALL) == (compress != "answer")
    assert (answered < SMALL) == (compress != "request")


def test_client_streaming(shop_of_calls: Backend, call: Call) -> None:
    before = passed(shop_of_calls)
    messages = tuple(bytes(size) for size in (27_182, 8, 1_828, 45_904))
    got = call(Rpc(shop_of_calls.address, "StreamingInputCall", messages, "client", compressed=True))
    assert (got.code, got.messages) == ("OK", [b"74922"])
    assert passed(shop_of_calls)[0] - before[0] < SMALL


@pytest.mark.parametrize("kind", ["server", "bidi"])
def test_streaming(shop_of_calls: Backend, call: Call, kind: str) -> None:
    before = passed(shop_of_calls)
    method = "StreamingOutputCall" if kind == "server" else "FullDuplexCall"
    message = ask({"sizes": [31_415, 92_653], "compress": True}).ljust(50_000)
    got = call(Rpc(shop_of_calls.address, method, (message,), kind, compressed=True))
    assert (got.code, [len(one) for one in got.messages]) == ("OK", [31_415, 92_653])
    assert all(after - earlier < SMALL for after, earlier in zip(passed(shop_of_calls), before, strict=True))


def test_faults_count_compressed_messages_as_messages(shop_of_calls: Backend, call: Call) -> None:
    shop_of_calls.proxy.put({"name": "end", "faults": [{"grpc": {"after_messages": 1, "status": "ABORTED"}}]})
    message = ask({"sizes": [31_415, 92_653], "compress": True})
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (message,), "server", compressed=True))
    assert (got.code, [len(one) for one in got.messages]) == ("ABORTED", [31_415])
