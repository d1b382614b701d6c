"""Real clients through TLS on both legs: protocols, sessions, names, large bodies, ends."""

import asyncio
import contextlib
import hashlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.sync.server import Server, ServerConnection, serve

from tests.e2e.conftest import Launch
from tests.e2e.tls.conftest import NAME, Chain, listener, own
from tests.support.need import need
from tests.support.scripted import filling
from tests.support.upstreams import Corpus
from tests.support.wait import eventually, pause

SIZE = 10 * 1024 * 1024


def curl(chain: Chain, port: int, path: str, *more: str, ca: Path | None = None, name: str = NAME) -> bytes:
    command = [need("curl"), "-sS", "--fail-with-body", "--cacert", str(ca or chain.pki.root.chain)]
    command += ["--resolve", f"{name}:{port}:127.0.0.1", f"https://{name}:{port}{path}", *more]
    done = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize(("flag", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_by_alpn(chain: Chain, flag: str, version: str) -> None:
    done = curl(chain, chain.port(), "/seen", flag, "-w", "\n%{http_version}")
    seen, _, spoken = done.decode().rpartition("\n")
    assert spoken == version
    headers = json.loads(seen)["headers"]
    assert headers[headers.index("x-forwarded-proto") + 1] == "https"


@pytest.mark.parametrize("http2", [False, True])
def test_httpx(chain: Chain, http2: bool) -> None:
    with httpx.Client(verify=chain.client(), http2=http2, trust_env=False) as client:
        for _ in range(3):
            answer = client.get(f"https://127.0.0.1:{chain.port()}/seen")
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2" if http2 else "HTTP/1.1")


def test_node(chain: Chain) -> None:
    script = (
        "const fs = require('fs'), https = require('https');"
        f"https.get({{host: '127.0.0.1', port: {chain.port()}, path: '/seen', servername: '{NAME}',"
        f" ca: fs.readFileSync('{chain.pki.root.chain}')}}, (r) => {{console.log(r.statusCode,"
        " r.socket.getProtocol()); r.resume()});"
    )
    done = subprocess.run([need("node"), "-e", script], check=True, capture_output=True, timeout=30)
    assert done.stdout.decode() == "200 TLSv1.3\n"


def test_a_certificate_is_minted_for_each_name(chain: Chain, trusted: Path) -> None:
    for name in ("one.example", "two.example", "one.example"):
        assert curl(chain, chain.port("minted"), "/seen", ca=trusted, name=name)


def test_tls_or_clear_text_on_one_port(chain: Chain) -> None:
    port = chain.port("auto")
    assert curl(chain, port, "/seen")
    assert httpx.get(f"http://127.0.0.1:{port}/seen", trust_env=False).status_code == 200
    assert httpx.get(f"http://127.0.0.1:{chain.port('clear')}/seen", trust_env=False).status_code == 200


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_resumes_its_session(chain: Chain, tmp_path: Path, version: str) -> None:
    session = str(tmp_path / "session")
    command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{chain.port()}", "-servername", NAME]
    command += [version, "-CAfile", str(chain.pki.root.chain), "-verify_return_error", "-ign_eof"]
    request = f"GET /seen HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\n\r\n".encode()

    def call(*more: str) -> str:
        done = subprocess.run([*command, *more], input=request, capture_output=True, check=True, timeout=30)
        assert b"HTTP/1.1 200 " in done.stdout
        return done.stdout.decode("latin-1")

    before = chain.front.metric("misrule_tls_handshakes_total", resumed="true")
    assert re.search("^New, ", call("-sess_out", session), re.MULTILINE)
    assert re.search("^Reused, ", call("-sess_in", session), re.MULTILINE)
    assert chain.front.metric("misrule_tls_handshakes_total", resumed="true") == before + 1


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_with_a_session_meets_the_fault_too(chain: Chain, tmp_path: Path, version: str) -> None:
    session = str(tmp_path / "session")
    command = [need("openssl"), "s_client", "-connect", f"127.0.0.1:{chain.port('minted')}", version]
    command += ["-servername", "t.example", "-ign_eof"]
    request = b"GET /seen HTTP/1.1\r\nhost: t.example\r\nconnection: close\r\n\r\n"
    subprocess.run(
        [*command, "-sess_out", session], input=request, capture_output=True, check=True, timeout=30
    )
    fault = {"tls": {"certificate": "expired"}}
    chain.front.put({"name": "old", "match": {"sni": "t.example"}, "faults": [fault]})
    done = subprocess.run(
        [*command, "-sess_in", session], input=request, capture_output=True, check=False, timeout=30
    )
    assert re.search(rb"^New, ", done.stdout, re.MULTILINE)
    assert b"certificate has expired" in done.stderr
    chain.front.put()
    again = subprocess.run(
        [*command, "-sess_in", session], input=request, capture_output=True, check=True, timeout=30
    )
    assert re.search(rb"^Reused, ", again.stdout, re.MULTILINE)


def test_the_certificate_of_a_client_is_a_match(chain: Chain) -> None:
    rule = {"name": "him", "match": {"client_certificate": {"san": "buyer.example"}}}
    chain.front.put({**rule, "faults": [{"abort": 418}]})
    port = chain.port("mutual")

    def status(name: str) -> httpx.Response:
        with httpx.Client(verify=chain.client(name=name), trust_env=False) as client:
            return client.get(f"https://127.0.0.1:{port}/seen", headers={"x-forwarded-client-cert": "forged"})

    assert status("buyer.example").status_code == 418
    seen = status("other.example")
    assert seen.status_code == 200
    headers = seen.json()["headers"]
    told = headers[headers.index("x-forwarded-client-cert") + 1]
    assert re.fullmatch(r'Hash=[0-9a-f]{64};Subject="CN=other.example";DNS=other.example', told)
    assert "x-forwarded-client-cert" not in status("").json()["headers"]


# --- bodies and ends


@pytest.mark.parametrize("flag", ["--http1.1", "--http2"])
def test_large_bodies_both_ways(chain: Chain, corpus: Corpus, flag: str) -> None:
    down = curl(chain, chain.port(), f"/files/{SIZE}", flag)
    assert hashlib.sha256(down).hexdigest() == corpus.sha256(SIZE)
    name = f"tls{flag}"
    curl(chain, chain.port(), f"/upload/{name}", flag, "-T", str(corpus.path(SIZE)))
    received = chain.upstream.received(name)
    assert received is not None
    assert (received.length, received.sha256) == (SIZE, corpus.sha256(SIZE))


def test_a_slow_reader_gets_all(chain: Chain, corpus: Corpus) -> None:
    with socket.create_connection(("127.0.0.1", chain.port()), timeout=30) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        with chain.client().wrap_socket(sock, server_hostname=NAME) as tls:
            tls.sendall(f"GET /files/{SIZE} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            pause(0.5)  # all that our buffers and the kernel's take is on its way, and no more
            digest = hashlib.sha256()
            while piece := answer.read(65536):
                digest.update(piece)
    assert digest.hexdigest() == corpus.sha256(SIZE)


def strict(chain: Chain) -> ssl.SSLContext:
    """A client's context that tells an end without close_notify, as Python's do not unless asked."""
    context = chain.client()
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


def test_an_orderly_end_is_announced(chain: Chain) -> None:
    with (
        socket.create_connection(("127.0.0.1", chain.port()), timeout=10) as sock,
        strict(chain).wrap_socket(sock, server_hostname=NAME, suppress_ragged_eofs=False) as tls,
    ):
        tls.sendall(b"GET /seen HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        while tls.recv(65536):
            pass  # FIN without close_notify would raise ssl.SSLEOFError


def test_an_end_that_a_fault_does_not_announce(chain: Chain) -> None:
    chain.front.put({"name": "cut", "faults": [{"close": {"close_notify": False}}]})
    with (
        socket.create_connection(("127.0.0.1", chain.port()), timeout=10) as sock,
        strict(chain).wrap_socket(sock, server_hostname=NAME, suppress_ragged_eofs=False) as tls,
    ):
        tls.sendall(b"GET /seen HTTP/1.1\r\nhost: a\r\n\r\n")
        with pytest.raises(ssl.SSLError, match="UNEXPECTED_EOF"):
            tls.recv(65536)


def test_a_reset_is_a_true_one(chain: Chain) -> None:
    chain.front.put({"name": "cut", "faults": [{"reset": {}}]})
    context = chain.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # no tickets are on their way behind the handshake
    sock = socket.create_connection(("127.0.0.1", chain.port()), timeout=10)
    with context.wrap_socket(sock, server_hostname=NAME) as tls:
        tls.sendall(b"GET /seen HTTP/1.1\r\nhost: a\r\n\r\n")
        with socket.socket(fileno=tls.detach()) as raw:
            raw.settimeout(10)
            with pytest.raises(ConnectionResetError):
                raw.recv(65536)


def test_a_thousand_handshakes_leave_nothing(chain: Chain) -> None:
    context = chain.client()

    def shake() -> None:
        with (
            socket.create_connection(("127.0.0.1", chain.port()), timeout=10) as sock,
            context.wrap_socket(sock, server_hostname=NAME),
        ):
            pass

    shake()
    eventually(lambda: chain.front.metric("misrule_connections_open", listener="web") == 0, 15.0, "calm")
    before = chain.front.process.files()
    for _ in range(1000):
        shake()
    eventually(lambda: chain.front.metric("misrule_connections_open", listener="web") == 0, 15.0, "calm")
    assert abs(chain.front.process.files() - before) <= 2


# --- WebSocket


@pytest.fixture
def echo() -> Iterator[str]:
    def talk(connection: ServerConnection) -> None:
        with contextlib.suppress(OSError):
            for message in connection:
                connection.send(message)

    server: Server = serve(talk, "127.0.0.1", 0, max_size=None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.socket.getsockname()[1]}"
    server.shutdown()
    thread.join()


async def test_websocket_over_tls(echo: str, launch: Launch, chain: Chain) -> None:
    """With the client of one thread: that of two shares an SSLSocket, which Python 3.11 does not guard."""
    tls = own(chain.pki, NAME)
    proxy = launch(
        config={"listeners": [listener("web", "app", tls)], "upstreams": {"app": {"address": echo}}}
    )
    context = chain.client()
    port = int(proxy.address.rpartition(":")[2])
    async with connect(
        f"wss://{NAME}:{port}/chat",
        host="127.0.0.1",
        port=port,
        ssl=context,
        server_hostname=NAME,
        max_size=None,
    ) as talk:
        for message in ("hello", b"\0\1", filling(1_000_000)):
            await talk.send(message)
            assert await asyncio.wait_for(talk.recv(), 10) == message
