"""Our own HTTP/2 client, on the package ``h2``: it checks answers, and it holds streams open."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from benchmarks.load.client import WrongAnswer, connect
from benchmarks.load.rulesets import GRPC_HEADERS, GRPC_PATH, REQUEST_HEADERS, grpc_message

TROUBLES = (OSError, h2.exceptions.H2Error)
STREAMS_PER_CONNECTION: int = 100  # what servers usually allow


def _texts(headers: Iterable[tuple[str | bytes, str | bytes]]) -> dict[str, str]:
    """Give fields as text, whichever form this version of h2 gives them in."""
    return {_text(name): _text(value) for name, value in headers}


def _text(one: str | bytes) -> str:
    return one if isinstance(one, str) else one.decode()


class Peer:
    """One connection: sends requests, and gathers what comes on each stream."""

    def __init__(self, port: int) -> None:
        self._socket = connect(port)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self.status: dict[int, int] = {}
        self.trailers: dict[int, dict[str, str]] = {}
        self.content: dict[int, bytearray] = {}
        self.ended: set[int] = set()

    def send(self, path: str, headers: Mapping[str, str], body: bytes, end: bool = True) -> int:
        """Send a request (POST when it has a body) and give its stream; ``end`` False leaves it open."""
        fields = dict(headers)
        host = fields.pop("host", "127.0.0.1")
        pseudo = [(":method", "POST" if body else "GET"), (":scheme", "http"), (":authority", host)]
        sid = self._h2.get_next_available_stream_id()
        self._h2.send_headers(sid, [*pseudo, (":path", path), *fields.items()], end_stream=not body)
        self.content[sid] = bytearray()
        while body:
            room = min(self._h2.local_flow_control_window(sid), self._h2.max_outbound_frame_size)
            if room:
                piece, body = body[:room], body[room:]
                self._h2.send_data(sid, piece, end_stream=end and not body)
            else:
                self.read()
        self._flush()
        return sid

    def read(self) -> None:
        """Take in what comes next; raises WrongAnswer when the connection or a stream is lost."""
        self._flush()
        data = self._socket.recv(65536)
        if not data:
            raise WrongAnswer("the connection ended inside an answer")
        for event in self._h2.receive_data(data):
            self._on(event)
        self._flush()

    def _on(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.status[event.stream_id] = int(_texts(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.content[event.stream_id] += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.trailers[event.stream_id] = _texts(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            raise WrongAnswer(f"ended by code {event.error_code}")

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._socket.sendall(data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@contextmanager
def peer(port: int) -> Iterator[Peer]:
    """Open a connection for a while; what goes wrong on it is WrongAnswer."""
    try:
        made = Peer(port)
    except TROUBLES as trouble:
        raise WrongAnswer(repr(trouble)) from trouble
    try:
        yield made
    except TROUBLES as trouble:
        raise WrongAnswer(repr(trouble)) from trouble
    finally:
        made.close()


def ask(
    port: int, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> tuple[int, bytes]:
    """Ask once on a new connection; give status and body."""
    with peer(port) as one:
        sid = one.send(path, {**REQUEST_HEADERS, **(headers or {})}, body)
        while sid not in one.ended:
            one.read()
        return one.status[sid], bytes(one.content[sid])


def call(port: int, message: bytes) -> tuple[bytes, str]:
    """Make a unary call to the echo; give what came back, and the status of gRPC."""
    with peer(port) as one:
        sid = one.send(GRPC_PATH, GRPC_HEADERS, message)
        while sid not in one.ended:
            one.read()
        return bytes(one.content[sid]), one.trailers.get(sid, {}).get("grpc-status", "")


def expect_echo(port: int) -> None:
    """Raise WrongAnswer unless a unary call comes back whole and with its trailers."""
    got = call(port, grpc_message())
    if got != (grpc_message(), "0"):
        raise WrongAnswer(f"a call gave {len(got[0])} bytes and the status {got[1]!r}")


def answers(port: int, path: str) -> bool:
    """Tell whether something at ``port`` answers 200 by HTTP/2."""
    try:
        return ask(port, path)[0] == 200
    except (WrongAnswer, KeyError):
        return False


@contextmanager
def held(port: int, count: int) -> Iterator[None]:
    """Hold ``count`` calls open, each of which has had a message back and waits for the next."""
    message = grpc_message()
    peers: list[Peer] = []
    try:
        while len(peers) * STREAMS_PER_CONNECTION < count:
            one = Peer(port)
            peers.append(one)
            more = min(STREAMS_PER_CONNECTION, count - (len(peers) - 1) * STREAMS_PER_CONNECTION)
            sids = [one.send(GRPC_PATH, GRPC_HEADERS, message, end=False) for _ in range(more)]
            while any(len(one.content[sid]) < len(message) for sid in sids):
                one.read()
        yield
    except h2.exceptions.H2Error as trouble:
        raise WrongAnswer(repr(trouble)) from trouble
    finally:
        for one in peers:
            one.close()
