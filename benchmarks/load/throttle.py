"""The workload ``throttle``: what receivers get of a rate, and what a thousand throttled streams cost.

The rate that came is counted from the first piece that a receiver gets to the last one within the time,
without that first piece: how long the head took does not matter.  Content counts, as the fault counts it: no
heads, no chunk sizes, no frames of HTTP/2; of gRPC the messages with their prefixes.
"""

import json
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from hpack import Encoder, NeverIndexedHeaderTuple

from benchmarks.load import source
from benchmarks.load.client import WrongAnswer, allow_files, connect
from benchmarks.load.h2_client import STREAMS_PER_CONNECTION
from benchmarks.load.h2_frames import cut, frame, reply, settings
from benchmarks.load.places import ROOT
from benchmarks.load.procs import free_port, running, usage, wait_until
from benchmarks.load.results import CrowdRow, ThrottleRow
from benchmarks.load.rulesets import GRPC_HEADERS
from benchmarks.load.subjects.misrule import Misrule
from proxy.wire.h2_frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, WINDOW_UPDATE

RATES: dict[str, int] = {"64KiB/s": 65536, "1MiB/s": 1 << 20, "4MiB/s": 4 << 20}
CROWD: tuple[str, int] = ("2KiB/s", 2048)  # the rate of each of
STREAMS: int = 1_000
HTTP1, HTTP2, GRPC, TCP = "http1", "http2", "grpc", "tcp"  # as rules call them
PROTOCOLS: tuple[str, ...] = (HTTP1, HTTP2, GRPC, TCP)
_RATE = "x-rate"  # the header by which a request says at which rate it wants to be answered
_WARM = 2.0  # seconds until all of a crowd flow


@dataclass
class Flow:
    """What came of one stream."""

    asked: int  # bytes in a second
    began: float = 0.0  # when the first piece came, 0.0 before
    last: float = 0.0
    came: int = 0  # bytes behind the first piece

    def take(self, size: int, now: float) -> None:
        """Count a piece."""
        if self.began:
            self.came += size
        else:
            self.began = now
        self.last = now

    @property
    def seen(self) -> float:
        """Give the bytes in a second that came; 0.0 where there was no second piece."""
        return self.came / (self.last - self.began) if self.last > self.began else 0.0


class Plain:
    """A connection with one stream: raw bytes, or an answer in HTTP/1.1, whose head is read over."""

    def __init__(self, port: int, flow: Flow, request: bytes) -> None:
        self.flow = flow
        self.socket = connect(port)
        self.socket.sendall(request)
        self._head = b"" if request.startswith(b"GET ") else None

    def read(self, data: bytes, now: float) -> None:
        """Take in what came."""
        if self._head is not None:
            self._head += data
            _, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            if not self._head.startswith(b"HTTP/1.1 200"):
                raise WrongAnswer(self._head[:80].decode(errors="replace"))
            self._head = None
        if data:
            self.flow.take(len(data), now)


class Framed:
    """A connection of HTTP/2 with a stream for each flow; what came is credited at once."""

    def __init__(self, port: int, flows: Sequence[Flow], block: bytes, body: bytes = b"") -> None:
        self._flows = {2 * number + 1: flow for number, flow in enumerate(flows)}
        self._rest = b""
        self.socket = connect(port)
        out = [PREFACE, settings(0)]
        for sid in self._flows:
            out.append(frame(HEADERS, END_HEADERS | (0 if body else END_STREAM), sid, block))
            out.append(frame(DATA, END_STREAM, sid, body) if body else b"")
        self.socket.sendall(b"".join(out))

    def read(self, data: bytes, now: float) -> None:
        """Take in what came."""
        frames, self._rest = cut(self._rest + data)
        answers: list[bytes] = []
        for kind, flags, sid, payload in frames:
            if sid == 0:
                answers.append(reply(kind, flags, payload))
            elif kind == DATA and payload:
                self._flows[sid].take(len(payload), now)
                answers.append(frame(WINDOW_UPDATE, 0, sid, len(payload).to_bytes(4, "big")))
            elif kind == DATA or flags & END_STREAM:
                raise WrongAnswer("a stream ended that has no end")
        if any(answers):
            self.socket.sendall(b"".join(answers))


