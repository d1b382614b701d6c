"""What `misrule certs check` sees: each defect by OpenSSL's number, and nothing else."""

import socket
import threading
import time
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.errors import CertError
from certs.flavour import KINDS, Flavour
from certs.inspection import inspect
from certs.mint import mint
from certs.words import explain
from tests.support.openssl import made_by_openssl
from tests.support.tls_servers import serving, stapling

HOST = "shop.example"
ERRORS = {
    "": [],
    "expired": [(0, 10)],
    "not_yet_valid": [(0, 9)],
    "expires_in": [],
    "wrong_host": [(0, 62)],
    "self_signed": [(0, 18)],
    "untrusted_root": [(2, 19)],
    "incomplete_chain": [(0, 20)],
    "expired_intermediate": [(1, 10)],
    "revoked": [(0, 23)],
    "weak_key": [(0, 66)],
    "sha1": [(0, 68)],
    "no_san": [(0, 62)],
    "wrong_eku": [(0, 26)],
    "name_constraint": [(0, 47)],
}
WORDS = {
    "expired": "the certificate expired 1 day ago, on 20",
    "not_yet_valid": "the certificate becomes valid in 30 days, on 20",
    "wrong_host": "the certificate is for wrong-host.invalid, not for shop.example",
    "self_signed": "the certificate is signed by itself: nobody vouches for it",
    "untrusted_root": "the chain ends in CN=Misrule untrusted root ",
    "incomplete_chain": "the issuer of the certificate, CN=Misrule withheld issuing ",
    "expired_intermediate": "CN=Misrule expired issuing ",
    "revoked": "the certificate was revoked by its issuer",
    "weak_key": "the key of the certificate is too weak: RSA 1024",
    "sha1": "the certificate is signed with a broken digest: ecdsa-with-SHA1",
    "no_san": "the certificate names no host in subjectAltName",
    "wrong_eku": "the certificate is not for servers",
    "name_constraint": "CN=Misrule constrained issuing ",
}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind or "sound")
def test_each_defect_is_found_alone(kind: str, authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, Flavour(kind, 3600.0 if kind == "expires_in" else 0.0))
    crl = made_by_openssl("crl", "-inform", "DER", data=authority.crl())
    with serving(leaf.chain_pem, leaf.key_pem, tmp_path, ("h2",)) as server:
        seen = inspect("127.0.0.1", server.port, name=HOST, trusted=authority.root_pem, crls=crl)
    assert server.names == [HOST]
    assert [(c.depth, c.error) for c in seen.complaints] == ERRORS[kind]
    assert (seen.version, seen.alpn) == ("TLSv1.3", "h2")
    assert len(seen.chain) == leaf.chain_pem.count(b"BEGIN")
    now = time.time()
    said = [explain(c.error, c.depth, c.certificate, HOST, now) for c in seen.complaints]
    assert "".join(said).startswith(WORDS.get(kind, ""))


def test_every_kind_is_looked_at() -> None:
    assert set(ERRORS) == {"", *KINDS}


def test_a_stapled_response_is_read(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, HOST, Flavour("revoked"))
    with stapling(leaf.chain_pem, leaf.key_pem, leaf.ocsp, tmp_path) as port:
        seen = inspect("127.0.0.1", port, name=HOST, trusted=authority.root_pem)
    assert seen.staple == "revoked"
    assert [(c.depth, c.error) for c in seen.complaints] == [(0, 23)]


def test_several_defects_are_all_said(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, "other.example", Flavour("expired"))
    with serving(leaf.chain_pem, leaf.key_pem, tmp_path) as server:
        seen = inspect("127.0.0.1", server.port, name=HOST, system=False)
    assert {c.error for c in seen.complaints} >= {10, 62}
    assert {c.error for c in seen.complaints} & {2, 19, 20}


def test_an_address_is_looked_for_among_addresses(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, "127.0.0.1")
    with serving(leaf.chain_pem, leaf.key_pem, tmp_path) as server:
        seen = inspect("127.0.0.1", server.port, trusted=authority.root_pem)
    assert seen.complaints == []
    assert server.names == [None]


def test_a_wildcard_counts(authority: Authority, tmp_path: Path) -> None:
    leaf = mint(authority, "*.shop.example")
    with serving(leaf.chain_pem, leaf.key_pem, tmp_path) as server:
        for name, errors in (("pay.shop.example", []), ("a.b.shop.example", [62]), ("shop.example", [62])):
            seen = inspect("127.0.0.1", server.port, name=name, trusted=authority.root_pem)
            assert [c.error for c in seen.complaints] == errors


def test_no_handshake_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(CertError, match=f"no handshake with 127.0.0.1:{port}: timed out"):
            inspect("127.0.0.1", port, timeout=0.2)
    with pytest.raises(CertError, match="connection refused"):
        inspect("127.0.0.1", port)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the connection was closed"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "wrong version number|record layer failure"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "alert handshake failure"),
    ],
)
def test_what_is_no_handshake_is_told(answer: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            sock, _ = server.accept()
            with sock:
                sock.recv(65_536)
                sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(CertError, match=words):
            inspect("127.0.0.1", server.getsockname()[1])
        thread.join()
