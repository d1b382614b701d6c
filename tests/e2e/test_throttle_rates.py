"""The rate of a throttle as receivers measure it over ten seconds, on all protocols side by side.

Never faster; and, whatever else the machine does, not much slower.  How near is what
``python -m benchmarks --workload throttle`` measures.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.support.clients import Call, ask
from tests.support.grpc_calls import GrpcIo, Rpc, start_server
from tests.support.grpc_calls import ask as asking
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.wire import Wire, get

SECONDS = 10
RATE = 256 * 1024
SIZE = SECONDS * RATE


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with ExitStack() as running:
        shop, feed = Scripted(), Scripted(on_open=lambda wire: wire.send(filling(SIZE)))
        running.callback(shop.close)
        running.callback(feed.close)
        server, calls = start_server("grpcio")
        running.callback(server.stop)
        common = {"address": "127.0.0.1:0", "timeouts": {"drain": "1s"}}
        proxy = Proxy(
            tmp_path_factory.mktemp("rates"),
            config={
                "listeners": [
                    {"name": "web", **common, "routes": [{"upstream": "shop"}]},
                    {"name": "calls", **common, "routes": [{"upstream": "calls"}]},
                    {"name": "tcp", **common, "protocol": "tcp", "routes": [{"upstream": "feed"}]},
                ],
                "upstreams": {
                    "shop": {"address": shop.address},
                    "calls": {"address": calls},
                    "feed": {"address": feed.address, "protocol": "tcp"},
                },
            },
        )
        running.callback(proxy.stop)
        yield proxy


def test_the_rate_over_ten_seconds(front: Proxy) -> None:
    web, calls, tcp = (front.listeners[name] for name in ("web", "calls", "tcp"))

    def length() -> None:
        with Wire.to(web, timeout=30.0) as wire:
            wire.send(get(f"/bytes/{SIZE}"))
            assert wire.read_head().status == 200
            wire.take(SIZE)

    def client(path: str, http2: bool) -> None:
        seen = ask("httpx", Call(f"http://{web}/{path}/{SIZE}", http2=http2))
        assert (seen.length, seen.trouble) == (SIZE, "")

    def call() -> None:
        asked = (asking({"sizes": [16384 - 5] * (SIZE // 16384)}),)
        got = GrpcIo().call(Rpc(calls, "StreamingOutputCall", asked, "server", timeout=30.0, fresh=True))
        assert (got.code, len(got.messages)) == ("OK", SIZE // 16384)

    def stream() -> None:
        with Wire.to(tcp, timeout=30.0) as wire:
            wire.take(SIZE)

    works: dict[str, Callable[[], None]] = {
        "length": length,
        "chunked": lambda: client("chunked", False),
        "http2": lambda: client("bytes", True),
        "grpc": call,
        "tcp": stream,
    }

    def timed(work: Callable[[], None]) -> float:
        begun = time.monotonic()
        work()
        return time.monotonic() - begun

    front.calm()
    front.put(rule("slow", {"throttle": "256KiB/s"}))
    with ThreadPoolExecutor(len(works)) as pool:
        running = {name: pool.submit(timed, work) for name, work in works.items()}
        took = {name: one.result() for name, one in running.items()}
    assert all(SECONDS <= one < 2 * SECONDS for one in took.values()), took
    assert front.injections(rule="slow", fault="throttle") == len(works)
