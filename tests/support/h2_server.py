"""A small HTTP/2 server around the codec: every request gets the same answer, or its own body back.

``Echo`` is the server without sockets; ``python -m tests.support.h2_server PORT`` puts it behind a port, for
conformance tools.
"""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.wire.h2 import (
    DATA,
    END,
    HEAD,
    NEED,
    RESET,
    SERVER,
    TRAILERS,
    H2Connection,
    H2Settings,
)
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.h2_field import interned
from proxy.wire.h2_streams import Stream

ANSWER = b"the answer to each and every request\n" * 8


class Echo:
    """One connection of the server: bytes in, bytes out; ``closed`` once it would close the socket.

    A request without content gets ``ANSWER``, one with content gets that back, once it is complete.
    """

    def __init__(self, settings: H2Settings | None = None) -> None:
        self.connection = H2Connection(SERVER, settings or H2Settings())
        self.connection.start()
        self.closed = False
        self.error: H2Error | None = None
        self._bodies: dict[Stream, list[bytes]] = {}
        self._methods: dict[Stream, bytes] = {}

    def receive(self, data: bytes, now: float = 0.0) -> bytes:
        """Take in what came, and give what is to be written."""
        if self.closed:
            return b""
        self.connection.feed(data, now)
        try:
            while (event := self.connection.next()) != NEED:
                self._on_event(event)
        except H2Error as error:
            self.error = error
            self.closed = True
        return self.take()

    def take(self) -> bytes:
        """Give what is to be written."""
        whole = self.connection.take()
        return whole if isinstance(whole, bytes) else b"".join(whole)

    def _on_event(self, event: int) -> None:
        connection = self.connection
        stream = connection.stream
        if event == HEAD:
            self._bodies[stream] = []
            self._methods[stream] = connection.block.method
        elif event == DATA:
            self._bodies[stream].append(connection.piece)
            connection.credit(stream, connection.flow)
        elif event == RESET:
            self._bodies.pop(stream, None)
        if event in (END, TRAILERS) or (event in (HEAD, DATA) and connection.end):
            self._answer(stream)

    def _answer(self, stream: Stream) -> None:
        body = b"".join(self._bodies.pop(stream)) or ANSWER
        size = str(len(body)).encode()
        head = Block.of([interned(b":status", b"200"), interned(b"content-length", size)])
        if self._methods.pop(stream) == b"HEAD":
            self.connection.send_headers(stream, head, end=True)
        else:
            self.connection.send_headers(stream, head)
            self.connection.send_data(stream, body, True)


class _Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.echo = Echo()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.echo.take())

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.echo.receive(data, asyncio.get_running_loop().time()))
        if self.echo.closed:
            self.transport.close()

    def pause_writing(self) -> None:
        self.echo.connection.pause()

    def resume_writing(self) -> None:
        self.echo.connection.resume()
        self.data_received(b"")


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until cancelled."""
    server = await asyncio.get_running_loop().create_server(_Protocol, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


@contextmanager
def background() -> Iterator[int]:
    """Serve in a thread of its own; gives the port."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(_Protocol, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
