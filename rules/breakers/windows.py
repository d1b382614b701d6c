"""What breakers count in: the last calls, the last stretch of time, or everything since the last start.

Every outcome is in exactly one bucket: one that falls on the edge between two belongs to the later one.
Counts are whole numbers, kept up to date by adding what comes and taking away what leaves.
"""

from typing import Final

from mypy_extensions import mypyc_attr

# Kinds of windows.
EVERYTHING: Final = 0
CALLS: Final = 1
TIME: Final = 2
FOLLOWING: Final = 3
CYCLES: Final = 4


@mypyc_attr(allow_interpreted_subclasses=True)
class Window:
    """Counts every outcome since it was cleared; the base of those that forget."""

    def __init__(self, kind: int = EVERYTHING) -> None:
        self.kind: int = kind
        self.calls: int = 0
        self.failures: int = 0
        self.slow: int = 0

    def move(self, now: int) -> None:
        """Forget what is too old by now."""

    def record(self, now: int, failed: bool, slow: bool) -> None:
        """Count an outcome."""
        self.calls += 1
        self.failures += 1 if failed else 0
        self.slow += 1 if slow else 0

    def clear(self, now: int) -> None:
        """Forget everything."""
        self.calls = 0
        self.failures = 0
        self.slow = 0

    def fits(self, time: int, buckets: int, calls: int) -> bool:
        """Whether it has this shape: microseconds, parts, calls; 0 where it has none."""
        return True

    def reshaped(self, time: int, buckets: int, calls: int, now: int) -> "Window":
        """Make a window of this kind and another shape, with what of this one has room in it."""
        return self


class CallWindow(Window):
    """The last ``size`` outcomes."""

    def __init__(self, size: int) -> None:
        super().__init__(CALLS)
        self.size: int = size
        self._ring: list[int] = []  # 1: failed, 2: slow
        self._next: int = 0  # where the oldest one is, once the ring is full

    def record(self, now: int, failed: bool, slow: bool) -> None:
        """Count an outcome, in the place of the oldest one."""
        super().record(now, failed, slow)
        outcome = (1 if failed else 0) | (2 if slow else 0)
        if len(self._ring) < self.size:
            self._ring.append(outcome)
            return
        old = self._ring[self._next]
        self._ring[self._next] = outcome
        self._next = (self._next + 1) % self.size
        self.calls -= 1
        self.failures -= old & 1
        self.slow -= old >> 1

    def clear(self, now: int) -> None:
        """Forget everything."""
        super().clear(now)
        self._ring = []
        self._next = 0

    def fits(self, time: int, buckets: int, calls: int) -> bool:
        return calls == self.size

    def reshaped(self, time: int, buckets: int, calls: int, now: int) -> Window:
        """Make a window of another size with the newest outcomes of this one."""
        made = CallWindow(calls)
        outcomes = self._ring[self._next :] + self._ring[: self._next]
        for outcome in outcomes[-calls:]:
            made.record(0, outcome & 1 != 0, outcome & 2 != 0)
        return made


