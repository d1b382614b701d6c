"""Limits: who may pass, who waits for a place, and who gets none.  Times are whole microseconds that come in.

What has a place holds a ``Permit`` until it ends.  Counts are exact: one event loop asks.
"""

from typing import Final

from mypy_extensions import mypyc_attr

# What a limit says.
ADMITTED: Final = 0
NO_CONNECTION: Final = 1  # too many connections
NO_REQUEST: Final = 2  # too many requests at once
NO_TOKEN: Final = 3  # too many in the time
VERDICTS: Final[tuple[str, ...]] = ("admitted", "connections", "requests", "rate")

MOST_KEYS: Final = 10_000  # of those with nobody in them the one asked for longest ago makes room
_LOOKS: Final = 8  # for one with nobody in it: busy ones are bounded by what is open


class LimitFigures:
    """What a rule says.  ``timeout`` is in seconds, below 0: none."""

    __slots__ = ("burst", "connections", "queue", "rate_count", "rate_unit", "requests", "timeout")

    def __init__(self) -> None:
        self.connections: int = -1  # -1: no such limit
        self.requests: int = -1
        self.rate_count: int = 0  # so many in ``rate_unit``, 0: no such limit
        self.rate_unit: int = 1
        self.burst: int = 1
        self.queue: int = 0  # so many may wait
        self.timeout: float = -1.0


@mypyc_attr(allow_interpreted_subclasses=True)
class Waiter:
    """Someone in a queue."""

    def __init__(self) -> None:
        self.resident: bool = False  # its connection has a place already
        self.placed: bool = False  # it was given one, and waits for the rest
        self.requests: bool = True  # it counts as a request

    def granted(self) -> None:
        """It may pass: it has left the queue, and what it takes up is counted."""
        raise NotImplementedError

    def ask_again(self, micros: int) -> None:
        """It is the first, and a token for it is there in so many microseconds: the room is to be woken."""
        raise NotImplementedError


