"""Looks at a TLS endpoint as a client: what it shows, and everything that is wrong with it.

One handshake with a client that takes anything and notes each complaint of OpenSSL, so that what is
reported is what was seen.  Python's ssl gives neither the chain of a peer that it refuses nor a stapled
response; hence pyOpenSSL.
"""

import contextlib
import socket
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import ocsp
from OpenSSL import SSL, crypto

from certs import names
from certs.errors import CertError
from certs.files import pem_crls

# X509_V_ERR_* of OpenSSL's x509_vfy.h, as far as this file finds them by itself.
REVOKED: Final = 23
HOSTNAME_MISMATCH: Final = 62
KEY_TOO_SMALL: Final = 66
DIGEST_TOO_WEAK: Final = 68

# "unable to verify the first certificate", "certificate not trusted": said besides the reason.
_CONSEQUENCES: Final = frozenset({21, 27})

_PIECE: Final = 16_384
_WEAK_DIGESTS: Final = (hashes.MD5, hashes.SHA1)
_WEAK_RSA: Final = 2048  # shorter keys have less than 112 bits of security


@dataclass(frozen=True, order=True)
class Complaint:
    """Something that is wrong: how far above the leaf, OpenSSL's number for it, with which certificate."""

    depth: int
    error: int
    certificate: x509.Certificate = field(compare=False)


@dataclass
class Endpoint:
    """What an endpoint showed."""

    name: str  # what it was asked for
    version: str = ""
    cipher: str = ""
    alpn: str = ""
    chain: list[x509.Certificate] = field(default_factory=list)  # as sent, the leaf first
    staple: str = ""  # what the stapled OCSP response says; "" where there is none
    wants_client: list[str] = field(default_factory=list)  # who may have signed a client's certificate
    complaints: list[Complaint] = field(default_factory=list)


def inspect(
    host: str,
    port: int,
    *,
    name: str = "",
    trusted: bytes = b"",
    system: bool = True,
    crls: bytes = b"",
    alpn: tuple[str, ...] = ("h2", "http/1.1"),
    timeout: float = 10.0,
) -> Endpoint:
    """Shake hands with an endpoint and judge what it shows.

    ``name`` (default: the host) is what is asked for and what the certificate must be for.  ``trusted`` are
    roots (PEM), beside those of the system unless ``system`` is False.  ``crls``: lists of revoked
    certificates (PEM).  ``timeout`` in seconds.  Raises CertError where there is no handshake.
    """
    name = names.canonical(name or host)
    endpoint = Endpoint(name)
    connection = SSL.Connection(_context(endpoint, trusted, system, alpn), None)
    if names.as_address(name) is None:  # an address is no server name (RFC 6066, 3)
        connection.set_tlsext_host_name(name.encode("ascii"))
    connection.request_ocsp()
    connection.set_connect_state()
    try:
        with socket.create_connection((host, port), timeout) as sock:
            sock.settimeout(timeout)
            _shake(connection, sock)
            _note(endpoint, connection)
    except (SSL.Error, OSError) as error:
        raise CertError(f"no handshake with {host}:{port}: {_words(error)}") from None
    _judge(endpoint, pem_crls(crls))
    return endpoint


def _shake(connection: SSL.Connection, sock: socket.socket) -> None:
    """Shake hands; also what OpenSSL says at its failure is sent."""
    complete = False
    while not complete:
        try:
            connection.do_handshake()
            complete = True
        except SSL.WantReadError:
            pass
        finally:
            with contextlib.suppress(SSL.WantReadError):
                while piece := connection.bio_read(_PIECE):
                    sock.sendall(piece)
        if not complete:
            data = sock.recv(_PIECE)
            if not data:
                raise ConnectionError("the connection was closed")
            connection.bio_write(data)


def _words(error: Exception) -> str:
    """Say in words what OpenSSL or the operating system found."""
    if isinstance(error, SSL.Error):
        found = (
            [str(part[-1]) for part in error.args[0]]
            if error.args and isinstance(error.args[0], list)
            else []
        )
        return ", ".join(found) or "OpenSSL gives no reason"
    if isinstance(error, TimeoutError):
        return "timed out"
    return (getattr(error, "strerror", None) or str(error)).lower()


