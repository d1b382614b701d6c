"""What one event loop owns: the rules in force, timers, counters, log, open connections.

A change of rules is one assignment: ``worker.live``.  Exchanges take it once, when their request
head is there, and keep the plan that they got.
"""

import asyncio
import os
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, Final

from mypy_extensions import mypyc_attr

from proxy import errors
from proxy.logs import Log
from proxy.metrics.cells import WorkerCells
from proxy.net.connection import Connection
from proxy.net.pacer import Pacer
from proxy.net.pipe import Cork
from proxy.net.pool import Upstream
from proxy.net.timers import Callback, Timers
from proxy.wire.h1_head import Names
from rules.compiled import CompiledRule
from rules.http_params import FORWARDED
from rules.snapshot import Snapshot

# How often deadlines are looked at, seconds: time-outs are this coarse, and cost nothing per exchange.
SWEEP_EVERY: Final = 0.25

# Request fields that the proxy writes itself, from what came: see proxy.path.request_head.
# x-misrule is ours to give to clients, and nobody's to send upstream.
REWRITTEN: Final = frozenset([name.encode() for name in FORWARDED if name != "via"])


class Live:
    """The rules in force, ready for the path: never changed, only replaced."""

    __slots__ = ("faulting", "request_names", "response_names", "snapshot", "stopped")

    def __init__(self, snapshot: Snapshot, stopped: bool, route_names: frozenset[bytes]) -> None:
        self.snapshot: Snapshot = snapshot
        self.stopped: bool = stopped  # the red button: nothing is injected
        self.faulting: bool = not stopped and not snapshot.empty
        wanted = route_names | {b"x-request-id"}
        if self.faulting:
            wanted = wanted | snapshot.request_names
        self.request_names: Names = Names(wanted, REWRITTEN)
        self.response_names: Names = Names(
            snapshot.response_names if self.faulting else frozenset(), frozenset()
        )


@mypyc_attr(allow_interpreted_subclasses=True)
class Releasable(Callback):
    """Something that a fault holds back and that lets go when its rule is gone or all faults are stopped."""

    def rule_now(self) -> CompiledRule | None:
        """Give the rule for which this waits."""
        raise NotImplementedError

    def endless(self) -> bool:
        """Tell whether it waits for the peer to give up: no time ends it."""
        return False

    def rules_changed(self) -> None:
        """Other rules are in force, and this waits on."""

    def let_go(self) -> None:
        """Stop waiting and go on as if the fault had ended."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Stop waiting for good: the exchange is over."""
        raise NotImplementedError


class Worker:
    """One event loop's share of the proxy."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timers: Timers,
        log: Log,
        snapshot: Snapshot,
        route_names: frozenset[bytes],
    ) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.timers: Timers = timers
        self.clock: Callable[[], float] = timers.clock_itself()
        self.log: Log = log
        self.route_names: frozenset[bytes] = route_names
        self.live: Live = Live(snapshot, False, route_names)
        self.cells: WorkerCells = WorkerCells()
        self.upstreams: dict[str, Upstream] = {}
        self.connections: dict[
            Connection, None
        ] = {}  # a set that keeps order and can be walked while it changes
        self.waiting: dict[Releasable, None] = {}
        self.cork: Cork = Cork()
        self.pacer: Pacer = Pacer(timers, self.cork)
        self.draining: bool = False
        self.cut_at: float = 0.0  # while it drains: when what is still under way is cut
        self.cutting: bool = False  # what is open now ends because the proxy does
        self.wall_clock: Callable[[], float] = time.time
        self.tasks: set[asyncio.Task[None]] = set()
        self._id_prefix: bytes = _uuid_prefix()
        self._id: int = int.from_bytes(os.urandom(4), "big")

    def next_id(self) -> bytes:
        """Make a request id in the form of a UUID: random once per worker, then counted.

        Unique, cheap and good for grepping; it is no secret and not meant to be unguessable.
        """
        self._id += 1
        return b"%b%012x" % (self._id_prefix, self._id)

    def cause(self, failure: errors.Failure) -> errors.Failure:
        """Name what ended an exchange: where the proxy cuts all that is open, it is nobody else's doing."""
        return errors.SHUTDOWN if self.cutting else failure

    def bug(self, phase: str) -> None:
        """An exception that nobody expected reached a connection: count it and log it, with its place."""
        self.cells.internal_errors += 1
        self.log.event("error", "internal_error", phase=phase, message=traceback.format_exc())

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a Task that is kept: for dialling only, never per exchange."""
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def install(self, snapshot: Snapshot, stopped: bool) -> None:
        """Put a rule set in force: one assignment, then let go of what no rule holds any more."""
        before = self.live.snapshot
        self.live = Live(snapshot, stopped, self.route_names)
        for held in list(self.waiting):
            if held not in self.waiting:
                continue  # its exchange has ended by what was let go before
            try:
                rule = held.rule_now()
                if stopped or rule is None or not snapshot.in_force(rule.name):
                    held.let_go()
                else:
                    held.rules_changed()
            except Exception:  # the others must be let go all the same
                self.bug("release")
        if not stopped and before is not snapshot:
            for connection in list(self.connections):
                try:
                    connection.rules_changed(before)
                except Exception:
                    self._broken(connection, "rules")

    def drain(self, grace: float = 10.0) -> int:
        """Take no further requests: end what is idle, let the rest end, for ``grace`` seconds from now.

        To be called again and again: gives how many connections are still to be waited for.
        """
        if not self.draining:
            self.draining = True
            self.cut_at = self.timers.now() + grace
        busy = 0
        for connection in list(self.connections):
            try:
                if connection.drain():
                    busy += 1
            except Exception:
                self._broken(connection, "drain")
        return busy

    def sweep(self) -> None:
        """Look at every deadline once."""
        now = self.timers.now()
        for connection in list(self.connections):
            try:
                connection.sweep(now)
            except Exception:
                self._broken(connection, "sweep")
        for upstream in self.upstreams.values():
            try:
                upstream.sweep(now)
            except Exception:
                self.bug("sweep")

    def _broken(self, connection: Connection, during: str) -> None:
        """A bug has shown at one connection: end it, so that it neither stops the others nor shows again."""
        self.bug(during)
        try:
            connection.shut()
        except Exception:
            self.bug(during)
            self.connections.pop(connection, None)


def _uuid_prefix() -> bytes:
    """Make the first 24 characters of a version 4 UUID (RFC 9562), dashes included."""
    digits = os.urandom(9).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-8{digits[15:18]}-".encode()
