"""Time, loop and sockets that only pretend: the whole path runs without waiting for anything."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from proxy.listener import PROTOCOLS, TLS_MODES, Listener, Route, Target
from proxy.logs import Log
from proxy.metrics.cells import ListenerCells, UpstreamCells
from proxy.net.pool import ROUND_ROBIN, Endpoint, Upstream
from proxy.net.timers import Callback, Timer, Timers
from proxy.path.accept import Door
from proxy.schedules import Schedules
from proxy.worker import Worker
from rules.compile import compile_rules
from rules.parse import parse_rules
from rules.snapshot import Snapshot


class FakeTimer(Timer):
    """One waiting callback."""

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeTimers(Timers):
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.waiting: list[FakeTimer] = []

    def now(self) -> float:
        return self.time

    def after(self, seconds: float, callback: Callback) -> Timer:
        timer = FakeTimer(self.time + seconds, callback)
        self.waiting.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, firing what is due in order."""
        until = self.time + seconds
        while due := [t for t in self.waiting if t.callback is not None and t.when <= until + 1e-9]:
            timer = min(due, key=lambda t: t.when)
            callback, timer.callback = timer.callback, None
            self.time = max(self.time, timer.when)
            if callback is not None:
                callback.fire()
        self.time = until

    @property
    def armed(self) -> int:
        """Count the timers that wait."""
        return sum(1 for timer in self.waiting if timer.callback is not None)


