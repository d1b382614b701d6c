"""Flips bits in the content of a body, and never in what frames it."""

from math import log, log1p
from typing import Final

from mypy_extensions import mypyc_attr

from proxy.exchange import Exchange, Shaping
from proxy.performer import Ending
from proxy.row import Row, Sink
from proxy.wire.grpc import PREFIX, Messages
from proxy.wire.websocket import Frames
from rules.body_actions import Flip
from rules.draw import Dice
from rules.facts import GRPC, WEBSOCKET, Facts
from rules.plan import Chosen
from rules.snapshot import Plan

_NEVER: Final = 1 << 60
# Where nobody knows how long a body is, each flip comes at most so many bytes behind the one before.
_NEAR: Final = 16


@mypyc_attr(allow_interpreted_subclasses=True)
class Flipper:
    """Which bytes are hit, and which bit of each: drawn from dice as content passes, however it is split."""

    def __init__(self, flip: Flip, dice: Dice, length: int) -> None:
        """``length``: how many bytes of content come, -1 where nobody knows."""
        self.dice: Dice = dice
        self.share: float = flip.share
        self.left: int = flip.flips
        self.by_share: bool = flip.flips == 0
        self.places: list[int] = []  # of the flips still to come, the next one last
        if length >= 0 and not self.by_share:
            self.places = _spread(flip.flips, length, dice)
            self.left = 0
        self.passed: int = 0  # bytes of content
        self.next: int = self._next(0)

    def _next(self, begin: int) -> int:
        """Draw the place of the next flip, at ``begin`` or later."""
        if self.by_share:
            if self.share <= 0.0:
                return _NEVER
            if self.share >= 1.0:
                return begin
            return begin + min(int(log(self.dice.uniform()) / log1p(-self.share)), _NEVER)
        if self.places:
            return self.places.pop()
        if self.left > 0:
            self.left -= 1
            return begin + int(self.dice.uniform() * _NEAR)
        return _NEVER

    def hit(self, data: bytes, start: int, end: int) -> bytes:
        """Give ``data`` with the flips that fall between two places in it, which hold content."""
        last = self.passed + end - start
        if self.next >= last:
            self.passed = last
            return data
        changed = bytearray(data)
        while self.next < last:
            changed[start + self.next - self.passed] ^= 1 << int(self.dice.uniform() * 8.0)
            self.next = self._next(self.next + 1)
        self.passed = last
        return bytes(changed)


def _spread(flips: int, length: int, dice: Dice) -> list[int]:
    """Draw so many different places below ``length``, the least one last (Floyd's algorithm)."""
    found: set[int] = set()
    for bound in range(max(0, length - flips), length):
        place = int(dice.uniform() * (bound + 1))
        found.add(bound if place in found else place)
    return sorted(found, reverse=True)


class FlippingRow(Row):
    """Bits are flipped in what passes."""

    def __init__(
        self,
        ex: Exchange,
        plan: Plan,
        chosen: Chosen,
        sink: Sink,
        ending: Ending,
        behind: Shaping | None,
        flip: Flip,
        length: int,
        facts: Facts,
    ) -> None:
        super().__init__(ex, plan, chosen, sink, ending, behind)
        grpc = facts.protocols & GRPC != 0
        self.messages: Messages | None = Messages() if grpc else None
        self.frames: Frames | None = Frames() if facts.protocols & WEBSOCKET else None
        self.flipper: Flipper = Flipper(flip, chosen.dice, -1 if grpc else length)

    def feed(self, data: bytes) -> None:
        before = data
        at = 0
        while at < len(data):
            start, end, content = self._part(data, at)
            if content and end > start and not self.withdrawn():
                data = self.flipper.hit(data, start, end)
            at = end
        if data is not before:
            self.acts()
            self.prove()
        self.send(data)

    def _part(self, data: bytes, at: int) -> tuple[int, int, bool]:
        """Find what frames content from ``at`` on, and the content behind it: where that begins and ends."""
        messages = self.messages
        frames = self.frames
        if messages is not None:
            had = 0 if messages.between else min(messages.at, PREFIX)
            end = messages.follow(data, at)
            return min(end, at + PREFIX - had), end, True
        if frames is not None:
            start = frames.head(data, at)
            end = start + frames.payload(len(data) - start)
            return start, max(end, start), not frames.control
        return at, len(data), True
