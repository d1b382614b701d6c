"""Many calls that end at once, before a server that takes no more than a few."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.proxy import Proxy

LIMIT = 50  # calls at once, on each connection to the server
PATH = "/shop.v1.Feed/Watch"


class Feed(grpc.GenericRpcHandler):
    """Answers a call with messages until its client goes away."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Serve the call."""
        return grpc.unary_stream_rpc_method_handler(self._messages)

    @staticmethod
    def _messages(asked: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        while context.is_active():
            yield bytes(16384)


@pytest.fixture
def feed() -> Iterator[str]:
    options = [("grpc.max_concurrent_streams", LIMIT)]
    server = grpc.server(ThreadPoolExecutor(3 * LIMIT), handlers=[Feed()], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def watch(channel: grpc.Channel) -> Any:
    """Open a call."""
    calling: Any = channel.unary_stream(PATH)
    return calling(b"", timeout=60)


def watched(calls: Iterable[Any]) -> list[Any]:
    """Wait for the first message of each."""
    found = list(calls)
    assert {len(next(call)) for call in found} == {16384}
    return found


def opened(proxy: Proxy) -> grpc.Channel:
    """Open a channel that shares nothing with others, and wait for its connection."""
    channel = grpc.insecure_channel(proxy.address, options=[("grpc.use_local_subchannel_pool", 1)])
    grpc.channel_ready_future(channel).result(20)
    return channel


def test_calls_right_behind_a_crowd_that_has_gone(feed: str, tmp_path: Path) -> None:
    """Each is answered, though the server may still count those that are gone."""
    proxy = Proxy(tmp_path, feed)
    try:
        for _ in range(3):
            with opened(proxy) as behind:
                crowd = opened(proxy)
                watched(watch(crowd) for _ in range(LIMIT))
                crowd.close()
                for call in watched(watch(behind) for _ in range(10)):
                    call.cancel()
    finally:
        proxy.stop()