Line = Plain | Framed


def watch(lines: Sequence[Line], seconds: float) -> None:
    """Read all that comes on these connections for so long."""
    with selectors.DefaultSelector() as ready:
        for line in lines:
            ready.register(line.socket, selectors.EVENT_READ, line)
        until = time.perf_counter() + seconds
        while (now := time.perf_counter()) < until:
            for key, _ in ready.select(until - now):
                data = _received(key.fileobj)
                key.data.read(data, time.perf_counter())


def _received(sock: Any) -> bytes:
    assert isinstance(sock, socket.socket)
    data = sock.recv(262144)
    if not data:
        raise WrongAnswer("a connection ended that has no end")
    return data


def block(fields: Sequence[tuple[str, str]]) -> bytes:
    """Code a head so that it may be sent again and again: nothing is put into the table."""
    return bytes(Encoder().encode([NeverIndexedHeaderTuple(*one) for one in fields]))


def get(rate: str) -> bytes:
    """Give a request of HTTP/1.1 for that rate."""
    return f"GET /feed HTTP/1.1\r\nhost: feed.example\r\n{_RATE}: {rate}\r\n\r\n".encode()


def _fields(method: str, path: str, rate: str) -> list[tuple[str, str]]:
    pseudo = [(":method", method), (":scheme", "http"), (":authority", "feed.example"), (":path", path)]
    more = GRPC_HEADERS if method == "POST" else {}
    return [*pseudo, *more.items(), (_RATE, rate)]


@dataclass(frozen=True)
class Stage:
    """A proxy in front of the source: the ports of its listeners, and its process."""

    pid: int
    ports: dict[str, int]  # web, calls, and one of TCP for each rate

    def lines(self, protocol: str, rate: str, flows: Sequence[Flow]) -> list[Line]:
        """Open the connections on which these flows come at that rate."""
        if protocol == HTTP1:
            return [Plain(self.ports["web"], flow, get(rate)) for flow in flows]
        if protocol == TCP:
            return [Plain(self.ports[rate], flow, b"\n") for flow in flows]
        head, body, port = block(_fields("GET", "/feed", rate)), b"", self.ports["web"]
        if protocol == GRPC:
            head, body, port = block(_fields("POST", source.METHOD, rate)), bytes(5), self.ports["calls"]
        groups = range(0, len(flows), STREAMS_PER_CONNECTION)
        return [Framed(port, flows[at : at + STREAMS_PER_CONNECTION], head, body) for at in groups]


def configuration(feed: int, calls: int, ports: dict[str, int]) -> dict[str, Any]:
    """Give the proxy's configuration: a listener at each of ``ports``, before the two doors of the source."""
    roomy = {"pool": {"max_connections": 2 * STREAMS}}
    listeners = [
        {
            "name": name.lower().replace("/", "-"),
            "address": f"127.0.0.1:{port}",
            "protocol": "tcp" if name not in ("web", "calls") else "auto",
            "routes": [{"upstream": {"web": "feed", "calls": "calls"}.get(name, "bytes")}],
        }
        for name, port in ports.items()
    ]
    upstreams = {
        "feed": {"address": f"127.0.0.1:{feed}", **roomy},
        "bytes": {"address": f"127.0.0.1:{feed}", "protocol": "tcp", **roomy},
        "calls": {"address": f"127.0.0.1:{calls}", "protocol": "http2", **roomy},
    }
    return {"version": 1, "listeners": listeners, "upstreams": upstreams}


