"""TLS contexts with this proxy's policy: TLS 1.2 and 1.3, forward secrecy and AEAD; less only when asked.

Each server context has ticket keys of its own (OpenSSL makes them with the context): a client that holds a
ticket of one context makes a full handshake with another, and so meets its certificate.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal

from certs.errors import CertError

ClientAuth = Literal["none", "optional", "required"]

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
# What TLS 1.0 and 1.1 have: only CBC, and SHA-1 in the handshake, hence OpenSSL's level 0.
OLD_CIPHERS: Final = "ECDHE+AES:RSA+AES"
ANY_STRENGTH: Final = "@SECLEVEL=0"

_DEMANDS: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
# Absent from Python 3.11's ssl where OpenSSL's headers have them; OpenSSL 3 ignores neither.
_NO_RENEGOTIATION: Final = getattr(ssl, "OP_NO_RENEGOTIATION", 1 << 30)


def server_context(
    leaf_chain_pem: bytes,
    key_pem: bytes,
    *,
    alpn: Sequence[str] = (),
    max_version: ssl.TLSVersion | None = None,
    ciphers: str | None = None,
    client_ca: bytes | None = None,
    client_auth: ClientAuth = "none",
    weak: bool = False,
) -> ssl.SSLContext:
    """Make a context that shows a certificate (PEM, the leaf first).

    ``alpn``: protocols, the one that we like best first.  ``max_version`` below TLS 1.2 makes it the only
    version.  ``ciphers`` are OpenSSL's names, for TLS 1.2 and older.  ``client_ca``: the certificates (PEM)
    that may have signed a client's.  ``weak`` takes certificates that OpenSSL refuses otherwise
    (``Flavour.weak``).  Raises CertError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _limit(context, max_version, ciphers, weak)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | _NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    _load_identity(context, leaf_chain_pem, key_pem)
    if client_auth != "none":
        if client_ca is None:
            raise CertError(
                "client certificates are asked for, but no authority (client_ca) may have signed them"
            )
        _trust(context, client_ca)
    context.verify_mode = _DEMANDS[client_auth]
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def client_context(
    *,
    verify: bool = True,
    ca: bytes | None = None,
    certificate: bytes | None = None,
    key: bytes | None = None,
    alpn: Sequence[str] = (),
    crl: bytes | None = None,
    max_version: ssl.TLSVersion | None = None,
    ciphers: str | None = None,
) -> ssl.SSLContext:
    """Make a context that verifies the server's certificate and name.

    ``ca``: the roots to trust (PEM) in the place of the system's.  ``certificate`` and ``key``: what we
    show when asked (PEM).  ``crl``: lists of revoked certificates (PEM), then one of each leaf's issuer is
    needed.  ``verify=False`` takes anything.  Raises CertError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _limit(context, max_version, ciphers, weak=False)
    context.options |= _NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.check_hostname = verify
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify and ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif ca is not None:
        _trust(context, ca)
    if crl is not None:
        _trust(context, crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if certificate is not None:
        _load_identity(context, certificate, key or certificate)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _limit(
    context: ssl.SSLContext, max_version: ssl.TLSVersion | None, ciphers: str | None, weak: bool
) -> None:
    """Set versions and ciphers.  Raises CertError for ciphers that OpenSSL does not know."""
    old = max_version is not None and max_version < ssl.TLSVersion.TLSv1_2
    chosen = ciphers or (OLD_CIPHERS if old else CIPHERS)
    try:
        context.set_ciphers(f"{chosen}:{ANY_STRENGTH}" if weak or old else chosen)
    except ssl.SSLError:
        raise CertError(f"OpenSSL knows no ciphers {chosen!r}") from None
    context.minimum_version = max_version if old and max_version else ssl.TLSVersion.TLSv1_2
    if max_version is not None:
        context.maximum_version = max_version


def _load_identity(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    try:
        with _as_file(chain_pem.rstrip() + b"\n" + key_pem) as path:
            context.load_cert_chain(path, password=_no_password)
    except ssl.SSLError as error:
        raise CertError(f"OpenSSL does not take the certificate and its key: {_words(error)}") from None


def _no_password() -> str:
    """Refuse to ask at the terminal, as OpenSSL would."""
    raise CertError("the key is encrypted: give one without a password")


def _trust(context: ssl.SSLContext, pem: bytes) -> None:
    """Trust certificates, and use revocation lists."""
    try:
        with _as_file(pem) as path:
            context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise CertError(f"OpenSSL does not take the trusted certificates: {_words(error)}") from None


def _words(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Give bytes a path, which is all that ssl reads keys from; in memory, so that no key comes to a disk."""
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile() as file:  # mode 0600
        file.write(data)
        file.flush()
        yield file.name
