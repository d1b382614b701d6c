"""Whom we show ourselves as over TLS, and what went wrong: the seam between path and certificates."""

import ssl
from hashlib import sha256
from typing import Any, Final

from mypy_extensions import mypyc_attr

from proxy import errors
from proxy.errors import Failure
from rules.actions import ShapeHandshake
from rules.facts import ClientCertificate


class IdentityError(Exception):
    """There is no certificate to show; the message says why."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Keeper:
    """Begins a listener's handshakes.

    A shaped handshake (one that a rule has a say in) is always a full one: no session that a client holds is
    good for it, and it gives none.  It also has ``alert(number) -> bytes``, sealed where that must be.
    """

    def handshake(self, name: str, shape: ShapeHandshake | None) -> Any:
        """Begin a handshake as this name: ``proxy.net.tls.Handshake``, or what has its methods.

        ``shape`` None: a sound one.  None: what it takes is not at hand.  Raises IdentityError.
        """
        raise NotImplementedError

    async def prepare(self, name: str, shape: ShapeHandshake | None) -> None:
        """Have made what that handshake takes.  Raises IdentityError."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Credentials:
    """What an upstream is spoken to with: whom we trust, what we show, which protocols we offer.

    ``server_name``: the name that the upstream is asked for and verified by, "": the host of its address.
    """

    def __init__(self, server_name: str) -> None:
        self.server_name: str = server_name

    def context(self, offer: int) -> ssl.SSLContext:
        """Give the context of new handshakes; ``offer``: a protocol of proxy.net.pool."""
        raise NotImplementedError


# Of openssl/x509_vfy.h: what certificate verification found wrong.
_VERIFY: Final[dict[int, Failure]] = {
    9: errors.UPSTREAM_CERTIFICATE_NOT_YET_VALID,
    10: errors.UPSTREAM_CERTIFICATE_EXPIRED,
    18: errors.UPSTREAM_CERTIFICATE_SELF_SIGNED,
    2: errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA,
    19: errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA,
    20: errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA,
    21: errors.UPSTREAM_CERTIFICATE_UNKNOWN_CA,
    23: errors.UPSTREAM_CERTIFICATE_REVOKED,
    62: errors.UPSTREAM_CERTIFICATE_NAME,
    64: errors.UPSTREAM_CERTIFICATE_NAME,
}


def upstream_failure(error: ssl.SSLError) -> Failure:
    """Tell apart why TLS to an upstream failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY.get(error.verify_code, errors.UPSTREAM_CERTIFICATE)
    if "ALERT" in _reason(error):
        return errors.UPSTREAM_TLS_ALERT
    return errors.UPSTREAM_TLS_PROTOCOL


def client_failure(error: ssl.SSLError) -> str:
    """Tell apart why a client's handshake failed: a kind of ``errors.HANDSHAKES``."""
    reason = _reason(error)
    if isinstance(error, ssl.SSLCertVerificationError) or "PEER_DID_NOT_RETURN" in reason:
        return errors.TLS_CLIENT_CERTIFICATE
    if "ALERT" in reason:
        return errors.TLS_ALERT
    if "NO_SHARED" in reason or "UNSUPPORTED_PROTOCOL" in reason or "NO_SUITABLE" in reason:
        return errors.TLS_NO_MATCH
    return errors.TLS_PROTOCOL


def words(error: ssl.SSLError) -> str:
    """Say in words what OpenSSL says in capitals."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (_reason(error) or str(error)).replace("_", " ").lower()


def _reason(error: ssl.SSLError) -> str:
    """Give OpenSSL's word for it; "" for an error that was not made by ``ssl`` itself."""
    reason: Any = getattr(error, "reason", None)
    return str(reason or "")


# RFC 4514, section 3, and what OpenSSL calls them.
_SHORT: Final[dict[str, str]] = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}


def client_certificate(side: ssl.SSLObject) -> ClientCertificate | None:
    """Give what a client has shown and OpenSSL has verified; None: nothing."""
    der = side.getpeercert(True)
    if der is None:
        return None
    shown: Any = side.getpeercert()
    parts: list[str] = []
    for group in shown.get("subject", ()):
        for name, value in group:
            parts.append(f"{_SHORT.get(name, name)}={_escaped(value)}")
    parts.reverse()  # RFC 4514, section 2.1: the last one first
    names = [value.encode() for _, value in shown.get("subjectAltName", ())]
    return ClientCertificate(",".join(parts).encode(), names, sha256(der).hexdigest().encode())


def _escaped(value: str) -> str:
    """Escape as RFC 4514, section 2.4, says."""
    made = value
    for special in '\\,+"<>;':
        made = made.replace(special, "\\" + special)
    return made


def told_of(certificate: ClientCertificate | None) -> bytes:
    """Write what ``x-forwarded-client-cert`` says, in Envoy's form; b"": the client has shown none."""
    if certificate is None:
        return b""
    subject = certificate.subject.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    parts = [b"Hash=" + certificate.fingerprint, b'Subject="' + subject + b'"']
    for name in certificate.names:
        kind = b"URI=" if b"://" in name else b"DNS="
        if b"@" not in name and _plain(name):
            parts.append(kind + name)
    return b";".join(parts)


def _plain(name: bytes) -> bool:
    """Tell whether a name can stand unquoted."""
    for byte in name:
        if byte <= 0x20 or byte >= 0x7F or byte in b',;="':
            return False
    return True