def rules() -> dict[str, Any]:
    """Give a rule for each rate and for requests, and one for TCP, which says at which listener."""
    made = []
    for rate in (*RATES, CROWD[0]):
        name, fault = rate.lower().replace("/", "-"), [{"throttle": rate}]
        made.append({"name": name, "match": {"headers": {_RATE: rate}}, "faults": fault})
        tcp = {"protocol": ["tcp"], "listener": [name]}
        made.append({"name": f"tcp-{name}", "match": tcp, "faults": fault})
    return {"version": 1, "rules": made}


@contextmanager
def staged(subject: Misrule, work: Path, proxy: frozenset[int], rest: frozenset[int]) -> Iterator[Stage]:
    """Run the source, and the proxy in front of it."""
    work.mkdir(parents=True)
    feed, calls = free_port(), free_port()
    ports = {name: free_port() for name in ("web", "calls", *RATES, CROWD[0])}
    (work / "rules.json").write_text(json.dumps(rules()))
    (work / "misrule.json").write_text(json.dumps(configuration(feed, calls, ports)))
    command = subject.command_of(work / "misrule.json", work / "rules.json")
    doors = [sys.executable, "-m", "benchmarks.load.source", str(feed), str(calls)]
    log = work / "log"
    with running(doors, rest, work / "source.log", ROOT) as door:
        wait_until(lambda: _listens(feed), door, work / "source.log")
        with running(command.arguments, proxy, log, work, command.environment) as pid:
            wait_until(lambda: all(map(_listens, ports.values())), pid, log)
            yield Stage(pid, ports)


def _listens(port: int) -> bool:
    try:
        connect(port).close()
    except OSError:
        return False
    return True


def called(port: int, rate: str, seconds: float) -> Flow:
    """Let grpcio take messages at that rate for so long."""
    flow = Flow(RATES[rate])
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        calling: Any = channel.unary_stream(source.METHOD)
        call = calling(b"", metadata=((_RATE, rate),))
        try:
            for message in call:
                flow.take(len(message) + 5, time.perf_counter())
                if flow.last - flow.began >= seconds:
                    break
        except grpc.RpcError as error:
            raise WrongAnswer(f"a call at {rate}: {error.code()}: {error.details()}") from error
        call.cancel()
    return flow


def measure_rates(subject: str, stage: Stage, protocol: str, seconds: float) -> list[ThrottleRow]:
    """Measure all rates of one protocol at once."""
    if protocol == GRPC:
        with ThreadPoolExecutor(len(RATES)) as threads:
            calls = [threads.submit(called, stage.ports["calls"], rate, seconds) for rate in RATES]
            flows = [call.result() for call in calls]
    else:
        flows = [Flow(asked) for asked in RATES.values()]
        pairs = zip(RATES, flows, strict=True)
        lines = [line for rate, flow in pairs for line in stage.lines(protocol, rate, [flow])]
        watch(lines, seconds)
        _end(lines)
    return [ThrottleRow(subject, protocol, flow.asked, flow.seen, seconds) for flow in flows]


def measure_crowd(
    subject: str, stage: Stage, protocol: str, seconds: float, streams: int = STREAMS
) -> CrowdRow:
    """Measure the memory of a proxy with a crowd of throttled streams, and what each of them gets."""
    allow_files(4 * streams)
    rate, asked = CROWD
    time.sleep(1)  # what a start leaves behind is given back by then
    idle = usage(stage.pid).rss
    flows = [Flow(asked) for _ in range(streams)]
    lines = stage.lines(protocol, rate, flows)
    watch(lines, min(seconds, _WARM))
    for flow in flows:
        flow.began, flow.came = 0.0, 0
    watch(lines, seconds)
    held = usage(stage.pid).rss
    _end(lines)
    seen = sorted(flow.seen for flow in flows)
    return CrowdRow(subject, protocol, streams, asked, seen[0], seen[len(seen) // 2], seen[-1], idle, held)


def _end(lines: Sequence[Line]) -> None:
    for line in lines:
        line.socket.close()
