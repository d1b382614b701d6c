"""A server's side of a handshake that shall go wrong in a certain way, without I/O.

Python's ``ssl`` staples no OCSP response, chooses no suites of TLS 1.3 before 3.15 and sends no alert on
demand: pyOpenSSL serves these connections, behind the same names that ``ssl``'s objects have.  Their contexts
keep no sessions and take no tickets: every handshake is a full one.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from certs import records
from certs.contexts import ANY_STRENGTH, CIPHERS, OLD_CIPHERS
from certs.errors import CertError
from certs.side import Incoming, Outgoing, Side, as_ssl, ssl_error, words

BAD_CERTIFICATE: Final = 42
_MOST: Final = 64  # contexts that are kept
_NO_ENCRYPT_THEN_MAC: Final = 1 << 19  # SSL_OP_NO_ENCRYPT_THEN_MAC, which pyOpenSSL does not name
# The random of a ServerHello that asks for another ClientHello (RFC 8446, section 4.1.3).
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


@dataclass(frozen=True)
class Terms:
    """What the server has to offer.

    ``alpn``: its protocols, the best first; ``insists``: no others will do.
    """

    chain_pem: bytes
    key_pem: bytes
    staple: bytes = b""  # an OCSP response
    alpn: tuple[bytes, ...] = ()
    insists: bool = False
    max_version: int = 0  # 0: as ever
    ciphers: str = ""  # as OpenSSL writes them, also suites of TLS 1.3; "": as ever
    weak: bool = False  # the certificate is one that OpenSSL refuses otherwise
    client_ca: bytes = b""  # (PEM) those that may have signed a client's certificate
    client_auth: str = "none"  # or "optional", "required"
    reject_client: bool = False  # ask for a certificate, and take none
    bad_record: bool = False  # damage the first record of content
    min_version: int = records.TLS12  # unless ``max_version`` is older


class _NoProtocol(Exception):
    """The client offers none of the protocols that the server insists on."""


class ShapedHandshake:
    """One handshake as a server; what ``proxy.net.tls.Handshake`` has, and alerts."""

    def __init__(self, terms: Terms) -> None:
        """Raises CertError for what OpenSSL does not take."""
        self.terms = terms
        self.heard = Heard(terms)
        self.connection = SSL.Connection(_context(terms), None)
        self.connection.set_app_data(self.heard)
        self.connection.set_accept_state()
        self.side = Side(self.connection)
        self.incoming = Incoming(self.connection)
        self.outgoing = Outgoing(self.connection)
        self.complete = False
        self.greeted = False  # ServerHello was written
        self.sealed = 0  # records of TLS 1.3 that were sent under the keys of content
        self._last = b""  # the last record of the handshake

    # --- the handshake

    def step(self, data: bytes) -> bool:
        """Take what came and go on; True: complete.  Raises ssl.SSLError; ``flight`` then has the alert."""
        if data:
            self.incoming.write(data)
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            self._reject()
            return False
        except _NoProtocol as error:
            raise ssl_error(str(error)) from None
        except SSL.Error as error:
            self._reject()
            raise as_ssl(error) from None
        self._reject()
        self.complete = True
        return True

    def _reject(self) -> None:
        """Answer the client's certificate, in the place of what OpenSSL answers."""
        if self.heard.presented:
            self.outgoing.drop()
            self.outgoing.put(self._rejection())
            raise ssl_error("the client's certificate is rejected")

    def _rejection(self) -> bytes:
        if self.connection.get_protocol_version() < records.TLS13:
            return records.record(records.ALERT, self._version(), records.alert(BAD_CERTIFICATE))
        return self._seal13("SERVER_TRAFFIC_SECRET_0", records.alert(BAD_CERTIFICATE))

    def flight(self) -> bytes:
        """Give what is to be sent now."""
        data = self.outgoing.read()
        if data:
            written = records.split(data)
            self._last = written[-1]
            if not self.complete:
                self.greeted = self.greeted or _greets(written[0])
            else:
                self.sealed += sum(one[0] == records.APPLICATION_DATA for one in written)
        self.outgoing.damage = self.complete and self.terms.bad_record
        return data

    def protocol(self) -> str:
        """Give what ALPN has chosen, "" where nothing was."""
        return self.connection.get_alpn_proto_negotiated().decode()

    def alert(self, number: int) -> bytes:
        """Give an alert as a server would send it now: in the clear, or under the keys in force.

        Valid before the ServerHello, right behind it (what ``flight`` gave beyond it was not sent), and right
        behind the end of the handshake.  b"" for a cipher that records cannot be sealed for.
        """
        content = records.alert(number)
        try:
            if self.greeted and self.connection.get_protocol_version() == records.TLS13:
                stage = "SERVER_TRAFFIC_SECRET_0" if self.complete else "SERVER_HANDSHAKE_TRAFFIC_SECRET"
                return self._seal13(stage, content)
            if self.complete:
                return records.seal12(self._agreed(), 1, records.ALERT, content)  # 0 was Finished
        except records.UnknownCipher:
            return b""
        return records.record(records.ALERT, self._version(), content)

    def _seal13(self, stage: str, content: bytes) -> bytes:
        name = self.connection.get_cipher_name() or ""
        return records.seal13(name, self.heard.secrets[stage], self.sealed, records.ALERT, content)

    def _agreed(self) -> records.Agreed:
        connection = self.connection
        return records.Agreed(
            self._version(),
            connection.get_cipher_name() or "",
            self.heard.secrets["CLIENT_RANDOM"],
            connection.client_random() or b"",
            connection.server_random() or b"",
            self._last,
        )

    def _version(self) -> int:
        """Give the version that is spoken; before there is one, what any client reads."""
        return self.connection.get_protocol_version() if self.greeted else records.TLS12


