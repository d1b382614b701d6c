"""How a drain parts from an open WebSocket: the closing handshake of RFC 6455, section 7, begun by the proxy.

Nobody but its two ends knows which message answers which.  So what has begun to come from the client is
passed on to its end, and what begins later is not; then it is waited until nothing has moved for a while, so
that answers come back; then both ends are told 1001 (going away) between two messages.  Where it never
becomes quiet, they are told at half of the grace.  Whoever has answered gets FIN.
"""

import os
from typing import Final

from mypy_extensions import i64

from proxy.tunnel import Closing, Direction, Tunnel
from proxy.wire.websocket import GOING_AWAY, Frames, close_frame

# Nothing may have moved for so long (seconds), or a tenth of the grace, before it is taken for quiet.
QUIET: Final = 1.0
# How long an end may take to answer.
PATIENCE: Final = 2.0

_TEXT: Final = 1
_BINARY: Final = 2


def part(tunnel: Tunnel) -> None:
    """Begin to part from a tunnel, or go on with it; one that is no WebSocket is left alone."""
    worker = tunnel.worker
    frames = tunnel.up.frames
    other = tunnel.down.frames
    if frames is None or other is None or tunnel.ex.over:
        return
    now = worker.timers.now()
    farewell = tunnel.closing
    if farewell is None:
        farewell = Farewell(tunnel, frames, other, now, worker.cut_at - now)
        tunnel.closing = farewell
    try:
        farewell.look(now)
    except Exception:
        worker.bug("tunnel")
        tunnel.ex.client.reset()
        tunnel.ending.finish(tunnel.ex)


class Farewell(Closing):
    """One WebSocket's."""

    def __init__(self, tunnel: Tunnel, up: Frames, down: Frames, now: float, grace: float) -> None:
        self.tunnel: Tunnel = tunnel
        self.up: Frames = up  # what comes from the client
        self.down: Frames = down  # what comes from the upstream
        self.quiet: float = min(QUIET, grace / 10.0)
        self.latest: float = now + grace / 2.0
        self.moved: float = now
        self.seen: int = -1  # bytes that had passed when it was looked at last
        self.keeping: bool = True  # the client's frame under way is passed on
        self.dropping: bool = False  # its message under way, if there is one, is not
        self.told: bool = False  # both ends were told
        self.told_at: float = 0.0

    def look(self, now: float) -> None:
        tunnel = self.tunnel
        if self.told:
            if now - self.told_at > PATIENCE:
                tunnel.down.end()
                tunnel.up.end()
            return
        if self.up.closing or self.down.closing:
            return  # they part by themselves
        passed = tunnel.up.total + tunnel.down.total
        if passed != self.seen:
            self.seen = passed
            self.moved = now
        if now >= self.latest:
            if self._up_between() and self.down.between():
                self._tell(now)
        elif now - self.moved >= self.quiet and self._up_at_rest() and self.down.at_rest():
            self._tell(now)

    def _up_between(self) -> bool:
        """Tell whether no frame is under way of what is passed on to the upstream."""
        return not self.keeping or self.up.between()

    def _up_at_rest(self) -> bool:
        """Tell whether no message is under way of what is passed on to the upstream."""
        return self._up_between() if self.dropping else self.up.at_rest()

    def _tell(self, now: float) -> None:
        self.told = True
        self.told_at = now
        tunnel = self.tunnel
        tunnel.down.arrived(close_frame(GOING_AWAY))
        tunnel.up.arrived(close_frame(GOING_AWAY, os.urandom(4)))

    def take(self, direction: Direction, data: bytes) -> bytes:
        tunnel = self.tunnel
        if direction is tunnel.up:
            data = self._from_client(data)
            if self.told and self.up.closing and self.up.between():
                tunnel.down.end()
            return data
        self.down.follow(data)
        if not self.told:
            return data
        if self.down.closing and self.down.between():
            tunnel.up.end()
        return b""

    def _from_client(self, data: bytes) -> bytes:
        """Give of what came that which is passed on: the rest of a message, and control frames."""
        frames = self.up
        kept: list[bytes] = []
        size: i64 = len(data)
        position: i64 = 0
        while position < size:
            if frames.between():
                opcode = data[position] & 15
                if opcode == _TEXT or opcode == _BINARY:
                    self.dropping = True
                self.keeping = not self.told and (opcode >= 8 or not self.dropping)
            behind = frames.step(data, position)
            if self.keeping:
                kept.append(data[position:behind])
            position = behind
        return b"".join(kept)
