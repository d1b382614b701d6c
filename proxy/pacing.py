"""Lets bytes pass when a gate opens: in between they wait here, and what they come from is not read.

What waits is what one read brought, so at most 256 KiB in HTTP/1.1 and in tunnels; in HTTP/2 a frame, with
what the stream's window lets in behind it.
"""

from proxy.exchange import Exchange, Shaping
from proxy.gates import Gate
from proxy.performer import Ending
from proxy.row import Row, Sink
from proxy.worker import Releasable
from rules.compiled import CompiledRule
from rules.plan import Chosen
from rules.snapshot import Plan


class PacedRow(Row):
    """The bytes of one direction wait for their gate."""

    def __init__(
        self,
        ex: Exchange,
        plan: Plan,
        chosen: Chosen,
        sink: Sink,
        ending: Ending,
        behind: Shaping | None,
        gate: Gate,
    ) -> None:
        super().__init__(ex, plan, chosen, sink, ending, behind)
        self.gate: Gate = gate
        self.waiting: list[bytes] = []
        self.at: int = 0  # so much of the first one has passed
        self.size: int = 0  # bytes that wait
        self.granted: int = 0  # so many of them pass when the gate opens
        self.wait: _Wait | None = None

    def feed(self, data: bytes) -> None:
        if self.wait is not None:
            self.waiting.append(data)
            self.size += len(data)
        elif self.withdrawn():
            self.send(data)
        elif data:
            self.waiting.append(data)
            self.size += len(data)
            self.pump(False)

    def pump(self, busy: bool) -> None:
        """Pass on what may pass now, and wait with the rest; ``busy``: the gate has just opened."""
        now = self.ex.worker.timers.now()
        ready = 0
        while ready < self.size:
            if self.granted == 0:
                self.granted = self.gate.next(self.size - ready, now, busy)
                busy = True
            if self.gate.when > now:
                break
            ready += self.granted
            self.granted = 0
        if ready:
            self._pass(ready)
        if self.ex.over:
            return
        if self.size:
            self._hold(self.gate.when)
        elif self.wait is not None:
            self._go_on()

    def _pass(self, size: int) -> None:
        """Pass on so many of the bytes that wait, at most a read's worth at once."""
        while size > 0 and not self.ex.over:
            piece = self.waiting[0]
            end = min(self.at + size, len(piece))
            passed = end - self.at
            if passed < len(piece):
                part = piece[self.at : end]
            else:
                part = piece
            if end == len(piece):
                self.waiting.pop(0)
                self.at = 0
            else:
                self.at = end
            size -= passed
            self.size -= passed
            self.send(part)

    def _hold(self, until: float) -> None:
        wait = self.wait
        if wait is None:
            self.acts()
            self.prove()
            wait = _Wait(self)
            self.wait = wait
            self.sink.hold(self.ex)
        self.ex.worker.pacer.wait(wait, until)

    def _go_on(self) -> None:
        """Nothing waits any more: read on."""
        wait = self.wait
        if wait is not None:
            self.wait = None
            self.gate.drained = self.ex.worker.timers.now()
            wait.end()
            self.sink.release(self.ex)
            self.sink.read_on(self.ex)

    def cancelled(self) -> None:
        """The exchange is over: what waits is dropped."""

    def let_go(self) -> None:
        """The rule is gone: pass on all that waits."""
        self.granted = 0
        self._pass(self.size)
        if not self.ex.over:
            self._go_on()


class _Wait(Releasable):
    """One direction of one exchange that is held back, from the first byte that waits to the last."""

    def __init__(self, row: PacedRow) -> None:
        ex = row.ex
        self.row: PacedRow = row
        self.since: float = ex.worker.timers.now()
        holding = ex.holding
        self.alone: bool = holding is None  # else its time is another fault's already
        if holding is None:
            ex.holding = [self]
        else:
            holding.append(self)
        ex.worker.waiting[self] = None
        ex.worker.cells.waiting += 1

    def rule_now(self) -> CompiledRule | None:
        return self.row.chosen.rule

    def fire(self) -> None:
        row = self.row
        ex = row.ex
        try:
            row.pump(True)
        except Exception:
            ex.worker.bug("pacing")
            ex.client.reset()
            row.ending.finish(ex)

    def let_go(self) -> None:
        self.row.let_go()

    def cancel(self) -> None:
        self.row.wait = None
        self.end()
        self.row.cancelled()

    def end(self) -> None:
        """Stop waiting, and count the time that passed."""
        row = self.row
        ex = row.ex
        worker = ex.worker
        worker.pacer.forget(self)
        if worker.waiting.pop(self, self) is None:
            worker.cells.waiting -= 1
        holding = ex.holding
        if holding is not None and self in holding:
            holding.remove(self)
            if not holding:
                ex.holding = None
        passed = worker.timers.now() - self.since
        if self.alone:
            ex.injected += passed
        row.chosen.milliseconds += passed * 1000.0
