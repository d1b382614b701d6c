"""A gRPC server for the load: ``python -m benchmarks.load.echo PORT``; it gives back what comes on a stream.

The head of a response goes out with the call's, the trailers when the call has ended, so it serves unary
calls and streams of messages alike.  It does not read header blocks, and sends its own from the table from
the second call of a connection on, as servers do.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import uvloop
from hpack import Encoder

from benchmarks.load.h2_frames import cut, frame, reply, settings
from proxy.wire.h2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE

MAX_STREAMS: int = 100  # what servers usually allow on a connection
HEAD = ((":status", "200"), ("content-type", "application/grpc"))
TRAILERS = (("grpc-status", "0"),)


class Echo(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._rest = b""
        self._preface = len(PREFACE)  # bytes of it still to come
        self._encoder = Encoder()
        self._head = self._encoder.encode(HEAD)
        self._trailers = b""
        self._taught = False  # the trailers are in the table, too, and have moved the head's field on
        self._write: Callable[[bytes], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.Transport, transport).write  # uvloop's is no subclass
        self._write(settings(MAX_STREAMS))

    def data_received(self, data: bytes) -> None:
        """Answer all frames that came by one write."""
        if self._preface:
            skipped = min(self._preface, len(data))
            self._preface -= skipped
            data = data[skipped:]
        frames, self._rest = cut(self._rest + data)
        out = [self._answer(*one) for one in frames]
        self._write(b"".join(out))

    def _answer(self, kind: int, flags: int, sid: int, payload: bytes) -> bytes:
        if sid == 0:
            return reply(kind, flags, payload)
        if kind == HEADERS:
            coded, self._head = self._head, self._head if self._taught else self._encoder.encode(HEAD)
            return frame(HEADERS, END_HEADERS, sid, coded) + self._end(flags, sid)
        if kind == DATA:
            return frame(DATA, 0, sid, payload) + self._end(flags, sid)
        return b""

    def _end(self, flags: int, sid: int) -> bytes:
        if not flags & END_STREAM:
            return b""
        if not self._taught:
            coded = self._encoder.encode(TRAILERS)
            self._trailers, self._head = self._encoder.encode(TRAILERS), self._encoder.encode(HEAD)
            self._taught = True
        else:
            coded = self._trailers
        return frame(HEADERS, END_HEADERS | END_STREAM, sid, coded)


async def serve(port: int) -> None:
    """Serve on the loopback for ever."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