class FakeTransport:
    """Takes what is written; ends as it is told."""

    def __init__(self, peer: tuple[str, int] = ("192.0.2.7", 4242)) -> None:
        self.peer = peer
        self.protocol: Any = None
        self.written: list[bytes] = []
        self.closing = False
        self.aborted = False
        self.ended = False  # FIN was sent
        self.paused = False

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_extra_info(self, name: str) -> Any:
        return self.peer if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert not self.ended, "written after FIN"
        self.written.append(data)

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        assert not self.paused, "paused twice"
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused, "resumed without a pause"
        self.paused = False

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True
        self.aborted = True

    def taken(self) -> bytes:
        """Give all that was written since the last look."""
        data = b"".join(self.written)
        self.written = []
        return data

    # What a test says

    def gives(self, data: bytes) -> None:
        """The peer sends."""
        self.protocol.data_received(data)

    def ends(self) -> None:
        """The peer sends FIN, and the loop closes where the protocol agrees."""
        if not self.protocol.eof_received():
            self.closing = True
            self.lost()

    def lost(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.closing = True
        self.protocol.connection_lost(error)


class FakeLoop:
    """Connects at once to transports that the test holds; counts the Tasks that were made."""

    def __init__(self) -> None:
        self.upstreams: list[FakeTransport] = []
        self.refuse: Exception | None = None
        self.tasks = 0

    def create_task(self, work: Any) -> Any:
        self.tasks += 1
        return asyncio.get_running_loop().create_task(work)

    def create_future(self) -> Any:
        return asyncio.get_running_loop().create_future()

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> Any:
        if self.refuse is not None:
            raise self.refuse
        transport = FakeTransport((host, port))
        transport.protocol = factory()
        self.upstreams.append(transport)
        transport.protocol.connection_made(transport)
        return transport, transport.protocol


class Lines:
    """A stream that keeps log lines."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def fileno(self) -> int:
        raise OSError("no descriptor")

    def records(self) -> list[dict[str, Any]]:
        """Give the lines, read as JSON."""
        return [json.loads(line) for line in self.text.splitlines()]


class Stage:
    """One worker with one listener and one upstream, and everything around it pretended."""

    def __init__(self, rules: str = "", access: str = "all", **options: Any) -> None:
        self.timers = FakeTimers()
        self.loop = FakeLoop()
        self.lines = Lines()
        self.log = Log("json", "debug", access, self.lines)
        self.snapshot = snapshot_of(rules, 1, None)
        self.worker = Worker(self.loop, self.timers, self.log, self.snapshot, frozenset())  # type: ignore[arg-type]
        cells = UpstreamCells("app")
        self.worker.cells.upstreams.append(cells)
        endpoints = [
            Endpoint(number, "10.0.0.1", 80 + number, "", 1) for number in range(options.get("endpoints", 1))
        ]
        self.upstream = Upstream(
            "app",
            endpoints,
            ROUND_ROBIN,
            cells,
            5.0,
            options.get("response_timeout", 60.0),
            300.0,
            options.get("max_connections", 10),
            options.get("max_idle", 10),
            True,
            options.get("attempts", 0),
        )
        self.worker.upstreams["app"] = self.upstream
        self.wall_offset = 0.0  # from the time of the timers to unix time
        self.schedules = Schedules(
            self.timers, lambda: self.timers.time + self.wall_offset, self.log, self._turn, self._put_in_force
        )
        self.schedules.adopt(self.snapshot)
        listener_cells = ListenerCells("web")
        self.worker.cells.listeners.append(listener_cells)
        route = Route(None, None, [], [Target(self.upstream, 1, self.worker.cells.route("web", "app"))])
        self.listener = Listener(
            "web",
            listener_cells,
            self.worker.cells.route("web", ""),
            [] if options.get("no_route") else [route],
            options.get("trusted_hops", 0),
            options.get("head_size", 65536),
            options.get("headers", 100),
            options.get("max_connections_in", 1000),
            options.get("drain_bytes", 1000),
            10.0,
            300.0,
            30.0,
            protocol=PROTOCOLS[options.get("protocol", "auto")],
        )
        self.listener.tls_mode = TLS_MODES[options.get("tls", "none")]
        self.listener.keeper = options.get("keeper")

    def client(self, address: str = "192.0.2.7") -> FakeTransport:
        """A client connects."""
        transport = FakeTransport((address, 4242))
        transport.protocol = Door(self.worker, self.listener).protocol()
        transport.protocol.connection_made(transport)
        return transport

    async def connected(self, number: int = 0) -> FakeTransport:
        """Let the loop turn until so many upstream connections stand and are in use; give the last."""
        for _ in range(50):
            if len(self.loop.upstreams) > number:
                await self.turn()  # the dialling Task goes on to send the request
                return self.loop.upstreams[number]
            await asyncio.sleep(0)
        raise AssertionError("no upstream connection was made")

    async def turn_once(self) -> None:
        """Let the loop turn once."""
        await asyncio.sleep(0)

    async def turn(self) -> None:
        """Let the loop turn a few times."""
        for _ in range(20):
            await asyncio.sleep(0)

    def change_rules(self, rules: str, stopped: bool = False) -> None:
        """Put other rules in force."""
        self.snapshot = snapshot_of(rules, self.snapshot.version + 1, self.snapshot)
        self.schedules.adopt(self.snapshot)
        self.worker.install(self.snapshot, stopped)

    def _turn(self) -> Snapshot:
        self.snapshot = self.snapshot.turned()
        return self.snapshot

    def _put_in_force(self, snapshot: Snapshot) -> None:
        self.worker.install(snapshot, self.worker.live.stopped)

    def sweep(self, seconds: float) -> None:
        """Let time pass in steps, sweeping at each."""
        steps = max(1, int(seconds / 0.25))
        for _ in range(steps):
            self.timers.advance(seconds / steps)
            self.worker.sweep()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Give the log's records of one event."""
        self.log.flush()
        return [record for record in self.lines.records() if record["event"] == event]


def snapshot_of(rules: str, version: int, previous: Snapshot | None) -> Snapshot:
    """Compile rules written as the list under ``rules:``."""
    parsed = parse_rules(f"version: 1\nrules:\n{rules}".encode(), "test.yaml") if rules else []
    return compile_rules(parsed, previous, version, 0.0, "test")
