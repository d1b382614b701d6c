"""Limits on the path: who asks them for a place, who waits for one, and who gives it back."""

from typing import Final

from proxy.exchange import Exchange
from proxy.net.timers import Callback, Timer
from proxy.worker import Releasable, Worker
from rules.actions import Action, Answer
from rules.limits import ADMITTED, NO_CONNECTION, Limits, Permit, Room, Waiter
from rules.plan import Chosen
from rules.snapshot import Plan
from rules.way_actions import Admit

_MICRO: Final = 1_000_000
_TOO_MANY: Final = 429


def ask(ex: Exchange, plan: Plan, chosen: Chosen, action: Admit) -> int:
    """Ask for a place; gives the verdict.  Who was there before the rule came is counted, and passes."""
    limits, room = room_of(ex, plan, chosen, action)
    now = now_of(ex.worker)
    if plan is not ex.plan:
        if not _holds(ex, room):
            fresh = ex.opaque and limits.figures.connections >= 0
            limits.occupy(room, fresh, action.requests)
            _keep(ex, limits, room, fresh, action.requests)
        return ADMITTED
    wake(ex.worker, limits, room)
    resident = _is_resident(ex, room)
    verdict = limits.ask(room, now, resident, action.requests)
    if verdict == ADMITTED:
        limits.counts[ADMITTED] += 1
        _keep(ex, limits, room, not resident and limits.figures.connections >= 0, action.requests)
    return verdict


def room_of(ex: Exchange, plan: Plan, chosen: Chosen, action: Admit) -> tuple[Limits, Room]:
    """Find what the rule keeps for this key."""
    state = chosen.rule.state.faults[chosen.number]
    limits = state.limits
    if limits is None:
        limits = Limits(action.figures)
        state.limits = limits
    if limits.take(action.figures, plan.snapshot.version):
        wake_all(ex.worker, limits)
    return limits, limits.find(action.key, now_of(ex.worker))


def over(action: Admit, room: Room, limits: Limits, verdict: int, now: int) -> Action:
    """Say what comes of one who gets no place; 429 says when to come again (RFC 6585, section 4)."""
    made = action.over[verdict]
    if not isinstance(made, Answer) or made.status != _TOO_MANY:
        return made
    for name, _ in made.headers:
        if name.lower() == b"retry-after":
            return made
    seconds = max(1, -(-room.missing(limits.figures, now) // _MICRO))
    headers = [*made.headers, (b"retry-after", b"%d" % seconds)]
    return Answer(
        made.status,
        headers,
        made.body,
        made.grpc_status,
        made.grpc_message,
        made.trailers_only,
        made.trailers,
    )


def now_of(worker: Worker) -> int:
    """Give the time in whole microseconds, as limits want it."""
    return int(worker.timers.now() * _MICRO)


def _holds(ex: Exchange, room: Room) -> bool:
    """Tell whether an exchange holds a place already: its rule was in force before, and is again."""
    if ex.permits is not None:
        for permit in ex.permits:
            if permit.room is room:
                return True
    return False


def _is_resident(ex: Exchange, room: Room) -> bool:
    """Tell whether the client's connection has its place in this room already."""
    holder = ex.holder
    if holder is not None and holder.places is not None:
        for place in holder.places:
            if place.room is room:
                return True
    return False


def _keep(ex: Exchange, limits: Limits, room: Room, connection: bool, request: bool) -> None:
    """Note what an exchange holds, and what its connection does beyond it."""
    holder = ex.holder
    if connection and not ex.opaque and holder is not None:
        if _is_resident(ex, room):
            room.connections -= 1  # another request of this connection has waited for the same place
        elif holder.places is None:
            holder.places = [Permit(limits, room, True, False)]
        else:
            holder.places.append(Permit(limits, room, True, False))
        connection = False
    permit = Permit(limits, room, connection, request)
    permits = ex.permits
    if permits is None:
        ex.permits = [permit]
    else:
        permits.append(permit)


def release(worker: Worker, permits: list[Permit]) -> None:
    """Give places back, and let others have them."""
    for permit in permits:
        permit.give_back()
    for permit in permits:
        wake(worker, permit.limits, permit.room)


def wake(worker: Worker, limits: Limits, room: Room) -> None:
    """Let those pass who waited, as many as may now."""
    if room.waking:
        return  # by one who was let pass just now
    room.waking = True
    while room.at_door or room.in_line:
        waiter = limits.next(room, now_of(worker))
        if waiter is None:
            break
        waiter.granted()
    room.waking = False


def wake_all(worker: Worker, limits: Limits) -> None:
    """Let those pass who may by other figures."""
    for room in list(limits.rooms.values()):
        wake(worker, limits, room)


class Turn(Waiter):
    """The place of an exchange in a queue: ``held`` goes on when it may pass."""

    def __init__(
        self, ex: Exchange, held: Releasable, limits: Limits, room: Room, requests: bool, number: int
    ) -> None:
        super().__init__()
        self.ex: Exchange = ex
        self.held: Releasable = held
        self.limits: Limits = limits
        self.room: Room = room
        self.requests = requests
        self.resident = _is_resident(ex, room)
        self.number: int = number  # of the fault in its rule
        self.timer: Timer | None = None

    def join(self, verdict: int) -> bool:
        """Stand in the queue; False: it is full."""
        if not self.limits.join(self.room, self, verdict):
            return False
        if verdict != NO_CONNECTION:
            wake(self.ex.worker, self.limits, self.room)  # the first one is to know when its token comes
        return True

    def granted(self) -> None:
        ex = self.ex
        self._rest()
        self.limits.counts[ADMITTED] += 1
        _keep(ex, self.limits, self.room, self.placed, self.requests)
        try:
            self.held.let_go()
        except Exception:
            ex.worker.bug("limit")
            ex.client.reset()

    def ask_again(self, micros: int) -> None:
        self._rest()
        self.timer = self.ex.worker.timers.after(micros / _MICRO, _Wake(self))

    def leave(self) -> None:
        """Stand in the queue no more, whether or not it does."""
        self._rest()
        if self.limits.leave(self.room, self):
            wake(self.ex.worker, self.limits, self.room)

    def figures_changed(self) -> None:
        """The rules have: of its own rule other figures may be in force."""
        snapshot = self.ex.worker.live.snapshot
        rule = self.held.rule_now()
        now = None if rule is None else snapshot.by_name.get(rule.name)
        if now is None or rule is None or now.state is not rule.state:
            return
        fault = now.rule.faults[self.number].fault
        figures = fault.limit
        if figures is not None and self.limits.take(figures, snapshot.version):
            wake_all(self.ex.worker, self.limits)

    def _rest(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Wake(Callback):
    """A token is there for the first in a queue."""

    def __init__(self, turn: Turn) -> None:
        self.turn: Turn = turn

    def fire(self) -> None:
        turn = self.turn
        turn.timer = None
        wake(turn.ex.worker, turn.limits, turn.room)
