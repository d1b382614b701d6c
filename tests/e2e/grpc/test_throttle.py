"""throttle on gRPC calls, also those that are open when the rule comes."""

import queue
import time
from collections.abc import Iterator
from typing import Any

from tests.e2e.grpc.conftest import Backend, Call
from tests.support.grpc_calls import GrpcIo, Rpc, ask
from tests.support.proxy import rule


def test_each_client(shop_of_calls: Backend, call: Call) -> None:
    shop_of_calls.proxy.put(rule("slow", {"throttle": "40KB/s"}))
    sizes = ask({"sizes": [10_000, 10_000]})
    got = call(Rpc(shop_of_calls.address, "StreamingOutputCall", (sizes,), "server"))
    assert (got.code, [len(one) for one in got.messages]) == ("OK", [10_000, 10_000])
    assert got.seconds >= 0.5


def test_a_call_that_is_open(shop_of_calls: Backend) -> None:
    """Both ways: it is let go when the rule is."""
    given: queue.Queue[bytes | None] = queue.Queue()

    def asked() -> Iterator[bytes]:
        while (message := given.get()) is not None:
            yield message

    rpc = Rpc(shop_of_calls.address, "FullDuplexCall", fresh=True)
    with GrpcIo().channel(rpc) as channel:
        answers: Any = channel.stream_stream(rpc.path)(asked(), timeout=30)  # type: ignore[arg-type]
        given.put(ask({"sizes": [100]}))
        assert len(next(answers)) == 100
        fault = {"rate": "20KB/s", "direction": "both", "on": "open"}
        shop_of_calls.proxy.put(rule("slow", {"throttle": fault}))
        begun = time.monotonic()
        given.put(ask({"sizes": [20_000]}))
        assert len(next(answers)) == 20_000
        assert time.monotonic() - begun >= 1.0
        given.put(ask({"sizes": [2_000_000]}))
        begun = time.monotonic()
        shop_of_calls.proxy.put()
        assert len(next(answers)) == 2_000_000
        assert time.monotonic() - begun < 10.0  # and not 100 seconds
        given.put(None)
        assert list(answers) == []
        assert answers.code().name == "OK"
