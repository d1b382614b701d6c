"""The workload ``floods``: what a good client sees while another one floods the proxy over HTTP/2.

``python -m benchmarks.load.floods PORT NAME SECONDS`` is the attacker, a process of its own: it opens one
connection after the other, sends the flood in batches of ten rounds until the connection is ended, and prints
after how many rounds each was.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from benchmarks.load.client import connect
from benchmarks.load.h2_floods import FLOODS, Flood, get, opening
from benchmarks.load.h2_frames import cut, reply, settings
from benchmarks.load.procs import usage
from benchmarks.load.results import FloodRow, quantile
from benchmarks.load.rulesets import SMALL_PATH
from proxy.wire.h2_frames import DATA, END_STREAM, GOAWAY, PREFACE, RST_STREAM

NEVER: int = 12_000  # rounds after which an attacker gives up on a connection
_BATCH = 10
_LOOK = 0.001  # seconds for an answer after each batch: 10,000 rounds a second at most
_PAUSE = 0.02  # seconds between two connections of an attacker
_CALM = 0.3  # seconds that a proxy has to itself before it is measured
_TROUBLES = (OSError, EOFError)


class GoodClient:
    """Asks for the small answer, one request after the other, on one connection as long as that lasts."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._begin()

    def _begin(self) -> None:
        self._socket = connect(self._port)
        self._socket.sendall(PREFACE + settings(100))
        self._rest = b""
        self._next = 1

    def ask(self) -> bool:
        """Ask once; False: the answer was none."""
        sid, self._next = self._next, self._next + 2
        self._socket.sendall(get(sid, SMALL_PATH.encode()))
        size = 0
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            frames, self._rest = cut(self._rest + data)
            for kind, flags, of, payload in frames:
                if of == 0:
                    answer = reply(kind, flags, payload)
                    if answer:
                        self._socket.sendall(answer)
                elif of == sid:
                    size += len(payload) if kind == DATA else 0
                    if kind == RST_STREAM:
                        return False
                    if flags & END_STREAM:
                        return size > 0

    def times(self, seconds: float) -> tuple[list[float], int]:
        """Ask for so long; give how many seconds each answer took, and how many were none."""
        took: list[float] = []
        failed = 0
        now = time.perf_counter()
        until = now + seconds
        while now < until:
            try:
                fine = self.ask()
            except _TROUBLES:
                fine = False
                self.close()
                self._begin()
            begun, now = now, time.perf_counter()
            took.append(now - begun)
            failed += not fine
        return took, failed

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def good_client(port: int) -> Iterator[GoodClient]:
    """Keep a good client for a while."""
    made = GoodClient(port)
    try:
        yield made
    finally:
        made.close()


def measure(subject: str, pid: int, port: int, seconds: float) -> list[FloodRow]:
    """Measure each flood against one proxy: without and with it, one right behind the other."""
    rows: list[FloodRow] = []
    with good_client(port) as good:
        good.times(_CALM)
        for flood in FLOODS:
            if flood.kind == "refused_stream_flood":
                continue  # this upstream answers at once: there are never too many streams, only requests
            time.sleep(_CALM)
            before = usage(pid).rss if pid else 0
            calm, failed_before = good.times(seconds)
            command = [sys.executable, "-m", "benchmarks.load.floods", str(port), flood.name]
            with subprocess.Popen([*command, str(seconds + _CALM)], stdout=subprocess.PIPE) as attacker:
                time.sleep(_CALM)
                flooded, failed = good.times(seconds)
                after = usage(pid).rss if pid else 0
                ended: list[int] = json.loads(attacker.communicate()[0] or b"[]")
            rows.append(
                FloodRow(
                    subject=subject,
                    flood=flood.name,
                    p50=quantile(calm, 0.5) * 1e6,
                    p99=quantile(calm, 0.99) * 1e6,
                    flooded_p50=quantile(flooded, 0.5) * 1e6,
                    flooded_p99=quantile(flooded, 0.99) * 1e6,
                    failed=failed + failed_before,
                    connections=len(ended),
                    ended_after=median(ended) if ended else 0.0,
                    grown=after - before,
                )
            )
    return rows


def attack_once(port: int, flood: Flood, until: float) -> int:
    """Flood one connection; give the rounds after which it was ended, ``NEVER`` where it was not."""
    done = 0
    rest = b""
    try:
        with connect(port) as sock:
            sock.sendall(opening())
            while done < NEVER and time.monotonic() < until:
                sock.settimeout(1.0)
                sock.sendall(flood.rounds(done, _BATCH))
                done += _BATCH
                sock.settimeout(_LOOK)
                try:
                    data = sock.recv(1 << 20)
                except TimeoutError:
                    continue
                frames, rest = cut(rest + data)
                if not data or any(kind == GOAWAY for kind, _, _, _ in frames):
                    return done
    except OSError:
        return done
    return NEVER


def attack(port: int, flood: Flood, seconds: float) -> list[int]:
    """Flood for so long, one connection after the other; give after how many rounds each was ended."""
    until = time.monotonic() + seconds
    found: list[int] = []
    while time.monotonic() < until:
        found.append(attack_once(port, flood, until))
        time.sleep(_PAUSE)
    return found


def main(arguments: Sequence[str]) -> None:
    """Be the attacker."""
    port, name, seconds = arguments
    flood = next(one for one in FLOODS if one.name == name)
    print(json.dumps(attack(int(port), flood, float(seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
