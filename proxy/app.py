"""The composition root: reads as the proxy is put together, starts and stops it."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from proxy.captured import CapturingDoor
from proxy.changes import Changes
from proxy.config import Config, ListenerConfig, UpstreamConfig, split_address
from proxy.config.addresses import BOTH, WILDCARDS
from proxy.dns.naming import Naming
from proxy.events import Events
from proxy.history import take_up
from proxy.life import Life, dump
from proxy.listener import AUTO, TERMINATE, Listener
from proxy.listeners import make_listener
from proxy.logs import Log
from proxy.memory import no_trusted_authorities
from proxy.metrics.cells import UpstreamCells
from proxy.net import sockets
from proxy.net.alarm import alarm_on
from proxy.net.timers import LoopTimers
from proxy.path.accept import Door
from proxy.reload import Reloader
from proxy.schedules import Schedules
from proxy.state import StateError
from proxy.upstreams import make_upstream
from proxy.worker import SWEEP_EVERY, Worker
from rules.snapshot import Snapshot
from rules.store import Refusal, Store
from rules.text import RulesError

_BACKLOG: Final = 4096

# Objects between two looks of the collector.  Exchanges leave no cycles behind, so it mostly looks in vain:
# with Python's 700, a tenth and more of a busy proxy's time (HTTP/2, distinct paths: 24 to 15 µs a request).
_COLLECT_AFTER: Final = 20_000
_LOOK_AT_FILES: Final = 2.0  # seconds between looks at the files of certificates and keys


class StartError(Exception):
    """The proxy cannot start; ``lines`` say why, one problem each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines: list[str] = lines


