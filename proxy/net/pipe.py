"""One connection's transport: what is sent in a wake-up leaves in one write, and ends as asked.

uvloop writes at once and does not coalesce, so a head and the first piece of its body would be two
packets.  While the cork is in, pieces are gathered; the one who put it in flushes all at the end of
its wake-up.
"""

import asyncio
from typing import Any, Final

from mypy_extensions import mypyc_attr

from proxy.net import sockets
from proxy.net.timers import Callback, Timers
from proxy.net.tls import TlsTransport

# Below this, pieces are joined into one write; above, copying costs more than a second write.
_JOIN: Final = 65536

# A reset waits this long for what was sent before it to arrive, and looks so often (seconds).
_RESET_PATIENCE: Final = 5.0
_RESET_LOOK: Final = 0.001

# How long a peer has to read what arrived before the RST does.  A trouble that comes later than the bytes
# gives ECONNRESET; an RST right behind them reaches some readers together with them, and those (libuv: the
# poll tells of both at once) take it for an end of file.
_TO_READ: Final = 0.015


class Cork:
    """Whether output is being gathered, and by whom."""

    __slots__ = ("closed", "dirty")

    def __init__(self) -> None:
        self.closed: bool = False  # the cork is in: gather
        self.dirty: list[Pipe] = []

    def flush(self) -> None:
        """Pull the cork: each pipe writes what it gathered."""
        self.closed = False
        dirty = self.dirty
        if dirty:
            for pipe in dirty:  # a flush may end another connection, but sends nothing new
                pipe.flush()
            dirty.clear()


@mypyc_attr(allow_interpreted_subclasses=True)
class Conduit:
    """What a tunnel has at each of its ends: the pipe of a connection, or a stream of one."""

    def send(self, data: bytes) -> None:
        """Send; after the end: nothing."""
        raise NotImplementedError

    def finish(self) -> None:
        """Say, after what was sent, that no more comes; the other direction stays open."""
        raise NotImplementedError

    def pause(self, reason: int) -> None:
        """Stop reading for this reason, a bit of ``proxy.exchange.BY_*``."""
        raise NotImplementedError

    def resume(self, reason: int) -> None:
        """Take a reason away; read again when none is left."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Pipe(Conduit):
    """The sending half of a connection and the tap on its receiving half."""

    def __init__(self, cork: Cork, timers: Timers) -> None:
        super().__init__()
        self.cork: Cork = cork
        self.timers: Timers = timers
        self.transport: asyncio.Transport | None = None
        self.out: list[bytes] = []
        self.reasons: int = 0  # why reading is paused, bits of proxy.exchange.BY_*
        self.full: bool = False  # the transport holds more than it likes: the peer reads slowly
        self.resetting: bool = False

    def attach(self, transport: asyncio.Transport) -> None:
        """Take the transport of a connection that was just made."""
        self.transport = transport

    def detach(self) -> None:
        """The connection is gone."""
        self.transport = None
        self.out = []

    def send(self, data: bytes) -> None:
        """Send, now or at the end of the wake-up; after the end of the connection: nothing."""
        transport = self.transport
        if transport is None or self.resetting:
            return
        cork = self.cork
        if cork.closed:
            out = self.out
            if not out:
                cork.dirty.append(self)
            out.append(data)
        else:
            transport.write(data)

    def flush(self) -> None:
        """Write what was gathered."""
        out = self.out
        transport = self.transport
        if not out or transport is None:
            return
        self.out = []
        if len(out) == 1:
            transport.write(out[0])
            return
        size = 0
        for piece in out:
            size += len(piece)
        if size <= _JOIN:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)

    def pause(self, reason: int) -> None:
        if self.reasons == 0 and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self.reasons |= reason

    def resume(self, reason: int) -> None:
        if self.reasons & reason:
            self.reasons &= ~reason
            if self.reasons == 0 and self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    def peer_gone(self) -> bool:
        """Tell whether the peer went away while nobody reads (a paused transport does not notice)."""
        return self.reasons != 0 and self.transport is not None and sockets.peer_gone(self.transport)

    def peer_reset(self) -> bool:
        """Tell whether the peer has reset the connection, and nobody read that."""
        return self.transport is not None and sockets.peer_reset(self.transport)

    def unsent(self) -> int:
        """Count the bytes that the peer has not acknowledged yet."""
        transport = self.transport
        return 0 if transport is None else sockets.unsent(transport)

    def finish(self) -> None:
        self.flush()
        transport = self.transport
        if (
            transport is not None
            and not self.resetting
            and not transport.is_closing()
            and transport.can_write_eof()
        ):
            transport.write_eof()

    def truncated(self) -> bool:
        """Tell whether the peer's end came without being announced, where it should have been (TLS)."""
        transport = self.transport
        return transport is not None and bool(transport.get_extra_info("truncated"))

    def rescue(self, data: bytes) -> bytes:
        """Give the content of what was read from the socket itself."""
        transport: Any = self.transport
        return transport.rescue(data) if isinstance(transport, TlsTransport) else data

    def unannounced(self) -> None:
        """Leave out what announces the end over TLS (close_notify), whenever that comes."""
        transport: Any = self.transport
        if isinstance(transport, TlsTransport):
            transport.forget_goodbye()

    def close(self) -> None:
        """Close after what was sent; a reset that waits for that is not overtaken."""
        self.flush()
        if self.transport is not None and not self.resetting:
            self.transport.close()

    def reset(self, just_sent: bool) -> None:
        """End with RST, but not before all that was sent has arrived: RST destroys what is under way.

        ``just_sent``: part of a message has left that the peer may not have read yet, see ``_TO_READ``.
        """
        self.flush()
        transport = self.transport
        if transport is None or self.resetting:
            return
        self.resetting = True
        if not just_sent and sockets.unsent(transport) == 0:
            sockets.reset(transport)
        else:
            _Resetting(self, self.timers, _TO_READ if just_sent else 0.0).wait()


class _Resetting(Callback):
    """A reset that waits for the peer to acknowledge, and to read, what came before it."""

    def __init__(self, pipe: Pipe, timers: Timers, at_least: float) -> None:
        self.pipe: Pipe = pipe
        self.timers: Timers = timers
        self.at_least: float = at_least
        self.until: float = timers.now() + _RESET_PATIENCE
        self.arrived: float = 0.0  # when all that was sent had been acknowledged

    def wait(self) -> None:
        """Look again soon."""
        self.timers.after(_RESET_LOOK, self)

    def fire(self) -> None:
        transport = self.pipe.transport
        if transport is None:
            return
        now = self.timers.now()
        if self.arrived == 0.0 and sockets.unsent(transport) == 0:
            self.arrived = now
        if now >= self.until or (self.arrived > 0.0 and now >= self.arrived + self.at_least):
            sockets.reset(transport)
        else:
            self.wait()
