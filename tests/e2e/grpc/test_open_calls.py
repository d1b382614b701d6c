"""Rules that come, and go, while a call of grpcio is open both ways."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.e2e.grpc.conftest import Backend
from tests.support.grpc_calls import GrpcIo, Rpc, ask
from tests.support.proxy import Rule, rule
from tests.support.wait import eventually, once_within, pause


class Call:
    """A call that is open: one message has gone, and one has come."""

    def __init__(self, channel: Any, rpc: Rpc) -> None:
        self.given: queue.Queue[bytes | None] = queue.Queue()
        self.came: queue.Queue[bytes | None] = queue.Queue()
        self.answers: Any = channel.stream_stream(rpc.path)(self._asked(), timeout=60)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.pass_one(100)

    def _asked(self) -> Iterator[bytes]:
        while (message := self.given.get()) is not None:
            yield message

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for message in self.answers:
                self.came.put(message)
        self.came.put(None)

    def ask(self, size: int) -> None:
        self.given.put(ask({"sizes": [size]}))

    def take(self, size: int) -> None:
        """Wait for the next message, which has that size."""
        message = self.came.get(timeout=30)
        assert message is not None, self.answers.code()
        assert len(message) == size

    def pass_one(self, size: int) -> float:
        """Have a message come; gives how many seconds it took."""
        begun = time.monotonic()
        self.ask(size)
        self.take(size)
        return time.monotonic() - begun

    def code(self) -> str:
        """Wait for the end, before which nothing comes; gives the code with which it ends."""
        assert self.came.get(timeout=30) is None
        return str(self.answers.code().name)

    def close(self) -> None:
        self.given.put(None)
        self.answers.cancel()
        self._reader.join(20)


@pytest.fixture
def opened(shop_of_calls: Backend) -> Iterator[Call]:
    rpc = Rpc(shop_of_calls.address, "FullDuplexCall", fresh=True)
    with GrpcIo().channel(rpc) as channel:
        call = Call(channel, rpc)
        yield call
        call.close()


def test_throttle(shop_of_calls: Backend, opened: Call) -> None:
    """Both ways: it is let go when the rule is."""
    fault = {"rate": "20KB/s", "direction": "both", "on": "open"}
    shop_of_calls.proxy.put(rule("slow", {"throttle": fault}))
    assert opened.pass_one(20_000) >= 1.0
    opened.ask(2_000_000)
    begun = time.monotonic()
    shop_of_calls.proxy.put()
    opened.take(2_000_000)
    assert time.monotonic() - begun < 10.0  # and not 100 seconds
    opened.given.put(None)
    assert opened.code() == "OK"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"reset": {"on": "open"}}, "CANCELLED"),
        ({"reset": {"on": "open", "code": "REFUSED_STREAM"}}, "UNAVAILABLE"),
        ({"reset": {"on": "open", "scope": "connection"}}, "UNAVAILABLE"),
        ({"close": {"on": "open"}}, "UNAVAILABLE"),
    ],
    ids=str,
)
def test_reset_and_close(shop_of_calls: Backend, opened: Call, fault: Rule, code: str) -> None:
    """At once, with nothing under way."""
    shop_of_calls.proxy.put(rule("end", fault, match={"protocol": ["grpc"]}))
    assert opened.code() == code
    assert shop_of_calls.proxy.injections(rule="end") == 1


def test_what_is_stalled_is_let_go_with_its_rule(shop_of_calls: Backend, opened: Call) -> None:
    """On the same call again and again: no message is lost."""
    proxy = shop_of_calls.proxy

    def attempt() -> float:
        proxy.put(rule("stuck", {"stall": {"on": "open"}}))
        eventually(lambda: "stuck" in proxy.call("GET", "/v1/connections")[2], what="the fault")
        opened.ask(10)
        pause(0.05)
        assert opened.came.empty()
        proxy.put()
        begun = time.monotonic()
        opened.take(10)
        return time.monotonic() - begun

    once_within(0.1, attempt)
    opened.given.put(None)
    assert opened.code() == "OK"
