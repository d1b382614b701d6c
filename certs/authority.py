"""The local authority: a root that clients are told to trust, and the issuing certificate under it.

On disk it is one directory (0700):

- ``authority.pem`` (0600) has both certificates and both keys.  One file, so that a crash or a rotation
  leaves the old authority or the new one, never half of each.
- ``root.pem`` is a copy of the root's certificate, for people.
- ``revoked`` has a line for each revoked serial number: hexadecimal, when, and when it may be forgotten.

The root signs issuing certificates only; leaves are signed by the issuing one, as public authorities do.
"""

import contextlib
import threading
import time
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from certs import revocation, storage
from certs.errors import CertError, brief
from certs.files import look
from certs.issuer import DAY, Issuer, make_issuing, make_root
from certs.issuers import Chain, chain_for

FILE: Final = "authority.pem"
ROOT_FILE: Final = "root.pem"
REVOKED_FILE: Final = "revoked"

MOST_REVOKED: Final = 10_000  # the oldest are forgotten first
RENEWED_BEFORE: Final = 400 * DAY  # the issuing certificate must outlive every leaf


class _Material:
    """What a rotation replaces as a whole."""

    __slots__ = ("chains", "issuing", "root", "rsa")

    def __init__(self, root: Issuer, issuing: Issuer) -> None:
        self.root = root
        self.issuing = issuing
        self.chains: dict[str, Chain] = {}
        self.rsa: dict[int, rsa.RSAPrivateKey] = {}

    def pem(self) -> bytes:
        """Give all of it for the disk."""
        return b"".join(
            part
            for issuer in (self.root, self.issuing)
            for part in (
                issuer.pem,
                issuer.key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
            )
        )


def _fresh(now: float) -> _Material:
    root = make_root(now)
    return _Material(root, make_issuing(root, now))


