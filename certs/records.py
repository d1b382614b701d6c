"""TLS records sealed by hand: alerts that OpenSSL would not send, under the keys that it has agreed on.

OpenSSL sends alerts of its own choice only.  Its key log gives the secrets of a connection (RFC 9850); here
they become the keys of the server's next record (RFC 8446, sections 5.2 and 7; RFC 5246, section 6).
"""

import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23

TLS11: Final = 0x0302
TLS12: Final = 0x0303
TLS13: Final = 0x0304

_WARNINGS: Final = (0, 90)  # close_notify, user_canceled: all others are fatal (RFC 8446, section 6)
_Aead = AESGCM | AESCCM | ChaCha20Poly1305


def alert(number: int) -> bytes:
    """Write the content of an alert: its level and its number."""
    return bytes((1 if number in _WARNINGS else 2, number))


def record(kind: int, version: int, content: bytes) -> bytes:
    """Write a record whose content is as it shall be; TLS 1.3 says TLS 1.2 here."""
    return bytes((kind,)) + min(version, TLS12).to_bytes(2) + len(content).to_bytes(2) + content


def split(data: bytes) -> list[bytes]:
    """Cut what OpenSSL wrote into records: it writes whole ones."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 5 + int.from_bytes(data[at + 3 : at + 5])
        found.append(data[at:end])
        at = end
    return found


class UnknownCipher(Exception):
    """The connection's cipher is none that records can be sealed for here."""


@dataclass(frozen=True)
class Suite:
    """What a cipher suite means for a record: sizes in bytes."""

    cipher: str  # "gcm", "ccm", "ccm8", "chacha", "cbc"
    key: int
    digest: str  # of the key derivation
    mac: str = ""  # of CBC's records

    @classmethod
    def of(cls, name: str, version: int) -> "Suite":
        """Read OpenSSL's name of a suite; raises UnknownCipher."""
        digest = "sha384" if name.endswith("SHA384") else "sha256"
        if "CHACHA20" in name:
            return cls("chacha", 32, digest)
        key = 32 if "AES256" in name or "AES_256" in name else 16
        if "AES" not in name:
            raise UnknownCipher(name)
        if "GCM" in name:
            return cls("gcm", key, digest)
        if "CCM" in name:
            return cls("ccm8" if "CCM8" in name or "CCM_8" in name else "ccm", key, digest)
        mac = {"SHA384": "sha384", "SHA256": "sha256", "SHA": "sha1"}[name.rpartition("-")[2]]
        return cls("cbc", key, digest if version >= TLS12 else "md5-sha1", mac)

    def aead(self, key: bytes) -> _Aead:
        """Give the cipher of a record."""
        if self.cipher == "chacha":
            return ChaCha20Poly1305(key)
        if self.cipher == "gcm":
            return AESGCM(key)
        return AESCCM(key, 8 if self.cipher == "ccm8" else 16)


def _expand_label(secret: bytes, label: str, size: int, digest: str) -> bytes:
    """Derive as TLS 1.3 does, without a context (RFC 8446, section 7.1)."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2) + bytes((len(name),)) + name + b"\0"
    algorithm = hashes.SHA384() if digest == "sha384" else hashes.SHA256()
    return HKDFExpand(algorithm, size, info).derive(secret)


def seal13(name: str, secret: bytes, sequence: int, kind: int, content: bytes) -> bytes:
    """Seal a record of TLS 1.3 under a traffic secret (RFC 8446, section 5.2)."""
    suite = Suite.of(name, TLS13)
    key = _expand_label(secret, "key", suite.key, suite.digest)
    nonce = _xor(_expand_label(secret, "iv", 12, suite.digest), sequence.to_bytes(12))
    inner = content + bytes((kind,))
    tag = 8 if suite.cipher == "ccm8" else 16
    head = bytes((APPLICATION_DATA, 3, 3)) + (len(inner) + tag).to_bytes(2)
    return head + suite.aead(key).encrypt(nonce, inner, head)


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _p_hash(digest: str, secret: bytes, seed: bytes, size: int) -> bytes:
    """Expand a secret (RFC 5246, section 5)."""
    found, chain = b"", seed
    while len(found) < size:
        chain = hmac.digest(secret, chain, digest)
        found += hmac.digest(secret, chain + seed, digest)
    return found[:size]


def _key_block(digest: str, master: bytes, seed: bytes, size: int) -> bytes:
    """Expand the master secret; before TLS 1.2 with both hashes of the time (RFC 2246, section 5)."""
    seed = b"key expansion" + seed
    if digest != "md5-sha1":
        return _p_hash(digest, master, seed, size)
    half = (len(master) + 1) // 2
    return _xor(_p_hash("md5", master[:half], seed, size), _p_hash("sha1", master[-half:], seed, size))


@dataclass(frozen=True)
class Agreed:
    """What a connection up to TLS 1.2 has agreed on; ``last`` is the last record that the server sent."""

    version: int
    name: str
    master: bytes
    client_random: bytes
    server_random: bytes
    last: bytes = b""


def seal12(agreed: Agreed, sequence: int, kind: int, content: bytes) -> bytes:
    """Seal a server's record as TLS 1.2 and older do; CBC without encrypt-then-MAC."""
    suite = Suite.of(agreed.name, agreed.version)
    mac = hashlib.new(suite.mac).digest_size if suite.mac else 0
    iv = {"chacha": 12, "cbc": 16}.get(suite.cipher, 4)
    block = _key_block(
        suite.digest, agreed.master, agreed.server_random + agreed.client_random, 2 * (mac + suite.key + iv)
    )
    mac_key = block[mac : 2 * mac]
    key = block[2 * mac + suite.key : 2 * (mac + suite.key)]
    fixed = block[2 * (mac + suite.key) + iv :]
    count = sequence.to_bytes(8)
    said = count + bytes((kind,)) + agreed.version.to_bytes(2) + len(content).to_bytes(2)
    if suite.cipher == "cbc":
        code = hmac.digest(mac_key, said + content, suite.mac)
        return record(kind, agreed.version, _cbc(agreed, key, content + code))
    if suite.cipher == "chacha":
        sealed = suite.aead(key).encrypt(_xor(fixed, count.rjust(12, b"\0")), content, said)
    else:
        sealed = count + suite.aead(key).encrypt(fixed + count, content, said)
    return record(kind, agreed.version, sealed)


def _cbc(agreed: Agreed, key: bytes, content: bytes) -> bytes:
    """Pad and encrypt; TLS 1.0 goes on from the record before, later versions say where they begin."""
    pad = 15 - len(content) % 16
    begin = os.urandom(16) if agreed.version >= TLS11 else agreed.last[-16:]
    encryptor = Cipher(algorithms.AES(key), modes.CBC(begin)).encryptor()
    sealed = encryptor.update(content + bytes((pad,)) * (pad + 1)) + encryptor.finalize()
    return begin + sealed if agreed.version >= TLS11 else sealed
