"""What the authority says over HTTP, to the programs that ask there."""

import base64
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.x509 import ocsp

from certs.authority import Authority
from certs.flavour import SOUND, Flavour
from certs.mint import mint
from certs.responder import LONGEST, respond, urls
from tests.support import openssl
from tests.support.openssl import Arguments, made_by_openssl, split

HOST = "shop.example"


class _Door(BaseHTTPRequestHandler):
    """A server of the standard library in front of the responder."""

    authority: Authority

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, body: bytes) -> None:
        found = respond(self.authority, self.command, self.path, body)
        self.send_response(found.status if found else 404)
        self.send_header("content-type", found.content_type if found else "text/plain")
        self.send_header("content-length", str(len(found.body) if found else 0))
        self.end_headers()
        self.wfile.write(found.body if found else b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def asked() -> Iterator[Authority]:
    """An authority whose leaves say where a server is that answers for it."""
    _Door.authority = Authority.create(None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    crl_url, ocsp_url = urls(f"http://127.0.0.1:{server.server_port}/")
    _Door.authority.crl_url, _Door.authority.ocsp_url = crl_url, ocsp_url
    yield _Door.authority
    server.shutdown()
    thread.join()
    server.server_close()


def request_for(authority: Authority, folder: Path, flavour: Flavour = SOUND) -> bytes:
    leaf, issuer = split(mint(authority, HOST, flavour).chain_pem)
    (folder / "leaf.pem").write_bytes(leaf)
    (folder / "issuer.pem").write_bytes(issuer)
    (folder / "root.pem").write_bytes(authority.root_pem)
    about: Arguments = ["-issuer", folder / "issuer.pem", "-cert", folder / "leaf.pem"]
    made_by_openssl("ocsp", *about, "-no_nonce", "-reqout", folder / "request")
    return (folder / "request").read_bytes()


@pytest.mark.parametrize(("kind", "said"), [("", "good"), ("revoked", "revoked")])
def test_openssl_asks_where_the_leaf_says(kind: str, said: str, asked: Authority, tmp_path: Path) -> None:
    request_for(asked, tmp_path, Flavour(kind))
    url = made_by_openssl("x509", "-noout", "-ocsp_uri", "-in", tmp_path / "leaf.pem").decode().strip()
    about: Arguments = ["-issuer", tmp_path / "issuer.pem", "-cert", tmp_path / "leaf.pem", "-no_nonce"]
    trust: Arguments = ["-CAfile", tmp_path / "root.pem", "-verify_other", tmp_path / "issuer.pem"]
    done = openssl.openssl("ocsp", *about, *trust, "-url", url)
    assert f"leaf.pem: {said}" in done.stdout.decode(), done.stderr.decode()
    assert "Response verify OK" in done.stderr.decode()


@pytest.mark.parametrize(("kind", "error"), [("", 0), ("revoked", 23)])
def test_openssl_loads_the_list_from_where_the_leaf_says(
    kind: str, error: int, asked: Authority, tmp_path: Path
) -> None:
    leaf = mint(asked, HOST, Flavour(kind))
    more = ["-crl_check", "-crl_download"]
    assert openssl.verify(tmp_path, leaf.chain_pem, asked.root_pem, HOST, *more).error == error


def test_ocsp_is_answered_over_get(asked: Authority, tmp_path: Path) -> None:
    request = request_for(asked, tmp_path, Flavour("revoked"))
    host, _, path = asked.ocsp_url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    connection.request("GET", f"/{path}/{quote(base64.b64encode(request), safe='')}")
    answer = connection.getresponse()
    assert answer.headers["content-type"] == "application/ocsp-response"
    found = ocsp.load_der_ocsp_response(answer.read())
    connection.close()
    assert found.certificate_status is ocsp.OCSPCertStatus.REVOKED


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/ocsp", b""),
        ("POST", "/ocsp", b"nonsense"),
        ("POST", "/ocsp", b"\x30" * (LONGEST + 1)),
        ("GET", "/ocsp/%%%", b""),
        ("GET", "/ocsp/bm9uc2Vuc2U=", b""),
    ],
)
def test_what_is_no_request_is_malformed(method: str, path: str, body: bytes, authority: Authority) -> None:
    found = respond(authority, method, path, body)
    assert found is not None
    status = ocsp.load_der_ocsp_response(found.body).response_status
    assert status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/crl", "GET, HEAD"), ("GET", "/ocsp", "POST"), ("POST", "/ocsp/AA==", "GET")],
)
def test_other_methods_are_refused(method: str, path: str, allow: str, authority: Authority) -> None:
    found = respond(authority, method, path)
    assert found is not None
    assert (found.status, found.allow) == (405, allow)


def test_the_root_is_there_and_nothing_else(authority: Authority) -> None:
    found = respond(authority, "GET", "/root.pem?download=1")
    assert found is not None
    assert found.body == authority.root_pem
    assert respond(authority, "GET", "/authority.pem") is None
    assert respond(authority, "GET", "/") is None
