"""Delays asked for against those seen by one connection; with a control that does nothing but sleep.

``python -m benchmarks.load.delays PORT UPSTREAM_PORT`` is the control: a process that reads a request, sleeps
as long as its path asks, and passes bytes on.  What it is late by is what the machine adds to any sleep
and to the four wake-ups on the way of a request through a proxy and back.
"""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import client, procs, rulesets
from benchmarks.load.places import ROOT
from benchmarks.load.procs import Meter, free_port, running, wait_until
from benchmarks.load.results import DelayRow, quantile
from benchmarks.load.subjects.base import Running

CONTROL = "a relay that sleeps"
_FEWEST: int = 30  # requests of a turn


@dataclass
class Seen:
    """What one subject showed of one delay: seconds; ``foreign`` of all turns together.

    A turn in which the host took a core away from this machine (steal time) is kept apart: what it shows
    is the host.
    """

    subject: str
    asked_ms: int
    pid: int
    peer: socket.socket
    seconds: list[float] = field(default_factory=list)
    foreign: float = 0.0
    turns: int = 0
    stolen: list[float] = field(default_factory=list)
    stolen_turns: int = 0

    def take_turn(self, core: int) -> None:
        """Ask for a second or three: short, so that a bad moment of the machine meets everybody."""
        meter, stolen = Meter(self.pid, core), procs.stolen()
        count = max(_FEWEST, round(1000 / self.asked_ms))
        seconds = client.round_trips(self.peer, rulesets.delay_path(self.asked_ms), count)
        self.foreign += meter.read().foreign
        if procs.stolen() > stolen:
            self.stolen += seconds
            self.stolen_turns += 1
        else:
            self.seconds += seconds
            self.turns += 1

    def row(self) -> DelayRow:
        """Compare what was asked for with what was seen."""
        every = [second * 1000 - self.asked_ms for second in self.seconds + self.stolen]
        late = every[: len(self.seconds)] or every
        return DelayRow(
            subject=self.subject,
            asked_ms=self.asked_ms,
            count=len(late),
            early=sum(1 for one in every if one < 0),
            least_ms=min(every),
            p50_ms=quantile(late, 0.5),
            p99_ms=quantile(late, 0.99),
            foreign=self.foreign / (self.turns + self.stolen_turns),
            turns=self.turns,
            stolen_turns=self.stolen_turns,
            all_p99_ms=quantile(every, 0.99),
        )


@contextmanager
def control(cores: frozenset[int], upstream_port: int, work: Path) -> Iterator[Running]:
    """Run the control in front of an upstream."""
    port = free_port()
    log = work / "control.log"
    command = [sys.executable, "-m", __name__, str(port), str(upstream_port)]
    with running(command, cores, log, ROOT) as pid:
        wait_until(lambda: client.answers(port, rulesets.delay_path(1)), pid, log)
        yield Running(pid, port)


def asked_for(head: bytes) -> float:
    """Read from a request how long it asks to be delayed, in seconds."""
    path = head.split(b" ", 2)[1].decode()
    return int(path.rstrip("/").rpartition("-")[2]) / 1000


def serve(port: int, upstream_port: int) -> None:
    """Relay connections, each by a thread of its own, for ever."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        while True:
            peer, _ = listening.accept()
            threading.Thread(target=relay, args=(peer, upstream_port), daemon=True).start()


def relay(peer: socket.socket, upstream_port: int) -> None:
    """Pass on each request of a connection, after it has slept, and its answer."""
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with peer, client.connect(upstream_port) as upstream:
        while head := peer.recv(65536):
            time.sleep(asked_for(head))
            upstream.sendall(head)
            peer.sendall(client.read_whole(upstream))


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
