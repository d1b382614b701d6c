"""Peers that speak HTTP/2 by the library h2, over the transports that only pretend."""

from typing import Any, TypeVar

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hyperframe.frame import Frame, GoAwayFrame

from proxy.net.pool import HTTP2
from tests.support.fakes import FakeTransport, Stage

E = TypeVar("E", bound=Event)
Fields = list[tuple[str, str]]

GRPC_OK: Fields = [(":status", "200"), ("content-type", "application/grpc")]


def message(body: bytes, size: int = -1) -> bytes:
    """Frame a message as gRPC does; ``size``: say that it is so long."""
    return b"\0" + (len(body) if size < 0 else size).to_bytes(4, "big") + body


class Peer:
    """One end of a connection; ``events`` is everything that has come."""

    def __init__(
        self, transport: FakeTransport, client: bool, credit: bool = True, connect: bool = False
    ) -> None:
        """Begin; ``connect``: as a server that offers extended CONNECT."""
        self.transport = transport
        self.events: list[Event] = []
        self.credit = credit  # WINDOW_UPDATE follows what comes
        self.h2 = H2Connection(H2Configuration(client_side=client, header_encoding="utf-8"))
        if connect:
            self.h2.local_settings.enable_connect_protocol = 1
            self.h2.local_settings.acknowledge()
        self.h2.initiate_connection()
        self.sync()

    def sync(self) -> "Peer":
        """Pass bytes to and fro until nobody has anything more to say."""
        while True:
            out = self.h2.data_to_send()
            if out and not self.transport.closing:
                self.transport.gives(out)
            came = self.transport.taken()
            if came:
                self._take(self.h2.receive_data(came))
            elif not out:
                return self

    def _take(self, events: list[Event]) -> None:
        self.events += events
        for event in events:
            if self.credit and isinstance(event, DataReceived) and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def ask(self, path: str = "/", *fields: tuple[str, str], body: bytes = b"", end: bool = True) -> int:
        """Begin a request; gives its stream."""
        sid = self.h2.get_next_available_stream_id()
        method = "POST" if body or not end else "GET"
        head = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path), *fields]
        self.h2.send_headers(sid, head, end_stream=end and not body)
        if body:
            self.h2.send_data(sid, body, end_stream=end)
        self.sync()
        return sid

    def call(self, *messages: bytes, fields: Fields | None = None, end: bool = True) -> int:
        """Begin a gRPC call with these messages; ``end``: they are all."""
        body = b"".join(message(one) for one in messages)
        head = [("content-type", "application/grpc"), ("te", "trailers"), *(fields or [])]
        return self.ask("/shop.Cart/Watch", *head, body=body, end=end)

    def say(self, sid: int, data: bytes, end: bool = False) -> None:
        """Send content."""
        self.h2.send_data(sid, data, end_stream=end)
        self.sync()

    def head(self, sid: int, fields: Fields, end: bool = False) -> None:
        """Send a head, or trailers."""
        self.h2.send_headers(sid, fields, end_stream=end)
        self.sync()

    def done(self, sid: int, status: int = 0, *fields: tuple[str, str]) -> None:
        """End a gRPC call with a status."""
        self.head(sid, [("grpc-status", str(status)), *fields], end=True)

    def came(self, kind: type[E], sid: int = 0) -> list[E]:
        """Give the events of a kind; of one stream, unless it is 0."""
        found = [event for event in self.events if isinstance(event, kind)]
        return [event for event in found if not sid or getattr(event, "stream_id", 0) == sid]

    def body(self, sid: int) -> bytes:
        """Give the content that came on a stream."""
        return b"".join(event.data for event in self.came(DataReceived, sid))

    def requests(self) -> list[int]:
        """Give the streams that the other side opened."""
        return [event.stream_id or 0 for event in self.came(RequestReceived)]

    def fields(self, sid: int) -> dict[str, str]:
        """Give the head and the trailers of an answer, together."""
        found: dict[str, str] = {}
        blocks = [event.headers for event in self.came(ResponseReceived, sid)]
        blocks += [event.headers for event in self.came(TrailersReceived, sid)]
        for block in blocks:
            found.update({str(name): str(value) for name, value in block or []})
        return found

    def ended(self, sid: int) -> bool:
        """Tell whether a stream ended in order."""
        return bool(self.came(StreamEnded, sid))

    def reset(self, sid: int) -> int | None:
        """Give the code of the RST_STREAM that came, None where none did."""
        found = self.came(StreamReset, sid)
        return int(found[0].error_code or 0) if found else None

    def goaways(self) -> list[tuple[int, int, bytes]]:
        """Give last stream, code and debug data of each GOAWAY that came."""
        return [
            (
                event.last_stream_id or 0,
                int(event.error_code or ErrorCodes.NO_ERROR),
                event.additional_data or b"",
            )
            for event in self.came(ConnectionTerminated)
        ]


def frames(data: bytes) -> list[Frame]:
    """Read frames: the library h2 itself takes nothing more once a GOAWAY came."""
    found = []
    while data:
        frame, length = Frame.parse_frame_header(memoryview(data)[:9])
        frame.parse_body(memoryview(data)[9 : 9 + length])
        found.append(frame)
        data = data[9 + length :]
    return found


def asked(client: Peer, path: str) -> None:
    """Ask, and leave unread what comes back."""
    head = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]
    client.h2.send_headers(client.h2.get_next_available_stream_id(), head, True)
    client.transport.gives(client.h2.data_to_send())


def goaways(data: bytes) -> list[tuple[int, int, bytes]]:
    """Give last stream, code and debug data of each GOAWAY in what was taken."""
    return [
        (frame.last_stream_id, frame.error_code, frame.additional_data)
        for frame in frames(data)
        if isinstance(frame, GoAwayFrame)
    ]


class Http2Stage(Stage):
    """A stage whose upstream speaks HTTP/2."""

    def __init__(self, rules: str = "", **options: Any) -> None:
        super().__init__(rules, **options)
        self.upstream.protocol = HTTP2
        self.connect = False  # the upstream offers extended CONNECT
        self.served: list[Peer] = []

    def peer(self, credit: bool = True) -> Peer:
        """A client connects."""
        return Peer(self.client(), True, credit)

    async def server(self, number: int = 0) -> Peer:
        """Let the loop turn until so many upstream connections stand; give the last one's other end."""
        while len(self.served) <= number:
            self.served.append(Peer(await self.connected(len(self.served)), False, True, self.connect))
        await self.turn()
        return self.served[number].sync()

    async def both(self, client: Peer, number: int = 0) -> Peer:
        """Let everything arrive everywhere; give the upstream's end."""
        server = await self.server(number)
        client.sync()
        return server.sync()
