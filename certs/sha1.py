"""Signs a certificate with SHA-1, which the library refuses: its DER is put together here.

A certificate names its algorithm twice, outside and inside of what is signed (RFC 5280, 4.1.1.2 and 4.1.2.3);
both become ecdsa-with-SHA1 (RFC 3279, 2.2.3), and the signature is made over the new inside.
"""

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03
_ECDSA_WITH_SHA1: Final = bytes.fromhex("300906072a8648ce3d0401")
_FIELDS_BEFORE_ALGORITHM: Final = 2  # version and serial number


def sign_again(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Give the same certificate with a signature by ECDSA over SHA-1; ``key`` is the issuer's."""
    inside, _ = _content(certificate.tbs_certificate_bytes, 0)
    begin = 0
    for _ in range(_FIELDS_BEFORE_ALGORITHM):
        begin = _content(inside, begin)[1]
    end = _content(inside, begin)[1]
    signed = _wrap(_SEQUENCE, inside[:begin] + _ECDSA_WITH_SHA1 + inside[end:])
    signature = key.sign(signed, ec.ECDSA(hashes.SHA1()))
    return x509.load_der_x509_certificate(
        _wrap(_SEQUENCE, signed + _ECDSA_WITH_SHA1 + _wrap(_BIT_STRING, b"\0" + signature))
    )


def _content(data: bytes, at: int) -> tuple[bytes, int]:
    """Give the content of the DER element at an offset, and where the next one begins."""
    length = data[at + 1]
    begin = at + 2
    if length & 0x80:
        octets = length & 0x7F
        length = int.from_bytes(data[begin : begin + octets], "big")
        begin += octets
    return data[begin : begin + length], begin + length


def _wrap(tag: int, content: bytes) -> bytes:
    """Put a DER element around a content."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
