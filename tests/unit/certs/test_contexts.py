"""What contexts agree on, over memory: versions, ciphers, tickets, client certificates."""

import ssl
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from certs.authority import Authority
from certs.contexts import client_context, server_context
from certs.errors import CertError
from certs.flavour import KINDS, Flavour
from certs.mint import Leaf, mint
from tests.support.openssl import made_by_openssl

HOST = "shop.example"


class Pair:
    """A client and a server whose bytes meet in memory."""

    def __init__(
        self, server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(up, down, server_side=True)
        self.client = client.wrap_bio(down, up, server_hostname=HOST, session=session)

    def shake(self) -> "Pair":
        """Shake hands; raises what either side finds."""
        left = [self.client, self.server]
        for _ in range(10):
            for side in list(left):
                with suppress(ssl.SSLWantReadError):
                    side.do_handshake()
                    left.remove(side)
            if not left:
                break
        assert not left
        self.server.write(b"x")
        assert self.client.read(1) == b"x"  # and with it the tickets of TLS 1.3
        return self


def server(leaf: Leaf, **more: object) -> ssl.SSLContext:
    return server_context(leaf.chain_pem, leaf.key_pem, weak=leaf.flavour.weak, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return mint(authority, HOST)


def old_client(authority: Authority, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that takes everything that OpenSSL has."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.load_verify_locations(cadata=authority.root_pem.decode())
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_new_versions_are_spoken(version: ssl.TLSVersion, leaf: Leaf, authority: Authority) -> None:
    pair = Pair(server(leaf), client_context(ca=authority.root_pem, max_version=version)).shake()
    assert pair.client.version() == version.name.replace("_", ".")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_old_ones_are_not(version: ssl.TLSVersion, leaf: Leaf, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol|alert.protocol.version"):
        Pair(server(leaf), old_client(authority, version)).shake()


@pytest.mark.parametrize("version", list(ssl.TLSVersion)[2:6])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_version_can_be_the_highest(version: ssl.TLSVersion, leaf: Leaf, authority: Authority) -> None:
    client = old_client(authority, ssl.TLSVersion.MAXIMUM_SUPPORTED)
    pair = Pair(server(leaf, max_version=version), client).shake()
    assert pair.client.version() == version.name.replace("_", ".")


def test_every_cipher_has_forward_secrecy_and_aead(leaf: Leaf) -> None:
    ciphers = server(leaf).get_ciphers()
    assert {cipher["protocol"] for cipher in ciphers} == {"TLSv1.2", "TLSv1.3"}
    assert [c["name"] for c in ciphers if not c["aead"]] == []
    assert {c["kea"] for c in ciphers} <= {"kx-ecdhe", "kx-any"}
    assert min(c["strength_bits"] for c in ciphers) >= 128


def test_ciphers_can_be_clamped(leaf: Leaf, authority: Authority) -> None:
    one = server(leaf, ciphers="ECDHE-ECDSA-AES128-SHA", max_version=ssl.TLSVersion.TLSv1_2)
    pair = Pair(one, old_client(authority, ssl.TLSVersion.TLSv1_2)).shake()
    assert (pair.client.cipher() or ("",))[0] == "ECDHE-ECDSA-AES128-SHA"
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake.failure|no.shared.cipher"):
        Pair(one, client_context(ca=authority.root_pem)).shake()


def test_unknown_ciphers_are_told(leaf: Leaf) -> None:
    with pytest.raises(CertError, match="OpenSSL knows no ciphers 'NONSENSE'"):
        server(leaf, ciphers="NONSENSE")


def test_options_that_scanners_look_for(leaf: Leaf) -> None:
    options = server(leaf).options
    assert options & ssl.OP_NO_COMPRESSION
    assert options & ssl.OP_CIPHER_SERVER_PREFERENCE
    assert options & getattr(ssl, "OP_NO_RENEGOTIATION", 1 << 30)


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [(["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"), (["spdy/1"], None), ([], None)],
)
def test_alpn_is_the_servers_choice(
    offered: list[str], agreed: str | None, leaf: Leaf, authority: Authority
) -> None:
    client = client_context(ca=authority.root_pem, alpn=offered)
    pair = Pair(server(leaf, alpn=["h2", "http/1.1"]), client).shake()
    assert pair.client.selected_alpn_protocol() == agreed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_is_good_for_its_own_context_only(
    version: ssl.TLSVersion, leaf: Leaf, authority: Authority
) -> None:
    client = client_context(ca=authority.root_pem, max_version=version)
    first, other = server(leaf), server(leaf)
    session = Pair(first, client).shake().client.session
    assert session is not None
    assert session.has_ticket
    assert Pair(first, client, session).shake().client.session_reused
    assert not Pair(other, client, session).shake().client.session_reused


def test_a_client_with_a_ticket_meets_the_new_flavour(leaf: Leaf, authority: Authority) -> None:
    client = client_context(ca=authority.root_pem)
    session = Pair(server(leaf), client).shake().client.session
    expired = mint(authority, HOST, Flavour("expired"))
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        Pair(server(expired), client, session).shake()


@pytest.mark.parametrize("kind", KINDS)
def test_every_flavour_can_be_shown(kind: str, authority: Authority) -> None:
    """Also to a client that takes anything: the fault is the certificate, not the handshake."""
    leaf = mint(authority, HOST, Flavour(kind, 60.0 if kind == "expires_in" else 0.0))
    client = client_context(verify=False)
    if leaf.flavour.weak:
        client.set_ciphers("DEFAULT:@SECLEVEL=0")
    shown = Pair(server(leaf), client).shake().client.getpeercert(binary_form=True)
    assert shown == ssl.PEM_cert_to_DER_cert(
        leaf.chain_pem.decode().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    )


@pytest.mark.parametrize("kind", ["weak_key", "sha1"])
def test_weak_ones_need_to_be_asked_for(kind: str, authority: Authority) -> None:
    leaf = mint(authority, HOST, Flavour(kind))
    if kind == "weak_key":
        with pytest.raises(CertError, match="ee key too small"):
            server_context(leaf.chain_pem, leaf.key_pem)
    else:
        with pytest.raises(CertError, match="ca md too weak"):
            server_context(leaf.chain_pem, leaf.key_pem)


# ---- client certificates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("auth", ["none", "optional", "required"])
@pytest.mark.parametrize("shown", ["nothing", "ours", "another's"])
def test_client_certificates(
    auth: str, shown: str, version: ssl.TLSVersion, leaf: Leaf, authority: Authority
) -> None:
    maker = Authority.create(None) if shown == "another's" else authority
    mine = mint(maker, "payments", usage="client")
    certificate, key = (None, None) if shown == "nothing" else (mine.chain_pem, mine.key_pem)
    client = client_context(ca=authority.root_pem, max_version=version, certificate=certificate, key=key)
    context = server(leaf, client_auth=auth, client_ca=authority.root_pem)
    fails = (auth == "required" and shown == "nothing") or (auth != "none" and shown == "another's")
    if fails:
        with pytest.raises(ssl.SSLError, match=r"(?i)did.not.return|certificate.verify.failed|alert"):
            Pair(context, client).shake()
        return
    seen = Pair(context, client).shake().server.getpeercert()
    expected = shown == "ours" and auth != "none"
    assert (dict(x[0] for x in (seen or {}).get("subject", ())) == {"commonName": "payments"}) == expected  # type: ignore[misc]


def test_client_certificates_need_an_authority(leaf: Leaf) -> None:
    with pytest.raises(CertError, match="client_ca"):
        server(leaf, client_auth="required")


# ---- the client side -------------------------------------------------------------------------------------


def test_clients_verify_unless_told_not_to(leaf: Leaf) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"self-signed certificate in|unable to get local"):
        Pair(server(leaf), client_context()).shake()
    Pair(server(leaf), client_context(verify=False)).shake()


def test_clients_verify_the_name(authority: Authority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Pair(server(mint(authority, "other.example")), client_context(ca=authority.root_pem)).shake()


def test_clients_look_into_revocation_lists(leaf: Leaf, authority: Authority) -> None:
    revoked = mint(authority, HOST, Flavour("revoked"))
    crl = made_by_openssl("crl", "-inform", "DER", data=authority.crl())
    client = client_context(ca=authority.root_pem, crl=crl)
    Pair(server(leaf), client).shake()
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        Pair(server(revoked), client).shake()


def test_what_does_not_fit_is_told(leaf: Leaf, authority: Authority) -> None:
    other = mint(authority, HOST)
    with pytest.raises(CertError, match="key values mismatch"):
        server_context(leaf.chain_pem, other.key_pem)
    with pytest.raises(CertError, match="does not take the certificate and its key"):
        server_context(b"nonsense", leaf.key_pem)
    with pytest.raises(CertError, match="does not take the trusted certificates"):
        client_context(ca=b"nonsense")


def test_an_encrypted_key_is_told_and_no_terminal_asked(leaf: Leaf) -> None:
    locked = made_by_openssl("pkcs8", "-topk8", "-passout", "pass:x", data=leaf.key_pem)
    with pytest.raises(CertError, match="the key is encrypted"):
        server_context(leaf.chain_pem, locked)


def test_no_key_comes_to_a_disk(leaf: Leaf, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was made")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    server(leaf)


def test_where_there_is_no_memory_file_it_still_works(
    leaf: Leaf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr("os.memfd_create")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server(leaf)
    assert list(tmp_path.iterdir()) == []
