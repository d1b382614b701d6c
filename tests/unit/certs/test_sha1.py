"""Certificates signed anew with SHA-1 stay what they were, whatever their size."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from certs.sha1 import sign_again
from tests.support.openssl import made_by_openssl


@pytest.mark.parametrize("names", [1, 3, 20, 4000])
@pytest.mark.parametrize("serial", [1, 127, 128, 2**159 - 1])
def test_only_the_signature_changes(names: int, serial: int) -> None:
    """Lengths of one, two and three octets in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(now).not_valid_after(now)
    told = x509.SubjectAlternativeName([x509.DNSName(f"n{number}.example") for number in range(names)])
    before = builder.add_extension(told, False).sign(key, hashes.SHA256())
    after = sign_again(before, key)
    assert after.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA1
    assert after.serial_number == serial
    assert after.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == told
    assert (after.subject, after.not_valid_before_utc) == (before.subject, before.not_valid_before_utc)
    key.public_key().verify(after.signature, after.tbs_certificate_bytes, ec.ECDSA(hashes.SHA1()))
    shown = made_by_openssl(
        "x509", "-noout", "-text", data=after.public_bytes(serialization.Encoding.PEM)
    ).decode()
    assert shown.count("Signature Algorithm: ecdsa-with-SHA1") == 2
