"""Handshakes that go wrong as they shall, judged by what Python's own OpenSSL says as their client."""

import gc
import ssl
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import records
from certs.authority import Authority
from certs.errors import CertError
from certs.flavour import Flavour
from certs.mint import mint
from certs.shaped import ShapedHandshake, Terms

HOST = "shop.example"
ROOT = trustme.CA()
LEAF = ROOT.issue_cert(HOST)
RSA_LEAF = ROOT.issue_cert(HOST, key_type=trustme.KeyType.RSA)
CLIENT = trustme.CA().issue_cert("client.example")  # of an authority that nobody here knows

CLIENT_HELLO, SERVER_HELLO, FINISHED = "client_hello", "server_hello", "finished"


def terms(leaf: trustme.LeafCert = LEAF, /, **more: object) -> Terms:
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    return replace(Terms(chain, leaf.private_key_pem.bytes()), **more)  # type: ignore[arg-type]


def client(old: bool = False, ciphers: str = "", certificate: bool = False, alpn: str = "") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ROOT.configure_trust(context)
    if old or ciphers:
        context.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    if old:
        context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
        with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
            context.minimum_version = ssl.TLSVersion.TLSv1
    if certificate:
        CLIENT.configure_cert(context)
    if alpn:
        context.set_alpn_protocols(alpn.split())
    return context


@dataclass
class Met:
    """What a client has met: its error (OpenSSL's word for it), or the bytes that came."""

    error: str | None = None
    shaken: bool = False  # the client took the handshake for complete
    data: bytes = b""
    version: str | None = None
    cipher: str = ""
    alpn: str | None = None
    ended: bool = False  # close_notify has come


class Pair:
    """A shaped server and a client whose bytes meet in memory."""

    def __init__(self, server: Terms, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.shaped = ShapedHandshake(server)
        self.down, self.up = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self.down, self.up, server_hostname=HOST, session=session)
        self.met = Met()
        self.server_error = ""

    def hear(self) -> bool:
        """Let the client take what came; False: it has failed."""
        try:
            if not self.met.shaken:
                self.client.do_handshake()
                self.met.shaken = True
            data = self.client.read(65536)
            self.met.data += data
            self.met.ended = not data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.met.ended = True
        except ssl.SSLError as error:
            self.met.error = error.reason or str(error)
            return False
        return True

    def run(self, at: str = "", alert: int = 0) -> Met:
        """Shake hands, with an alert at one point of it; without one, the server says hello at the end."""
        shaped = self.shaped
        for _ in range(8):
            if not self.hear():
                break
            data = self.up.read()
            if at == CLIENT_HELLO:
                self.down.write(shaped.alert(alert))
                continue
            if not data:
                continue
            try:
                complete = shaped.step(data)
            except ssl.SSLError as error:
                self.server_error = error.reason
                self.down.write(shaped.flight())
                continue
            flight = shaped.flight()
            if at == SERVER_HELLO and shaped.greeted:
                self.down.write(records.split(flight)[0] + shaped.alert(alert))
                at = "done"
            elif at == FINISHED and complete:
                self.down.write(flight + shaped.alert(alert))
                at = "done"
            elif at != "done":
                self.down.write(flight)
                if complete:
                    self.server_says(b"hello")
        self.met.version = self.client.version() or shaped.side.version()
        self.met.cipher = (self.client.cipher() or ("",))[0]
        self.met.alpn = self.client.selected_alpn_protocol()
        return self.met

    def server_says(self, data: bytes) -> None:
        self.shaped.side.write(data)
        self.down.write(self.shaped.outgoing.read())


def test_sound_terms_make_a_sound_handshake() -> None:
    pair = Pair(terms(alpn=(b"h2", b"http/1.1")), client(alpn="http/1.1 h2"))
    met = pair.run()
    assert (met.error, met.data, met.version, met.alpn) == (None, b"hello", "TLSv1.3", "h2")
    side = pair.shaped.side
    assert (pair.shaped.protocol(), side.selected_alpn_protocol(), side.version()) == ("h2", "h2", "TLSv1.3")
    assert side.cipher() is not None
    pair.client.write(b"x" * 40000)
    pair.shaped.incoming.write(pair.up.read())
    got = b""
    with suppress(ssl.SSLWantReadError):
        while True:
            got += side.read(16384)
    assert got == b"x" * 40000
    with suppress(ssl.SSLError):
        pair.client.unwrap()
    pair.shaped.incoming.write(pair.up.read())
    assert side.read() == b""
    side.unwrap()
    pair.down.write(pair.shaped.outgoing.read())
    pair.hear()
    assert pair.met.ended


