"""How a running proxy is asked to end, and what it says of itself when asked: signals, drain, dump.

* SIGTERM, SIGINT: drain; a second one ends it at once.
* ``POST /v1/drain``: the same drain.  A signal that comes after it is the first one: a kubelet runs a
  ``preStop`` hook, which may be that call, and then sends SIGTERM; what is under way shall not be cut by it.
* SIGHUP: look at rule files and certificates now.
* SIGUSR1: write down what is open and what runs.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any, Final

from proxy.logs import Log
from proxy.worker import Worker

LOOK: Final = 0.02  # seconds between two looks at what is still under way
SHOWN: Final = 1000  # connections, and tasks, that a dump has at most


class Life:
    """One proxy's end: ``begin`` ends the taking of anything new, ``grace`` is in seconds."""

    def __init__(self, log: Log, grace: float, begin: Callable[[], None]) -> None:
        self.draining: bool = False
        self._log = log
        self._grace = grace
        self._begin = begin
        self._asked = asyncio.Event()
        self._at_once = asyncio.Event()
        self._signals = 0

    def take_signals(self, reload: Callable[[], None], dump: Callable[[], None]) -> None:
        """Take signals from now on: before the start, since whoever reads "ready" may send one at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signal, number)
        loop.add_signal_handler(signal.SIGHUP, reload)
        loop.add_signal_handler(signal.SIGUSR1, dump)

    def _signal(self, number: int) -> None:
        self._signals += 1
        if self._signals > 1:
            self._at_once.set()
        else:
            self.drain(signal.Signals(number).name)

    def drain(self, why: str) -> None:
        """Take nothing new from now on, and end when what is under way has; more calls change nothing."""
        if self.draining:
            return
        self.draining = True
        self._log.event(
            "info", "draining", message="misrule drains: a second signal stops it at once", by=why
        )
        self._begin()
        self._asked.set()

    async def over(self, worker: Worker) -> None:
        """Wait until it was asked to end, and then until it may: all is done, or the grace is over."""
        await self._asked.wait()
        self._begin()  # what was opened since, had it been asked while it started
        until = time.monotonic() + self._grace
        while worker.drain(self._grace) > 0 and time.monotonic() < until:
            try:
                async with asyncio.timeout(LOOK):
                    await self._at_once.wait()
            except TimeoutError:
                continue
            break
        self._log.event("info", "stopping", message="misrule stops")


def dump(log: Log, worker: Worker, tasks: set[asyncio.Task[Any]]) -> None:
    """Write to the log, whatever its level, what is open, which exchanges are under way and what runs."""
    views = [connection.describe() for connection in list(worker.connections)]
    exchanges = sum(map(_exchanges, views))
    told = f"{len(views)} connections, {exchanges} exchanges, {len(tasks)} tasks"
    log.asked(
        "dump",
        message=told,
        version=worker.live.snapshot.version,
        stopped=worker.live.stopped,
        draining=worker.draining,
        connections=len(views),
        exchanges=exchanges,
        held=len(worker.waiting),
        tasks=len(tasks),
        upstreams={name: _pool(one) for name, one in worker.upstreams.items()},
    )
    for view in views[:SHOWN]:
        log.asked("dump_connection", **view)
    for task in sorted(tasks, key=lambda one: one.get_name())[:SHOWN]:
        log.asked("dump_task", name=task.get_name(), runs=_place(task))


def _exchanges(view: dict[str, Any]) -> int:
    """Count what a client has under way on a connection."""
    return len(view.get("streams", ())) + ("request_id" in view) if view["side"] == "client" else 0


def _pool(upstream: Any) -> dict[str, int]:
    active = sum(endpoint.active for endpoint in upstream.endpoints)
    return {"open": upstream.open, "active": active, "waiting": len(upstream.waiting)}


def _place(task: asyncio.Task[Any]) -> str:
    """Say what a task runs, and the line where it waits as far as that can be told (not of compiled code)."""
    names: list[str] = []
    place = ""
    runs: Any = task.get_coro()
    while getattr(runs, "cr_code", None) is not None:
        names.append(runs.__qualname__)
        if runs.cr_frame is not None:
            place = f" at {runs.cr_code.co_filename}:{runs.cr_frame.f_lineno}"
        runs = runs.cr_await
    return (" > ".join(names) or repr(runs)) + place
