"""Runs the checks: one Task for each address, one check at a time in each.

The first check comes within a second, at a random moment, so that many addresses are not asked at once; then
one every interval, counted from start to start.  A check that takes longer puts off the next.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from proxy.config import HealthCheck
from proxy.health import probe
from proxy.health.outcome import FAILED, LONGEST_TEXT, UNIMPLEMENTED, Outcome
from proxy.health.tally import HEALTHY, UNHEALTHY, Tally
from proxy.metrics.cells import EndpointCells
from proxy.net.pool import HTTP2, Endpoint, Upstream
from proxy.worker import Worker

FIRST_WITHIN: Final = 1.0  # seconds
_SAY_AGAIN: Final = 0.05

Ask = Callable[[Endpoint], Awaitable[Outcome]]


class Clock(Protocol):
    """The seam between the checks and time; seconds."""

    def now(self) -> float:
        """Give the time of a steady clock."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class LoopClock:
    """The running loop's time."""

    def now(self) -> float:
        """Give the loop's time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def asker(check: HealthCheck, protocol: int) -> Ask:
    """Give what asks once, by the kind of the check and the protocol of the upstream."""
    if check.grpc is not None:
        from proxy.health import grpc  # with grpclib: what is not used is not imported

        return lambda endpoint: grpc.run(check, endpoint)
    if check.http is None:
        return lambda endpoint: probe.run(probe.Probe(), endpoint, check.timeout)
    kind = probe.Http2Probe if protocol == HTTP2 else probe.Http1Probe
    return lambda endpoint: probe.run(kind(check, endpoint), endpoint, check.timeout)


class Watch:
    """Checks one address for as long as it runs, and tells the pool and the log what that means."""

    def __init__(
        self, worker: Worker, target: Upstream, endpoint: Endpoint, check: HealthCheck, ask: Ask, clock: Clock
    ) -> None:
        self.worker = worker
        self.target = target
        self.endpoint = endpoint
        self.check = check
        self.cells = EndpointCells(endpoint.address(), worker.wall_clock())
        self.tally = Tally(check.healthy_after, check.unhealthy_after)
        self._ask = ask
        self._clock = clock

    async def run(self) -> None:
        """Check until cancelled."""
        clock, interval = self._clock, self.check.interval
        await clock.sleep(random.uniform(0.0, min(FIRST_WITHIN, interval)))
        while True:
            begun = clock.now()
            self.take(await self.once())
            await clock.sleep(max(0.0, begun + interval - clock.now()))

    async def once(self) -> Outcome:
        """Check once; nothing that an upstream sends may end the checks.

        In a task of its own: grpclib ends a call whose connection breaks by cancelling the task, which Python
        3.11.2 counts as long as the task lives, and asyncio.timeout then no longer says TimeoutError there.
        """
        asking = asyncio.ensure_future(self._ask(self.endpoint))
        try:
            return await asking
        except Exception as error:
            self.worker.bug("health")
            return Outcome(FAILED, f"internal error: {error}")

    def take(self, outcome: Outcome) -> None:
        """Count an outcome, and act when it changes the state."""
        cells = self.cells
        cells.checks[outcome.kind] = cells.checks.get(outcome.kind, 0) + 1
        cells.last = outcome.text[:LONGEST_TEXT]
        if self.tally.add(outcome.well):
            cells.state = self.tally.state
            cells.since = self.worker.wall_clock()
            self.target.mark(self.endpoint, self.tally.state == HEALTHY)
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        """Leave a line in the log, and an event."""
        state, target = self.tally.state, self.target
        well = sum(1 for each in target.endpoints if each.healthy)
        what = f"upstream {target.name}: {self.cells.address} is {state}: {self.cells.last}"
        if not well:
            what += "; none is left: " + ("all are used" if target.use_all else "requests get 503")
        bad = state == UNHEALTHY or outcome.kind == UNIMPLEMENTED
        self.worker.log.event(
            "warning" if bad else "info",
            "upstream_health",
            message=what,
            upstream=target.name,
            address=self.cells.address,
            state=state,
            outcome=outcome.kind,
            healthy=well,
            of=len(target.endpoints),
        )


class HealthChecks:
    """All checks of one worker."""

    def __init__(self, worker: Worker, clock: Clock | None = None) -> None:
        self._worker = worker
        self._clock = clock or LoopClock()
        self._watches: list[Watch] = []
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, target: Upstream, check: HealthCheck) -> None:
        """Have the addresses of an upstream checked."""
        target.use_all = check.when_all_unhealthy == "use_all"
        ask = asker(check, target.protocol)
        for endpoint in target.endpoints:
            watch = Watch(self._worker, target, endpoint, check, ask, self._clock)
            target.cells.endpoints.append(watch.cells)
            self._watches.append(watch)

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(watch.run()) for watch in self._watches]

    async def stop(self) -> None:
        """End what is under way; the states stay as they are.

        The wait_for of Python 3.11 loses a cancellation that comes as its wait ends, and connecting waits so:
        it is said until it is heard.
        """
        left = set(self._tasks)
        while left:
            for task in left:
                task.cancel()
            left = (await asyncio.wait(left, timeout=_SAY_AGAIN))[1]
        self._tasks = []
