"""The certificate that the peers show in workloads over TLS: P-256, as ours is, made by openssl."""

import subprocess
from pathlib import Path

from benchmarks.load.places import program

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


def missing() -> str:
    """Say what is missing to make one; empty when nothing is."""
    return "" if program("openssl") else "openssl is not installed (Debian: apt-get install openssl)"


def make(work: Path) -> Path:
    """Make a certificate for the loopback in ``work``; gives the file, which holds its key too."""
    both, key = work / "tls.pem", work / "tls.key"
    where = ("-keyout", str(key), "-out", str(both))
    command = [program("openssl"), "req", "-x509", *_KEY, "-subj", "/CN=127.0.0.1", *where]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    both.write_bytes(both.read_bytes() + key.read_bytes())
    return both