class App:
    """One running proxy: everything that ``misrule run`` owns."""

    def __init__(self, config: Config) -> None:
        self.config: Config = config
        self.events: Events = Events()
        self.log: Log = Log(config.log.format, config.log.level, config.log.access, events=self.events)
        self.store: Store = Store([listener.name for listener in config.listeners], time.time())
        self.addresses: dict[str, str] = {}  # listener (or "dns", "admin", "health") -> address as bound
        self.started: float = 0.0  # unix time
        self.listening: bool = False  # all listeners accept connections
        self.stopped: bool = False  # the red button is pressed: no fault is injected
        self.worker: Worker
        self._timers: LoopTimers
        self.life: Life = Life(self.log, config.drain.grace, self._take_nothing_new)
        self.schedules: Schedules
        self._servers: list[asyncio.AbstractServer] = []
        self._sockets: list[str] = []  # paths of Unix sockets to remove at the end
        self._reloading: asyncio.Task[bool] | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._admin: Any = None  # proxy.admin.server.AdminServer, imported only where it runs
        self._health: Any = None  # proxy.health.checks.HealthChecks, imported only where it runs
        self._naming: Naming
        self._identities: Any = None  # proxy.identities.Identities, imported only where there is TLS
        self._looker: asyncio.TimerHandle | None = None
        self._own_ports: set[int] = set()  # on which something of this proxy listens
        self.changes: Changes = Changes(self.store, self.install, self.log)
        self.reloader: Reloader = Reloader(config.rules, self.changes, self.log)

    # --- start and stop

    async def start(self) -> None:
        """Load the rules, open the listeners, then the admin endpoint; raises StartError."""
        loop = asyncio.get_running_loop()
        routes = [route for listener in self.config.listeners for route in listener.routes]
        names = frozenset(name.encode() for route in routes for name, _ in route.match.headers)
        self._timers = timers = LoopTimers(loop, time.monotonic, alarm_on(loop))
        self.worker = Worker(loop, timers, self.log, self.store.snapshot, names)
        install = self.worker.install
        self.schedules = Schedules(
            timers, time.time, self.log, self.store.turn, lambda turned: install(turned, self.stopped)
        )
        self._naming = Naming(self.worker, self.config.dns)
        self.started = time.time()
        try:
            await self._start_rules()
            self._start_identities()
            for config in self.config.upstreams.values():
                self._add_upstream(config)
            for listener in self.config.listeners:
                await self._open(listener)
            await self._start_dns()
            await self._start_admin()
            self._start_health()
        except BaseException:
            await self.stop()
            raise
        self._sweep()
        gc.collect()
        gc.freeze()  # what was made so far stays: the collector need not walk it again
        gc.set_threshold(_COLLECT_AFTER, 20, 50)
        self._own_ports.update(port for one in self.addresses.values() if (port := split_address(one)[1]) > 0)
        self.listening = True
        self.log.attend(loop)
        self.reloader.tell_loaded()
        self.log.event("info", "ready", message=self._ready_line())

    def _ready_line(self) -> str:
        """Say in one line where what listens."""
        listeners = [f"listener {c.name} {self.addresses[c.name]}" for c in self.config.listeners]
        others = [
            f"{name} {self.addresses[name]}" for name in ("dns", "admin", "health") if name in self.addresses
        ]
        return "misrule ready: " + "; ".join(listeners + others)

    async def stop(self) -> None:
        """Close everything at once."""
        self.listening = False
        for server in self._servers:
            server.close()
        if self._admin is not None:
            await self._admin.stop()
        if self._health is not None:
            await self._health.stop()
        await self.reloader.close()
        self.changes.close()
        for timer in (self._sweeper, self._looker):
            if timer is not None:
                timer.cancel()
        if self._identities is not None:
            self._identities.close()
        if hasattr(self, "worker"):
            self.schedules.close()
            self.worker.cutting = True
            for connection in list(self.worker.connections):
                connection.shut()
            await self._naming.close()
            for task in list(self.worker.tasks):
                task.cancel()
            await asyncio.sleep(0)
            self._timers.close()
        if self.changes.history is not None:
            self.changes.history.close()
        for path in self._sockets:
            with contextlib.suppress(OSError):
                Path(path).unlink()
        self.log.close()

    def take_signals(self) -> None:
        """Take signals from now on: before ``start``, since whoever reads "ready" may send one at once."""
        self.life.take_signals(self._reload, self.dump)

    async def run_until_signal(self) -> int:
        """Serve until SIGTERM or SIGINT, drain, stop (a second signal: at once); gives the exit status."""
        self.take_signals()
        await self.life.over(self.worker)
        await self.stop()
        return 0

    def drain(self) -> float:
        """Begin to end, as at SIGTERM; gives the seconds after which it has, whatever is under way."""
        self.life.drain("admin")
        return self.config.drain.grace

    def _take_nothing_new(self) -> None:
        """Accept no more, and say so: it is not ready from this moment on."""
        self.listening = False
        for server in self._servers:
            server.close()
        if hasattr(self, "worker"):
            self.worker.drain(self.config.drain.grace)

    def dump(self) -> None:
        """SIGUSR1: write down what is open and what runs."""
        if hasattr(self, "worker"):
            dump(self.log, self.worker, asyncio.all_tasks())

    def _reload(self) -> None:
        """SIGHUP: look at the rule files and at the certificates now."""
        if not self.listening:
            return  # they are being read for the first time, or not any more
        if self._identities is not None:
            self._look_at_certificates()
        self._reloading = asyncio.get_running_loop().create_task(self.reloader.reload())

    # --- the parts

    async def _start_rules(self) -> None:
        """Take up what a restart left, read the rule files, and watch them."""
        config = self.config
        try:
            if config.admin is not None or config.state_dir:  # else nobody could ask for versions
                self.changes.history = take_up(config.state_dir, self.store, self.log, time.time())
            await self.reloader.start(tell=False)
        except StateError as error:
            raise StartError([f"state_dir: {error}"]) from None
        except RulesError as error:
            raise StartError([str(problem) for problem in error.problems]) from None

    def _start_identities(self) -> None:
        """Open the authority, where anything speaks TLS."""
        config = self.config
        ends = any(one.tls.mode in ("terminate", "auto") for one in config.listeners)
        if not ends and all(one.tls is None for one in config.upstreams.values()):
            return  # what is not used is not imported
        from proxy.identities import Identities

        self._identities = _or_not_start(
            "certs", lambda: Identities(config.certs.dir, self.log, config.certs.url)
        )
        self._look_at_files()

    def tell_revocation(self, method: str, path: str, body: bytes) -> Any:
        """Answer who asks the local authority (``certs.responder.Response``); None where there is none."""
        return None if self._identities is None else self._identities.tell(method, path, body)

    def _look_at_files(self) -> None:
        self._look_at_certificates()
        self._looker = self.worker.loop.call_later(_LOOK_AT_FILES, self._look_at_files)

    def _look_at_certificates(self) -> None:
        try:
            self._identities.look()
        except Exception:  # what goes wrong in one look must not end them
            self.worker.bug("certificates")

    async def _start_dns(self) -> None:
        """Open the DNS listener, where one is configured."""
        wanted = self.config.dns.listen
        try:
            address = await self._naming.listen()
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError([f"dns: cannot listen on {wanted}: {reason}"]) from None
        if address:
            self.addresses["dns"] = address

    async def _start_admin(self) -> None:
        """Open the admin endpoint and the health listener, where they are configured."""
        if self.config.admin is None and self.config.health is None:
            return  # what is not used is not imported
        with no_trusted_authorities():
            from proxy.admin.server import AdminError, AdminServer

        self._admin = AdminServer(self)
        try:
            await self._admin.start()
        except AdminError as error:
            raise StartError([str(error)]) from None

    def _start_health(self) -> None:
        """Begin to check the addresses of upstreams, where that is configured."""
        checked = [config for config in self.config.upstreams.values() if config.health is not None]
        if not checked:
            return
        from proxy.health.checks import HealthChecks

        self._health = HealthChecks(self.worker)
        for config in checked:
            self._health.add(self.worker.upstreams[config.name], config.health)
        self._health.start()

    def _add_upstream(self, config: UpstreamConfig) -> None:
        """Make the pool of one upstream."""
        cells = UpstreamCells(config.name)
        self.worker.cells.upstreams.append(cells)
        credentials = None
        if config.tls is not None:
            what = f"upstream {config.name}"
            credentials = _or_not_start(what, lambda: self._identities.upstream(config))
        self.worker.upstreams[config.name] = make_upstream(config, cells, credentials, self._naming.names)

    async def _open(self, config: ListenerConfig) -> None:
        """Open one listener."""
        listener = self._listener(config)
        captures = config.capture == "redirect"
        door: Any = (CapturingDoor if captures else Door)(self.worker, listener)
        loop = self.worker.loop
        try:
            if config.address.startswith("unix:"):
                path = config.address.removeprefix("unix:")
                sockets.remove_stale(path)
                server: asyncio.AbstractServer = await loop.create_unix_server(
                    door.protocol, path, backlog=_BACKLOG
                )
                self._sockets.append(path)
                self.addresses[config.name] = config.address
            else:
                host, port = split_address(config.address)
                # Who was redirected on this machine arrives at 127.0.0.1 or ::1, whatever it has dialled; and
                # [::] means both families, on a machine without IPv6 too.
                both = host == BOTH or (captures and host in WILDCARDS)
                bound = sockets.bind_both(port) if both else sockets.bind(host, port)
                if config.timeouts.keepalive is not None:
                    sockets.keep_alive(bound, config.timeouts.keepalive)
                server = await loop.create_server(door.protocol, sock=bound, backlog=_BACKLOG)
                self.addresses[config.name] = sockets.address_of(bound)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StartError(
                [f"listener {config.name}: cannot listen on {config.address}: {reason}"]
            ) from None
        self._servers.append(server)

    def _listener(self, config: ListenerConfig) -> Listener:
        """Make the running form of a listener."""
        made = make_listener(config, self.worker, self._own_ports)
        if made.tls_mode in (TERMINATE, AUTO):
            what = f"listener {config.name}"
            made.keeper = _or_not_start(what, lambda: self._identities.listener(config))
        return made

    # --- the rules in force

    def install(self, snapshot: Snapshot) -> None:
        """Put a rule set in force: one assignment; what no rule holds any more is released."""
        self.schedules.adopt(snapshot)
        self.worker.install(snapshot, self.stopped)

    def reset_rule(self, name: str) -> Refusal | None:
        """Start a rule's state anew, its schedule included."""
        refused = self.store.reset(name)
        self.schedules.look()
        return refused

    def stop_faults(self) -> None:
        """Press the red button: inject nothing more, and release what is held."""
        self.stopped = True
        self.worker.install(self.worker.live.snapshot, True)

    def resume_faults(self) -> None:
        """Inject again."""
        self.stopped = False
        self.worker.install(self.worker.live.snapshot, False)

    def connections(self) -> list[dict[str, Any]]:
        """Describe what is open."""
        return [connection.describe() for connection in list(self.worker.connections)]

    def _sweep(self) -> None:
        self.worker.sweep()
        self._sweeper = self.worker.loop.call_later(SWEEP_EVERY, self._sweep)


def _or_not_start(what: str, make: Callable[[], Any]) -> Any:
    """Make something of certificates; raises StartError."""
    from certs.errors import CertError

    try:
        return make()
    except (CertError, OSError) as error:
        raise StartError([f"{what}: {error}"]) from None
