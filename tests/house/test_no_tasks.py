"""An exchange without a fault costs no Task: callbacks carry it from the client to the upstream and back."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.app import App
from proxy.config import from_options

EXCHANGES = 1000
REQUEST = b"GET /hello HTTP/1.1\r\nhost: shop.example\r\nx-user: 7\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
RULES = """
version: 1
rules:
  - {name: elsewhere, match: {path: /pay}, faults: [{abort: 503}]}
  - {name: never, match: {path: /hello}, sample: {percent: 0}, faults: [{delay: 1s}]}
  - {name: slow, match: {path: /slow}, faults: [{delay: 1ms}]}
"""


class Upstream(asyncio.Protocol):
    """Answers each request at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


class Client(asyncio.Protocol):
    """Sends one request after the other on one connection; ``done`` gets the number of answers."""

    def __init__(self, exchanges: int, done: asyncio.Future[int]) -> None:
        self.left = exchanges
        self.done = done
        self.answers = 0
        self.came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        self.came += data
        if not self.came.endswith(b"\r\n\r\nhello"):
            return
        assert self.came.startswith(b"HTTP/1.1 200 OK\r\n"), self.came
        self.came = b""
        self.answers += 1
        if self.answers == self.left:
            self.transport.close()
            self.done.set_result(self.answers)
        else:
            self.transport.write(REQUEST)


class TaskCount:
    """A task factory that counts."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        self.made.append(repr(coro))
        return asyncio.Task(coro, loop=loop, **options)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    running = App(from_options("127.0.0.1:0", [f"http://127.0.0.1:{port}"], [str(rules)], access="none"))
    await running.start()
    yield running
    await running.stop()
    server.close()
    gc.unfreeze()


async def tasks_of(app: App, exchanges: int) -> list[str]:
    """Send so many requests on one connection; the Tasks that were made meanwhile."""
    loop = asyncio.get_running_loop()
    host, _, port = app.addresses["web"].rpartition(":")
    done: asyncio.Future[int] = loop.create_future()
    count = TaskCount()
    transport, _ = await loop.create_connection(lambda: Client(exchanges, done), host, int(port))
    loop.set_task_factory(count)
    try:
        assert await done == exchanges
    finally:
        loop.set_task_factory(None)
        transport.close()
    return count.made


async def test_a_thousand_exchanges_without_a_fault_make_no_task(app: App) -> None:
    await tasks_of(app, 1)  # opens the connection to the upstream
    assert await tasks_of(app, EXCHANGES) == []
    assert app.store.snapshot.by_name["never"].state.matches == EXCHANGES + 1