class TimeWindow(Window):
    """The last ``time`` microseconds, in ``buckets`` equal parts that begin at multiples of a part.

    Bucket number n is the time from n*time/buckets on, up to and without (n+1)*time/buckets.
    """

    def __init__(self, time: int, buckets: int) -> None:
        super().__init__(TIME)
        self.time: int = time
        self.buckets: int = buckets
        self._calls: list[int] = [0] * buckets
        self._failures: list[int] = [0] * buckets
        self._slow: list[int] = [0] * buckets
        self._newest: int = -1  # the number of the newest bucket

    def move(self, now: int) -> None:
        """Forget the buckets that have left."""
        number = now * self.buckets // self.time
        if number <= self._newest:
            return
        first = max(self._newest + 1, number - self.buckets + 1)
        self._newest = number
        for passed in range(first, number + 1):
            at = passed % self.buckets
            if self._calls[at]:
                self.calls -= self._calls[at]
                self.failures -= self._failures[at]
                self.slow -= self._slow[at]
                self._calls[at] = 0
                self._failures[at] = 0
                self._slow[at] = 0

    def record(self, now: int, failed: bool, slow: bool) -> None:
        """Count an outcome in the bucket of this moment."""
        self.add(now, 1, 1 if failed else 0, 1 if slow else 0)

    def add(self, now: int, calls: int, failures: int, slow: int) -> None:
        """Count several outcomes of one moment."""
        self.move(now)
        at = self._newest % self.buckets
        self._calls[at] += calls
        self._failures[at] += failures
        self._slow[at] += slow
        self.calls += calls
        self.failures += failures
        self.slow += slow

    def clear(self, now: int) -> None:
        """Forget everything."""
        super().clear(now)
        self._calls = [0] * self.buckets
        self._failures = [0] * self.buckets
        self._slow = [0] * self.buckets

    def fits(self, time: int, buckets: int, calls: int) -> bool:
        return time == self.time and buckets == self.buckets

    def reshaped(self, time: int, buckets: int, calls: int, now: int) -> Window:
        """Make another window with what of this one is not too old for it, each bucket at its beginning."""
        self.move(now)
        made = TimeWindow(time, buckets)
        for number in range(max(0, self._newest - self.buckets + 1), self._newest + 1):
            at = number % self.buckets
            if self._calls[at]:
                began = -(-number * self.time // self.buckets)
                made.add(began, self._calls[at], self._failures[at], self._slow[at])
        made.move(now)
        return made


class FollowingWindow(Window):
    """The last ``time`` microseconds in parts that begin with an outcome, as Polly and Envoy have them.

    A part takes what comes within ``time / buckets`` of its beginning; it leaves as a whole when ``time`` has
    passed since then.
    """

    def __init__(self, time: int, buckets: int) -> None:
        super().__init__(FOLLOWING)
        self.time: int = time
        self.buckets: int = buckets
        self._parts: list[list[int]] = []  # began, calls, failures, slow

    def move(self, now: int) -> None:
        """Forget the parts that have left."""
        parts = self._parts
        gone = 0
        while gone < len(parts) and now - parts[gone][0] >= self.time:
            self.calls -= parts[gone][1]
            self.failures -= parts[gone][2]
            self.slow -= parts[gone][3]
            gone += 1
        if gone:
            self._parts = parts[gone:]

    def touch(self, now: int) -> None:
        """Begin a part where there is none, or the last one is over."""
        self.move(now)
        parts = self._parts
        if not parts or now - parts[len(parts) - 1][0] >= self.time // self.buckets:
            parts.append([now, 0, 0, 0])

    def oldest(self, now: int) -> int:
        """Say when the oldest part began."""
        return self._parts[0][0] if self._parts else now

    def record(self, now: int, failed: bool, slow: bool) -> None:
        """Count an outcome."""
        self.touch(now)
        parts = self._parts
        part = parts[len(parts) - 1]
        part[1] += 1
        part[2] += 1 if failed else 0
        part[3] += 1 if slow else 0
        super().record(now, failed, slow)

    def clear(self, now: int) -> None:
        """Forget everything."""
        super().clear(now)
        self._parts = []

    def fits(self, time: int, buckets: int, calls: int) -> bool:
        return time == self.time and buckets == self.buckets

    def reshaped(self, time: int, buckets: int, calls: int, now: int) -> Window:
        """Make another window with what of this one is not too old for it."""
        made = FollowingWindow(time, buckets)
        made._parts = [list(part) for part in self._parts]
        made.calls = self.calls
        made.failures = self.failures
        made.slow = self.slow
        made.move(now)
        return made


class CyclicWindow(Window):
    """Everything since a cycle began, as gobreaker has it: when ``time`` has passed it begins anew."""

    def __init__(self, time: int, began: int) -> None:
        super().__init__(CYCLES)
        self.time: int = time
        self.began: int = began
        self.cycle: int = 0  # counts the beginnings

    def move(self, now: int) -> None:
        """Begin anew where the cycle is over."""
        if now > self.began + self.time:
            self.clear(now)

    def clear(self, now: int) -> None:
        """Begin anew."""
        super().clear(now)
        self.began = now
        self.cycle += 1

    def fits(self, time: int, buckets: int, calls: int) -> bool:
        return time == self.time

    def reshaped(self, time: int, buckets: int, calls: int, now: int) -> Window:
        """Keep the cycle, and let it have another end."""
        self.time = time
        return self
