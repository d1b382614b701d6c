"""generic: what every server should take."""

from tests.conformance.cases import case
from tests.conformance.peer import (
    DATA,
    ENABLE_PUSH,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW,
    MAX_FRAME,
    MAX_LIST,
    MAX_STREAMS,
    PADDED,
    PREFACE,
    SETTINGS,
    TEST,
    WITH_PRIORITY,
    ZEROES,
    Peer,
    usual,
)

H2SPEC = b"h2spec\0\0"


@case("generic/1/1", "Sends a client connection preface", handshake=False)
def _(peer: Peer) -> None:
    peer.raw(PREFACE)
    peer.change((INITIAL_WINDOW, 65535))
    first = next(peer.frames())
    assert first.kind == SETTINGS, first
    assert first.flags == 0, first


@case("generic/2/1", "Sends a PRIORITY frame on idle stream")
def _(peer: Peer) -> None:
    peer.priority(1)
    peer.ping()
    peer.wants_pong()


@case("generic/2/2", "Sends a WINDOW_UPDATE frame on half-closed (remote) stream")
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, 0))
    peer.headers(usual())
    peer.window_update(1, 1)
    peer.first(DATA)


@case("generic/2/3", "Sends a PRIORITY frame on half-closed (remote) stream")
def _(peer: Peer) -> None:
    peer.change((INITIAL_WINDOW, 0))
    peer.headers(usual())
    peer.priority(1)
    peer.window_update(1, 1)
    peer.first(DATA)


@case("generic/2/4", "Sends a RST_STREAM frame on half-closed (remote) stream")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.reset()
    peer.ping()
    peer.wants_pong()


@case("generic/2/5", "Sends a PRIORITY frame on closed stream")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.wants_end()
    peer.priority(1)
    peer.ping()
    peer.wants_pong()


@case("generic/3.1/1", "Sends a DATA frame")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.data()
    peer.wants_headers()


@case("generic/3.1/2", "Sends multiple DATA frames")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.data(end=False)
    peer.data()
    peer.wants_headers()


@case("generic/3.1/3", "Sends a DATA frame with padding")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.write(DATA, PADDED | 1, 1, b"\x05" + TEST + bytes(5))
    peer.wants_headers()


@case("generic/3.2/1", "Sends a HEADERS frame")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.wants_headers()


@case("generic/3.2/2", "Sends a HEADERS frame with padding")
def _(peer: Peer) -> None:
    peer.headers(b"\x08" + peer.encode(usual()) + bytes(8), flags=PADDED)
    peer.wants_headers()


@case("generic/3.2/3", "Sends a HEADERS frame with priority")
def _(peer: Peer) -> None:
    peer.headers(b"\0\0\0\0\xff" + peer.encode(usual()), flags=WITH_PRIORITY)
    peer.wants_headers()


@case("generic/3.3/1", "Sends a PRIORITY frame with priority 1")
def _(peer: Peer) -> None:
    peer.priority(1, weight=0)
    peer.headers(usual())
    peer.wants_headers()


@case("generic/3.3/2", "Sends a PRIORITY frame with priority 256")
def _(peer: Peer) -> None:
    peer.priority(1, weight=255)
    peer.headers(usual())
    peer.wants_headers()


@case("generic/3.3/3", "Sends a PRIORITY frame with stream dependency")
def _(peer: Peer) -> None:
    peer.priority(3, on=1, weight=0)
    peer.headers(usual())
    peer.wants_headers()


@case("generic/3.3/4", "Sends a PRIORITY frame with exclusive")
def _(peer: Peer) -> None:
    peer.priority(1, exclusive=True, weight=0)
    peer.headers(usual())
    peer.wants_headers()


@case(
    "generic/3.3/5",
    "Sends a PRIORITY frame for an idle stream, then send a HEADER frame for a lower stream ID",
)
def _(peer: Peer) -> None:
    peer.priority(3)
    peer.headers(usual())
    peer.wants_headers()


@case("generic/3.4/1", "Sends a RST_STREAM frame")
def _(peer: Peer) -> None:
    peer.headers(usual(), end=False)
    peer.reset()
    peer.ping()
    peer.wants_pong()


@case("generic/3.5/1", "Sends a SETTINGS frame")
def _(peer: Peer) -> None:
    sizes = ((HEADER_TABLE_SIZE, 4096), (MAX_STREAMS, 100), (INITIAL_WINDOW, 65535), (MAX_FRAME, 16384))
    peer.change(*sizes, (ENABLE_PUSH, 1), (MAX_LIST, 100))
    peer.wants_settings_ack()