class Authority:
    """Signs what ``certs.mint`` makes.  All methods may be called from any thread.

    ``crl_url`` and ``ocsp_url`` go into the leaves that are minted from then on ("": none): where the
    caller serves ``crl()`` and ``ocsp()``.
    """

    def __init__(self, material: _Material, directory: Path | None) -> None:
        """For ``create``, ``load`` and ``open``."""
        self.directory = directory
        self.crl_url = ""
        self.ocsp_url = ""
        self._material = material
        self._lock = threading.Lock()
        self._revoked: dict[int, tuple[float, float]] = {}  # serial: when, when to forget
        self._seen = look(directory / FILE) if directory is not None else ()

    # ---- where it comes from -------------------------------------------------------------------------

    @classmethod
    def create(cls, directory: Path | None, *, replace: bool = False) -> "Authority":
        """Make a new authority, in memory only where no directory is given.

        Raises CertError where one is there already (unless it is to be replaced, whatever state it is in), or
        where it cannot be written.
        """
        if directory is None:
            return cls(_fresh(time.time()), None)
        storage.make_directory(directory)
        with storage.locked(directory):
            if (directory / FILE).exists() and not replace:
                raise CertError(f"{directory / FILE} is there already: rotate it, or give another directory")
            authority = cls._create(directory)
            (directory / REVOKED_FILE).unlink(missing_ok=True)
            return authority

    @classmethod
    def _create(cls, directory: Path) -> "Authority":
        authority = cls(_fresh(time.time()), directory)
        authority._store()
        return authority

    @classmethod
    def load(cls, directory: Path) -> "Authority":
        """Load an authority from its directory.  Raises CertError."""
        if not (directory / FILE).exists():
            raise CertError(
                f"there is no authority in {directory} (`misrule certs ca --dir {directory}` makes one)"
            )
        authority = cls(_read(directory / FILE), directory)
        authority._read_revoked()
        return authority

    @classmethod
    def open(cls, directory: Path | None) -> "Authority":
        """Load the authority of a directory, or create it there; in memory only for None.

        An issuing certificate near its end is made anew under the same root.  Raises CertError.
        """
        if directory is None:
            return cls.create(None)
        storage.make_directory(directory)
        with storage.locked(directory):
            if not (directory / FILE).exists():
                return cls._create(directory)
            authority = cls.load(directory)
            authority._compact_revoked()
            material, now = authority._material, time.time()
            if material.issuing.not_after - now < RENEWED_BEFORE < material.root.not_after - now:
                authority._material = _Material(material.root, make_issuing(material.root, now))
                authority._store()
            return authority

    def reload(self) -> bool:
        """Read the directory again if another process has rotated it since; whether there is a new authority.

        What was minted before is to be dropped then.  Raises CertError, once for each change, and keeps what
        was read before.
        """
        if self.directory is None:
            return False
        seen = look(self.directory / FILE)
        if seen == self._seen:
            return False
        self._seen = seen
        material = _read(self.directory / FILE)
        if material.pem() == self._material.pem():
            return False
        with self._lock:
            self._material = material
            self._revoked = {}
        self._read_revoked()
        return True

    def rotate(self) -> None:
        """Replace root and issuing certificate by new ones; nothing is revoked any more.

        Clients must be given the new root, and what was minted before be dropped (``LeafCache.clear``).
        Raises CertError and keeps the old ones where they cannot be written.
        """
        material = _fresh(time.time())
        with contextlib.ExitStack() as held:
            if self.directory is not None:
                held.enter_context(storage.locked(self.directory))
                _store(material, self.directory)
                (self.directory / REVOKED_FILE).unlink(missing_ok=True)
            held.enter_context(self._lock)
            self._material = material
            self._revoked = {}

    def _store(self) -> None:
        assert self.directory is not None
        _store(self._material, self.directory)

    # ---- what is asked of it ---------------------------------------------------------------------------

    @property
    def root_pem(self) -> bytes:
        """The root's certificate, which clients are to trust."""
        return self._material.root.pem

    @property
    def root(self) -> Issuer:
        """The root."""
        return self._material.root

    @property
    def issuing(self) -> Issuer:
        """The sound intermediate."""
        return self._material.issuing

    def chain(self, kind: str, now: float) -> Chain:
        """Give the issuer of a flavour's leaves and what is sent behind them; made when first asked for."""
        material = self._material
        with self._lock:
            chain = material.chains.get(kind)
            if chain is None:
                chain = material.chains[kind] = chain_for(kind, material.root, material.issuing, now)
            return chain

    def rsa_key(self, bits: int) -> rsa.RSAPrivateKey:
        """Give the RSA key that the leaves of this authority share; made when first asked for, in 100 ms."""
        material = self._material
        key = material.rsa.get(bits)
        if key is None:  # two threads at once would make one too many, and agree on the first
            key = material.rsa.setdefault(bits, rsa.generate_private_key(65_537, bits))
        return key

    # ---- revocation ----------------------------------------------------------------------------------

    def revoke(self, serial: int, forget: float | None = None) -> None:
        """Put a serial number on the list, until ``forget`` (seconds of the epoch; default: for 400 days)."""
        now = time.time()
        entry = (now, now + RENEWED_BEFORE if forget is None else forget)
        with self._lock:
            self._revoked[serial] = entry
            while len(self._revoked) > MOST_REVOKED:
                del self._revoked[next(iter(self._revoked))]
        if self.directory is not None:
            self._write_revoked(serial, entry)

    def revoked(self) -> dict[int, float]:
        """Give the serial numbers that are revoked, each with when; also what another process revoked."""
        self._read_revoked()
        now = time.time()
        with self._lock:
            self._revoked = {s: entry for s, entry in self._revoked.items() if entry[1] > now}
            return {serial: when for serial, (when, _) in self._revoked.items()}

    def crl(self) -> bytes:
        """Give the issuing certificate's list of revoked certificates (DER), good for 7 days."""
        return revocation.make_crl(self.issuing, self.revoked(), time.time())

    def ocsp(self, request: bytes) -> bytes:
        """Answer an OCSP request (both DER).  Raises CertError where the request is none."""
        return revocation.answer(self.issuing, request, self.revoked(), time.time())

    def _write_revoked(self, serial: int, entry: tuple[float, float]) -> None:
        """Add a line.  An authority that may only be read (a mounted secret) remembers without the file."""
        assert self.directory is not None
        with contextlib.suppress(OSError, CertError), storage.locked(self.directory):
            storage.append(self.directory / REVOKED_FILE, _line(serial, entry).encode())

    def _compact_revoked(self) -> None:
        """Write the list without what may be forgotten; a directory that may only be read keeps it."""
        assert self.directory is not None
        if not (self.directory / REVOKED_FILE).exists():
            return
        self.revoked()
        lines = [_line(serial, entry) for serial, entry in self._revoked.items()]
        with contextlib.suppress(CertError):
            storage.write(self.directory / REVOKED_FILE, "".join(lines).encode(), storage.PRIVATE)

    def _read_revoked(self) -> None:
        if self.directory is None:
            return
        try:
            lines = (self.directory / REVOKED_FILE).read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        found = {}
        for line in lines[-MOST_REVOKED:]:
            with contextlib.suppress(ValueError):  # a line that a crash cut short
                serial, when, forget = line.split()
                found[int(serial, 16)] = (float(when), float(forget))
        with self._lock:
            self._revoked = {**found, **self._revoked}


def _line(serial: int, entry: tuple[float, float]) -> str:
    """Give a line of the list: the serial number, when it was revoked, when it may be forgotten."""
    return f"{serial:x} {entry[0]:.0f} {entry[1]:.0f}\n"


def _store(material: _Material, directory: Path) -> None:
    storage.write(directory / FILE, material.pem(), storage.PRIVATE)
    storage.write(directory / ROOT_FILE, material.root.pem, storage.PUBLIC)


def _read(path: Path) -> _Material:
    """Read both issuers.  Raises CertError where something is missing or does not fit."""
    data = storage.read(path)
    try:
        certificates = x509.load_pem_x509_certificates(data)
        keys = [
            serialization.load_pem_private_key(part, None)
            for part in storage.pem_blocks(data, b"PRIVATE KEY")
        ]
    except (ValueError, TypeError) as error:
        raise CertError(f"{path} is damaged: {brief(error)}") from None
    if len(certificates) != 2 or len(keys) != 2:
        raise CertError(
            f"{path} is damaged: {len(certificates)} certificates and {len(keys)} keys, not two of each"
        )
    issuers = []
    for certificate, key in zip(certificates, keys, strict=True):
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise CertError(f"{path} is damaged: a key does not belong to its certificate")
        issuers.append(Issuer(certificate, key))
    root, issuing = issuers
    if root.not_after < time.time():
        raise CertError(f"the authority in {path} expired: `misrule certs ca --dir {path.parent} --rotate`")
    return _Material(root, issuing)
