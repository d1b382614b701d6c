"""Whole conversations with the `h2` library, in both roles: any messages, any windows, any splits."""

from collections.abc import Iterable

import h2.config
import h2.connection
import h2.events
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.h2 import (
    CLIENT,
    DATA,
    END,
    HEAD,
    NEED,
    SERVER,
    TRAILERS,
    WRITABLE,
    H2Connection,
    H2Settings,
)
from proxy.wire.h2_block import Block
from proxy.wire.h2_field import Field, interned
from proxy.wire.h2_streams import Stream
from proxy.wire.hpack_encode import literal

Pairs = list[tuple[bytes, bytes]]

NAMES = st.sampled_from([b"accept", b"x-a", b"x-b", b"cookie", b"grpc-timeout"])
VALUES = st.sampled_from([b"", b"1", b"text/html, */*", b"x" * 300, b"\xc3\xa9", b"a\tb"])
MORE = st.lists(st.tuples(NAMES, VALUES), max_size=4)
BODIES = st.lists(st.integers(0, 50) | st.sampled_from([20000, 40000]), max_size=3)
TRAILERS_OF = st.none() | st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=3)
MESSAGES = st.tuples(MORE, BODIES, TRAILERS_OF)
EXCHANGES = st.lists(st.tuples(MESSAGES, MESSAGES), min_size=1, max_size=3)
STEPS = st.sampled_from([0, 1, 7, 1000])
WINDOWS = st.sampled_from([1000, 65535, 262144])

Message = tuple[Pairs, list[int], Pairs | None]  # fields, sizes of the pieces of content, trailers

REQUEST: Pairs = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/x"),
    (b":authority", b"a.example"),
]
RESPONSE: Pairs = [(b":status", b"200")]
EXTRA: Pairs = [(b"via", b"1.1 misrule")]


class Heard:
    """What one side heard on a stream."""

    def __init__(self) -> None:
        self.head: Pairs = []
        self.body = b""
        self.trailers: Pairs | None = None
        self.ended = 0

    def __repr__(self) -> str:
        return f"{self.head} {len(self.body)} {self.trailers} {self.ended}"


def pieces(sizes: list[int]) -> list[bytes]:
    return [bytes((97 + place,)) * size for place, size in enumerate(sizes)]


def wanted(start: Pairs, message: Message) -> tuple[Pairs, bytes, Pairs | None, int]:
    more, body, trailers = message
    return (start + more, b"".join(pieces(body)), trailers, 1)


def heard(found: Heard) -> tuple[Pairs, bytes, Pairs | None, int]:
    return (found.head, found.body, found.trailers, found.ended)


def block(fields: Pairs) -> Block:
    return Block.of([interned(name, value) for name, value in fields])


class Us:
    """Our codec with an owner that credits what it hears at once, and sends what it is told to."""

    def __init__(self, role: int, window: int) -> None:
        self.connection = H2Connection(role, H2Settings(initial_window=window, connection_window=70000))
        self.connection.start()
        self.heard: dict[int, Heard] = {}
        self.complete: list[Stream] = []

    def send(self, stream: Stream, start: Pairs, message: Message) -> None:
        more, body, trailers = message
        fields = block(start + more)
        extra = b"".join(literal(name, value) for name, value in EXTRA)
        ends = not body and trailers is None
        self.connection.send_headers(stream, fields, extra, ends)
        for place, piece in enumerate(pieces(body)):
            self.connection.send_data(stream, piece, trailers is None and place == len(body) - 1)
        if trailers is not None:
            self.connection.send_trailers(stream, Block.of([Field(n, v, 0) for n, v in trailers]))

    def feed(self, data: bytes) -> None:
        connection = self.connection
        connection.feed(data, 0.0)
        while (event := connection.next()) != NEED:
            stream = connection.stream
            found = self.heard.setdefault(int(stream.sid), Heard())
            fields = [(field.name, field.value) for field in connection.block.fields]
            if event == HEAD:
                found.head = fields
            elif event == DATA:
                found.body += connection.piece
                connection.credit(stream, connection.flow)
            elif event == TRAILERS:
                found.trailers = fields
            if event in (END, TRAILERS) or (event in (HEAD, DATA) and connection.end):
                found.ended += 1
                self.complete.append(stream)
            assert event in (HEAD, DATA, TRAILERS, END, WRITABLE, 9), event

    def take(self) -> bytes:
        whole = self.connection.take()
        return whole if isinstance(whole, bytes) else b"".join(whole)


