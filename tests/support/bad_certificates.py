"""Certificates with one defect each, made by the openssl command line alone: what ours are compared with."""

import time
from dataclasses import dataclass
from pathlib import Path

from certs.flavour import KINDS
from tests.support.openssl import Arguments, made_by_openssl

DAY = 86_400
_CONFIG = """\
[ca]
default_ca = all
[all]
dir = {dir}
new_certs_dir = {dir}
database = {dir}/index
rand_serial = yes
policy = anything
unique_subject = no
default_md = sha256
default_crl_days = 7
[anything]
commonName = optional
"""
_AUTHORITY = (
    "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign,digitalSignature\n"
    "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
)
_LEAF = (
    "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
    "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
)


@dataclass(frozen=True)
class Made:
    """What a server shows."""

    chain_pem: bytes
    key_pem: bytes
    ocsp: bytes = b""


@dataclass(frozen=True)
class _Signer:
    certificate: Path
    key: Path


class Maker:
    """An authority of files in a folder: a root, an issuing certificate, and what is wrong with others."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self._count = 0
        (folder / "index").write_text("")
        (folder / "config").write_text(_CONFIG.format(dir=folder))
        self.root = self._root("independent root")
        self.issuing = self._issuing(self.root)
        self.root_pem = self.root.certificate.read_bytes()

    def _file(self, what: str) -> Path:
        self._count += 1
        return self.folder / f"{self._count}-{what}"

    def _key(self, bits: int = 0) -> Path:
        path = self._file("key.pem")
        kind = ["genrsa", str(bits)] if bits else ["ecparam", "-name", "prime256v1", "-genkey", "-noout"]
        path.write_bytes(made_by_openssl(*kind))
        return path

    def _root(self, title: str) -> _Signer:
        key, certificate = self._key(), self._file("root.pem")
        usage: Arguments = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        subject: Arguments = ["-subj", f"/CN={title}", "-days", "30", *usage]
        made_by_openssl("req", "-x509", "-new", "-key", key, *subject, "-out", certificate)
        return _Signer(certificate, key)

    def _issuing(self, root: _Signer, begin: float = -DAY, end: float = 20 * DAY, more: str = "") -> _Signer:
        key = self._key()
        title = f"independent issuing {self._count}"
        return _Signer(self._sign(root, key, title, _AUTHORITY + more, begin, end), key)

    def _sign(
        self,
        signer: _Signer,
        key: Path,
        common_name: str,
        extensions: str,
        begin: float = -DAY,
        end: float = 10 * DAY,
        digest: str = "sha256",
    ) -> Path:
        """Let ``openssl ca`` sign; ``begin`` and ``end`` are seconds from now."""
        request, wanted, certificate = self._file("csr"), self._file("ext"), self._file("cert.pem")
        made_by_openssl("req", "-new", "-key", key, "-subj", f"/CN={common_name}", "-out", request)
        wanted.write_text(extensions)
        dates: Arguments = ["-startdate", _date(begin), "-enddate", _date(end)]
        files: Arguments = ["-in", request, "-out", certificate, "-extfile", wanted]
        by: Arguments = ["-cert", signer.certificate, "-keyfile", signer.key, "-md", digest]
        options: Arguments = ["-batch", "-notext", "-config", self.folder / "config"]
        made_by_openssl("ca", *options, *files, *by, *dates)
        return certificate

    def make(self, kind: str) -> Made:
        """Make a certificate with the defect of a flavour ("": none)."""
        assert not kind or kind in KINDS
        if kind == "self_signed":
            return self._self_signed()
        signer, sent = self._signer(kind)
        key = self._key(1024 if kind == "weak_key" else 0)
        begin, end = {
            "expired": (-10 * DAY, -DAY),
            "not_yet_valid": (3 * DAY, 10 * DAY),
            "expires_in": (-DAY, 3600),
        }.get(kind, (-DAY, 10 * DAY))
        told = "elsewhere.test" if kind == "wrong_host" else self.name
        purpose = "clientAuth" if kind == "wrong_eku" else "serverAuth"
        extensions = _LEAF + f"extendedKeyUsage={purpose}\n"
        extensions += "" if kind == "no_san" else f"subjectAltName=DNS:{told}\n"
        digest = "sha1" if kind == "sha1" else "sha256"
        leaf = self._sign(signer, key, told, extensions, begin, end, digest)
        chain = b"".join(path.read_bytes() for path in (leaf, *sent))
        staple = self._revoke(signer, leaf) if kind == "revoked" else b""
        return Made(chain, key.read_bytes(), staple)

    def _signer(self, kind: str) -> tuple[_Signer, list[Path]]:
        """Give who signs, and what is sent behind the leaf."""
        if kind == "untrusted_root":
            other = self._root("independent other root")
            issuing = self._issuing(other)
            return issuing, [issuing.certificate, other.certificate]
        if kind == "incomplete_chain":
            return self.issuing, []
        if kind == "expired_intermediate":
            issuing = self._issuing(self.root, -10 * DAY, -DAY)
        elif kind == "name_constraint":
            limits = "nameConstraints=critical,permitted;DNS:elsewhere.test\n"
            issuing = self._issuing(self.root, more=limits)
        else:
            issuing = self.issuing
        return issuing, [issuing.certificate]

    def _self_signed(self) -> Made:
        key, certificate = self._key(), self._file("self.pem")
        limits: Arguments = [
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "extendedKeyUsage=serverAuth",
        ]
        subject: Arguments = [
            "-subj",
            f"/CN={self.name}",
            "-days",
            "10",
            "-addext",
            f"subjectAltName=DNS:{self.name}",
        ]
        made_by_openssl("req", "-x509", "-new", "-key", key, *subject, *limits, "-out", certificate)
        return Made(certificate.read_bytes(), key.read_bytes())

    def _revoke(self, signer: _Signer, leaf: Path) -> bytes:
        """Revoke; give the response to staple, by ``openssl ocsp``."""
        by: Arguments = [
            "-config",
            self.folder / "config",
            "-cert",
            signer.certificate,
            "-keyfile",
            signer.key,
        ]
        made_by_openssl("ca", *by, "-revoke", leaf, "-crl_reason", "keyCompromise")
        request, response = self._file("request"), self._file("response")
        about: Arguments = ["-issuer", signer.certificate, "-cert", leaf]
        made_by_openssl("ocsp", *about, "-no_nonce", "-reqout", request)
        signing: Arguments = ["-rsigner", signer.certificate, "-rkey", signer.key, "-ndays", "7"]
        files: Arguments = ["-reqin", request, "-respout", response]
        made_by_openssl("ocsp", "-index", self.folder / "index", "-CA", signer.certificate, *signing, *files)
        return response.read_bytes()

    def crl(self) -> bytes:
        """Give the issuing certificate's list of revoked certificates (PEM)."""
        by: Arguments = ["-cert", self.issuing.certificate, "-keyfile", self.issuing.key]
        return made_by_openssl("ca", "-config", self.folder / "config", "-gencrl", *by)


def _date(seconds: float) -> str:
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))
