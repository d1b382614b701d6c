"""gRPC clients behind one call: grpcio, and @grpc/grpc-js in a process that takes one call after another."""

import base64
import json
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.need import need
from tests.support.process import ROOT, Process
from tests.support.wait import pause

SERVICE = "misrule.test.TestService"
_SCRIPT = Path(__file__).parent / "servers" / "grpc_client.cjs"
_PACKAGE = "@grpc/grpc-js@1.14"

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True)
class Rpc:
    """One call.  ``kind`` is unary, client, server or bidi; ``cancel_after``: so many messages have come."""

    address: str
    method: str
    messages: tuple[bytes, ...] = (b"",)
    kind: str = "unary"
    metadata: Metadata = ()
    timeout: float = 20.0
    cancel_after: int | None = None
    ping_pong: bool = False  # the next message is sent when the one before was answered
    compressed: bool = False
    fresh: bool = False  # on a connection of its own
    service: str = SERVICE
    limit: int = -1  # of bytes in a message that comes; on a connection of its own
    keepalive: float = 0.0  # seconds between PINGs, and to the answer; on a connection of its own

    @property
    def alone(self) -> bool:
        """Whether it has a connection of its own."""
        return self.fresh or self.compressed or self.limit >= 0 or self.keepalive > 0

    @property
    def path(self) -> str:
        """The path of the HTTP/2 request."""
        return f"/{self.service}/{self.method}"


@dataclass
class Outcome:
    """What the client's user saw."""

    code: str = ""
    details: str = ""
    messages: list[bytes] = field(default_factory=list)
    initial: list[tuple[str, bytes]] = field(default_factory=list)
    trailing: list[tuple[str, bytes]] = field(default_factory=list)
    seconds: float = 0.0

    def all(self, name: str) -> list[bytes]:
        """Return the values of initial or trailing metadata."""
        return [value for key, value in (*self.initial, *self.trailing) if key == name]


def ask(asked: dict[str, object]) -> bytes:
    """Write a message for ``servers/grpc_server.py``."""
    return json.dumps(asked).encode()