class Room:
    """The state of one key."""

    __slots__ = (
        "active",
        "at_door",
        "connections",
        "in_line",
        "key",
        "rate_count",
        "rate_unit",
        "spent",
        "waking",
    )

    def __init__(self, key: bytes) -> None:
        self.key: bytes = key
        self.connections: int = 0
        self.active: int = 0  # requests
        # When all tokens that were taken will have come again, in ``1 / rate_count`` microseconds: whole
        # numbers, so that no rounding adds up (the generic cell rate algorithm, ITU-T I.371).
        self.spent: int = 0
        self.rate_count: int = 0
        self.rate_unit: int = 1
        self.at_door: dict[Waiter, None] = {}  # first come, first served: for a connection's place
        self.in_line: dict[Waiter, None] = {}  # ... for that of a request, or a token
        self.waking: bool = False

    def idle(self) -> bool:
        """Whether nobody is in it."""
        return self.connections == 0 and self.active == 0 and not self.at_door and not self.in_line

    def queued(self) -> int:
        """Count those who wait."""
        return len(self.at_door) + len(self.in_line)

    def fit(self, figures: LimitFigures, now: int) -> None:
        """Count tokens as the figures do; what was taken stays taken."""
        if self.rate_count == figures.rate_count and self.rate_unit == figures.rate_unit:
            return
        debt = max(0, self.spent - now * self.rate_count) if self.rate_count else 0
        self.spent = now * figures.rate_count + debt * figures.rate_unit // self.rate_unit
        self.rate_count = figures.rate_count
        self.rate_unit = figures.rate_unit

    def missing(self, figures: LimitFigures, now: int) -> int:
        """Give the microseconds until there is a token, at most 0: there is one."""
        if figures.rate_count == 0:
            return 0
        over = self.spent - (figures.burst - 1) * figures.rate_unit - now * figures.rate_count
        return 0 if over <= 0 else -(-over // figures.rate_count)

    def pay(self, figures: LimitFigures, now: int) -> None:
        """Take a token."""
        if figures.rate_count:
            self.spent = max(self.spent, now * figures.rate_count) + figures.rate_unit


class Permit:
    """What someone who passed holds until it ends; given back once."""

    __slots__ = ("connection", "limits", "request", "room")

    def __init__(self, limits: "Limits", room: Room, connection: bool, request: bool) -> None:
        self.limits: Limits = limits
        self.room: Room = room
        self.connection: bool = connection  # the place of a connection
        self.request: bool = request  # that of a request

    def give_back(self) -> None:
        """Free what it holds; the room is then to be woken."""
        if self.connection:
            self.room.connections -= 1
        if self.request:
            self.room.active -= 1
        self.connection = False
        self.request = False


class Limits:
    """All that a rule's limit remembers: one room for each key."""

    def __init__(self, figures: LimitFigures) -> None:
        self.figures: LimitFigures = figures
        self.version: int = -1  # of the rule set that the figures are of
        self.counts: list[int] = [0, 0, 0, 0]  # by verdict; who waits is counted when it has passed, or not
        self.rooms: dict[bytes, Room] = {}

    def take(self, figures: LimitFigures, version: int) -> bool:
        """Work with these figures from now on, unless later ones came before; True: they are new."""
        if version <= self.version:
            return False
        self.version = version
        self.figures = figures
        return True

    def find(self, key: bytes, now: int) -> Room:
        """Find the room of a key, or make it; the order of the keys is that of their last use."""
        room = self.rooms.pop(key, None)
        if room is None:
            self._make_room()
            room = Room(key)
        self.rooms[key] = room
        room.fit(self.figures, now)
        return room

    def _make_room(self) -> None:
        looks = 0
        while len(self.rooms) >= MOST_KEYS and looks < _LOOKS:
            looks += 1
            oldest = self.rooms.pop(next(iter(self.rooms)))
            if not oldest.idle():
                self.rooms[oldest.key] = oldest

    def ask(self, room: Room, now: int, placed: bool, requests: bool) -> int:
        """Say whether one more may pass, and count what it then takes up.

        ``placed``: its connection has a place in this room.  ``requests``: it counts as a request.  Those who
        wait come first: the room was woken before.
        """
        needs_place = not placed and self.figures.connections >= 0
        if needs_place and (room.at_door or room.connections >= self.figures.connections):
            return NO_CONNECTION
        verdict = self._behind_door(room, now, requests)
        if verdict == ADMITTED:
            self._let_in(room, now, needs_place, requests)
        return verdict

    def _behind_door(self, room: Room, now: int, requests: bool) -> int:
        figures = self.figures
        if requests and figures.requests >= 0 and room.active >= figures.requests:
            return NO_REQUEST
        if room.missing(figures, now) > 0:
            return NO_TOKEN
        return ADMITTED

    def _let_in(self, room: Room, now: int, connection: bool, requests: bool) -> None:
        room.pay(self.figures, now)
        if connection:
            room.connections += 1
        if requests:
            room.active += 1

    def occupy(self, room: Room, connection: bool, requests: bool) -> None:
        """Count someone who is there already, however many there may be."""
        if connection:
            room.connections += 1
        if requests:
            room.active += 1

    def join(self, room: Room, waiter: Waiter, verdict: int) -> bool:
        """Let someone who got this verdict wait; False: the queue is full."""
        if room.queued() >= self.figures.queue:
            return False
        if verdict == NO_CONNECTION:
            room.at_door[waiter] = None
            return True
        if self.figures.connections >= 0 and not waiter.resident:
            room.connections += 1
            waiter.placed = True
        room.in_line[waiter] = None
        return True

    def leave(self, room: Room, waiter: Waiter) -> bool:
        """Take someone out of the queue; False: it is not in it.  The room is then to be woken."""
        if waiter in room.at_door:
            del room.at_door[waiter]
            return True
        if waiter not in room.in_line:
            return False
        del room.in_line[waiter]
        if waiter.placed:
            room.connections -= 1
        return True

    def next(self, room: Room, now: int) -> Waiter | None:
        """Give the next one who may pass, out of the queue and counted; None: nobody may."""
        figures = self.figures
        room.fit(figures, now)
        while room.at_door and (figures.connections < 0 or room.connections < figures.connections):
            first = next(iter(room.at_door))
            del room.at_door[first]
            if figures.connections >= 0:
                room.connections += 1
                first.placed = True
            room.in_line[first] = None
        if not room.in_line:
            return None
        head = next(iter(room.in_line))
        verdict = self._behind_door(room, now, head.requests)
        if verdict == ADMITTED:
            del room.in_line[head]
            self._let_in(room, now, False, head.requests)
            return head
        if verdict == NO_TOKEN:
            head.ask_again(room.missing(figures, now))
        return None

    def under_way(self) -> list[int]:
        """Count connections, requests, and those who wait, over all keys."""
        found = [0, 0, 0]
        for room in self.rooms.values():
            found[0] += room.connections
            found[1] += room.active
            found[2] += room.queued()
        return found

    def reset(self) -> None:
        """Give all tokens back and count anew; what is under way stays counted."""
        self.counts = [0, 0, 0, 0]
        for room in self.rooms.values():
            room.spent = 0
