"""The openssl command line as a judge of certificates: it shares no code with what mints them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.need import need

_BEGIN = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Verdict:
    """OpenSSL's error and where in the chain (0: the leaf); error 0 is a certificate without fault."""

    error: int
    depth: int
    words: str


SOUND = Verdict(0, 0, "ok")


Arguments = list[str | Path]


def openssl(*arguments: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run openssl; a failure is the caller's to look at."""
    command = [need("openssl"), *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)


def made_by_openssl(*arguments: str | Path, data: bytes = b"") -> bytes:
    """Run openssl, which must succeed; what it printed."""
    done = openssl(*arguments, data=data)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def split(chain_pem: bytes) -> list[bytes]:
    """Take a PEM chain apart."""
    return [_BEGIN + part for part in chain_pem.split(_BEGIN)[1:]]


def verify(folder: Path, chain_pem: bytes, root_pem: bytes, host: str = "", *more: str | Path) -> Verdict:
    """Judge a chain as a strict TLS client does: purpose, name and strength (112 bits) included."""
    leaf, *rest = split(chain_pem)
    (folder / "judged.pem").write_bytes(leaf)
    (folder / "rest.pem").write_bytes(b"".join(rest))
    (folder / "trusted.pem").write_bytes(root_pem)
    options: list[str | Path] = ["-x509_strict", "-purpose", "sslserver", "-auth_level", "2", *more]
    if host:
        kind = "-verify_ip" if re.fullmatch(r"[0-9.]+|.*:.*", host) else "-verify_hostname"
        options += [kind, host]
    if rest:
        options += ["-untrusted", folder / "rest.pem"]
    done = openssl("verify", "-trusted", folder / "trusted.pem", *options, folder / "judged.pem")
    text = (done.stdout + done.stderr).decode()
    found = re.search(r"error (\d+) at (\d+) depth lookup: (.*)", text)
    if found is None:
        assert text.rstrip().endswith(": OK"), text
        return SOUND
    return Verdict(int(found[1]), int(found[2]), found[3])


def shown(certificate_pem: bytes) -> str:
    """Give the text of a certificate."""
    return made_by_openssl("x509", "-noout", "-text", data=certificate_pem).decode()
