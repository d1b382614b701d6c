"""http2, section 6: frame definitions."""

from tests.conformance.cases import case
from tests.conformance.peer import (
    ACK,
    DATA,
    ENABLE_PUSH,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    MAX_FRAME,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ZEROES,
    Peer,
    dummies,
    setting,
    usual,
)

MOST_WINDOW = 2147483647


@case("http2/6.1/1", "Sends a DATA frame with 0x0 stream identifier")
def _(peer: Peer) -> None:
    peer.data(sid=0)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case(
    "http2/6.1/2",
    'Sends a DATA frame on the stream that is not in "open" or "half-closed (local)" state',
)
def _(peer: Peer) -> None:
    peer.headers(usual("POST"))
    peer.data()
    peer.wants_stream_error("STREAM_CLOSED")


@case("http2/6.1/3", "Sends a DATA frame with invalid pad length")
def _(peer: Peer) -> None:
    peer.headers(usual("POST", ("content-length", "4")), end=False)
    peer.write(DATA, PADDED | 1, 1, b"\x06Test")
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.2/1", "Sends a HEADERS frame without the END_HEADERS flag, and a PRIORITY frame")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False, whole=False)
    peer.priority(1)
    peer.continuation(dummies(1))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.2/2", "Sends a HEADERS frame to another stream while sending a HEADERS frame")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False, whole=False)
    peer.headers(usual(), sid=3)
    peer.continuation(dummies(1))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.2/3", "Sends a HEADERS frame with 0x0 stream identifier")
def _(peer: Peer) -> None:
    peer.headers(usual(), sid=0)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.2/4", "Sends a HEADERS frame with invalid pad length")
def _(peer: Peer) -> None:
    block = peer.encode(usual())
    peer.write(HEADERS, PADDED | 5, 1, bytes((len(block) + 2,)) + block)
    peer.wants_stream_error("PROTOCOL_ERROR")


@case("http2/6.3/1", "Sends a PRIORITY frame with 0x0 stream identifier")
def _(peer: Peer) -> None:
    peer.priority(0)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.3/2", "Sends a PRIORITY frame with a length other than 5 octets")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.write(PRIORITY, 0, 1, b"\x80\0\0\1")
    peer.wants_stream_error("FRAME_SIZE_ERROR")


@case("http2/6.4/1", "Sends a RST_STREAM frame with 0x0 stream identifier")
def _(peer: Peer) -> None:
    peer.reset(0)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.4/2", "Sends a RST_STREAM frame on a idle stream")
def _(peer: Peer) -> None:
    peer.reset(1)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.4/3", "Sends a RST_STREAM frame with a length other than 4 octets")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.write(RST_STREAM, 0, 1, bytes(3))
    peer.wants_stream_error("FRAME_SIZE_ERROR")


@case("http2/6.5/1", "Sends a SETTINGS frame with ACK flag and payload")
def _(peer: Peer) -> None:
    peer.write(SETTINGS, ACK, 0, b"\0")
    peer.wants_connection_error("FRAME_SIZE_ERROR")


@case("http2/6.5/2", "Sends a SETTINGS frame with a stream identifier other than 0x0")
def _(peer: Peer) -> None:
    peer.write(SETTINGS, 0, 1, setting(3, 100))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.5/3", "Sends a SETTINGS frame with a length other than a multiple of 6 octets")
def _(peer: Peer) -> None:
    peer.write(SETTINGS, 0, 0, b"\0\3\0")
    peer.wants_stream_error("PROTOCOL_ERROR", "FRAME_SIZE_ERROR")


@case("http2/6.5.2/1", "SETTINGS_ENABLE_PUSH (0x2): Sends the value other than 0 or 1")
def _(peer: Peer) -> None:
    peer.change((ENABLE_PUSH, 2))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case(
    "http2/6.5.2/2",
    "SETTINGS_INITIAL_WINDOW_SIZE (0x4): Sends the value above the maximum flow control window size",
)
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, MOST_WINDOW + 1))
    peer.wants_connection_error("FLOW_CONTROL_ERROR")


@case("http2/6.5.2/3", "SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value below the initial value")
def _(peer: Peer) -> None:
    peer.change((MAX_FRAME, 16383))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.5.2/4", "SETTINGS_MAX_FRAME_SIZE (0x5): Sends the value above the maximum allowed frame size")
def _(peer: Peer) -> None:
    peer.change((MAX_FRAME, 16777216))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.5.2/5", "Sends a SETTINGS frame with unknown identifier")
def _(peer: Peer) -> None:
    peer.change((0xFF, 1))
    peer.ping()
    peer.wants_pong()


@case("http2/6.5.3/1", "Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE")
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1))
    peer.wants_settings_ack()
    peer.headers(usual())
    peer.wants_data(1)


@case("http2/6.5.3/2", "Sends a SETTINGS frame without ACK flag")
def _(peer: Peer) -> None:
    peer.change((ENABLE_PUSH, 0))
    peer.wants_settings_ack()


