"""What follows a switch of protocols (101, WebSocket): bytes in both directions.

A tunnel lives long, so it plans anew at each change of rules.  Its two directions are the phases
``request_body`` (client to upstream) and ``response_body``; ``after_bytes`` counts from the plan's
beginning.
"""

from mypy_extensions import mypyc_attr

from proxy import errors
from proxy.exchange import BY_BUFFER, BY_PEER, Exchange, Passing, Shaping
from proxy.net.pipe import Conduit
from proxy.performer import Performance, Then
from proxy.row import CallEnding, Row, Sink
from proxy.shaping import attach
from proxy.wire.websocket import WEBSOCKET, Frames
from proxy.worker import Worker
from rules import phases
from rules.plan import Chosen
from rules.snapshot import Plan


class _Flow(Then):
    """Let one direction flow on after its faults."""

    def __init__(self, direction: "Direction") -> None:
        self.direction: Direction = direction

    def carry_on(self, ex: Exchange) -> None:
        self.direction.flow_on()


class _FlowBoth(Then):
    """Let both directions flow on after faults that acted on the tunnel as a whole."""

    def __init__(self, tunnel: "Tunnel") -> None:
        self.tunnel: Tunnel = tunnel

    def carry_on(self, ex: Exchange) -> None:
        self.tunnel.flow_on()


class _Way(Sink):
    """Where the bytes of one direction go behind what shapes them."""

    def __init__(self, direction: "Direction") -> None:
        self.direction: Direction = direction
        self.to_client = direction.phase == phases.RESPONSE_BODY

    def pass_on(self, ex: Exchange, data: bytes) -> None:
        self.direction.sink.send(data)

    def hold(self, ex: Exchange) -> None:
        self.direction.held += 1
        self.direction.source.pause(BY_BUFFER)

    def release(self, ex: Exchange) -> None:
        pass  # flow_on does it

    def read_on(self, ex: Exchange) -> None:
        self.direction.flow_on()


