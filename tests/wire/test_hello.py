"""The ClientHello: what real clients send, in every split, and everything that is none."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.hello import LIMIT, TLS12, TLS13, ClientHello, HelloError, HelloReader, alert_record
from tests.support.need import need
from tests.wire.corpus import pieces
from tests.wire.hellos import extension, message, of_openssl, records, server_name, vector


def read(*parts: bytes) -> ClientHello | None:
    reader = HelloReader()
    for part in parts:
        reader.feed(part)
    assert reader.received == b"".join(parts)
    return reader.hello


def seen(hello: ClientHello | None) -> tuple[object, ...]:
    assert hello is not None
    return hello.server_name, hello.alpn, hello.versions, hello.ciphers, hello.resumes


FULL = of_openssl("shop.example", "h2", "http/1.1")


def test_what_openssl_says() -> None:
    hello = read(FULL)
    assert hello is not None
    assert hello.server_name == b"shop.example"
    assert hello.alpn == [b"h2", b"http/1.1"]
    assert hello.versions[:2] == [TLS13, TLS12]
    assert hello.offers(TLS13)
    assert not hello.offers(0x0300)
    assert 0x1301 in hello.ciphers
    assert 0xC02B in hello.ciphers
    assert not hello.resumes


def test_a_client_that_knows_no_newer_version_than_1_2() -> None:
    hello = read(of_openssl("a.example", newest=ssl.TLSVersion.TLSv1_2))
    assert hello is not None
    assert hello.versions[0] == TLS12
    assert not hello.offers(TLS13)
    assert hello.alpn == []


def test_no_name() -> None:
    hello = read(of_openssl(None))
    assert hello is not None
    assert hello.server_name == b""


def test_every_split_gives_the_same() -> None:
    whole = seen(read(FULL))
    for at in range(1, len(FULL)):
        reader = HelloReader()
        assert not reader.feed(FULL[:at])
        assert reader.feed(FULL[at:])
        assert seen(reader.hello) == whole
    assert seen(read(*[FULL[at : at + 1] for at in range(len(FULL))])) == whole


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 37, 100])
def test_split_over_records(size: int) -> None:
    handshake = FULL[5:]
    assert seen(read(records(handshake, size))) == seen(read(FULL))


def test_what_follows_is_kept() -> None:
    reader = HelloReader()
    assert reader.feed(FULL + b"\x14\3\3\0\1\1")
    assert reader.feed(b"\x17")
    assert reader.received == FULL + b"\x14\3\3\0\1\1\x17"


def test_without_extensions() -> None:
    hello = read(records(message(None, legacy=b"\3\2", session=b"s" * 32)))
    assert hello is not None
    assert hello.versions == [0x0302, 0x0301, 0x0300]
    assert hello.resumes
    assert hello.server_name == b""


@pytest.mark.parametrize(
    ("extensions", "resumes"),
    [
        (b"", False),
        (extension(35, b""), False),
        (extension(35, b"ticket"), True),
        (extension(41, b"key"), True),
    ],
)
def test_offers_a_session(extensions: bytes, resumes: bool) -> None:
    versions = extension(43, vector(1, b"\3\4"))
    hello = read(records(message(versions + extensions, session=b"looks like one" * 2)))
    assert hello is not None
    assert hello.resumes is resumes


def test_a_name_of_another_kind_is_passed_over() -> None:
    names = vector(2, b"\7", vector(2, b"odd"), b"\0", vector(2, b"a.example"))
    hello = read(records(message(extension(0, names))))
    assert hello is not None
    assert hello.server_name == b"a.example"


BAD = [
    (b"GET / HTTP/1.1\r\n\r\n", 10, "clear text on a port that speaks TLS"),
    (b"\x80\x2e\1\0\2", 10, "SSL 2 on a port that speaks TLS"),
    (b"\x17\3\3\0\1x", 10, "a record of type 23 before the end of the ClientHello"),
    (b"\x16\2\1\0\1x", 70, "a record of version 2.x, which is not TLS"),
    (b"\x16\3\1\0\0", 50, "an empty handshake record"),
    (b"\x16\3\1\x40\1", 22, "a record of 16385 bytes: at most 16384 are allowed"),
    (records(b"\2\0\0\0"), 10, "a handshake begins with message 2, not a ClientHello"),
    (records(b"\1" + (LIMIT + 1).to_bytes(3, "big")), 50, "a ClientHello of 65537 bytes: at most 65536"),
    (records(message(b"x" * 60000, session=b"")[:30000], 1), 22, "a ClientHello in too many records"),
    (records(b"\1" + vector(3, b"\3\3" + b"r" * 31)), 50, "the ClientHello ends within its random bytes"),
    (records(b"\1" + vector(3, bytes(34) + b"\5")), 50, "the ClientHello ends within the session id"),
    (records(message(b"", ciphers=b"\x13\1\x13")), 50, "cipher suites of an odd length"),
    (records(message(b"\0")), 50, "the ClientHello ends within an extension"),
    (records(message(b"\0\0\0\\9")), 50, "the ClientHello ends within extension 0"),
    (records(b"\1" + vector(3, message(b"")[4:] + b"x")), 50, "bytes behind the extensions"),
    (records(message(server_name(b""))), 50, "a server name that is empty or has a zero byte"),
    (records(message(server_name(b"a\0b"))), 50, "a server name that is empty or has a zero byte"),
    (records(message(extension(0, b"\0\5\0\0\\9a"))), 50, "the ClientHello ends within the server name"),
    (records(message(extension(16, vector(2, b"\0")))), 50, "an empty protocol name (ALPN)"),
    (records(message(extension(43, vector(1, b"\3\4\3")))), 50, "versions of an odd length"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "alert", "text"), BAD, ids=[text for _, _, text in BAD])
def test_what_is_none(data: bytes, alert: int, text: str) -> None:
    with pytest.raises(HelloError) as refused:
        read(data)
    assert (refused.value.alert, refused.value.text) == (alert, text)
    assert refused.value.kind == "tls_bad_hello"
    assert alert_record(alert) == bytes([21, 3, 3, 0, 2, 2, alert])


@given(st.data(), st.binary(max_size=60), st.integers(0, len(FULL) - 1), st.booleans())
def test_any_bytes_in_any_pieces(data: st.DataObject, noise: bytes, at: int, over: bool) -> None:
    """A ClientHello or a HelloError, the same for any split; any other exception is a bug."""
    changed = FULL[:at] + noise + FULL[at + (len(noise) if over else 0) :]

    def outcome(parts: list[bytes]) -> object:
        try:
            hello = read(*parts)
        except HelloError as refused:
            return refused.alert
        return None if hello is None else seen(hello)

    whole = outcome([changed])
    assert outcome(data.draw(pieces(changed))) == whole


# --- real clients

Capture = Callable[[], tuple[int, Callable[[], bytes]]]


@pytest.fixture
def capture() -> Iterator[Capture]:
    """A port that takes one connection's first bytes and closes; gives its number, and what came."""
    open_: list[socket.socket] = []

    def listen() -> tuple[int, Callable[[], bytes]]:
        server = socket.create_server(("127.0.0.1", 0))
        server.settimeout(20)
        open_.append(server)
        got: list[bytes] = []

        def take() -> None:
            sock, _ = server.accept()
            with sock:
                sock.settimeout(10)
                head = _exactly(sock, 5)
                got.append(head + _exactly(sock, int.from_bytes(head[3:], "big")))

        thread = threading.Thread(target=take, daemon=True)
        thread.start()

        def result() -> bytes:
            thread.join(20)
            return got[0]

        return int(server.getsockname()[1]), result

    yield listen
    for server in open_:
        server.close()


