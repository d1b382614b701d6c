"""What is wrong with a chain, in plain words."""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs.files import names_of
from certs.issuer import DAY

# OpenSSL's own words for its numbers (X509_verify_cert_error_string).
OPENSSL: Final = {
    2: "unable to get issuer certificate",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    23: "certificate revoked",
    24: "invalid CA certificate",
    25: "path length constraint exceeded",
    26: "unsuitable certificate purpose",
    27: "certificate not trusted",
    32: "key usage does not include certificate signing",
    47: "permitted subtree violation",
    48: "excluded subtree violation",
    62: "hostname mismatch",
    66: "EE certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
}


def openssl_words(error: int) -> str:
    """Give OpenSSL's words for an error."""
    return OPENSSL.get(error, f"error {error}")


def explain(error: int, depth: int, certificate: x509.Certificate, name: str, now: float) -> str:
    """Say in a sentence what is wrong with a certificate, ``depth`` above the leaf; ``name`` was wanted."""
    who = "the certificate" if depth == 0 else title(certificate.subject)
    if error == 62:
        return _wrong_name(certificate, name)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    issuer, key = title(certificate.issuer), key_words(certificate)
    sentences = {
        7: f"the signature of {who} was not made by {issuer}",
        9: f"{who} becomes valid {ago(begin.timestamp() - now)}, on {begin:%Y-%m-%d %H:%M} UTC",
        10: f"{who} expired {ago(end.timestamp() - now)}, on {end:%Y-%m-%d %H:%M} UTC",
        18: f"{who} is signed by itself: nobody vouches for it",
        19: f"the chain ends in {title(certificate.subject)}, which is not trusted here",
        20: f"the issuer of {who}, {issuer}, is neither sent nor known here: an intermediate is left out, "
        "or its root is not trusted",
        23: f"{who} was revoked by its issuer",
        24: f"{who} signs another but is no authority",
        26: f"{who} is not for servers (extended key usage)",
        47: f"{issuer} may not sign for this name (name constraints)",
        48: f"{issuer} may not sign for this name (name constraints)",
        66: f"the key of {who} is too weak: {key}",
        68: f"{who} is signed with a broken digest: {digest_words(certificate)}",
    }
    return sentences.get(error, f"{who}: {openssl_words(error)}")


def _wrong_name(leaf: x509.Certificate, name: str) -> str:
    try:
        leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return "the certificate names no host in subjectAltName; the common name does not count (RFC 9525)"
    return f"the certificate is for {', '.join(names_of(leaf)) or 'no name'}, not for {name}"


def ago(seconds: float) -> str:
    """Say a time from now in its largest unit: ``in 3 days``, ``2 hours ago``."""
    size = abs(seconds)
    for unit, length in (("day", DAY), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0)):
        if size >= 0.95 * length or unit == "second":
            count = round(size / length)
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    raise AssertionError


def title(name: x509.Name) -> str:
    """Give a subject or issuer as people read it."""
    return name.rfc4514_string() or "(no name)"


def key_words(certificate: x509.Certificate) -> str:
    """Name kind and size of a key."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey").lstrip("_")


def digest_words(certificate: x509.Certificate) -> str:
    """Name how a certificate is signed: ``ecdsa-with-SHA256``."""
    oid = certificate.signature_algorithm_oid
    return str(getattr(oid, "_name", oid.dotted_string))


def describe(certificate: x509.Certificate, now: float) -> dict[str, str | float | list[str]]:
    """Give what people and machines want to know of a certificate."""
    return {
        "subject": title(certificate.subject),
        "issuer": title(certificate.issuer),
        "names": list(names_of(certificate)),
        "not_before": f"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": round(days_left(certificate, now), 1),
        "key": key_words(certificate),
        "signature": digest_words(certificate),
        "serial": f"{certificate.serial_number:x}",
        "sha256": certificate.fingerprint(hashes.SHA256()).hex(":"),
    }


def days_left(certificate: x509.Certificate, now: float) -> float:
    """Give the days until a certificate expires; negative once it has."""
    return (certificate.not_valid_after_utc.timestamp() - now) / DAY