class Direction:
    """One direction of a tunnel: from where bytes come to where they go."""

    def __init__(
        self, tunnel: "Tunnel", phase: int, source: Conduit, sink: Conduit, ending: CallEnding
    ) -> None:
        self.tunnel: Tunnel = tunnel
        self.ex: Exchange = tunnel.ex
        self.phase: int = phase
        self.source: Conduit = source
        self.sink: Conduit = sink
        self.ending: CallEnding = ending
        self.held: int = 0  # how many faults hold it
        self.waiting: list[bytes] = []
        self.passed: int = 0  # bytes since the plan in force was made
        self.total: int = 0
        self.ended: bool = False  # the source has sent its last byte
        self.closed: bool = False  # ... and the sink was told
        self.flow: Then = _Flow(self)
        self.way: Sink = _Way(self)
        self.shaping: Shaping | None = None
        self.frames: Frames | None = None  # of a WebSocket: where what came is in its frames

    def _faults(self) -> list[Chosen] | None:
        plan = self.ex.plan
        return plan.phases[self.phase] if plan is not None else None

    def arrived(self, data: bytes) -> None:
        """Pass bytes on, up to the place where a fault acts."""
        if self.ex.over or self.closed:
            return
        if self.held:
            self.waiting.append(data)
            self.source.pause(BY_BUFFER)
            return
        faults = self._faults()
        plan = self.ex.plan
        if plan is None or faults is None:
            self._pass(data)
            return
        place = -1
        for chosen in faults:
            fault = chosen.fault
            if chosen.pending and not fault.shapes and (place < 0 or fault.after_bytes < place):
                place = fault.after_bytes
        if place < 0 or self.passed + len(data) <= place:
            self._pass(data)
            return
        before = max(0, place - self.passed)
        if before:
            self._pass(data[:before])
        self.waiting.append(data[before:])
        if self.held > 0:
            return  # what came before the place has to pass first
        self.held += 1
        self.source.pause(BY_BUFFER)
        due = [c for c in faults if c.pending and not c.fault.shapes and c.fault.after_bytes <= self.passed]
        Performance(self.ex, plan, due, self.flow, self.ending).step()

    def _pass(self, data: bytes) -> None:
        self.passed += len(data)
        self.total += len(data)
        if self.shaping is not None:
            self.shaping.feed(data)
        else:
            self.sink.send(data)

    def shape(self) -> None:
        """Put in place what the plan has for these bytes, before what stays of the plan before."""
        plan = self.ex.plan
        staying = self._staying()
        if plan is None:
            self.shaping = staying
        else:
            self.shaping = attach(self.ex, plan, self._faults(), self.way, self.ending, staying)

    def _staying(self) -> Shaping | None:
        """Take out what shapes these bytes for a rule that is another one now, or has not acted yet."""
        first = self.shaping
        before: Row | None = None
        row = first
        while isinstance(row, Row):
            chosen = row.chosen
            if self.tunnel.done.has(chosen.rule, chosen.number):
                before = row
            else:
                row.off = True
                row.let_go()
                if before is None:
                    first = row.behind
                else:
                    before.behind = row.behind
            row = row.behind
        return first

    def flow_on(self) -> None:
        """Faults have had their time: pass on what waited, unless others hold it."""
        self.held -= 1
        if self.held:
            return
        waiting = self.waiting
        self.waiting = []
        while waiting and not self.held:
            self.arrived(waiting.pop(0))
        self.waiting.extend(waiting)
        if not self.held:
            self.source.resume(BY_BUFFER)
            if self.ended:
                self.end()

    def end(self) -> None:
        """The source has ended: tell the sink after all that waits."""
        if self.ex.over:
            return
        self.ended = True
        if not self.held and not self.closed:
            self.closed = True
            self.sink.finish()
            self.tunnel.direction_closed()

    def cut(self) -> None:
        """Tell the sink that this was all; what still comes is read and thrown away."""
        if not self.closed:
            self.closed = True
            self.waiting = []
            self.source.resume(BY_BUFFER)
            self.sink.finish()
            self.tunnel.direction_closed()

    def replan(self) -> None:
        """A new plan is in force: count from here, and act at once where it says 0 bytes."""
        self.passed = 0
        self.shape()
        faults = self._faults()
        plan = self.ex.plan
        if plan is None or faults is None or self.held:
            return
        due = [c for c in faults if c.pending and not c.fault.shapes and c.fault.after_bytes == 0]
        if due:
            self.held += 1
            Performance(self.ex, plan, due, self.flow, self.ending).step()


@mypyc_attr(allow_interpreted_subclasses=True)
class Closing:
    """How the proxy ends a tunnel of its own accord, in the tunnel's own protocol."""

    def look(self, now: float) -> None:
        """See whether its time has come."""
        raise NotImplementedError

    def take(self, direction: Direction, data: bytes) -> bytes:
        """Give of what came that which is still passed on."""
        raise NotImplementedError


