"""WebSockets for tests: an echo by the package websockets, and its frames on a stream of HTTP/2.

The package speaks HTTP/1.1 only; what it makes and reads of frames is all that a stream needs (RFC 8441).
"""

import contextlib
import threading
from collections.abc import Iterator

from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, SERVER, Protocol
from websockets.sync.server import Server, ServerConnection, serve

from tests.support.h2_peer import Fields, Heard, Peer

CONNECT_PROTOCOL = 8  # SETTINGS_ENABLE_CONNECT_PROTOCOL
ASK: Fields = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "shop.example"),
    (":path", "/chat"),
    ("sec-websocket-version", "13"),
]
_DEFLATE = (
    "sec-websocket-extensions",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
)


@contextlib.contextmanager
def echo_server() -> Iterator[str]:
    """A WebSocket server that sends back what it gets; "bye" makes it close with 4001."""

    def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosedError):
            converse(connection)

    def converse(connection: ServerConnection) -> None:
        for message in connection:
            if message == "bye":
                connection.close(4001, "so long")
            else:
                connection.send(message)

    server: Server = serve(talk, "127.0.0.1", 0, max_size=None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.socket.getsockname()[1]}"
    server.shutdown()
    thread.join()


class Chat:
    """One end of a WebSocket on a stream, once its head has been answered."""

    def __init__(self, peer: Peer, stream: Heard, client: bool) -> None:
        self.peer = peer
        self.stream = stream
        self.protocol = Protocol(CLIENT if client else SERVER, max_size=None)
        self.protocol.extensions = [PerMessageDeflate(True, True, 15, 15)]
        self.seen = 0
        self.found: list[Frame] = []  # that came and were not received yet

    @classmethod
    def to(cls, peer: Peer) -> "Chat":
        """Ask for a WebSocket with permessage-deflate, as a client."""
        peer.until(lambda: peer.settings.get(CONNECT_PROTOCOL) == 1, what="the setting")
        stream = peer.open([*ASK, _DEFLATE], end=False)
        peer.until(lambda: stream.headers, what="the answer")
        assert stream.status == 200
        assert stream.get("sec-websocket-extensions")
        return cls(peer, stream, True)

    @classmethod
    def answer(cls, peer: Peer, asked: Heard) -> "Chat":
        """Agree to a WebSocket, as a server."""
        peer.head(asked.sid, [(":status", "200"), _DEFLATE])
        return cls(peer, asked, False)

    def flush(self) -> None:
        """Send what the protocol has to say; an empty piece is the end."""
        for data in self.protocol.data_to_send():
            if data:
                self.peer.push(self.stream.sid, data)
            else:
                self.peer.push(self.stream.sid, b"", True)

    def frames(self) -> list[Frame]:
        """Give the frames that have come."""
        data = self.stream.body[self.seen :]
        assert self.stream.length == len(self.stream.body), "more than is kept"
        self.seen += len(data)
        if data:
            self.protocol.receive_data(data)
        if self.stream.ended:
            self.protocol.receive_eof()
        self.flush()
        return [event for event in self.protocol.events_received() if isinstance(event, Frame)]

    def receive(self) -> Frame:
        """Wait for one whole message, or control frame; fragments are put together."""
        whole = b""
        first: Opcode | None = None
        while True:
            while not self.found:
                self.peer.until(lambda: self.stream.length > self.seen, what="a frame")
                self.found = self.frames()
            frame = self.found.pop(0)
            if frame.opcode in (Opcode.PONG, Opcode.PING, Opcode.CLOSE):
                return frame
            first = frame.opcode if first is None else first
            whole += bytes(frame.data)
            if frame.fin:
                return Frame(first, whole)

    def send(self, data: bytes, binary: bool = False) -> None:
        """Send a message."""
        if binary:
            self.protocol.send_binary(data)
        else:
            self.protocol.send_text(data)
        self.flush()


def echo(peer: Peer, asked: Heard) -> None:
    """Play for ``ScriptedH2.on_head``: as ``echo_server``, fragments as fragments."""
    if asked.get(":protocol") != "websocket":
        return
    chat = Chat.answer(peer, asked)
    while not peer.gone and not asked.ended and asked.reset is None:
        peer.step(0.02)
        for frame in chat.frames():
            if frame.opcode is Opcode.TEXT and bytes(frame.data) == b"bye":
                chat.protocol.send_close(4001, "so long")
            elif frame.opcode is Opcode.TEXT:
                chat.protocol.send_text(bytes(frame.data), frame.fin)
            elif frame.opcode is Opcode.BINARY:
                chat.protocol.send_binary(bytes(frame.data), frame.fin)
            elif frame.opcode is Opcode.CONT:
                chat.protocol.send_continuation(bytes(frame.data), frame.fin)
        chat.flush()
