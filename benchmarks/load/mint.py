"""The workload ``mint``: what a good client sees while names come for which a certificate has to be minted.

``python -m benchmarks.load.mint PORT DOMAIN SECONDS NAMES`` is the others, a process of its own: so many
handshakes a second at fixed moments, whatever becomes of those before, each for a name that was never asked
for, or all for one.  What the good client sees with the latter is what handshakes cost it; the rest is
minting.
"""

import asyncio
import json
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks.load.client import connect, read_answer, request_bytes, trusting
from benchmarks.load.results import MintRow, quantile
from benchmarks.load.rulesets import RSA_NAMES, SMALL_PATH

RATE: int = 50  # handshakes per second
KINDS: dict[str, str] = {"ECDSA P-256": "ecdsa.example", "RSA 1024": RSA_NAMES.rsa_below}
NOBODY, KNOWN, FRESH = "none", "one, known", "fresh"
_CALM = 0.3  # seconds until the others are under way
_LEAST = 0.5  # of RATE has to be reached: below, minting was not measured


class MintFailed(RuntimeError):
    """The others did not do what was to be measured."""


def times(port: int, seconds: float) -> list[float]:
    """Ask on one connection over TLS, one request after the other; give how many seconds each took."""
    request = request_bytes(SMALL_PATH)
    took: list[float] = []
    with trusting().wrap_socket(connect(port), server_hostname="good.example") as peer:
        now = time.perf_counter()
        until = now + seconds
        while now < until:
            peer.sendall(request)
            read_answer(peer)
            begun, now = now, time.perf_counter()
            took.append(now - begun)
    return took


@dataclass
class Seen:
    """What was seen in all rounds, in seconds: by the good client, and by the others, of whom some failed."""

    good: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    failed: int = 0
    lasted: float = 0.0  # how long the others came


def measure(subject: str, port: int, seconds: float, rounds: int) -> list[MintRow]:
    """Measure each kind of key: nobody else, handshakes for a name that is known, and for fresh names."""
    rows: list[MintRow] = []
    times(port, _CALM)
    for kind, domain in KINDS.items():
        asyncio.run(arrive(port, domain, 1 / RATE, fresh=False))  # what is made once for each kind
        seen = {names: Seen() for names in (NOBODY, KNOWN, FRESH)}
        for _ in range(rounds):
            for names, found in seen.items():
                look(port, domain, names, seconds, found)
        rows += [row(subject, kind, names, found) for names, found in seen.items()]
    return rows


def look(port: int, domain: str, names: str, seconds: float, found: Seen) -> None:
    """Be the good client of one round."""
    if names == NOBODY:
        found.good += times(port, seconds)
        return
    length = seconds + 2 * _CALM
    command = [sys.executable, "-m", "benchmarks.load.mint", str(port), domain, str(length), names]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as others:
        time.sleep(_CALM)
        found.good += times(port, seconds)
        waited, failed = json.loads(others.communicate()[0] or b"[[], 0]")
    found.others += waited
    found.failed += failed
    found.lasted += length


def row(subject: str, kind: str, names: str, seen: Seen) -> MintRow:
    """Give the row; raises MintFailed where too few handshakes came about to call it minting."""
    made = len(seen.others)
    if made < _LEAST * RATE * seen.lasted:
        raise MintFailed(
            f"{made} handshakes in {seen.lasted:g} s ({names}, {kind}) are too few; {seen.failed} failed"
        )
    return MintRow(
        subject=subject,
        kind=kind,
        names=names,
        asked=len(seen.good),
        p50=quantile(seen.good, 0.5) * 1e6,
        p99=quantile(seen.good, 0.99) * 1e6,
        maximum=max(seen.good) * 1e6,
        handshakes=made,
        rate=made / seen.lasted if made else 0.0,
        waited=quantile(seen.others, 0.5) * 1e6 if made else 0.0,
        failed=seen.failed,
    )


async def shake(port: int, name: str, context: ssl.SSLContext) -> float | None:
    """Shake hands for one name; give the seconds from the first SYN to the end, None where it failed."""
    begun = time.perf_counter()
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name), 10
        )
    except (OSError, TimeoutError):
        return None
    took = time.perf_counter() - begun
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return took


async def arrive(port: int, domain: str, seconds: float, *, fresh: bool) -> tuple[list[float], int]:
    """Shake hands RATE times a second; give the seconds that each took, and how many failed."""
    context = trusting()
    run = secrets.token_hex(4)
    started: list[asyncio.Task[float | None]] = []
    begun = time.perf_counter()
    for number in range(max(1, round(seconds * RATE))):
        await asyncio.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        name = f"{run}-{number}.{domain}" if fresh else f"known.{domain}"
        started.append(asyncio.create_task(shake(port, name, context)))
    took = await asyncio.gather(*started)
    fine = [one for one in took if one is not None]
    return fine, len(took) - len(fine)


def main(arguments: Sequence[str]) -> None:
    """Be the others."""
    port, domain, seconds, names = arguments
    print(json.dumps(asyncio.run(arrive(int(port), domain, float(seconds), fresh=names == FRESH))))


if __name__ == "__main__":
    main(sys.argv[1:])
