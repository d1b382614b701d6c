"""Troubles of an upstream's TLS: told without asking it, as a handshake that has them tells."""

import ssl
import tempfile
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.contexts import client_context
from certs.flavour import KINDS, Flavour
from certs.mint import Leaf, mint
from certs.shaped import ShapedHandshake, Terms
from proxy import errors
from proxy.errors import Failure
from proxy.net import spoiled
from proxy.net.identity import upstream_failure
from rules.actions import (
    CLIENT_HELLO,
    CUT_ALERT,
    CUT_CLOSE,
    CUT_PAUSE,
    CUT_RESET,
    FOREVER,
    CutHandshake,
    ShapeHandshake,
)
from tests.support.openssl import made_by_openssl

HOST = "shop.example"
AUTHORITY = Authority.create(None)


def pem_of_list() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "crl.pem"
        made_by_openssl("crl", "-inform", "DER", "-out", file, data=AUTHORITY.crl())
        return file.read_bytes()


def really(terms: Terms, context: ssl.SSLContext) -> Failure | None:
    """Shake hands with a server that is so, and tell the failure as the proxy does."""
    server = ShapedHandshake(terms)
    down, up = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_hostname=HOST)
    for _ in range(6):
        try:
            client.do_handshake()
            client.read(1)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return upstream_failure(error)
        data = up.read()
        try:
            if data:
                server.step(data)
        except ssl.SSLError:
            pass
        down.write(server.flight())
    return None


def leaf_terms(kind: str, **more: object) -> Terms:
    leaf: Leaf = mint(AUTHORITY, HOST, Flavour(kind))
    weak = kind in ("weak_key", "sha1")
    return Terms(leaf.chain_pem, leaf.key_pem, weak=weak, **more)  # type: ignore[arg-type]


FLAVOURS = [kind for kind in KINDS if kind != "expires_in"]


@pytest.mark.parametrize("kind", FLAVOURS)
@pytest.mark.parametrize("verify", ["verify", "crl", "nothing"])
def test_each_certificate_fails_as_it_really_does(kind: str, verify: str) -> None:
    terms = leaf_terms(kind)
    crl = pem_of_list() if verify == "crl" else None
    context = client_context(verify=verify != "nothing", ca=AUTHORITY.root_pem, crl=crl)
    told = spoiled.failure_of(ShapeHandshake(kind), context, 5.0)
    if verify == "crl" and kind in (
        "self_signed",
        "untrusted_root",
        "incomplete_chain",
        "expired_intermediate",
    ):
        assert told is not None  # a list for each issuer is needed, and there is none for such a one
        return
    assert told is really(terms, context)


@pytest.mark.parametrize("certificate", [False, True])
def test_an_upstream_that_rejects_us(certificate: bool) -> None:
    ours = mint(AUTHORITY, "client.example", usage="client")
    context = client_context(
        ca=AUTHORITY.root_pem,
        certificate=ours.chain_pem if certificate else None,
        key=ours.key_pem if certificate else None,
    )
    told = spoiled.failure_of(ShapeHandshake(reject_client_certificate=True), context, 5.0)
    assert told is really(leaf_terms("", reject_client=True), context) is errors.UPSTREAM_TLS_ALERT


def test_an_upstream_that_speaks_old_versions_only() -> None:
    context = client_context(ca=AUTHORITY.root_pem)
    told = spoiled.failure_of(ShapeHandshake(max_version=0x0302), context, 5.0)
    assert told is really(leaf_terms("", max_version=0x0302), context) is errors.UPSTREAM_TLS_ALERT


CUTS: list[tuple[int, float, Failure | None, float]] = [
    (CUT_ALERT, 0.0, errors.UPSTREAM_TLS_ALERT, 0.0),
    (CUT_RESET, 0.0, errors.UPSTREAM_RESET, 0.0),
    (CUT_CLOSE, 0.0, errors.UPSTREAM_RESET, 0.0),
    (CUT_PAUSE, 1.0, None, 1.0),
    (CUT_PAUSE, 5.0, errors.CONNECT_TIMEOUT, 5.0),
    (CUT_PAUSE, 60.0, errors.CONNECT_TIMEOUT, 5.0),
    (CUT_PAUSE, FOREVER, errors.CONNECT_TIMEOUT, 5.0),
]


@pytest.mark.parametrize(("how", "seconds", "failure", "pause"), CUTS)
def test_a_handshake_that_is_cut(how: int, seconds: float, failure: Failure | None, pause: float) -> None:
    shape = ShapeHandshake(cut=CutHandshake(CLIENT_HELLO, how, seconds, 42))
    assert spoiled.failure_of(shape, client_context(), 5.0) is failure
    assert spoiled.pause_of(shape, 5.0) == pause