class GrpcIo:
    """The client that most of the world's other clients wrap."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.Channel] = {}

    def channel(self, rpc: Rpc) -> grpc.Channel:
        """Open a channel that shares nothing with others."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", rpc.limit)]
        if rpc.keepalive:
            named = ("keepalive_time", "keepalive_timeout", "http2.ping_timeout")
            options += [(f"grpc.{name}_ms", int(rpc.keepalive * 1000)) for name in named]
        gzip = grpc.Compression.Gzip if rpc.compressed else None
        return grpc.insecure_channel(rpc.address, options=options, compression=gzip)

    def call(self, rpc: Rpc) -> Outcome:
        """Make a call, and wait for its end."""
        if rpc.alone:
            with self.channel(rpc) as channel:
                return self._call(channel, rpc)
        return self._call(self._kept(rpc), rpc)

    def many(self, rpcs: Sequence[Rpc], interval: float) -> list[Outcome]:
        """Start unary calls so many seconds apart, and wait for the end of all."""
        channel = self._kept(rpcs[0])
        calls = []
        for rpc in rpcs:
            calls.append(self._start(channel, rpc, iter(())))
            pause(interval)
        outcomes = []
        for call in calls:
            messages = [] if call.exception() else [call.result()]  # waits
            outcomes.append(Outcome(call.code().name, call.details() or "", messages))
        return outcomes

    def _kept(self, rpc: Rpc) -> grpc.Channel:
        if rpc.address not in self._channels:
            self._channels[rpc.address] = self.channel(rpc)
        return self._channels[rpc.address]

    def _call(self, channel: grpc.Channel, rpc: Rpc) -> Outcome:
        outcome = Outcome()
        answered: queue.Queue[None] = queue.Queue()
        begun = time.monotonic()
        call = self._start(channel, rpc, _paced(rpc, answered))
        if rpc.cancel_after == 0:
            call.cancel()
            answered.put(None)
        try:
            if rpc.kind in ("unary", "client"):
                outcome.messages.append(call.result())
            else:
                for message in call:
                    outcome.messages.append(message)
                    answered.put(None)
                    if len(outcome.messages) == rpc.cancel_after:
                        call.cancel()
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass  # the call itself tells
        outcome.seconds = time.monotonic() - begun
        outcome.code = call.code().name
        outcome.details = call.details() or ""
        outcome.initial = _metadata(call.initial_metadata())
        outcome.trailing = _metadata(call.trailing_metadata())
        return outcome

    def _start(self, channel: Any, rpc: Rpc, messages: Iterator[bytes]) -> Any:
        given: dict[str, Any] = {"timeout": rpc.timeout, "metadata": rpc.metadata}
        if rpc.kind == "unary":
            return channel.unary_unary(rpc.path).future(rpc.messages[0], **given)
        if rpc.kind == "server":
            return channel.unary_stream(rpc.path)(rpc.messages[0], **given)
        if rpc.kind == "client":
            return channel.stream_unary(rpc.path).future(messages, **given)
        return channel.stream_stream(rpc.path)(messages, **given)

    def close(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            channel.close()


def _paced(rpc: Rpc, answered: "queue.Queue[None]") -> Iterator[bytes]:
    for number, message in enumerate(rpc.messages):
        if number and rpc.ping_pong:
            answered.get(timeout=rpc.timeout)
        yield message
    if rpc.cancel_after == 0:
        answered.get(timeout=rpc.timeout)  # before it was cancelled it must not end: it would be answered


def _metadata(given: Any) -> list[tuple[str, bytes]]:
    return [(key, value.encode() if isinstance(value, str) else value) for key, value in given or ()]


class GrpcJs:
    """The client of the Node world, in a process of its own."""

    def __init__(self) -> None:
        folder = installed()
        command = [need("node"), str(_SCRIPT), str(folder)]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, rpc: Rpc) -> Outcome:
        """Make a call, and wait for its end."""
        return self.many([rpc], 0.0)[0]

    def many(self, rpcs: Sequence[Rpc], interval: float) -> list[Outcome]:
        """Start calls so many seconds apart, and wait for the end of all."""
        found: dict[int, Outcome] = {}
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        for number, rpc in enumerate(rpcs):
            self._child.stdin.write(json.dumps(_said(number, rpc)) + "\n")
            self._child.stdin.flush()
            pause(interval)
        for _ in rpcs:
            told = json.loads(self._child.stdout.readline())
            found[told["number"]] = _outcome(told)
        return [found[number] for number in range(len(rpcs))]

    def close(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.communicate()


def _said(number: int, rpc: Rpc) -> dict[str, object]:
    return {
        "number": number,
        "address": rpc.address,
        "path": rpc.path,
        "kind": rpc.kind,
        "messages": [_text(message) for message in rpc.messages],
        "metadata": [[name, _text(value)] for name, value in rpc.metadata],
        "timeout": rpc.timeout,
        "cancel_after": rpc.cancel_after,
        "ping_pong": rpc.ping_pong,
        "compressed": rpc.compressed,
        "keepalive": rpc.keepalive,
        "limit": rpc.limit,
        "fresh": rpc.alone,
    }


def _outcome(told: dict[str, Any]) -> Outcome:
    code = next((one.name for one in grpc.StatusCode if one.value[0] == told["code"]), str(told["code"]))
    outcome = Outcome(code, told["details"], [base64.b64decode(one) for one in told["messages"]])
    outcome.initial = [(name, base64.b64decode(value)) for name, value in told["initial"]]
    outcome.trailing = [(name, base64.b64decode(value)) for name, value in told["trailing"]]
    outcome.seconds = told["seconds"]
    return outcome


def _text(value: str | bytes) -> str:
    return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode()


def installed() -> Path:
    """Return the folder where npm has installed grpc-js, once for all; steps aside without npm."""
    folder = ROOT / "build" / "grpc-js"
    if not (folder / "node_modules" / "@grpc" / "grpc-js").exists():
        npm = need("npm")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}')
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", _PACKAGE]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=90)
        except subprocess.SubprocessError:
            pytest.skip(f"npm cannot install {_PACKAGE}")
    return folder


CLIENTS: dict[str, Callable[[], GrpcIo | GrpcJs]] = {"grpcio": GrpcIo, "grpc-js": GrpcJs}


def start_server(engine: str) -> tuple[Process, str]:
    """Start an upstream on grpcio or grpclib; return it with its address."""
    process = Process([sys.executable, "-m", "tests.support.servers.grpc_server", engine])
    try:
        port = process.wait_line(r"listening on (\d+)")[1]
        return process, f"127.0.0.1:{port}"
    except BaseException:
        process.stop()
        raise