# Terms, the client's list of ciphers where it needs one, and whether it must take old versions.
SUITES: list[tuple[dict[str, object], str, bool]] = [
    ({}, "", False),
    ({"ciphers": "TLS_AES_128_GCM_SHA256"}, "", False),
    ({"ciphers": "TLS_CHACHA20_POLY1305_SHA256"}, "", False),
    ({"max_version": 0x0303}, "", False),
    ({"ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"}, "", False),
    ({"ciphers": "ECDHE+CHACHA20"}, "", False),
    ({"ciphers": "ECDHE-ECDSA-AES256-CCM"}, "ECDHE-ECDSA-AES256-CCM", False),
    (
        {"ciphers": "ECDHE-ECDSA-AES128-SHA"},
        "ECDHE-ECDSA-AES128-SHA",
        False,
    ),  # python.org's build offers none
    ({"ciphers": "ECDHE-ECDSA-AES128-SHA256"}, "", False),
    ({"ciphers": "ECDHE-ECDSA-AES256-SHA384"}, "", False),
    ({"max_version": 0x0302}, "", True),
    ({"max_version": 0x0301}, "", True),
]


@pytest.mark.parametrize(("offer", "ciphers", "old"), SUITES)
@pytest.mark.parametrize("at", [CLIENT_HELLO, SERVER_HELLO, FINISHED])
def test_an_alert_is_read_at_each_point_with_each_kind_of_cipher(
    offer: dict[str, object], ciphers: str, old: bool, at: str
) -> None:
    met = Pair(terms(**offer), client(old, ciphers)).run(at, 48)
    assert met.error == "TLSV1_ALERT_UNKNOWN_CA"
    assert met.shaken is (at == FINISHED)
    if at == FINISHED:
        wanted = str(offer.get("ciphers", ""))
        assert wanted in (met.cipher, "", "ECDHE+CHACHA20")


@pytest.mark.parametrize("version", [0x0301, 0x0302, 0x0303])
def test_an_alert_behind_the_handshake_with_rsa(version: int) -> None:
    assert Pair(terms(RSA_LEAF, max_version=version), client(True)).run(FINISHED, 42).error == (
        "SSLV3_ALERT_BAD_CERTIFICATE"
    )


ALERTS = {
    10: "SSLV3_ALERT_UNEXPECTED_MESSAGE",
    40: "SSLV3_ALERT_HANDSHAKE_FAILURE",
    45: "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    70: "TLSV1_ALERT_PROTOCOL_VERSION",
    80: "TLSV1_ALERT_INTERNAL_ERROR",
    112: "TLSV1_UNRECOGNIZED_NAME",
    116: "TLSV13_ALERT_CERTIFICATE_REQUIRED",
}


@pytest.mark.parametrize("number", ALERTS)
@pytest.mark.parametrize("version", [0, 0x0303])
def test_each_alert_is_its_own(number: int, version: int) -> None:
    assert Pair(terms(max_version=version), client()).run(FINISHED, number).error == ALERTS[number]


def test_an_alert_that_announces_the_end() -> None:
    met = Pair(terms(), client()).run(FINISHED, 0)
    assert (met.error, met.ended) == (None, True)


def test_a_cipher_that_nobody_can_seal_for_says_nothing() -> None:
    with pytest.raises(records.UnknownCipher):
        records.Suite.of("ECDHE-ECDSA-CAMELLIA256-SHA384", records.TLS12)