class Heard:
    """What OpenSSL has told of one connection while it worked.

    The connection knows it, and it knows nobody: no cycle keeps either alive when they are done.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.presented = False  # the client has shown a certificate that is to be rejected
        self.secrets: dict[str, bytes] = {}  # by the labels of RFC 9850


def _of(connection: SSL.Connection) -> Heard:
    heard: Heard = connection.get_app_data()
    return heard


def _log(connection: SSL.Connection, line: bytes) -> None:
    """Keep a secret."""
    label, _, secret = line.decode().split(" ")
    _of(connection).secrets[label] = bytes.fromhex(secret)


def _choose(connection: SSL.Connection, offered: list[bytes]) -> Any:
    """Choose a protocol."""
    terms = _of(connection).terms
    for name in terms.alpn:
        if name in offered:
            return name
    if terms.insists:
        raise _NoProtocol("the client offers none of the protocols that there are")
    return SSL.NO_OVERLAPPING_PROTOCOLS


def _staple(connection: SSL.Connection, data: object) -> bytes:
    """Give the OCSP response."""
    return _of(connection).terms.staple


def _note(connection: SSL.Connection, shown: object, error: int, depth: int, ok: int) -> bool:
    """Note that there is a certificate; the handshake goes on until it can be rejected."""
    _of(connection).presented = True
    return True


@lru_cache(_MOST)
def _context(terms: Terms) -> SSL.Context:
    """Make a context; it takes a millisecond, and several handshakes often have the same terms."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_options(
        SSL.OP_CIPHER_SERVER_PREFERENCE
        | SSL.OP_NO_COMPRESSION
        | SSL.OP_NO_RENEGOTIATION
        | SSL.OP_NO_TICKET
        | _NO_ENCRYPT_THEN_MAC
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    try:
        _limit(context, terms)
        _show(context, terms)
    except (SSL.Error, ValueError) as error:
        raise CertError(f"OpenSSL takes no such handshake: {words(error)}") from None
    context.set_keylog_callback(_log)
    context.set_alpn_select_callback(_choose)
    if terms.staple:
        context.set_ocsp_server_callback(_staple)
    _ask(context, terms)
    return context


def _ask(context: SSL.Context, terms: Terms) -> None:
    """Ask for the client's certificate, and verify it, or none."""
    if terms.client_ca:
        store = context.get_cert_store()
        for certificate in x509.load_pem_x509_certificates(terms.client_ca):
            context.add_client_ca(certificate)
            if store is not None:
                store.add_cert(crypto.X509.from_cryptography(certificate))
    if terms.reject_client:
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _note)
    elif terms.client_auth != "none":
        must = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if terms.client_auth == "required" else 0
        context.set_verify(SSL.VERIFY_PEER | must)


def _limit(context: SSL.Context, terms: Terms) -> None:
    """Set versions and ciphers."""
    old = 0 < terms.max_version < records.TLS12
    named = terms.ciphers.replace(",", ":").split(":") if terms.ciphers else []
    suites = [name for name in named if name.startswith("TLS_")]
    others = [name for name in named if not name.startswith("TLS_")]
    if suites:
        context.set_tls13_ciphersuites(":".join(suites).encode())
    chosen = ":".join(others) or (OLD_CIPHERS if old else CIPHERS)
    if (terms.weak or old) and "@SECLEVEL" not in chosen:
        chosen += f":{ANY_STRENGTH}"
    context.set_cipher_list(chosen.encode())
    context.set_min_proto_version(min(terms.min_version, terms.max_version or records.TLS13))
    if terms.max_version:
        context.set_max_proto_version(terms.max_version)
    elif others and not suites:
        context.set_max_proto_version(records.TLS12)  # no suite of TLS 1.3 is among what was asked for
    elif suites and not others:
        context.set_min_proto_version(records.TLS13)


def _show(context: SSL.Context, terms: Terms) -> None:
    first, *rest = x509.load_pem_x509_certificates(terms.chain_pem)
    context.use_certificate(first)
    for certificate in rest:
        context.add_extra_chain_cert(certificate)
    # The key is our own, or was checked when its file was read.  To check an RSA key anew, for each leaf that
    # has it, would take some 10 ms of the loop.
    key = load_pem_private_key(terms.key_pem, None, unsafe_skip_rsa_key_validation=True)
    context.use_privatekey(key)  # type: ignore[arg-type]  # of a kind that certificates have
    context.check_privatekey()


def _greets(written: bytes) -> bool:
    """Tell whether a record begins with a ServerHello that is no HelloRetryRequest."""
    return written[0] == records.HANDSHAKE and written[5] == 2 and written[11:43] != _RETRY
