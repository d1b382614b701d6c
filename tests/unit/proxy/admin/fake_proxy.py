"""A proxy without a data plane: all that the admin endpoint needs, and a client that sends what it likes."""

import asyncio
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from proxy.admin.server import AdminServer
from proxy.changes import Changes
from proxy.config import (
    AdminConfig,
    Config,
    HealthConfig,
    ListenerConfig,
    RouteConfig,
    RouteMatch,
    UpstreamConfig,
)
from proxy.events import Events
from proxy.history import History
from proxy.logs import Log
from proxy.metrics.cells import ListenerCells, UpstreamCells, WorkerCells
from rules.model import Text
from rules.parse import parse_rules
from rules.snapshot import Snapshot
from rules.store import Document, Refusal, Store

DELAY = [{"delay": "1s"}]
FILE_RULES = b"""version: 1
rules:
  - name: from-file
    match: {host: pay.example}
    faults: [{delay: 100ms}]
"""


class FakeLive:
    """The rules as the path sees them."""

    def __init__(self) -> None:
        self.stopped = False


class FakeWorker:
    """What one event loop owns."""

    def __init__(self, log: Log) -> None:
        self.cells = WorkerCells()
        self.live = FakeLive()
        self.log = log
        self.draining = False


class FakeProxy:
    """The whole proxy."""

    def __init__(self, admin: AdminConfig | None, health: HealthConfig | None = None) -> None:
        pay = RouteMatch(host=Text("exact", "pay.example"))
        routes = [RouteConfig((("payments", 1),), pay), RouteConfig((("stable", 95), ("canary", 5)))]
        self.config = Config(
            listeners=[ListenerConfig("web", "127.0.0.1:0", routes)],
            upstreams={name: UpstreamConfig(name, ["127.0.0.1:1"]) for name in ("payments", "stable")},
            admin=admin,
            health=health,
        )
        self.sink = io.StringIO()
        self.worker = FakeWorker(Log(stream=self.sink, events=Events()))
        self.installed: list[Snapshot] = []
        history = History(self.worker.log)
        self.changes = Changes(Store(["web"], 1.0), self.installed.append, self.worker.log, history=history)
        self.started = time.time()
        self.listening = True
        self.addresses: dict[str, str] = {}
        self.worker.cells.route("web", "stable")
        self.worker.cells.listeners.append(ListenerCells("web"))
        self.worker.cells.upstreams.append(UpstreamCells("stable"))

    def tell_revocation(self, method: str, path: str, body: bytes) -> Any:
        """Answer for an authority that echoes what it is asked."""
        if path == "/crl/none":
            return None
        return SimpleNamespace(
            status=200 if method != "PUT" else 405,
            content_type="application/pkix-crl",
            body=f"{method} {path} {len(body)}".encode(),
            allow="GET" if method == "PUT" else "",
        )

    async def load(self, data: bytes = FILE_RULES) -> None:
        """Bring rules of files in force."""
        document = Document("rules.yaml", tuple(parse_rules(data, "rules.yaml")))
        await self.changes.make("file", lambda store, now: store.replace_files([document], now, "files"))

    def reset_rule(self, name: str) -> Refusal | None:
        return self.changes.store.reset(name)

    def stop_faults(self) -> None:
        self.worker.live.stopped = True

    def resume_faults(self) -> None:
        self.worker.live.stopped = False

    def drain(self) -> float:
        self.worker.draining = True
        self.listening = False
        return 10.0

    def connections(self) -> list[dict[str, Any]]:
        return [
            {"side": "client", "listener": "web", "client": f"10.0.0.1:{port}", "state": "idle"}
            for port in range(1, 4)
        ]

    def log_lines(self, event: str) -> list[dict[str, Any]]:
        """Give the log lines of one kind of event."""
        assert self.worker.log.flush(5)
        lines = [json.loads(line) for line in self.sink.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def kind(self) -> str:
        """The kind of problem that a problem document names."""
        assert self.headers["content-type"] == "application/problem+json"
        document = self.json
        assert document["status"] == self.status
        assert document["title"]
        return str(document["type"]).removeprefix("urn:misrule:problem:")


class Endpoint:
    """A running admin endpoint and a client of it."""

    def __init__(self, proxy: FakeProxy) -> None:
        self.proxy = proxy
        self.server = AdminServer(proxy)

    @property
    def address(self) -> str:
        return self.proxy.addresses["admin"]

    async def open(self, name: str = "admin") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect."""
        address = self.proxy.addresses[name]
        if address.startswith("unix:"):
            return await asyncio.open_unix_connection(address.removeprefix("unix:"))
        host, _, port = address.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port))

    async def call(
        self, method: str, path: str, body: object = None, *, to: str = "admin", **headers: str | None
    ) -> Answer:
        """Call once; ``body`` is bytes, or a value sent as JSON; a header that is None is left out."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields: dict[str, str | None] = {"host": "localhost", "connection": "close"}
        if body is not None:
            fields |= {"content-type": "application/json", "content-length": str(len(data))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
        return await self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data, to)

    async def send(self, data: bytes, to: str = "admin") -> Answer:
        """Send bytes and read one answer to the end of the connection."""
        reader, writer = await self.open(to)
        try:
            writer.write(data)
            async with asyncio.timeout(20):
                return await read_answer(reader)
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Answer(int(head[0].split()[1]), headers, body)


def token_file(home: Path, *tokens: str) -> Path:
    """Write tokens to a file."""
    path = home / "token"
    path.write_text("\n".join(tokens) + "\n")
    return path


def rule(name: str, **more: Any) -> dict[str, Any]:
    """Write a rule."""
    return {"name": name, "faults": DELAY, **more}


async def names(endpoint: Endpoint) -> dict[str, str]:
    """Name the rules with their layers."""
    found = (await endpoint.call("GET", "/v1/rules")).json
    return {view["name"]: view["layer"] for view in found["rules"]}


async def put(endpoint: Endpoint, *rules: dict[str, Any], **headers: str) -> Answer:
    """Replace the admin layer."""
    return await endpoint.call("PUT", "/v1/rules", {"version": 1, "rules": list(rules)}, **headers)
