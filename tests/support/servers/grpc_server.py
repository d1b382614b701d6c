"""The gRPC upstream, on grpcio or grpclib: ``python -m tests.support.servers.grpc_server (grpcio|grpclib)``.

Messages are JSON, or just bytes: no compiler of protocol buffers is needed.  A message may say ``size`` (of
the answer), ``sizes`` (of several), ``sleep`` (seconds before it), ``status`` (code and message to end with),
``compress``.  The calls are those of gRPC's interoperability tests; what a client cancels is told on stdout.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Server, Stream

SERVICE = "misrule.test.TestService"
ECHO_INITIAL = "x-grpc-test-echo-initial"
ECHO_TRAILING = "x-grpc-test-echo-trailing-bin"


def said(message: bytes) -> dict[str, Any]:
    """Read what a message asks for; bytes that are no JSON ask for nothing."""
    try:
        found = json.loads(message)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def sizes(asked: dict[str, Any]) -> list[int]:
    """Give the sizes of the messages that are to answer one."""
    return list(asked.get("sizes", [asked["size"]] if "size" in asked else []))


def tell(what: str) -> None:
    """Tell the test."""
    print(what, flush=True)


class Sync:
    """The calls on grpcio."""

    def _begin(self, context: grpc.ServicerContext) -> None:
        metadata = dict(context.invocation_metadata())
        if ECHO_INITIAL in metadata:
            context.send_initial_metadata(((ECHO_INITIAL, metadata[ECHO_INITIAL]),))
        if ECHO_TRAILING in metadata:
            context.set_trailing_metadata(((ECHO_TRAILING, metadata[ECHO_TRAILING]),))
        context.add_callback(lambda: tell("ended" if context.code() is not None else "cancelled"))  # type: ignore[attr-defined]

    def _heed(self, asked: dict[str, Any], context: grpc.ServicerContext) -> None:
        if asked.get("compress"):
            context.set_compression(grpc.Compression.Gzip)
        time.sleep(asked.get("sleep", 0))
        if "status" in asked:
            code, text = asked["status"]
            context.abort(next(one for one in grpc.StatusCode if one.value[0] == code), text)

    def unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        """Answer one message."""
        self._begin(context)
        asked = said(message)
        self._heed(asked, context)
        return bytes(asked["size"]) if "size" in asked else message

    def client_stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Add up."""
        self._begin(context)
        return str(sum(len(message) for message in messages)).encode()

    def bidi(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer each message as it comes."""
        self._begin(context)
        for message in messages:
            asked = said(message)
            if asked.get("compress"):
                context.set_compression(grpc.Compression.Gzip)
            for size in sizes(asked):
                time.sleep(asked.get("sleep", 0))
                yield bytes(size)
            if "status" in asked:
                self._heed(asked, context)

    def server_stream(self, message: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answer one message by several."""
        yield from self.bidi(iter((message,)), context)


def serve_grpcio() -> None:
    """Serve on a free port until killed."""
    calls = Sync()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "EmptyCall": grpc.unary_unary_rpc_method_handler(lambda message, context: b""),
        "UnaryCall": grpc.unary_unary_rpc_method_handler(calls.unary),
        "StreamingInputCall": grpc.stream_unary_rpc_method_handler(calls.client_stream),
        "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(calls.server_stream),
        "FullDuplexCall": grpc.stream_stream_rpc_method_handler(calls.bidi),
    }
    server = grpc.server(ThreadPoolExecutor(64), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    tell(f"listening on {server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    server.wait_for_termination()


class Bytes(CodecBase):
    """Messages are bytes."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        """Give it as it is."""
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        """Give it as it is."""
        return data


def telling(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have a call tell when its client cancels it, wherever it stands."""

    async def told(stream: Any) -> None:
        try:
            await call(stream)
        except (asyncio.CancelledError, StreamTerminatedError):
            tell("cancelled")
            raise

    return told


class Async:
    """The calls on grpclib."""

    def __mapping__(self) -> dict[str, Handler]:
        """Tell grpclib what there is."""
        kinds: dict[str, tuple[Callable[[Any], Any], Cardinality]] = {
            "EmptyCall": (self.empty, Cardinality.UNARY_UNARY),
            "UnaryCall": (self.unary, Cardinality.UNARY_UNARY),
            "StreamingInputCall": (self.client_stream, Cardinality.STREAM_UNARY),
            "StreamingOutputCall": (self.bidi, Cardinality.UNARY_STREAM),
            "FullDuplexCall": (self.bidi, Cardinality.STREAM_STREAM),
        }
        return {
            f"/{SERVICE}/{name}": Handler(telling(call), kind, bytes, bytes)
            for name, (call, kind) in kinds.items()
        }

    async def _begin(self, stream: Stream[bytes, bytes]) -> dict[str, Any]:
        metadata: Any = stream.metadata or {}
        if ECHO_INITIAL in metadata:
            await stream.send_initial_metadata(metadata={ECHO_INITIAL: metadata[ECHO_INITIAL]})
        return {ECHO_TRAILING: metadata[ECHO_TRAILING]} if ECHO_TRAILING in metadata else {}

    async def _heed(self, asked: dict[str, Any]) -> None:
        await asyncio.sleep(asked.get("sleep", 0))
        if "status" in asked:
            code, text = asked["status"]
            raise GRPCError(Status(code), text)

    async def empty(self, stream: Stream[bytes, bytes]) -> None:
        """Answer nothing."""
        await stream.recv_message()
        await stream.send_message(b"")

    async def unary(self, stream: Stream[bytes, bytes]) -> None:
        """Answer one message."""
        trailing = await self._begin(stream)
        message = await stream.recv_message()
        assert message is not None
        asked = said(message)
        await self._heed(asked)
        await stream.send_message(bytes(asked["size"]) if "size" in asked else message)
        await stream.send_trailing_metadata(metadata=trailing)

    async def client_stream(self, stream: Stream[bytes, bytes]) -> None:
        """Add up."""
        await self._begin(stream)
        total = 0
        async for message in stream:
            total += len(message)
        await stream.send_message(str(total).encode())

    async def bidi(self, stream: Stream[bytes, bytes]) -> None:
        """Answer each message as it comes."""
        trailing = await self._begin(stream)
        if not stream._send_initial_metadata_done:
            await stream.send_initial_metadata()
        async for message in stream:
            asked = said(message)
            for size in sizes(asked):
                await asyncio.sleep(asked.get("sleep", 0))
                await stream.send_message(bytes(size))
            if "status" in asked:
                await self._heed(asked)
        await stream.send_trailing_metadata(metadata=trailing)


async def serve_grpclib() -> None:
    """Serve on a free port until killed."""
    server = Server([Async()], codec=Bytes())
    await server.start("127.0.0.1", 0)
    listening: Any = server._server
    tell(f"listening on {listening.sockets[0].getsockname()[1]}")
    await server.wait_closed()


if __name__ == "__main__":
    if sys.argv[1] == "grpcio":
        serve_grpcio()
    else:
        asyncio.run(serve_grpclib())
