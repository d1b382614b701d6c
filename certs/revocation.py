"""What an issuer says about revoked certificates: a CRL (RFC 5280, 5) and OCSP responses (RFC 6960)."""

from collections.abc import Mapping
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from certs.errors import CertError
from certs.issuer import DAY, Issuer, authority_identifier, moment

STATED_FOR: Final = 7 * DAY  # how long a CRL or a response may be used
_SKEW: Final = 3600.0  # they begin an hour ago, for clients whose clock is behind

_DER: Final = serialization.Encoding.DER


def make_crl(issuer: Issuer, revoked: Mapping[int, float], now: float) -> bytes:
    """Make the CRL of an issuer (DER); ``revoked`` has serial numbers and when they were revoked."""
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.certificate.subject)
    builder = builder.last_update(moment(now - _SKEW)).next_update(moment(now + STATED_FOR))
    builder = builder.add_extension(x509.CRLNumber(int(now * 1000)), False)
    builder = builder.add_extension(authority_identifier(issuer), False)
    for serial, when in revoked.items():
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment(when))
        reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
        builder = builder.add_revoked_certificate(entry.add_extension(reason, False).build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(_DER)


def staple(issuer: Issuer, serial: int, revoked: float | None, now: float) -> bytes:
    """Make the OCSP response (DER) about a certificate: good, or revoked since a time."""
    algorithm = hashes.SHA1()  # names the issuer and protects nothing; the only one that all clients know
    name_hash = _digest(issuer.certificate.subject.public_bytes(), algorithm)
    return _statement(issuer, (name_hash, _key_hash(issuer, algorithm), serial, algorithm), revoked, now)


def answer(issuer: Issuer, request: bytes, revoked: Mapping[int, float], now: float) -> bytes:
    """Answer an OCSP request (both DER); of other issuers' certificates it says "unauthorized".

    Raises CertError where the request is none.
    """
    try:
        asked = ocsp.load_der_ocsp_request(request)
        algorithm = asked.hash_algorithm
    except (ValueError, NotImplementedError) as error:
        raise CertError(f"not an OCSP request: {error}") from None
    if asked.issuer_key_hash != _key_hash(issuer, algorithm):
        return ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED).public_bytes(
            _DER
        )
    about = (asked.issuer_name_hash, asked.issuer_key_hash, asked.serial_number, algorithm)
    return _statement(issuer, about, revoked.get(asked.serial_number), now)


def _statement(
    issuer: Issuer, about: tuple[bytes, bytes, int, hashes.HashAlgorithm], revoked: float | None, now: float
) -> bytes:
    """Sign what is known about a certificate, given as requests name it (RFC 6960, 4.1.1)."""
    name_hash, key_hash, serial, algorithm = about
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=name_hash,
        issuer_key_hash=key_hash,
        serial_number=serial,
        algorithm=algorithm,
        cert_status=ocsp.OCSPCertStatus.GOOD if revoked is None else ocsp.OCSPCertStatus.REVOKED,
        this_update=moment(now - _SKEW),
        next_update=moment(now + STATED_FOR),
        revocation_time=None if revoked is None else moment(revoked),
        revocation_reason=None if revoked is None else x509.ReasonFlags.key_compromise,
    )
    named = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)
    return named.sign(issuer.key, hashes.SHA256()).public_bytes(_DER)


def _key_hash(issuer: Issuer, algorithm: hashes.HashAlgorithm) -> bytes:
    """Hash the issuer's key as requests name it: its bits without tag and length."""
    point = issuer.key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return _digest(point, algorithm)


def _digest(data: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(data)
    return digest.finalize()