def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        assert piece
        data += piece
    return data


def check(data: bytes, name: bytes, alpn: list[bytes], resumes: bool = False) -> None:
    for parts in ([data], [data[at : at + 1] for at in range(len(data))]):
        hello = read(*parts)
        assert hello is not None
        assert (hello.server_name, hello.alpn, hello.resumes) == (name, alpn, resumes)
        assert hello.offers(TLS13)
        assert hello.offers(TLS12)


def test_curl(capture: Capture) -> None:
    port, result = capture()
    call = [
        need("curl"),
        "-sk",
        "--http2",
        "--resolve",
        f"shop.example:{port}:127.0.0.1",
        f"https://shop.example:{port}/",
    ]
    subprocess.run(call, check=False, timeout=20)
    check(result(), b"shop.example", [b"h2", b"http/1.1"])


def test_openssl(capture: Capture) -> None:
    port, result = capture()
    call = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "a.b.example"]
    subprocess.run([*call, "-alpn", "h2"], check=False, capture_output=True, input=b"", timeout=20)
    check(result(), b"a.b.example", [b"h2"])


def test_node(capture: Capture) -> None:
    port, result = capture()
    script = (
        f"require('tls').connect({{host: '127.0.0.1', port: {port}, servername: 'node.example',"
        " ALPNProtocols: ['http/1.1'], rejectUnauthorized: false}).on('error', () => {})"
    )
    subprocess.run([need("node"), "-e", script], check=False, timeout=20)
    check(result(), b"node.example", [b"http/1.1"])


def test_grpcio(capture: Capture) -> None:
    port, result = capture()
    options = [("grpc.ssl_target_name_override", "grpc.example")]
    with grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(), options) as channel:
        ready = grpc.channel_ready_future(channel)
        data = result()
        ready.cancel()
    hello = read(data)
    assert hello is not None
    assert hello.server_name == b"grpc.example"
    assert b"h2" in hello.alpn
    assert hello.offers(TLS13)


def test_a_ticket_is_offered_again(tmp_path: Path) -> None:
    """TLS 1.2 and 1.3, with sessions that OpenSSL made."""
    key, chain = tmp_path / "key", tmp_path / "chain"
    make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    subprocess.run(
        [need("openssl"), *make, "-subj", "/CN=a.example", "-keyout", str(key), "-out", str(chain)],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)
    for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        client.maximum_version = newest
        first, _ = _shake(client, server, None)
        _, hello = _shake(client, server, first.session)
        read_again = read(hello)
        assert read_again is not None
        assert read_again.resumes
        assert read_again.server_name == b"a.example"


def _shake(
    client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.SSLObject, bytes]:
    """Shake hands in memory; gives the client's side and its ClientHello."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(down, up, server_hostname="a.example", session=session)
    other = server.wrap_bio(up, down, server_side=True)
    hello = b""
    for _ in range(4):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            if not hello:
                hello = up.read()
                up.write(hello)
    other.write(b"x")
    assert one.read(1) == b"x"  # with it come the tickets of TLS 1.3
    return one, hello
