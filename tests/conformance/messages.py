"""http2, sections 7 and 8: error codes and messages."""

from tests.conformance.cases import case
from tests.conformance.peer import END_HEADERS, PUSH_PROMISE, Fields, Peer, usual


@case("http2/7/1", "Sends a GOAWAY frame with unknown error code")
def _(peer: Peer) -> None:
    peer.goaway(0xFF, b"")
    peer.ping(b"h2spec\0\0")
    peer.wants_pong_or_close(b"h2spec\0\0")


@case("http2/7/2", "Sends a RST_STREAM frame with unknown error code")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.reset(code=0xFF)
    peer.ping()
    peer.wants_pong()


@case("http2/8.1/1", "Sends a second HEADERS frame without the END_STREAM flag")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.data(end=False)
    peer.headers([("x-test", "ok")], end=False)
    peer.wants_stream_error("PROTOCOL_ERROR")


def _malformed(number: str, name: str, fields: Fields) -> None:
    """Add the case that a request with these fields is malformed."""

    @case(f"http2/{number}", name)
    def run(peer: Peer) -> None:
        peer.headers(fields)
        peer.wants_stream_error("PROTOCOL_ERROR")


_malformed(
    "8.1.2/1",
    "Sends a HEADERS frame that contains the header field name in uppercase letters",
    usual("GET", ("X-TEST", "ok")),
)
_malformed(
    "8.1.2.1/1",
    "Sends a HEADERS frame that contains a unknown pseudo-header field",
    usual("GET", (":test", "ok")),
)
_malformed(
    "8.1.2.1/2",
    "Sends a HEADERS frame that contains the pseudo-header field defined for response",
    usual("GET", (":status", "200")),
)


@case("http2/8.1.2.1/3", "Sends a HEADERS frame that contains a pseudo-header field as trailers")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.data(end=False)
    peer.headers([(":method", "POST")], end=False)
    peer.wants_stream_error("PROTOCOL_ERROR")


_malformed(
    "8.1.2.1/4",
    "Sends a HEADERS frame that contains a pseudo-header field that appears in a header block after a "
    "regular header field",
    [("x-test", "ok"), *usual()],
)
_malformed(
    "8.1.2.2/1",
    "Sends a HEADERS frame that contains the connection-specific header field",
    usual("GET", ("connection", "keep-alive")),
)
_malformed(
    "8.1.2.2/2",
    'Sends a HEADERS frame that contains the TE header field with any value other than "trailers"',
    usual("GET", ("trailers", "test"), ("te", "trailers, deflate")),
)
_malformed(
    "8.1.2.3/1",
    'Sends a HEADERS frame with empty ":path" pseudo-header field',
    [(name, "" if name == ":path" else value) for name, value in usual()],
)
for _place, _missing in ((2, ":method"), (3, ":scheme"), (4, ":path")):
    _malformed(
        f"8.1.2.3/{_place}",
        f'Sends a HEADERS frame that omits "{_missing}" pseudo-header field',
        [field for field in usual() if field[0] != _missing],
    )
for _place, _repeated in ((5, ":method"), (6, ":scheme"), (7, ":path")):
    _malformed(
        f"8.1.2.3/{_place}",
        f'Sends a HEADERS frame with duplicated "{_repeated}" pseudo-header field',
        usual() + [field for field in usual() if field[0] == _repeated],
    )


@case(
    "http2/8.1.2.6/1",
    'Sends a HEADERS frame with the "content-length" header field which does not equal the DATA frame '
    "payload length",
)
def _(peer: Peer) -> None:
    peer.headers(usual("POST", ("content-length", "1")), end=False)
    peer.data()
    peer.wants_stream_error("PROTOCOL_ERROR")


@case(
    "http2/8.1.2.6/2",
    'Sends a HEADERS frame with the "content-length" header field which does not equal the sum of the '
    "multiple DATA frames payload length",
)
def _(peer: Peer) -> None:
    peer.headers(usual("POST", ("content-length", "1")), end=False)
    peer.data(end=False)
    peer.data()
    peer.wants_stream_error("PROTOCOL_ERROR")


@case("http2/8.2/1", "Sends a PUSH_PROMISE frame")
def _(peer: Peer) -> None:
    peer.write(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\3" + peer.encode(usual()))
    peer.wants_connection_error("PROTOCOL_ERROR")
