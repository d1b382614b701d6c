"""Certificates and keys that the user supplies as files: read, checked, and read again on change."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from certs import storage
from certs.errors import CertError, brief

_KEY: Final = b"PRIVATE KEY"
_CERTIFICATE: Final = b"CERTIFICATE"
_CRL: Final = b"X509 CRL"

_Look = tuple[tuple[int, int, int, int], ...]


class Identity:
    """A certificate with what is sent behind it, and its key: all PEM.  Times are seconds of the epoch."""

    __slots__ = ("chain_pem", "key_pem", "names", "not_after", "not_before")

    def __init__(self, chain_pem: bytes, key_pem: bytes, leaf: x509.Certificate) -> None:
        self.chain_pem = chain_pem
        self.key_pem = key_pem
        self.names = names_of(leaf)
        self.not_before = leaf.not_valid_before_utc.timestamp()
        self.not_after = leaf.not_valid_after_utc.timestamp()


def look(*paths: Path) -> _Look:
    """Note which files stand at the paths: device, inode, size and time of the last change (ns).

    Another note means another file, also where the path leads over links (Kubernetes puts mounted secrets in
    place by swapping the link of their directory).
    """
    found = []
    for path in paths:
        try:
            state = os.stat(path)
        except OSError:
            found.append((0, 0, 0, 0))
        else:
            found.append((state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)


def read_identity(certificate: Path, key: Path | None = None) -> Identity:
    """Read a certificate, the chain behind it and its key, and check that they belong together.

    Raises CertError: which file, what is wrong with it.
    """
    key = key or certificate
    blocks = storage.pem_blocks(storage.read(certificate), _CERTIFICATE)
    if not blocks:
        raise CertError(f"{certificate}: there is no certificate in it (-----BEGIN CERTIFICATE-----)")
    chain = [_certificate(block, certificate, number) for number, block in enumerate(blocks, 1)]
    keys = storage.pem_blocks(storage.read(key), _KEY)
    if len(keys) != 1:
        raise CertError(
            f"{key}: there must be one private key in it (-----BEGIN PRIVATE KEY-----), not {len(keys)}"
        )
    try:
        private = serialization.load_pem_private_key(keys[0], None)
    except TypeError:
        raise CertError(f"{key}: the private key is encrypted; give one without a password") from None
    except ValueError as error:
        raise CertError(f"{key}: the private key cannot be read: {brief(error)}") from None
    public = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    mine = private.public_key().public_bytes(*public)
    if mine != chain[0].public_key().public_bytes(*public):
        others = [n for n, c in enumerate(chain[1:], 2) if c.public_key().public_bytes(*public) == mine]
        hint = f"; it belongs to certificate {others[0]}, which must come first" if others else ""
        raise CertError(f"{key}: this key does not belong to the certificate in {certificate}{hint}")
    _check_order(chain, certificate)
    return Identity(b"".join(blocks), keys[0], chain[0])


def _certificate(block: bytes, path: Path, number: int) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(block)
    except ValueError as error:
        raise CertError(f"{path}: certificate {number} cannot be read: {brief(error)}") from None


def _check_order(chain: list[x509.Certificate], path: Path) -> None:
    """Each certificate is signed by the one behind it (RFC 5246, 7.4.2).  Raises CertError."""
    for number, (lower, upper) in enumerate(pairwise(chain), 1):
        if lower.issuer != upper.subject:
            raise CertError(
                f"{path}: certificate {number} ({lower.subject.rfc4514_string()}) is signed by "
                f"{lower.issuer.rfc4514_string()}, but behind it comes {upper.subject.rfc4514_string()}"
            )


def read_trusted(path: Path) -> bytes:
    """Read certificates that are to be trusted (PEM, one or more).  Raises CertError."""
    blocks = storage.pem_blocks(storage.read(path), _CERTIFICATE)
    if not blocks:
        raise CertError(f"{path}: there is no certificate in it (-----BEGIN CERTIFICATE-----)")
    for number, block in enumerate(blocks, 1):
        _certificate(block, path, number)
    return b"".join(blocks)


def read_crl(path: Path) -> bytes:
    """Read lists of revoked certificates, PEM or one in DER, and give them as PEM.  Raises CertError."""
    data = storage.read(path)
    try:
        lists = pem_crls(data) or [x509.load_der_x509_crl(data)]
    except ValueError as error:
        raise CertError(f"{path}: it is no list of revoked certificates (CRL): {brief(error)}") from None
    return b"".join(crl.public_bytes(serialization.Encoding.PEM) for crl in lists)


def pem_crls(data: bytes) -> list[x509.CertificateRevocationList]:
    """Take lists of revoked certificates out of PEM.  Raises ValueError."""
    return [x509.load_pem_x509_crl(block) for block in storage.pem_blocks(data, _CRL)]


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give the names that a certificate is for; its common name where it has no others."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(name.value) for name in common)
    wanted = x509.DNSName | x509.IPAddress | x509.UniformResourceIdentifier
    return tuple(str(name.value) for name in found if isinstance(name, wanted))