@case("generic/3.7/1", "Sends a PING frame")
def _(peer: Peer) -> None:
    peer.ping(H2SPEC)
    peer.wants_pong(H2SPEC)


@case("generic/3.8/1", "Sends a GOAWAY frame")
def _(peer: Peer) -> None:
    peer.goaway(0, b"h2spec")
    peer.ping(H2SPEC)
    peer.wants_pong_or_close(H2SPEC)


@case("generic/3.9/1", "Sends a WINDOW_UPDATE frame with stream ID 0")
def _(peer: Peer) -> None:
    peer.window_update(0, 1)
    peer.ping()
    peer.wants_pong(ZEROES)


@case("generic/3.9/2", "Sends a WINDOW_UPDATE frame with stream ID 1")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.window_update(1, 1)
    peer.wants_headers()


@case("generic/3.10/1", "Sends a CONTINUATION frame")
def _(peer: Peer) -> None:
    block = peer.encode(usual())
    peer.headers(block[:5], whole=False)
    peer.continuation(block[5:])
    peer.wants_headers()


@case("generic/3.10/2", "Sends multiple CONTINUATION frames")
def _(peer: Peer) -> None:
    block = peer.encode(usual())
    peer.headers(block[:5], whole=False)
    peer.continuation(block[5:10], whole=False)
    peer.continuation(block[10:])
    peer.wants_headers()


@case("generic/4/1", "Sends a GET request")
def _(peer: Peer) -> None:
    peer.headers(usual())
    peer.wants_headers()


@case("generic/4/2", "Sends a HEAD request")
def _(peer: Peer) -> None:
    peer.headers(usual("HEAD"))
    peer.wants_headers()


@case("generic/4/3", "Sends a POST request")
def _(peer: Peer) -> None:
    peer.headers(usual("POST"), end=False)
    peer.data()
    peer.wants_headers()


@case("generic/4/4", "Sends a POST request with trailers")
def _(peer: Peer) -> None:
    peer.headers(usual("POST", ("trailer", "x-test")), end=False)
    peer.data(end=False)
    peer.headers([("x-test", "ok")])
    peer.wants_headers()


# "user-agent: h2spec" and "x-test: h2spec" as literals, without their first byte.
AGENT = bytes.fromhex("0a757365722d6167656e7406683273706563")
AGENT_CODED = bytes.fromhex("87b505b161cc5a93849c48aca4")
X_TEST = bytes.fromhex("06782d7465737406683273706563")
X_TEST_CODED = bytes.fromhex("85f2b24a84ff849c48aca4")

REPRESENTATIONS = (
    ("indexed header field representation", b"\xba"),
    ("literal header field with incremental indexing - indexed name", b"\x40" + AGENT_CODED),
    ("literal header field with incremental indexing - indexed name (with Huffman coding)", b"\x40" + AGENT),
    ("literal header field with incremental indexing - new name", b"\x40" + X_TEST),
    (
        "literal header field with incremental indexing - new name (with Huffman coding)",
        b"\x40" + X_TEST_CODED,
    ),
    ("literal header field without indexing - indexed name", b"\x00" + AGENT),
    ("literal header field without indexing - indexed name (with Huffman coding)", b"\x00" + AGENT_CODED),
    ("literal header field without indexing - new name", b"\x00" + X_TEST),
    ("literal header field without indexing - new name (huffman encoded)", b"\x00" + X_TEST_CODED),
    ("literal header field never indexed - indexed name", b"\x10" + AGENT),
    ("literal header field never indexed - indexed name (huffman encoded)", b"\x10" + AGENT_CODED),
    ("literal header field never indexed - new name", b"\x10" + X_TEST),
    ("literal header field never indexed - new name (huffman encoded)", b"\x10" + X_TEST_CODED),
)


def _accepted(representation: bytes) -> None:
    """Add the case that a request with this field at its end is answered."""

    def run(peer: Peer) -> None:
        peer.headers(peer.encode(usual()) + representation)
        peer.wants_headers()

    _add(run)


for _place, (_name, _representation) in enumerate(REPRESENTATIONS, 1):
    _add = case(f"generic/5/{_place}", f"Sends a {_name}")
    _accepted(_representation)


@case("generic/5/14", "Sends a dynamic table size update")
def _(peer: Peer) -> None:
    peer.encoder.header_table_size = 128
    peer.headers(usual())
    peer.wants_headers()


@case("generic/5/15", "Sends multiple dynamic table size update")
def _(peer: Peer) -> None:
    peer.headers(b"\x3f\x61\x3f\xe1\x1f" + peer.encode(usual()))
    peer.wants_headers()
