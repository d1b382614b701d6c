"""SIGTERM, again and again, under HTTP/1.1, HTTP/2, gRPC and WebSocket load at once: nothing is lost.

CI does ten rounds, a few at a time.  A person does them all, and reads the figures:
``MISRULE_SIGTERMS=100 pytest -s --timeout 0 tests/e2e/test_drain_rounds.py``.
"""

import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from tests.e2e.test_drain import BODY, Asking, ask_in_http2, slow, slow_call
from tests.support.h2_scripted import ScriptedH2
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.wait import eventually, pause

ROUNDS = int(os.environ.get("MISRULE_SIGTERMS", "10"))
AT_ONCE = 3
CLIENTS = 3  # of each protocol
BEFORE = 10  # requests of each protocol before the signal comes


Method = Callable[..., bytes]


class Echo:
    """A WebSocket server that takes its time, and counts what reaches it."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._server = serve(self._talk, "127.0.0.1", 0)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.socket.getsockname()[1]}"

    def _talk(self, connection: ServerConnection) -> None:
        try:
            for message in connection:
                with self._lock:
                    self.count += 1
                pause(0.02)
                connection.send(message)
        except ConnectionClosed:
            pass  # the count of the echoes tells that one is missing

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(20)


class Talking:
    """Clients that each send a message and wait for it to come back, until they are told to go."""

    def __init__(self, address: str) -> None:
        self.answered = 0
        self.codes: list[int] = []  # with which they were told
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(address,)) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self, address: str) -> None:
        with connect(f"ws://{address}/chat", compression=None, open_timeout=20) as chat:
            try:
                while True:
                    chat.send("hello")
                    assert chat.recv(timeout=20) == "hello"
                    with self._lock:
                        self.answered += 1
            except ConnectionClosed as closed:
                self.codes.append(closed.rcvd.code if closed.rcvd is not None else 0)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)


@dataclass
class Seen:
    """What a round saw: requests that reached an upstream, and those of them that were answered."""

    reached: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)
    seconds: float = 0.0  # from the signal to the end
    status: int = -1


class Round:
    """One proxy under all four loads; ``run`` sends the signal."""

    def __init__(self, home: Path, number: int) -> None:
        self._home = home
        self._after = random.Random(number).uniform(0.0, 0.1)
        self._told: list[list[int]] = [[] for _ in range(CLIENTS)]

    def run(self) -> Seen:
        with ExitStack() as stack:
            shop, calls, echo = Scripted(play=slow), ScriptedH2(), Echo()
            calls.play = slow_call
            for upstream in (shop, calls, echo):
                stack.callback(upstream.close)
            proxy = Proxy(self._home, config=config(shop.address, calls.address, echo.address))
            stack.callback(proxy.process.stop)
            client = stack.enter_context(httpx.Client(trust_env=False, timeout=20.0))
            # Not grpcio's pool of all channels: another round may have had the same port, and it is gone.
            options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.insecure_channel(proxy.address, options)
            grpc.channel_ready_future(channel).result(20)
            method: Method = stack.enter_context(channel).unary_unary("/shop.Cart/Get")
            return self._load(proxy, shop, calls, echo, client, method)

    def _load(
        self,
        proxy: Proxy,
        shop: Scripted,
        calls: ScriptedH2,
        echo: Echo,
        client: httpx.Client,
        method: Method,
    ) -> Seen:
        http1 = Asking(lambda: _got(client, proxy.url), CLIENTS)
        called = Asking(lambda: _called(method), CLIENTS)
        talking = Talking(proxy.address)
        http2 = [threading.Thread(target=ask_in_http2, args=(proxy.address, one)) for one in self._told]
        for thread in http2:
            thread.start()
        loads: tuple[Asking | Talking, ...] = (http1, called, talking)
        eventually(
            lambda: min(load.answered for load in loads) >= BEFORE, 30.0,
            "load of HTTP/1.1, gRPC and WebSocket",
        )  # fmt: skip
        pause(self._after)
        begun = time.monotonic()
        proxy.process.signal(signal.SIGTERM)
        status = proxy.process.wait(20.0)
        seconds = time.monotonic() - begun
        for load in loads:
            load.join()
        for thread in http2:
            thread.join(30)
        proxy.check_log()
        promised = sum(told[1] for told in self._told)
        answered = sum(told[2] for told in self._told)
        return Seen(
            {"HTTP/1.1": len(shop.requests) - promised, "HTTP/2": promised, "gRPC": len(calls.requests),
             "WebSocket": echo.count},
            {"HTTP/1.1": http1.answered, "HTTP/2": answered, "gRPC": called.answered,
             "WebSocket": talking.answered},
            talking.codes, seconds, status,
        )  # fmt: skip


def config(shop: str, calls: str, echo: str) -> dict[str, Any]:
    """One listener; gRPC and WebSocket have upstreams of their own."""
    routes = [
        {"match": {"path": {"prefix": "/shop.Cart/"}}, "upstream": "calls"},
        {"match": {"path": "/chat"}, "upstream": "echo"},
        {"upstream": "shop"},
    ]
    return {
        "listeners": [{"name": "web", "address": "127.0.0.1:0", "routes": routes}],
        "upstreams": {
            "shop": {"address": shop},
            "calls": {"address": calls, "protocol": "http2"},
            "echo": {"address": echo},
        },
    }


def _got(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).content == BODY
    except httpx.HTTPError:
        return False


def _called(method: Method) -> bool:
    try:
        return bool(method(b"", timeout=20.0) == BODY)
    except grpc.RpcError:
        return False


def test_nothing_is_lost_by_a_signal(tmp_path: Path) -> None:
    rounds = [Round(tmp_path / f"round{number}", number) for number in range(ROUNDS)]
    with ThreadPoolExecutor(min(AT_ONCE, ROUNDS)) as pool:
        seen = list(pool.map(Round.run, rounds))
    kinds = ("HTTP/1.1", "HTTP/2", "gRPC", "WebSocket")
    reached = {kind: sum(one.reached[kind] for one in seen) for kind in kinds}
    lost = {kind: reached[kind] - sum(one.answered[kind] for one in seen) for kind in kinds}
    took = sorted(one.seconds for one in seen)
    said = ", ".join(f"{kind} {reached[kind]} reached an upstream, {lost[kind]} lost" for kind in kinds)
    print(
        f"\n{ROUNDS} SIGTERM, {AT_ONCE} proxies at a time: {said}; from signal to end: median "
        f"{statistics.median(took):.2f}, longest {took[-1]:.2f} s"
    )
    for one in seen:
        assert one.answered == one.reached
        assert one.codes == [1001] * CLIENTS
        assert one.status == 0