def _context(endpoint: Endpoint, trusted: bytes, system: bool, alpn: tuple[str, ...]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    context.set_min_proto_version(SSL.TLS1_VERSION)
    if system:
        context.set_default_verify_paths()
    store = context.get_cert_store()
    assert store is not None
    for root in x509.load_pem_x509_certificates(trusted) if trusted else ():
        store.add_cert(crypto.X509.from_cryptography(root))
    context.set_alpn_protos([protocol.encode("ascii") for protocol in alpn])

    def complain(_: object, current: crypto.X509, error: int, depth: int, sound: int) -> bool:
        if not sound:
            endpoint.complaints.append(Complaint(depth, error, current.to_cryptography()))
        return True

    def take_staple(_: object, response: bytes, __: object) -> bool:
        endpoint.staple = _status(response) if response else ""
        return True

    context.set_verify(SSL.VERIFY_PEER, complain)
    context.set_ocsp_client_callback(take_staple)
    return context


def _status(response: bytes) -> str:
    """Say what a stapled response says about the certificate."""
    try:
        read = ocsp.load_der_ocsp_response(response)
        if read.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return read.response_status.name.lower()
        return read.certificate_status.name.lower()
    except ValueError:
        return "unreadable"


def _note(endpoint: Endpoint, connection: SSL.Connection) -> None:
    endpoint.version = connection.get_protocol_version_name()
    endpoint.cipher = connection.get_cipher_name() or ""
    endpoint.alpn = connection.get_alpn_proto_negotiated().decode("latin-1")
    endpoint.chain = list(connection.get_peer_cert_chain(as_cryptography=True) or ())
    endpoint.wants_client = [
        ", ".join(f"{key.decode()}={value.decode()}" for key, value in name.get_components())
        for name in connection.get_client_ca_list()
    ]


def _judge(endpoint: Endpoint, crls: list[x509.CertificateRevocationList]) -> None:
    """Add what OpenSSL does not look at, and take away what only follows from something else."""
    if not endpoint.chain:
        return
    leaf = endpoint.chain[0]
    found = set(endpoint.complaints)
    if not is_for(leaf, endpoint.name):
        found.add(Complaint(0, HOSTNAME_MISMATCH, leaf))
    for depth, certificate in enumerate(dict.fromkeys(endpoint.chain)):  # some servers send one twice
        key = certificate.public_key()
        if isinstance(key, rsa.RSAPublicKey) and key.key_size < _WEAK_RSA:
            found.add(Complaint(depth, KEY_TOO_SMALL, certificate))
        if certificate.issuer != certificate.subject and isinstance(_digest(certificate), _WEAK_DIGESTS):
            found.add(Complaint(depth, DIGEST_TOO_WEAK, certificate))
    listed = any(
        crl.issuer == leaf.issuer and crl.get_revoked_certificate_by_serial_number(leaf.serial_number)
        for crl in crls
    )
    if listed or endpoint.staple == "revoked":
        found.add(Complaint(0, REVOKED, leaf))
    if any(complaint.error not in _CONSEQUENCES for complaint in found):
        found = {complaint for complaint in found if complaint.error not in _CONSEQUENCES}
    endpoint.complaints = sorted(found)


def _digest(certificate: x509.Certificate) -> hashes.HashAlgorithm | None:
    """Give the digest of a signature; None for signatures without one (Ed25519) and for unknown ones."""
    try:
        return certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None


def is_for(certificate: x509.Certificate, name: str) -> bool:
    """Whether a certificate is for a canonical name (RFC 9525, 6): the common name does not count."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    address = names.as_address(name)
    if address is not None:
        return address in found.get_values_for_type(x509.IPAddress)
    told = {dns.lower() for dns in found.get_values_for_type(x509.DNSName)}
    return name in told or f"*.{name.partition('.')[2]}" in told
