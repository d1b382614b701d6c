"""An upstream without an end: ``python -m benchmarks.load.source PORT CALLS_PORT``.

At PORT who sends a GET is answered in HTTP/1.1 with a body that takes years, and who sends anything else gets
bytes.  At CALLS_PORT a gRPC server (grpcio) answers each call with messages for ever.  Both wait for whoever
reads slowly.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc

METHOD: str = "/shop.v1.Feed/Watch"
MESSAGE: int = 16384  # bytes of a message, without its prefix
LENGTH: int = 1 << 50
_HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {LENGTH}\r\n\r\n".encode()
_PIECE = bytes(16384)
_BUFFER: int = 65536  # of the kernel, for each connection: a thousand of them are not to fill the memory


class Feed(asyncio.Protocol):
    """One connection: silent until it is asked, and full from then on."""

    def __init__(self) -> None:
        self._paused = False
        self._asked = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Begin, whatever it is that came."""
        if not self._asked:
            self._asked = True
            if data.startswith(b"GET "):
                self._transport.write(_HEAD)
            self._flow()

    def pause_writing(self) -> None:
        """Wait for the reader."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self._flow()

    def _flow(self) -> None:
        while not self._paused and not self._transport.is_closing():
            self._transport.write(_PIECE)


class Calls(grpc.GenericRpcHandler):
    """Answers any call with a stream of messages."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Serve the call."""
        return grpc.unary_stream_rpc_method_handler(_messages)


async def _messages(asked: bytes, context: Any) -> AsyncIterator[bytes]:
    message = bytes(MESSAGE)
    while True:
        yield message


async def serve(port: int, calls_port: int) -> None:
    """Serve on the loopback for ever."""
    calls = grpc.aio.server(options=[("grpc.max_concurrent_streams", 100)])
    calls.add_generic_rpc_handlers((Calls(),))
    calls.add_insecure_port(f"127.0.0.1:{calls_port}")
    await calls.start()
    listening = socket.create_server(("127.0.0.1", port), backlog=1024)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)  # those that are accepted inherit it
    server = await asyncio.get_running_loop().create_server(Feed, sock=listening)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