class Tunnel(Passing):
    """Both directions between a client and an upstream."""

    def __init__(self, ex: Exchange, client: Conduit, upstream: Conduit, ending: CallEnding) -> None:
        super().__init__()
        self.ex: Exchange = ex
        self.worker: Worker = ex.worker
        self.ending: CallEnding = ending
        self.client: Conduit = client
        self.upstream: Conduit = upstream
        self.up: Direction = Direction(self, phases.REQUEST_BODY, client, upstream, ending)
        self.down: Direction = Direction(self, phases.RESPONSE_BODY, upstream, client, ending)
        self.both: Then = _FlowBoth(self)
        self.seen: int = 0  # bytes that had passed when moved() was asked last
        self.closing: Closing | None = None
        if not ex.opaque and ex.head.upgrade.lower() == WEBSOCKET:
            self.up.frames = Frames()  # they cannot be found later
            self.down.frames = Frames()
        if ex.opaque:  # what has struck it before there was anything to pass
            self.up.held = ex.body_held
            self.down.held = ex.response_held
        if ex.plan is not None:
            self.up.shape()
            self.down.shape()

    def from_client(self, data: bytes) -> None:
        self._arrived(self.up, data)

    def from_upstream(self, data: bytes) -> None:
        self._arrived(self.down, data)

    def _arrived(self, direction: Direction, data: bytes) -> None:
        try:
            frames = direction.frames
            if frames is not None:
                if self.closing is None:
                    frames.follow(data)
                else:
                    data = self.closing.take(direction, data)
                    if not data:
                        return
            direction.arrived(data)
        except Exception:
            self.worker.bug("tunnel")
            self.ex.client.reset()
            self.ending.finish(self.ex)

    def moved(self) -> bool:
        """Tell whether bytes have passed, either way, since this was asked last."""
        passed = self.up.total + self.down.total
        moved = passed != self.seen
        if moved:
            self.seen = passed
            self._count()
        return moved

    def _count(self) -> None:
        """Count what has passed so far: who looks at the metrics shall not wait for the end."""
        ex = self.ex
        if ex.over:
            return  # all is counted
        up, down = self.bytes_passed()
        ex.cells.bytes_in += up - ex.counted_in
        ex.cells.bytes_out += down - ex.counted_out
        ex.counted_in = up
        ex.counted_out = down

    def one_sided(self, paused: bool) -> bool:
        """Tell whether nobody reads how the client's connection ends: it is paused, or has sent FIN."""
        return paused or self.up.ended

    def idle_too_long(self) -> None:
        """Nothing has moved for as long as the listener waits: end both sides."""
        self.ex.client.reset()
        self.ending.lost(self.ex, errors.TUNNEL_IDLE)

    def flow_on(self) -> None:
        self.up.flow_on()
        self.down.flow_on()

    def client_full(self, full: bool) -> None:
        _tap(self.upstream, full)

    def upstream_full(self, full: bool) -> None:
        _tap(self.client, full)

    def client_ended(self) -> None:
        self.up.end()

    def upstream_ended(self) -> None:
        self.down.end()

    def direction_closed(self) -> None:
        """One direction has ended in order; with the other one, everything has."""
        if self.ended() and not self.ex.over:
            self.ex.client.shut()
            self.ending.finish(self.ex)

    def upstream_lost(self, reset: bool) -> None:
        if self.ex.over:
            return  # it is gone because the tunnel has ended
        if reset:
            self.ex.client.reset()
            self.ending.lost(self.ex, errors.UPSTREAM_RESET)
        else:
            self.ex.client.end_tunnel()
            self.ending.finish(self.ex)

    def client_lost(self, reset: bool) -> None:
        upstream = self.ex.upstream
        if upstream is not None:
            if reset:
                upstream.reset()
            else:
                upstream.close()
        if reset:
            self.ending.lost(self.ex, errors.CLIENT_CLOSED)
        else:
            self.ending.finish(self.ex)

    def cut(self, phase: int) -> None:
        (self.up if phase == phases.REQUEST_BODY else self.down).cut()

    def ended(self) -> bool:
        return self.up.closed and self.down.closed

    def bytes_passed(self) -> tuple[int, int]:
        return self.up.total, self.down.total

    def strike(self, plan: Plan, chosen: list[Chosen]) -> None:
        self.up.held += 1
        self.down.held += 1
        Performance(self.ex, plan, chosen, self.both, self.ending).step()

    def plan_anew(self, plan: Plan | None) -> None:
        old = self.ex.plan
        if old is not None:
            old.release()
        self.ex.plan = plan
        self.up.replan()
        if not self.ex.over:
            self.down.replan()


def _tap(source: Conduit, full: bool) -> None:
    if full:
        source.pause(BY_PEER)
    else:
        source.resume(BY_PEER)
