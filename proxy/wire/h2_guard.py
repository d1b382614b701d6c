"""Budgets against abuse of one HTTP/2 connection; docs/http2.md names the attacks.

What costs the peer nothing and us something is counted, by kind; both budgets are exact over any ten seconds:

    resets     streams that the peer opened and reset within a second (rapid reset), and those that it made
               us reset (MadeYouReset): more than 100 in 10 s end the connection
    abuse      PING, SETTINGS, PRIORITY, empty DATA, unknown frames, window updates, frames on closed
               streams, refused streams, oversized heads: more than 200 in 10 s end the connection

A peer that does useful work earns frames of the second sort, up to 200 of them: HTTP/2 stacks send a PING or
small window updates for each round trip or message.  A frame with something in it that came pays for one; one
that was sent pays for three, since its reader may answer it with a PING and two updates.

Window updates are paid for in bytes first.  A reader gives back each byte that it was sent twice, for the
stream and for the connection, in slivers if it reads in slivers; so each byte sent pays for two bytes of
updates.  What enlarges windows beyond that, or gives back less than 16 bytes at a time, is paid in frames.
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

PERIOD: Final = 10.0  # seconds
MOST_RESETS: Final = 100
MOST_ABUSES: Final = 200
MOST_SAVED: Final = 200
QUICK: Final = 1.0  # seconds: a stream that is reset so soon counts
MOST_CONTROL: Final = 1000  # frames of ours that wait because the peer does not read
MOST_CONTINUATIONS: Final = 16  # frames of one header block,
MOST_BLOCK: Final = 65536  # and its bytes
MOST_SETTINGS: Final = 32  # in one frame
# Bytes: the rest of a window that is not used for itself, and sending so little of what waited earns nothing.
TINY: Final = 64
# Bytes that a window update costs: what it says, but at least, and at most, so much; and how many are saved.
LEAST_UPDATE: Final = 16
MOST_UPDATE: Final = 1024
MOST_SENT: Final = 1 << 25
WORTH_SENT: Final = 3  # what a DATA frame of ours earns the peer


class Guard:
    """What one connection's peer has spent.  ``counts`` holds how often each kind was seen, for views."""

    def __init__(self) -> None:
        self.useful: i64 = 0  # frames that carried something, not yet set off against others
        self.sent: i64 = 0  # bytes of content twice over, not yet set off against window updates
        self.counts: dict[str, int] = {}
        self._resets: deque[float] = deque()
        self._abuses: deque[float] = deque()

    def count_reset(self, kind: str, now: float) -> bool:
        """Count a stream that was opened for nothing; True when that was one too many."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return _over(self._resets, MOST_RESETS, now)

    def count_update(self, kind: str, size: i64, now: float) -> bool:
        """Count a window update unless it gives back what was sent; True when that was one too many."""
        price: i64 = min(max(size, LEAST_UPDATE), MOST_UPDATE)
        if self.sent < price:
            return self.count_abuse(kind, now)
        self.sent = min(self.sent, MOST_SENT) - price
        return False

    def count_abuse(self, kind: str, now: float) -> bool:
        """Count a frame that was good for nothing; True when that was one too many."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.useful > 0:
            self.useful = min(self.useful, MOST_SAVED) - 1
            return False
        return _over(self._abuses, MOST_ABUSES, now)


def _over(times: deque[float], most: int, now: float) -> bool:
    """Note one more at ``now``; True when more than ``most`` were within the period."""
    times.append(now)
    if len(times) <= most:
        return False
    return now - times.popleft() < PERIOD
