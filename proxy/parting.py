"""What a client of PostgreSQL is told that gets no connection, and when: it speaks first.

A server reads the startup message before it says that it has no room, and until then answers a wish for
encryption (PostgreSQL, "Message Flow": SSLRequest, GSSENCRequest), here by "N": go on without.
"""

from typing import Final

from proxy.exchange import Exchange
from proxy.net.pipe import Pipe
from proxy.net.timers import Timer
from proxy.path import end
from proxy.worker import Releasable
from rules.compiled import CompiledRule

_WISH: Final = b"\x00\x00\x00\x08\x04\xd2"  # length 8, and the high half of the codes 80877103 and 80877104
_LENGTH: Final = 8
_NO: Final = b"N"
_MOST: Final = 16_384  # bytes; who sends so many without a startup message is told all the same
_PATIENCE: Final = 60.0  # seconds, as PostgreSQL has it (authentication_timeout)


class Parting(Releasable):
    """The little that is said between the first byte of a client and its end."""

    def __init__(self, ex: Exchange, pipe: Pipe, data: bytes) -> None:
        self.ex: Exchange = ex
        self.pipe: Pipe = pipe
        self.data: bytes = data
        self.heard: bytes = b""
        self.timer: Timer = ex.worker.timers.after(_PATIENCE, self)
        ex.holding = [self]

    def hear(self, data: bytes) -> None:
        """Take what the client has sent, and answer it."""
        heard = self.heard + data
        while heard.startswith(_WISH) and len(heard) >= _LENGTH:
            heard = heard[_LENGTH:]
            self.pipe.send(_NO)
        self.heard = heard
        size = int.from_bytes(heard[:4], "big") if len(heard) >= 4 else _MOST
        if len(heard) >= min(size, _MOST) and not heard.startswith(_WISH):
            self.pipe.send(self.data)
            end.finish(self.ex)

    def rule_now(self) -> CompiledRule | None:
        return None

    def fire(self) -> None:
        """The client has said nothing for so long."""
        end.finish(self.ex)

    def let_go(self) -> None:
        """Nothing: what has been decided is carried out."""

    def cancel(self) -> None:
        self.timer.cancel()
