"""Makes leaves: a sound certificate for a name, or one with exactly one defect."""

import math
import time
from dataclasses import dataclass
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from certs import names, revocation, sha1
from certs.authority import Authority
from certs.flavour import SOUND, Flavour
from certs.issuer import DAY, Issuer, authority_identifier, moment

KeyType = Literal["ecdsa", "rsa"]
Usage = Literal["server", "client"]
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# Public authorities may give 200 days (CA/Browser Forum, ballot SC-081); scanners frown at less than 60 left.
LIFE: Final = 180 * DAY
RENEWED_BEFORE: Final = 65 * DAY
_SKEW: Final = DAY  # leaves begin a day ago, for clients whose clock is behind
_PAST: Final = 90 * DAY  # the life that an expired leaf had
_AHEAD: Final = 30 * DAY  # when one that is not yet valid becomes so
_FRESH: Final = 0.1  # the part of expires_in after which the leaf is made anew ...
_LEAST: Final = 0.5  # ... but not before so many seconds, or it would be too old when it is ready

WRONG_HOST: Final = "wrong-host.invalid"  # RFC 6761: nobody's name
RSA_BITS: Final = 2048
WEAK_BITS: Final = 1024


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with its key, and what a server sends with it.

    Times are seconds of the epoch; from ``renew_at`` on another is to take its place.
    """

    name: str
    flavour: Flavour
    chain_pem: bytes  # the leaf first, then what its flavour sends behind it
    key_pem: bytes  # PKCS #8
    serial: int
    not_before: float
    not_after: float
    renew_at: float
    ocsp: bytes = b""  # the OCSP response to staple (DER); b"": none
    crl_url: str = ""


def mint(
    authority: Authority,
    name: str,
    flavour: Flavour = SOUND,
    key: KeyType = "ecdsa",
    now: float | None = None,
    usage: Usage = "server",
    life: float = LIFE,
) -> Leaf:
    """Make a leaf for a host name (also a wildcard), an IP address or, for clients, a URI.

    ``now`` is in seconds of the epoch, ``life`` the seconds for which a sound leaf is good.  RSA keys, which
    take 100 ms to make, are shared by all leaves of an authority; others are made for each leaf.  Raises
    CertError for what is no name.
    """
    now = time.time() if now is None else now
    name = names.canonical(name)
    private = _key(authority, flavour, key)
    chain = authority.chain(flavour.kind, now)
    begin, end, renew = _validity(flavour, now, life)
    if chain.issuer.not_after > now:
        end = min(end, chain.issuer.not_after)
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(moment(begin)).not_valid_after(moment(end))
    builder = _described(builder.public_key(private.public_key()), name, flavour, usage, private)
    certificate = _signed(builder, name, flavour, chain.issuer, private, authority)
    staple = b""
    if flavour.kind == "revoked":
        authority.revoke(certificate.serial_number, end)
        staple = revocation.staple(chain.issuer, certificate.serial_number, now, now)
        renew = min(renew, now + revocation.STATED_FOR / 2)
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return Leaf(
        name=name,
        flavour=flavour,
        chain_pem=pem if flavour.kind == "self_signed" else pem + chain.sent,
        key_pem=private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        renew_at=renew,
        ocsp=staple,
        crl_url=authority.crl_url,
    )


def _key(authority: Authority, flavour: Flavour, key: KeyType) -> _PrivateKey:
    if flavour.kind == "weak_key":
        return authority.rsa_key(WEAK_BITS)
    return authority.rsa_key(RSA_BITS) if key == "rsa" else ec.generate_private_key(ec.SECP256R1())


def _validity(flavour: Flavour, now: float, life: float) -> tuple[float, float, float]:
    """Say when a leaf begins, ends and is to be replaced."""
    if flavour.kind == "expired":
        return now - DAY - _PAST, now - DAY, now + LIFE
    if flavour.kind == "not_yet_valid":
        return now + _AHEAD, now + _AHEAD + LIFE, now + _AHEAD / 2
    if flavour.kind == "expires_in":
        left = flavour.expires_in
        return now - _SKEW, math.ceil(now + left), now + max(min(left * _FRESH, LIFE), _LEAST)
    return now - _SKEW, now + life, now + life - RENEWED_BEFORE * (life / LIFE)


def _told(name: str, flavour: Flavour) -> str:
    """Give the name that the certificate carries."""
    if flavour.kind != "wrong_host":
        return name
    return WRONG_HOST if name != WRONG_HOST else f"another-{WRONG_HOST}"


def _described(
    builder: x509.CertificateBuilder, name: str, flavour: Flavour, usage: Usage, private: _PrivateKey
) -> x509.CertificateBuilder:
    """Say what the leaf is for and for whom (RFC 5280, 4.2.1)."""
    server = (usage == "server") != (flavour.kind == "wrong_eku")
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    if flavour.kind != "self_signed":  # a usage without certificate signing would make it no issuer of itself
        builder = builder.add_extension(_key_usage(isinstance(private, rsa.RSAPrivateKey)), True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
    if flavour.kind != "no_san":
        told = names.general_name(_told(name, flavour))
        critical = not len(_subject(name, flavour))  # RFC 5280, 4.2.1.6
        builder = builder.add_extension(x509.SubjectAlternativeName([told]), critical)
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    return builder.add_extension(identifier, False)


def _subject(name: str, flavour: Flavour) -> x509.Name:
    """Give the subject: the common name where it has room, or where nothing else names the certificate."""
    return names.subject(_told(name, flavour), insist=flavour.kind in ("no_san", "self_signed"))


def _key_usage(encipher: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=encipher,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    builder: x509.CertificateBuilder,
    name: str,
    flavour: Flavour,
    issuer: Issuer,
    private: _PrivateKey,
    authority: Authority,
) -> x509.Certificate:
    subject = _subject(name, flavour)
    builder = builder.subject_name(subject)
    if flavour.kind == "self_signed":
        return builder.issuer_name(subject).sign(private, hashes.SHA256())
    builder = builder.issuer_name(issuer.certificate.subject)
    builder = builder.add_extension(authority_identifier(issuer), False)
    builder = _pointed(builder, authority.crl_url, authority.ocsp_url)
    certificate = builder.sign(issuer.key, hashes.SHA256())
    return sha1.sign_again(certificate, issuer.key) if flavour.kind == "sha1" else certificate


def _pointed(builder: x509.CertificateBuilder, crl_url: str, ocsp_url: str) -> x509.CertificateBuilder:
    """Say where to ask whether the leaf was revoked (RFC 5280, 4.2.1.13 and 4.2.2.1)."""
    if crl_url:
        at = [x509.UniformResourceIdentifier(crl_url)]
        points = x509.CRLDistributionPoints([x509.DistributionPoint(at, None, None, None)])
        builder = builder.add_extension(points, False)
    if ocsp_url:
        responder = x509.UniformResourceIdentifier(ocsp_url)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, responder)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
    return builder
