"""Certificates that sign others: roots and intermediates, by RFC 5280."""

import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY: Final = 86_400.0

ROOT_LIFE: Final = 3650 * DAY
ISSUING_LIFE: Final = 1825 * DAY
# They begin before they are made, so that a leaf that expired yesterday lies within them.
BACKDATED: Final = 100 * DAY

_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,  # also signs OCSP responses
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Issuer:
    """A certificate that signs others, with its key."""

    __slots__ = ("certificate", "key", "pem")

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def not_after(self) -> float:
        """When it expires, in seconds of the epoch."""
        return self.certificate.not_valid_after_utc.timestamp()


def moment(seconds: float) -> datetime.datetime:
    """Give seconds of the epoch as certificates carry them: UTC, whole seconds."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def key_identifier(key: ec.EllipticCurvePublicKey) -> x509.SubjectKeyIdentifier:
    """Give the identifier of a key (RFC 5280, 4.2.1.2, method 1)."""
    return x509.SubjectKeyIdentifier.from_public_key(key)


def make_root(now: float, title: str = "root") -> Issuer:
    """Make a root; its name ends in a piece of its key's identifier, so that two are told apart."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(title, key)
    builder = _builder(name, key, now - BACKDATED, now + ROOT_LIFE)
    builder = builder.issuer_name(name).add_extension(x509.BasicConstraints(ca=True, path_length=1), True)
    return Issuer(builder.sign(key, hashes.SHA256()), key)


def make_issuing(
    root: Issuer,
    now: float,
    title: str = "issuing",
    *,
    not_after: float | None = None,
    constraints: x509.NameConstraints | None = None,
) -> Issuer:
    """Make an intermediate under a root; ``constraints`` limit the names that it may sign."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + ISSUING_LIFE if not_after is None else not_after, root.not_after)
    builder = _builder(_name(title, key), key, now - BACKDATED, end)
    builder = builder.issuer_name(root.certificate.subject)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    builder = builder.add_extension(authority_identifier(root), False)
    if constraints is not None:
        builder = builder.add_extension(constraints, True)
    return Issuer(builder.sign(root.key, hashes.SHA256()), key)


def authority_identifier(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    """Name the key of an issuer (RFC 5280, 4.2.1.1)."""
    found = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _name(title: str, key: ec.EllipticCurvePrivateKey) -> x509.Name:
    mark = key_identifier(key.public_key()).digest[:3].hex()
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Misrule"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Misrule {title} {mark}"),
        ]
    )


def _builder(
    name: x509.Name, key: ec.EllipticCurvePrivateKey, begin: float, end: float
) -> x509.CertificateBuilder:
    public = key.public_key()
    builder = x509.CertificateBuilder().subject_name(name).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(moment(begin)).not_valid_after(moment(end))
    return builder.add_extension(_KEY_USAGE, True).add_extension(key_identifier(public), False)
