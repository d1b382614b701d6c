"""http2, sections 3 to 5: preface, frames, streams."""

from tests.conformance.cases import case
from tests.conformance.peer import (
    GOAWAY,
    INITIAL_WINDOW,
    MAX_STREAMS,
    PING,
    PREFACE,
    SETTINGS,
    WITH_PRIORITY,
    ZEROES,
    Peer,
    dummies,
    frame,
    usual,
)

UNKNOWN = frame(0x16, 0, 0, ZEROES)
PING_ON_A_STREAM = frame(PING, 0, 3, ZEROES)
MOST = 16384


@case("http2/3.5/1", "Sends client connection preface", handshake=False)
def _(peer: Peer) -> None:
    peer.raw(PREFACE)
    peer.change((INITIAL_WINDOW, 65535))
    first = next(peer.frames())
    assert first.kind == SETTINGS, first
    assert first.flags == 0, first


@case("http2/3.5/2", "Sends invalid connection preface", handshake=False)
def _(peer: Peer) -> None:
    peer.raw(b"INVALID CONNECTION PREFACE\r\n\r\n")
    peer.wants_close()


@case("http2/4.1/1", "Sends a frame with unknown type")
def _(peer: Peer) -> None:
    peer.raw(UNKNOWN)
    peer.ping()
    peer.wants_pong()


@case("http2/4.1/2", "Sends a frame with undefined flag")
def _(peer: Peer) -> None:
    peer.raw(frame(PING, 0x16, 0, ZEROES))
    peer.first(PING)


@case("http2/4.1/3", "Sends a frame with reserved field bit")
def _(peer: Peer) -> None:
    peer.raw(frame(PING, 0x16, 1 << 31, ZEROES))
    peer.first(PING)


@case("http2/4.2/1", "Sends a DATA frame with 2^14 octets in length")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.data(b"x" * MOST)
    peer.wants_headers()


@case("http2/4.2/2", "Sends a large size DATA frame that exceeds the SETTINGS_MAX_FRAME_SIZE")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.data(b"x" * (MOST + 1))
    peer.wants_stream_error("FRAME_SIZE_ERROR")


@case("http2/4.2/3", "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE")
def _(peer: Peer) -> None:
    block = peer.encode(usual() + dummies(5))
    assert len(block) > MOST
    peer.headers(block)
    peer.wants_connection_error("FRAME_SIZE_ERROR")


@case("http2/4.3/1", "Sends invalid header block fragment")
def _(peer: Peer) -> None:
    peer.headers(b"\x40")
    peer.wants_connection_error("COMPRESSION_ERROR")


@case("http2/4.3/2", "Sends a PRIORITY frame while sending the header blocks")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False, whole=False)
    peer.priority(1)
    peer.continuation(dummies(1))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/4.3/3", "Sends a HEADERS frame to another stream while sending the header blocks")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False, whole=False)
    peer.headers(usual(), sid=3)
    peer.continuation(dummies(1))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/5.1/1", "idle: Sends a DATA frame")
def _(peer: Peer) -> None:
    peer.data()
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/5.1/2", "idle: Sends a RST_STREAM frame")
def _(peer: Peer) -> None:
    peer.reset()
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/5.1/3", "idle: Sends a WINDOW_UPDATE frame")
def _(peer: Peer) -> None:
    peer.window_update(1, 100)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/5.1/4", "idle: Sends a CONTINUATION frame")
def _(peer: Peer) -> None:
    peer.continuation(usual())
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/5.1/5", "half closed (remote): Sends a DATA frame")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.data()
    peer.wants_stream_error("STREAM_CLOSED")


@case("http2/5.1/6", "half closed (remote): Sends a HEADERS frame")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.headers(usual())
    peer.wants_stream_error("STREAM_CLOSED")


@case("http2/5.1/7", "half closed (remote): Sends a CONTINUATION frame")
def _(peer: Peer) -> None:
    block = peer.encode(usual())
    peer.headers(block)
    peer.continuation(block)
    peer.wants_stream_error("STREAM_CLOSED", "PROTOCOL_ERROR")


@case("http2/5.1/8", "closed: Sends a DATA frame after sending RST_STREAM frame")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False)
    peer.reset()
    peer.data()
    peer.wants_stream_error("STREAM_CLOSED")


@case("http2/5.1/9", "closed: Sends a HEADERS frame after sending RST_STREAM frame")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False)
    peer.reset()
    peer.headers(usual())
    peer.wants_stream_error("STREAM_CLOSED")


@case("http2/5.1/10", "closed: Sends a CONTINUATION frame after sending RST_STREAM frame")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False)
    peer.reset()
    peer.continuation(dummies(1))
    peer.wants_stream_error("STREAM_CLOSED", "PROTOCOL_ERROR")


@case("http2/5.1/11", "closed: Sends a DATA frame")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.wants_end()
    peer.data()
    peer.wants_stream_error("STREAM_CLOSED")


@case("http2/5.1/12", "closed: Sends a HEADERS frame")
def _(peer: Peer) -> None:
    block = peer.encode(usual())
    peer.headers(block)
    peer.wants_end()
    peer.headers(block)
    peer.wants_connection_error("STREAM_CLOSED")


@case("http2/5.1/13", "closed: Sends a CONTINUATION frame")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.wants_end()
    peer.continuation(dummies(1))
    peer.wants_connection_error("STREAM_CLOSED", "PROTOCOL_ERROR")


@case("http2/5.1.1/1", "Sends even-numbered stream identifier")
def _(peer: Peer) -> None:
    peer.headers(usual(), sid=2)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/5.1.1/2", "Sends stream identifier that is numerically smaller than previous")
def _(peer: Peer) -> None:
    peer.headers(usual(), sid=5)
    peer.headers(usual(), sid=3)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case(
    "http2/5.1.2/1",
    "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
)
def _(peer: Peer) -> None:
    most = peer.settings[MAX_STREAMS]
    peer.change((INITIAL_WINDOW, 0))
    for place in range(most + 1):
        peer.headers(usual(), sid=2 * place + 1)
    peer.wants_stream_error("PROTOCOL_ERROR", "REFUSED_STREAM")


@case("http2/5.3.1/1", "Sends HEADERS frame that depend on itself")
def _(peer: Peer) -> None:
    peer.headers(b"\0\0\0\1\xff" + peer.encode(usual()), flags=WITH_PRIORITY)
    peer.wants_stream_error("PROTOCOL_ERROR")


@case("http2/5.3.1/2", "Sends PRIORITY frame that depend on itself")
def _(peer: Peer) -> None:
    peer.priority(1, on=1)
    peer.wants_stream_error("PROTOCOL_ERROR")


@case("http2/5.4.1/1", "Sends an invalid PING frame for connection close")
def _(peer: Peer) -> None:
    peer.raw(PING_ON_A_STREAM)
    peer.wants_close()


@case("http2/5.4.1/2", "Sends an invalid PING frame to receive GOAWAY frame")
def _(peer: Peer) -> None:
    peer.raw(PING_ON_A_STREAM)
    came = peer.first(GOAWAY)
    assert came.code == 1, came


@case("http2/5.5/1", "Sends an unknown extension frame")
def _(peer: Peer) -> None:
    peer.raw(UNKNOWN)
    peer.ping()
    peer.wants_pong()


@case("http2/5.5/2", "Sends an unknown extension frame in the middle of a header block")
def _(peer: Peer) -> None:
    peer.headers(usual(), whole=False)
    peer.raw(UNKNOWN)
    peer.wants_connection_error("PROTOCOL_ERROR")