@case("http2/6.7/1", "Sends a PING frame")
def _(peer: Peer) -> None:
    peer.ping(b"h2spec\0\0")
    peer.wants_pong(b"h2spec\0\0")


@case("http2/6.7/2", "Sends a PING frame with ACK")
def _(peer: Peer) -> None:
    peer.ping(b"invalid\0", ack=True)
    peer.ping(b"h2spec\0\0")
    peer.wants_pong(b"h2spec\0\0")


@case("http2/6.7/3", "Sends a PING frame with a stream identifier field value other than 0x0")
def _(peer: Peer) -> None:
    peer.write(PING, 0, 1, ZEROES)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.7/4", "Sends a PING frame with a length field value other than 8")
def _(peer: Peer) -> None:
    peer.write(PING, 0, 0, bytes(6))
    peer.wants_connection_error("FRAME_SIZE_ERROR")


@case("http2/6.8/1", "Sends a GOAWAY frame with a stream identifier other than 0x0")
def _(peer: Peer) -> None:
    peer.write(GOAWAY, 0, 1, ZEROES)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.9/1", "Sends a WINDOW_UPDATE frame with a flow control window increment of 0")
def _(peer: Peer) -> None:
    peer.window_update(0, 0)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.9/2", "Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False)
    peer.window_update(1, 0)
    peer.wants_stream_error("PROTOCOL_ERROR")


@case("http2/6.9/3", "Sends a WINDOW_UPDATE frame with a length other than 4 octets")
def _(peer: Peer) -> None:
    peer.write(WINDOW_UPDATE, 0, 0, b"\0\0\1")
    peer.wants_connection_error("FRAME_SIZE_ERROR")


@case("http2/6.9.1/1", "Sends SETTINGS frame to set the initial window size to 1 and sends HEADERS frame")
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, 1))
    peer.wants_settings_ack()
    peer.headers(usual())
    peer.wants_data(1)


@case(
    "http2/6.9.1/2",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1",
)
def _(peer: Peer) -> None:
    peer.window_update(0, MOST_WINDOW)
    peer.window_update(0, MOST_WINDOW)
    came = peer.first(GOAWAY)
    assert came.code == 3, came


@case(
    "http2/6.9.1/3",
    "Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
)
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False)
    peer.window_update(1, MOST_WINDOW)
    peer.window_update(1, MOST_WINDOW)
    came = peer.first(RST_STREAM)
    assert (came.sid, came.code) == (1, 3), came


@case("http2/6.9.2/1", "Changes SETTINGS_INITIAL_WINDOW_SIZE after sending HEADERS frame")
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, 0))
    peer.wants_settings_ack()
    peer.headers(usual())
    peer.change((INITIAL_WINDOW, 1))
    peer.wants_settings_ack()
    peer.wants_data(1)


@case("http2/6.9.2/2", "Sends a SETTINGS frame for window size to be negative")
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, 3))
    peer.wants_settings_ack()
    peer.headers(usual())
    peer.wants_data(3)
    peer.change((INITIAL_WINDOW, 2))
    peer.wants_settings_ack()
    peer.window_update(1, 2)
    peer.wants_data(1)


@case(
    "http2/6.9.2/3",
    "Sends a SETTINGS_INITIAL_WINDOW_SIZE settings with an exceeded maximum window size value",
)
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, MOST_WINDOW + 1))
    peer.wants_connection_error("FLOW_CONTROL_ERROR")


@case("http2/6.10/1", "Sends multiple CONTINUATION frames preceded by a HEADERS frame")
def _(peer: Peer) -> None:
    peer.headers(usual(), whole=False)
    peer.continuation(dummies(1), whole=False)
    peer.continuation(dummies(1))
    peer.wants_headers()


@case("http2/6.10/2", "Sends a CONTINUATION frame followed by any frame other than CONTINUATION")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False, whole=False)
    peer.continuation(dummies(1), whole=False)
    peer.data()
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.10/3", "Sends a CONTINUATION frame with 0x0 stream identifier")
def _(peer: Peer) -> None:
    peer.headers(usual(), whole=False)
    peer.continuation(dummies(1), sid=0)
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.10/4", "Sends a CONTINUATION frame preceded by a HEADERS frame with END_HEADERS flag")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.continuation(dummies(1))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.10/5", "Sends a CONTINUATION frame preceded by a CONTINUATION frame with END_HEADERS flag")
def _(peer: Peer) -> None:
    peer.headers(usual(), whole=False)
    peer.continuation(dummies(1))
    peer.continuation(dummies(1))
    peer.wants_connection_error("PROTOCOL_ERROR")


@case("http2/6.10/6", "Sends a CONTINUATION frame preceded by a DATA frame")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False, whole=False)
    peer.data()
    peer.continuation(dummies(1), whole=False)
    peer.continuation(dummies(1), sid=0)
    peer.wants_connection_error("PROTOCOL_ERROR")