@pytest.mark.parametrize(
    ("version", "certificate", "error"),
    [
        (0, True, "SSLV3_ALERT_BAD_CERTIFICATE"),
        (0, False, "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        (0x0303, True, "SSLV3_ALERT_BAD_CERTIFICATE"),
        (0x0303, False, "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    ],
)
def test_a_client_is_rejected_as_its_version_of_tls_does_it(
    version: int, certificate: bool, error: str
) -> None:
    pair = Pair(terms(max_version=version, reject_client=True), client(certificate=certificate))
    met = pair.run()
    assert met.error == error
    assert ("REJECTED" in pair.server_error) is certificate
    assert met.shaken is (version == 0)  # in TLS 1.3 the client has done its part before it is judged


def test_a_client_whose_certificate_is_trusted_is_known() -> None:
    other = trustme.CA()
    context = client()
    other.issue_cert("client.example", common_name="me").configure_cert(context)
    pair = Pair(terms(client_ca=other.cert_pem.bytes(), client_auth="required"), context)
    assert pair.run().data == b"hello"
    told = pair.shaped.side.getpeercert()
    assert isinstance(told, dict)
    assert (("commonName", "me"),) in told["subject"]
    assert told["subjectAltName"] == (("DNS", "client.example"),)
    assert isinstance(pair.shaped.side.getpeercert(True), bytes)
    stranger = client(certificate=True)
    assert Pair(pair.shaped.terms, stranger).run().error == "TLSV1_ALERT_UNKNOWN_CA"
    nobody = Pair(replace(pair.shaped.terms, client_auth="optional"), client())
    assert (nobody.run().data, nobody.shaped.side.getpeercert()) == (b"hello", None)


def test_alpn_of_which_nothing_fits() -> None:
    assert Pair(terms(alpn=(b"h2",)), client(alpn="http/1.1")).run().alpn is None
    insisting = terms(alpn=(b"h2",), insists=True)
    assert "no application protocol" in str(Pair(insisting, client(alpn="http/1.1")).run().error).lower()
    assert Pair(insisting, client(alpn="http/1.1 h2")).run().alpn == "h2"
    assert Pair(insisting, client()).run().data == b"hello"
    assert Pair(terms(), client(alpn="h2")).run().alpn is None


@pytest.mark.parametrize("version", [0, 0x0303])
def test_a_bad_record_is_the_first_behind_the_handshake(version: int) -> None:
    pair = Pair(terms(max_version=version, bad_record=True), client())
    met = pair.run()
    assert (met.shaken, met.data, met.error) == (True, b"", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC")


@pytest.mark.parametrize(("version", "spoken"), [(0x0303, "TLSv1.2"), (0x0302, "TLSv1.1"), (0x0301, "TLSv1")])
def test_no_newer_version_is_spoken(version: int, spoken: str) -> None:
    assert Pair(terms(max_version=version), client(True)).run().version == spoken


def test_the_oldest_version_that_is_spoken() -> None:
    older = client()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    assert Pair(terms(min_version=0x0304), older).run().error == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert Pair(terms(min_version=0x0304, max_version=0x0303), older).run().version == "TLSv1.2"


def test_a_modern_client_does_not_take_an_old_version() -> None:
    context = client()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    assert Pair(terms(max_version=0x0302), context).run().error == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_ciphers_of_both_generations_leave_both_versions() -> None:
    both = terms(ciphers="TLS_AES_128_GCM_SHA256:ECDHE+AESGCM")
    assert Pair(both, client()).run().cipher == "TLS_AES_128_GCM_SHA256"
    old = client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert Pair(both, old).run().version == "TLSv1.2"
    assert Pair(terms(ciphers="TLS_AES_128_GCM_SHA256"), old).run().error == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_an_rsa_key_that_many_leaves_share_is_not_checked_for_each() -> None:
    """It is the loop that would wait: to check a key of 2,048 bits takes longer than all the rest."""
    authority = Authority.create(None)
    leaves = [mint(authority, f"{number}.example", key="rsa") for number in range(5)]
    checking, shaping = [], []
    for leaf in leaves:
        begun = time.thread_time()
        load_pem_private_key(leaf.key_pem, None)
        between = time.thread_time()
        ShapedHandshake(Terms(leaf.chain_pem, leaf.key_pem))
        checking.append(between - begun)
        shaping.append(time.thread_time() - between)
    assert min(shaping) < min(checking) / 2


@pytest.mark.parametrize("kind", ["weak_key", "sha1"])
def test_a_certificate_that_openssl_refuses_otherwise_can_be_shown(kind: str) -> None:
    authority = Authority.create(None)
    leaf = mint(authority, HOST, Flavour(kind))
    context = ssl.create_default_context(cadata=authority.root_pem.decode())
    met = Pair(Terms(leaf.chain_pem, leaf.key_pem, weak=True), context).run()
    assert met.error == "CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize(
    "wrong", [{"ciphers": "NO-SUCH-CIPHER"}, {"ciphers": "TLS_NO_SUCH"}, {"key_pem": b"x"}]
)
def test_what_openssl_does_not_take(wrong: dict[str, object]) -> None:
    with pytest.raises(CertError, match="OpenSSL takes no such handshake"):
        ShapedHandshake(terms(**wrong))


@pytest.mark.parametrize("version", [0, 0x0303])
def test_no_session_of_such_a_handshake_is_resumed(version: int) -> None:
    offer, context = terms(max_version=version), client()
    first = Pair(offer, context)
    assert first.run().data == b"hello"
    second = Pair(offer, context, first.client.session)
    assert second.run().data == b"hello"
    assert not second.client.session_reused


def test_handshakes_on_the_same_terms_know_nothing_of_each_other() -> None:
    offer = terms(reject_client=True, max_version=0x0303)
    one, other = Pair(offer, client(certificate=True)), Pair(offer, client())
    assert (one.run().error, other.run().error) == (
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
    )
    assert not other.shaped.heard.presented
    third, fourth = Pair(terms(), client()), Pair(terms(), client())
    assert (third.run(FINISHED, 48).error, fourth.run(FINISHED, 42).error) == (
        "TLSV1_ALERT_UNKNOWN_CA",
        "SSLV3_ALERT_BAD_CERTIFICATE",
    )


def test_nothing_is_left_to_the_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        pair = Pair(terms(alpn=(b"h2",), staple=b"response", client_ca=ROOT.cert_pem.bytes()), client())
        assert pair.run().data == b"hello"
        connection = weakref.ref(pair.shaped.connection)
        del pair
        assert connection() is None
    finally:
        gc.enable()
