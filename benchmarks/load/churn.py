"""The load whose header blocks never repeat; h2load sends the same fields in every request.

Each request has two fields of its own, as tracing has them, which its client puts into the table of HPACK:
so every block changes the table, and what is worth keeping is pushed out.  The blocks are coded once, before
the measurement (:func:`prepare`); ``python -m benchmarks.load.churn FILE PORT SECONDS STREAMS`` sends them,
all connections of the file at once, and counts.  A connection that has sent all of its blocks is made anew.
"""

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from hpack import Encoder

from benchmarks.load.client import connect
from benchmarks.load.h2_frames import cut, frame, reply, settings
from benchmarks.load.h2load import H2Load, H2LoadFailed
from benchmarks.load.places import ROOT
from benchmarks.load.results import Shot, quantile
from benchmarks.load.rulesets import REQUEST_HEADERS, SMALL_PATH
from proxy.wire.h2_frames import END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM

BLOCKS: int = 4096  # requests of a connection
_STATUS_200: int = 0x88  # the static table's entry (RFC 7541, appendix A)
_RESIZE: int = 0xE0  # the mask of 001xxxxx, a change of the table's size (section 6.3)


def request(number: int) -> list[tuple[str, str]]:
    """Give the fields of one request."""
    pseudo = [(":method", "GET"), (":path", SMALL_PATH), (":scheme", "http"), (":authority", "127.0.0.1")]
    unique = [("x-trace-id", f"{number * 7919:032x}"), ("x-span-id", f"{number * 104729:016x}")]
    return [*pseudo, *REQUEST_HEADERS.items(), *unique]


def code(first: int, count: int) -> list[bytes]:
    """Give the blocks of requests numbered from ``first`` on, in the order in which they have to be sent."""
    encoder = Encoder()
    return [encoder.encode(request(number)) for number in range(first, first + count)]


def prepare(path: Path, connections: int) -> None:
    """Write a list of blocks for each connection."""
    lists = [code(1 + number * BLOCKS, BLOCKS) for number in range(connections)]
    path.write_bytes(msgspec.msgpack.encode(lists))


@dataclass
class Tally:
    """What was counted; ``taken`` in seconds."""

    taken: list[float] = field(default_factory=list)
    refused: int = 0
    broken: int = 0


def is_refusal(block: bytes) -> bool:
    """Tell whether a coded response head is not of status 200 (servers code that one in a single byte)."""
    at = 0
    while at < len(block) and block[at] & _RESIZE == 0x20:
        more = block[at] & 31 == 31
        at += 1
        while more and at < len(block):
            more = bool(block[at] & 128)
            at += 1
    return block[at : at + 1] != bytes((_STATUS_200,))


class Lane:
    """One connection at a time, with ``streams`` requests on it at once."""

    def __init__(self, blocks: list[bytes], port: int, streams: int, tally: Tally) -> None:
        self._blocks = blocks
        self._port = port
        self._streams = streams
        self._tally = tally
        self.renew()

    def renew(self) -> None:
        """Connect and send the first requests."""
        self.socket = connect(self._port)
        self._rest = b""
        self._started: dict[int, float] = {}
        self._next = 0
        self._send(PREFACE + settings(0), self._streams)

    def _send(self, before: bytes, count: int) -> None:
        """Send ``before`` and as many requests as are left, at most ``count``."""
        out = [before]
        now = time.perf_counter()
        for number in range(self._next, min(self._next + count, len(self._blocks))):
            out.append(frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, self._blocks[number]))
            self._started[2 * number + 1] = now
            self._next += 1
        if data := b"".join(out):
            self.socket.sendall(data)

    def read(self) -> None:
        """Take in what came and send as many requests as were answered."""
        data = self.socket.recv(262144)
        frames, self._rest = cut(self._rest + data)
        now, ended, answer = time.perf_counter(), 0, b""
        lost = not data
        for kind, flags, sid, payload in frames:
            if sid == 0:
                answer += reply(kind, flags, payload)
                lost = lost or kind == GOAWAY
                continue
            if kind == HEADERS and is_refusal(payload):
                self._tally.refused += 1
            if kind == RST_STREAM:
                self._tally.broken += 1
                self._started.pop(sid, None)
                ended += 1
            elif flags & END_STREAM and kind <= HEADERS:
                self._tally.taken.append(now - self._started.pop(sid))
                ended += 1
        if lost:
            self._tally.broken += len(self._started)
        else:
            self._send(answer, ended)
        if lost or not self._started:
            self.socket.close()
            self.renew()


def run(lists: list[list[bytes]], port: int, seconds: float, streams: int) -> tuple[Tally, float]:
    """Send for ``seconds``; give what was counted, and how long it took."""
    tally = Tally()
    start = time.perf_counter()
    lanes = [Lane(blocks, port, streams, tally) for blocks in lists]
    while time.perf_counter() - start < seconds:
        by_socket = {lane.socket: lane for lane in lanes}
        ready, _, _ = select.select(list(by_socket), [], [], 1.0)
        for one in ready:
            by_socket[one].read()
    elapsed = time.perf_counter() - start
    for lane in lanes:
        lane.socket.close()
    return tally, elapsed


def parse(output: str) -> Shot:
    """Read the line that the sending process printed; it has no p90 and no maximum of use to anyone."""
    return msgspec.json.decode(output, type=Shot)


def shot_of(tally: Tally, elapsed: float) -> Shot:
    """Put the counts into the form that all loads give."""
    taken = [one * 1e6 for one in tally.taken] or [0.0]
    return Shot(
        requests=len(tally.taken),
        seconds=elapsed,
        p50=quantile(taken, 0.5),
        p90=quantile(taken, 0.9),
        p99=quantile(taken, 0.99),
        maximum=max(taken),
        refused=tally.refused,
        broken=tally.broken,
    )


def fire(load: H2Load, port: int, seconds: float, cores: frozenset[int], work: Path) -> Shot:
    """Send the load from a process of its own on ``cores``."""
    blocks = work / "churn.blocks"
    if not blocks.exists():
        prepare(blocks, load.connections)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.load.churn",
            str(blocks),
            str(port),
            str(seconds),
            str(load.streams),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        check=False,
    )
    if done.returncode:
        raise H2LoadFailed(f"the load ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    return parse(done.stdout)


def main(arguments: list[str]) -> None:
    """Send and print the counts as JSON."""
    file, port, seconds, streams = arguments
    lists = msgspec.msgpack.decode(Path(file).read_bytes(), type=list[list[bytes]])
    tally, elapsed = run(lists, int(port), float(seconds), int(streams))
    print(json.dumps(msgspec.to_builtins(shot_of(tally, elapsed))))


if __name__ == "__main__":
    main(sys.argv[1:])
