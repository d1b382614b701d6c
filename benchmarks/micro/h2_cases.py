"""HTTP/2 through both legs of a proxy, without sockets: decode, pass on, encode, in both directions.

One call is a batch of 32 requests that come in one read, as ``h2load -m 32`` sends them.  ``same`` repeats
one request; ``distinct`` has a path of its own in each, not indexed; ``churn`` two fields of their own in
each, indexed, so that every block changes the table.
"""

import struct
from collections.abc import Callable

from hpack import Encoder
from hpack.struct import HeaderTuple, NeverIndexedHeaderTuple

from benchmarks.load.h2_frames import frame
from proxy.wire.h2 import CLIENT, DATA, HEAD, NEED, SERVER, H2Connection, H2Settings
from proxy.wire.h2_frames import PREFACE
from proxy.wire.h2_streams import Stream

BATCH = 32  # requests in a call
BATCHES = 64  # before a new pair of connections
BODY = b"x" * 100
KINDS = ("same", "distinct", "churn")
WIDE = struct.pack(">L", 1 << 30)


def request(kind: str, number: int) -> list[HeaderTuple]:
    """Make the fields of one request."""
    path = "/api/v1/items/17?fields=name" if kind == "same" else f"/api/v1/items/{number}?fields=name"
    fields = [
        HeaderTuple(":method", "GET"),
        NeverIndexedHeaderTuple(":path", path) if kind != "same" else HeaderTuple(":path", path),
        HeaderTuple(":scheme", "http"),
        HeaderTuple(":authority", "127.0.0.1:8080"),
        HeaderTuple("user-agent", "h2load nghttp2/1.52.0"),
        HeaderTuple("accept", "application/json"),
    ]
    if kind == "churn":
        fields.append(HeaderTuple("x-trace-id", f"{number * 7919:032x}"))
        fields.append(HeaderTuple("x-span-id", f"{number * 104729:016x}"))
    return fields


def response() -> list[HeaderTuple]:
    """Make the fields of the one response."""
    return [
        HeaderTuple(":status", "200"),
        HeaderTuple("content-type", "application/json"),
        HeaderTuple("content-length", str(len(BODY))),
        HeaderTuple("server", "nghttpd nghttp2/1.52.0"),
    ]


class Legs:
    """What client and upstream send, made once, and the two connections that it goes through."""

    def __init__(self, kind: str) -> None:
        from_client, from_upstream = Encoder(), Encoder()
        self.requests: list[bytes] = []
        self.replies: list[bytes] = []
        for batch in range(BATCHES):
            asked = answered = b""
            for number in range(batch * BATCH, (batch + 1) * BATCH):
                sid = 2 * number + 1
                asked += frame(1, 5, sid, from_client.encode(request(kind, number)))
                answered += frame(1, 4, sid, from_upstream.encode(response())) + frame(0, 1, sid, BODY)
            self.requests.append(asked)
            self.replies.append(answered)
        self.at = BATCHES
        self.inner: H2Connection
        self.outer: H2Connection

    def renew(self) -> None:
        """Start on new connections with wide windows."""
        self.outer = H2Connection(SERVER, H2Settings())
        self.inner = H2Connection(CLIENT, H2Settings())
        for connection, preface in ((self.outer, PREFACE), (self.inner, b"")):
            connection.start()
            connection.feed(preface + frame(4, 0, 0, b"") + frame(8, 0, 0, WIDE), 0.0)
            while connection.next() != NEED:
                pass
            connection.take()
        self.at = 0

    def once(self) -> None:
        """Take one batch through."""
        if self.at == BATCHES:
            self.renew()
        outer, inner = self.outer, self.inner
        outer.feed(self.requests[self.at], 0.0)
        while (event := outer.next()) != NEED:
            stream = inner.open(0.0)
            if stream is None or event != HEAD:
                raise AssertionError("a request did not come through")
            stream.owner = outer.stream
            inner.send_headers(stream, outer.block, b"", outer.end)
        inner.take()
        inner.feed(self.replies[self.at], 0.0)
        while (event := inner.next()) != NEED:
            peer = inner.stream.owner
            assert isinstance(peer, Stream)
            if event == HEAD:
                outer.send_headers(peer, inner.block, b"", inner.end)
            elif event == DATA:
                outer.send_data(peer, inner.piece, inner.end)
                inner.credit(inner.stream, inner.flow)
        outer.take()
        self.at += 1
        if outer.streams or inner.streams:
            raise AssertionError("a stream did not end")


def http2() -> dict[str, Callable[[], object]]:
    """HTTP/2 in both roles."""
    return {f"{BATCH} HTTP/2 requests through both legs, {kind}": Legs(kind).once for kind in KINDS}
