"""Keys and certificates for tests, made by the openssl command: none of them is of our own making."""

import ssl
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.support.need import need


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, as files."""

    chain: Path
    key: Path

    def server(self, *alpn: str) -> ssl.SSLContext:
        """Make a context that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


class Pki:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._leaves: dict[tuple[str, tuple[str, ...], int, bool], Pair] = {}
        self.root = Pair(folder / "ca.pem", folder / "ca.key")
        usage = [
            "-addext",
            "keyUsage=critical,keyCertSign,cRLSign",
        ]
        _openssl(
            "req", "-x509", *_KEY, "-days", "30", "-subj", f"/CN={name}", *usage,
            "-keyout", str(self.root.key), "-out", str(self.root.chain),
        )  # fmt: skip

    def leaf(self, name: str, *names: str, days: int = 30, self_signed: bool = False) -> Pair:
        """Give a certificate for these names (or IP addresses); ``days`` below 0: it has expired."""
        which = (name, names, days, self_signed)
        if which not in self._leaves:
            self._leaves[which] = self._make(name, names or (name,), days, self_signed)
        return self._leaves[which]

    def _make(self, name: str, names: tuple[str, ...], days: int, self_signed: bool) -> Pair:
        file = f"leaf{len(self._leaves)}"
        made = Pair(self.folder / f"{file}.pem", self.folder / f"{file}.key")
        request, extra = self.folder / f"{file}.csr", self.folder / f"{file}.ext"
        _openssl("req", "-new", *_KEY, "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request))
        kinds = [("IP:" if one.replace(".", "").isdigit() else "DNS:") + one for one in names]
        extra.write_text(f"subjectAltName={','.join(kinds)}\n")
        signer = ["-CA", str(self.root.chain), "-CAkey", str(self.root.key), "-CAcreateserial"]
        if self_signed:
            signer = ["-signkey", str(made.key)]
        valid = ["-days", str(days), "-extfile", str(extra)]
        _openssl("x509", "-req", "-in", str(request), *signer, *valid, "-out", str(made.chain))
        return made

    def client(self, *alpn: str) -> ssl.SSLContext:
        """Make a client's context that trusts this authority alone."""
        context = ssl.create_default_context(cafile=str(self.root.chain))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def _openssl(*arguments: str) -> None:
    subprocess.run([need("openssl"), *arguments], check=True, capture_output=True, timeout=20)


@cache
def the_pki() -> Pki:
    """Give one authority for all tests of this process."""
    return Pki(Path(mkdtemp(prefix="misrule-pki-")))
