"""WebSockets on pretended transports, each end in HTTP/1.1 or HTTP/2; a test sees bytes and how they end."""

import re
from typing import Any, Protocol

from h2.exceptions import StreamClosedError

from proxy.wire.websocket import accept_of
from tests.support.fakes import FakeTransport, Stage
from tests.support.h2_stage import Fields, Http2Stage, Peer

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, section 1.3, with its answer
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = (
    "GET /chat?room=1 HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\norigin: http://o\r\n"
    f"sec-websocket-version: 13\r\nsec-websocket-protocol: chat\r\nsec-websocket-key: {KEY}\r\n\r\n"
).encode()
CONNECT: Fields = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "a"),
    (":path", "/chat?room=1"),
    ("origin", "http://o"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
]
KINDS = ["h2-h1", "h1-h2", "h2-h2"]  # the protocols of client and upstream


class End(Protocol):
    """One end of a tunnel."""

    def gives(self, data: bytes) -> None:
        """Send."""

    def taken(self) -> bytes:
        """Give what came since this was asked last."""

    def ends(self) -> None:
        """Send no more: FIN, or END_STREAM."""

    def aborts(self) -> None:
        """End by RST, or RST_STREAM CANCEL."""

    def ended(self) -> bool:
        """Whether the other side sends no more."""

    def aborted(self) -> bool:
        """Whether the other side has ended with RST, or RST_STREAM CANCEL."""


class PlainEnd:
    """An end in HTTP/1.1."""

    def __init__(self, transport: FakeTransport) -> None:
        self.transport = transport

    def gives(self, data: bytes) -> None:
        self.transport.gives(data)

    def taken(self) -> bytes:
        return self.transport.taken()

    def ends(self) -> None:
        self.transport.ends()

    def aborts(self) -> None:
        self.transport.lost(ConnectionResetError())

    def ended(self) -> bool:
        return self.transport.ended or (self.transport.closing and not self.transport.aborted)

    def aborted(self) -> bool:
        return self.transport.aborted


class StreamEnd:
    """An end in HTTP/2."""

    def __init__(self, peer: Peer, sid: int) -> None:
        self.peer = peer
        self.sid = sid
        self.seen = 0

    def gives(self, data: bytes) -> None:
        self.peer.say(self.sid, data)

    def taken(self) -> bytes:
        came = self.peer.sync().body(self.sid)[self.seen :]
        self.seen += len(came)
        return came

    def ends(self) -> None:
        self.peer.h2.end_stream(self.sid)
        self.peer.sync()

    def aborts(self) -> None:
        try:
            self.peer.h2.reset_stream(self.sid, 8)
        except StreamClosedError:
            return
        self.peer.sync()

    def ended(self) -> bool:
        return self.peer.sync().ended(self.sid)

    def aborted(self) -> bool:
        return self.peer.sync().reset(self.sid) == 8


class Tunnelled:
    """A stage for one kind of tunnel, and its two ends once it is ``opened``."""

    def __init__(self, kind: str, rules: str = "", offered: bool = True, **options: Any) -> None:
        self.client_kind, self.upstream_kind = kind.split("-")
        self.stage: Stage
        if self.upstream_kind == "h2":
            self.stage = Http2Stage(rules, **options)
            self.stage.connect = offered
        else:
            self.stage = Stage(rules, **options)
        self.client: End
        self.upstream: End
        self.asked: dict[str, str] = {}  # the request's head as the upstream saw it
        self.told: dict[str, str] = {}  # the answer's, as the client did

    def ask(self) -> None:
        """The client asks for a WebSocket."""
        transport = self.stage.client()
        if self.client_kind == "h1":
            self.client = PlainEnd(transport)
            transport.gives(UPGRADE)
        else:
            peer = Peer(transport, True)
            sid = peer.h2.get_next_available_stream_id()
            peer.head(sid, CONNECT)
            self.client = StreamEnd(peer, sid)

    async def asked_for(self) -> None:
        """Let the request arrive."""
        if isinstance(self.stage, Http2Stage):
            server = await self.stage.server()
            sid = server.requests()[-1]
            self.upstream = StreamEnd(server, sid)
            self.asked = {
                str(name): str(value)
                for event in server.events
                if getattr(event, "stream_id", 0) == sid and hasattr(event, "headers")
                for name, value in event.headers
            }
        else:
            transport = await self.stage.connected()
            self.upstream = PlainEnd(transport)
            self.asked = lines(transport.taken())

    def answer(self, *fields: tuple[str, str], status: int = 0, body: bytes = b"", end: bool = False) -> None:
        """The upstream agrees, or answers with a status."""
        if isinstance(self.upstream, StreamEnd):
            length = [("content-length", str(len(body)))] if status else []
            self.upstream.peer.head(
                self.upstream.sid, [(":status", str(status or 200)), *length, *fields], end
            )
            if body:
                self.upstream.peer.say(self.upstream.sid, body, True)
            return
        assert isinstance(self.upstream, PlainEnd)
        more = "".join(f"{name}: {value}\r\n" for name, value in fields)
        if status:
            head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n{more}\r\n"
        else:
            accept = accept_of(self.asked["sec-websocket-key"].encode()).decode()
            head = "HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
            head += f"sec-websocket-accept: {accept}\r\n{more}\r\n"
        self.upstream.transport.gives(head.encode() + body)

    def hear(self) -> bytes:
        """Take the answer's head as the client gets it; gives what came of a body."""
        if isinstance(self.client, StreamEnd):
            self.told = self.client.peer.sync().fields(self.client.sid)
            return self.client.taken()
        data = self.client.taken()
        head, _, rest = data.partition(b"\r\n\r\n")
        self.told = lines(head)
        self.told[":status"] = head.split(b" ")[1].decode()
        return rest

    async def opened(self) -> "Tunnelled":
        """Open the tunnel."""
        self.ask()
        await self.asked_for()
        self.answer(("sec-websocket-protocol", "chat"))
        assert self.hear() == b""
        assert self.told[":status"] == ("101" if self.client_kind == "h1" else "200")
        return self

    def ends_of(self, way: str) -> tuple[End, End]:
        """Give where the bytes of a direction come from and where they go."""
        return (self.client, self.upstream) if way == "request_body" else (self.upstream, self.client)


def lines(head: bytes) -> dict[str, str]:
    """Read the lines of a head of HTTP/1.1, its first under ""."""
    first, _, rest = head.decode().partition("\r\n")
    return {"": first} | {
        name.lower(): value for name, value in re.findall(r"([^:\r\n]+): ?([^\r\n]*)", rest)
    }
