"""Full handshakes, one after the other in each of a few clients: ``openssl s_time -new``.

wrk will not do: with ``connection: close`` it resumes its session (``SSL_clear`` keeps it).  s_time makes
each connection anew, closes it once the handshake is complete, and prints a character for it: ``r`` where a
session was resumed.  So what is counted was full, or the measurement is refused.
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass

from benchmarks.load.places import program
from benchmarks.load.results import Shot

# What all have to agree on, as ``openssl s_client -brief`` tells it.
AGREED: tuple[str, ...] = (
    "Protocol version: TLSv1.3",
    "Ciphersuite: TLS_AES_128_GCM_SHA256",
    "Signature type: ECDSA",
    "Server Temp Key: X25519, 253 bits",
)
_OFFER = ("-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256")
_COUNT = re.compile(r"^(\d+) connections in .* real seconds", re.MULTILINE)
_EACH = re.compile(r"^[*rt3]+$", re.MULTILINE)  # a line of one character for each connection
_FULL, _RESUMED = "*", "r"


class HandshakesFailed(RuntimeError):
    """openssl is not there, has counted nothing, or what it did is not what was to be measured."""


@dataclass(frozen=True)
class Handshakes:
    """So many clients, each of which makes one handshake after the other."""

    clients: int


def parse(output: str) -> int:
    """Count the handshakes of one client.  Raises HandshakesFailed unless all were full."""
    found = _COUNT.search(output)
    if found is None:
        raise HandshakesFailed(f"openssl s_time counted nothing: {output.strip()[-300:]}")
    each = "".join(_EACH.findall(output))
    resumed, full = each.count(_RESUMED), each.count(_FULL)
    if resumed or full < int(found[1]):
        raise HandshakesFailed(f"of {found[1]} handshakes {full} were full, {resumed} were resumed")
    return int(found[1])


def expect(port: int) -> None:
    """Shake hands once; raise HandshakesFailed unless version, suite, key types are those of all others."""
    command = [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *_OFFER, "-brief"]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=10, check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    missing = [one for one in AGREED if one not in lines]
    if missing:
        raise HandshakesFailed(f"openssl s_client does not say {missing[0]!r} but {lines[-8:]}")


def fire(load: Handshakes, port: int, seconds: float, cores: frozenset[int]) -> Shot:
    """Shake hands for ``seconds`` or up to one more: s_time ends where a second of the clock does."""
    expect(port)
    whole = max(1, round(seconds))
    command = [program("openssl"), "s_time", "-connect", f"127.0.0.1:{port}", "-new", *_OFFER]
    begun = time.monotonic()
    clients = [
        subprocess.Popen(
            [*command, "-time", str(whole)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        for _ in range(load.clients)
    ]
    try:
        outputs = [client.communicate(timeout=whole + 30)[0] for client in clients]
        elapsed = time.monotonic() - begun
    except subprocess.TimeoutExpired:
        raise HandshakesFailed("openssl s_time did not end") from None
    finally:
        for client in clients:
            client.kill()
            client.wait()
    made = sum(map(parse, outputs))
    nothing = 0.0  # it tells no latencies
    return Shot(made, elapsed, nothing, nothing, nothing, nothing, refused=0, broken=0)
