"""When bytes may pass: one gate for each way in which a fault paces a body.

A gate is asked for the next piece: how many of the bytes that wait go together, and from when on.  It knows
no clock and no timer; whoever paces tells it the time.
"""

from typing import Final

from mypy_extensions import mypyc_attr

from rules.body_actions import Drip, Lose, Throttle
from rules.correlation import Correlated
from rules.draw import Dice

# A throttled body passes in pieces of so much time (seconds): small ones, yet few enough to be cheap.
_SLICE: Final = 0.02
# What was due while our timer was late is made up for, but not after more than so long (seconds): a process
# that was stopped, or a machine that slept, shall not burst.
_LATENESS: Final = 1.0
# What is read so soon (seconds) after all that had waited has passed counts as having waited too: reading had
# stopped for our sake.
_READING: Final = 0.1

SEGMENT: Final = 1460  # bytes: what Ethernet's 1500 leave of one for TCP's content over IPv4
# As Linux has it (tcp(7)): tcp_retries2 times at most, and never more than 120 s between two.
_MOST_TRIES: Final = 15
_LONGEST_TIMEOUT: Final = 120.0


@mypyc_attr(allow_interpreted_subclasses=True)
class Gate:
    """Paces one direction of one exchange."""

    def __init__(self) -> None:
        self.when: float = 0.0  # from then on the piece that was asked for last may pass
        self.drained: float = -1e18  # when the last of what had waited passed: long ago

    def next(self, size: int, now: float, busy: bool) -> int:
        """Give how many of ``size`` bytes pass next, at least one, and set ``when``.

        ``busy``: the piece before has just passed, so that these have waited for it.
        """
        raise NotImplementedError


class RateGate(Gate):
    """So many bytes in a second, however late timers are (the generic cell rate algorithm, ITU-T I.371).

    ``bucket`` may be one that several gates share; each piece reserves its time in it: they take turns.
    What is kept there, at the place ``slot``, is the time when all that was reserved will have passed.
    """

    def __init__(self, throttle: Throttle, bucket: list[float], slot: int) -> None:
        super().__init__()
        self.rate: float = throttle.rate
        self.depth: float = throttle.burst / throttle.rate  # seconds that a full bucket gives
        self.piece: int = max(1, int(throttle.rate * _SLICE))
        self.bucket: list[float] = bucket
        self.slot: int = slot

    def next(self, size: int, now: float, busy: bool) -> int:
        bucket = self.bucket
        while len(bucket) <= self.slot:
            bucket.append(0.0)
        piece = min(size, self.piece)
        waited = busy or now - self.drained <= _READING
        least = now - _LATENESS if waited else now
        bucket[self.slot] = max(bucket[self.slot], least) + piece / self.rate
        self.when = bucket[self.slot] - self.depth
        return piece


class DripGate(Gate):
    """A few bytes at a time, the first ones at once."""

    def __init__(self, drip: Drip) -> None:
        super().__init__()
        self.size: int = drip.size
        self.every: float = drip.every
        self.when = -1e18  # long ago

    def next(self, size: int, now: float, busy: bool) -> int:
        due = self.when + self.every
        if due <= now:  # nothing came for so long; or our timer was late, and they shall not come together
            due = now + self.every if busy else now
        self.when = due
        return min(size, self.size)


class LossGate(Gate):
    """The stalls of a TCP connection that loses segments: time-outs, each longer than the one before."""

    def __init__(self, lose: Lose, dice: Dice) -> None:
        super().__init__()
        self.share: float = lose.share
        self.rto: float = lose.rto
        self.backoff: float = lose.backoff
        self.dice: Dice = dice
        self.correlated: Correlated = Correlated(lose.correlation)
        self.memory: list[float] = []
        self.left: int = 0  # bytes of the segment under way

    def next(self, size: int, now: float, busy: bool) -> int:
        if self.left == 0:
            self.left = SEGMENT
            self.when = max(self.when, now) + self._stall()
        piece = min(size, self.left)
        self.left -= piece
        return piece

    def _stall(self) -> float:
        """Draw how often the next segment is lost; gives how long that takes."""
        stall = 0.0
        timeout = self.rto
        tries = 0
        while tries < _MOST_TRIES and self._lost():
            stall += timeout
            timeout = min(timeout * self.backoff, _LONGEST_TIMEOUT)
            tries += 1
        return stall

    def _lost(self) -> bool:
        return self.correlated.tie(self.dice.uniform(), self.memory) < self.share