class Them:
    """The library, likewise; what its windows do not allow waits here."""

    def __init__(self, client: bool) -> None:
        config = h2.config.H2Configuration(
            client_side=client, header_encoding=None, normalize_inbound_headers=False
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.heard: dict[int, Heard] = {}
        self.complete: list[int] = []
        self.waiting: dict[int, tuple[list[bytes], Pairs | None]] = {}

    def send(self, sid: int, start: Pairs, message: Message) -> None:
        more, body, trailers = message
        self.connection.send_headers(sid, start + more, end_stream=not body and trailers is None)
        if body or trailers is not None:
            self.waiting[sid] = (pieces(body), trailers)
            self.go_on(sid)

    def go_on(self, sid: int) -> None:
        """Send what the windows allow."""
        body, trailers = self.waiting[sid]
        connection = self.connection
        while body:
            room = max(0, min(connection.local_flow_control_window(sid), connection.max_outbound_frame_size))
            part = body[0][:room]
            if len(part) < len(body[0]) and not part:
                return
            body[0] = body[0][len(part) :]
            if not body[0]:
                body.pop(0)
            connection.send_data(sid, part, end_stream=not body and trailers is None)
        if trailers is not None:
            connection.send_headers(sid, trailers, end_stream=True)
        del self.waiting[sid]

    def feed(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            self.on_event(event)
        for sid in list(self.waiting):
            self.go_on(sid)

    def on_event(self, event: object) -> None:
        sid = getattr(event, "stream_id", None) or 0
        found = self.heard.setdefault(sid, Heard())
        if isinstance(event, h2.events.RequestReceived | h2.events.ResponseReceived):
            found.head = plain(event.headers or ())
        elif isinstance(event, h2.events.TrailersReceived):
            found.trailers = plain(event.headers or ())
        elif isinstance(event, h2.events.DataReceived):
            found.body += event.data or b""
            self.connection.acknowledge_received_data(event.flow_controlled_length or 0, sid)
        elif isinstance(event, h2.events.StreamEnded):
            found.ended += 1
            self.complete.append(sid)
        assert not isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated)


def plain(fields: Iterable[tuple[object, object]]) -> Pairs:
    return [(bytes(str(n), "latin-1") if isinstance(n, str) else bytes(n), bytes(v)) for n, v in fields]  # type: ignore[call-overload]


def pump(us: Us, them: Them, step: int) -> bool:
    """Carry bytes both ways once; False when there were none."""
    ours, theirs = us.take(), them.connection.data_to_send()
    if step:
        step = max(step, (len(ours) + len(theirs)) // 100)  # large bodies in larger steps
    for at in range(0, len(ours), step or len(ours) or 1):
        them.feed(ours[at : at + step] if step else ours)
    for at in range(0, len(theirs), step or len(theirs) or 1):
        us.feed(theirs[at : at + step] if step else theirs)
    return bool(ours or theirs)


@given(EXCHANGES, STEPS, WINDOWS)
def test_requests_of_the_library(exchanges: list[tuple[Message, Message]], step: int, window: int) -> None:
    us, them = Us(SERVER, window), Them(True)
    for place, (request, _) in enumerate(exchanges):
        them.send(2 * place + 1, REQUEST, request)
    while pump(us, them, step):
        for stream in us.complete:
            us.send(stream, RESPONSE, exchanges[int(stream.sid) // 2][1])
        us.complete.clear()
    for place, (request, response) in enumerate(exchanges):
        assert heard(us.heard[2 * place + 1]) == wanted(REQUEST, request)
        assert heard(them.heard[2 * place + 1]) == wanted(RESPONSE, with_extra(response))
    assert us.connection.streams == {}
    assert us.connection.held == 0


@given(EXCHANGES, STEPS, WINDOWS)
def test_requests_to_the_library(exchanges: list[tuple[Message, Message]], step: int, window: int) -> None:
    us, them = Us(CLIENT, window), Them(False)
    for request, _ in exchanges:
        stream = us.connection.open(0.0)
        assert stream is not None
        us.send(stream, REQUEST, request)
    while pump(us, them, step):
        for sid in them.complete:
            them.send(sid, RESPONSE, exchanges[sid // 2][1])
        them.complete.clear()
    for place, (request, response) in enumerate(exchanges):
        assert heard(them.heard[2 * place + 1]) == wanted(REQUEST, with_extra(request))
        assert heard(us.heard[2 * place + 1]) == wanted(RESPONSE, response)
    assert us.connection.streams == {}
    assert us.connection.held == 0


def with_extra(message: Message) -> Message:
    """What a message is with the fields that we put behind its own."""
    more, body, trailers = message
    return (more + EXTRA, body, trailers)
