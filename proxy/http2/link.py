"""An HTTP/2 connection's way out: the frames of all its streams leave in one write for each wake-up."""

from typing import Final

from mypy_extensions import i64, mypyc_attr

from proxy.exchange import BY_PEER
from proxy.net.connection import Connection
from proxy.net.pipe import Cork, Pipe
from proxy.net.timers import Timers
from proxy.wire.h2 import NEED, H2Connection
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.h2_streams import Stream
from proxy.worker import Worker
from rules.actions import Disturb, GoAway
from rules.compiled import CompiledRule

# A reset waits so long (seconds) for a peer's window to let go what is to arrive before it.
_RESET_PATIENCE: Final = 5.0

# Bytes that may wait on one stream for its peer's window before the other side is asked to slow down.
MOST_QUEUED: Final = 16384

# Bytes of heads that may wait for a peer which asks and does not read; then it is not read either.
_MOST_HEADS: Final = 65536


class Link(Pipe):
    """The pipe of a connection whose bytes a codec makes."""

    def __init__(self, cork: Cork, timers: Timers, codec: H2Connection) -> None:
        super().__init__(cork, timers)
        self.codec: H2Connection = codec
        self.marked: bool = False
        self.finished: bool = False  # FIN was sent
        self.senders: list[Sender] = []
        self.owner: Talker | None = None  # while the connection stands
        self.apart: bool = False  # a head is being written by itself

    def mark(self) -> None:
        """Note that the codec, or a sender, has something to write: now, or at the end of the wake-up."""
        if not self.cork.closed:
            self.flush()
        elif not self.marked:
            self.marked = True
            self.cork.dirty.append(self)

    def flush(self) -> None:
        """Write what was gathered."""
        self.marked = False
        senders = self.senders
        if senders:
            self.senders = []
            for sender in senders:
                sender.settle()
        transport = self.transport
        codec = self.codec
        if transport is None or codec.paused or self.resetting or self.finished:
            return
        data = codec.take()
        if not data:
            return
        if isinstance(data, bytes):
            transport.write(data)
        else:
            transport.writelines(data)

    def set_apart(self) -> bool:
        """Let what is queued next, one head, be written by itself; False: that cannot be now.

        Until the end of it everything else waits, as if the transport took no more.
        """
        self.flush()
        if self.transport is None or self.owner is None or self.full or self.resetting or self.finished:
            return False
        self.owner.pause_writing()
        self.apart = True
        return True

    def take_apart(self) -> bytes:
        """Give what was queued since then."""
        data = self.codec.take()
        return data if isinstance(data, bytes) else b"".join(data)

    def send_apart(self, data: bytes, last: bool) -> None:
        """Write a part of it; behind the last one everything flows again."""
        if self.transport is not None and not self.resetting and not self.finished and data:
            self.transport.write(data)
        if last and self.apart:
            self.apart = False
            if self.owner is not None:
                self.owner.resume_writing()
            self.mark()

    def detach(self) -> None:
        super().detach()
        self.owner = None

    def hold_back(self) -> None:
        """Read nothing more from a peer that reads nothing: no window holds back the heads of answers."""
        if self.full and self.codec.backlog > _MOST_HEADS:
            self.pause(BY_PEER)

    def finish(self) -> None:
        super().finish()
        self.finished = True


@mypyc_attr(allow_interpreted_subclasses=True)
class Talker(Connection):
    """What both sides' connections have in common: frames are read one by one, and answered at once."""

    place: str = ""  # where in the proxy a bug was, for the log

    def __init__(self, worker: Worker, codec: H2Connection) -> None:
        self.worker: Worker = worker
        self.codec: H2Connection = codec
        self.link: Link = Link(worker.cork, worker.timers, codec)
        self.link.owner = self
        self.moved: bool = True  # since the last sweep
        self.since: float = worker.timers.now()  # when it last moved

    def data_received(self, data: bytes) -> None:
        """Feed, act, flush."""
        worker = self.worker
        self.moved = True
        worker.cork.closed = True
        self.codec.feed(data, worker.timers.now())
        self.go_on_reading()
        worker.cork.flush()

    def pause_writing(self) -> None:
        """The peer reads slowly: the codec keeps what there is, bounded by the streams' windows."""
        self.link.full = True
        self.codec.pause()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self.link.apart:
            return  # what the peer has caught up with is a part of a head
        self.link.full = False
        self.moved = True
        self.codec.resume()
        self.go_on_reading()

    def go_on_reading(self) -> None:
        """Handle what has come."""
        try:
            while True:
                event = self.codec.next()
                if event == NEED:
                    break
                self.on_event(event)
        except H2Error as error:
            self.broken(error)
        except Exception:
            self.worker.bug(self.place)
            self.shut()
        self.link.mark()

    def on_event(self, event: int) -> None:
        """Handle one event of the codec."""
        raise NotImplementedError

    def broken(self, error: H2Error) -> None:
        """The peer broke the protocol: the codec has queued its GOAWAY."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class Carrier(Talker):
    """A client's connection as one of its streams sees it."""

    def cut(self, stream: Stream, goaway: GoAway | None) -> None:
        """End the connection by GOAWAY and FIN, with everything on it, on behalf of this stream."""
        raise NotImplementedError

    def dismiss(self, goaway: GoAway) -> None:
        """Let the connection end when what is under way on it is complete."""
        raise NotImplementedError

    def disturb(self, action: Disturb, rule: CompiledRule, stream: Stream) -> None:
        """Do this to the connection, or the stream, until the rule goes away."""
        raise NotImplementedError

    def rest(self, stream: Stream) -> None:
        """Do nothing more to a stream: its exchange is over."""
        raise NotImplementedError

    def done(self, stream: Stream) -> None:
        """Forget a stream whose exchange is over, unless some of its answer waits to be sent."""
        raise NotImplementedError

    def reset(self) -> None:
        """End the connection with RST."""
        raise NotImplementedError


class Sender:
    """What goes out on one stream.

    The last piece is kept back until the end of the wake-up: if the message ends with it, its frame says so,
    and no empty frame has to follow.
    """

    unsent: bytes = b""
    parting: i64 = -1  # the code of a reset that waits until what was sent before has left
    parting_until: float = 0.0  # for so long

    def __init__(self, link: Link, stream: Stream) -> None:
        self.link: Link = link
        self.stream: Stream = stream

    def push(self, piece: bytes) -> bool:
        """Send a piece; True: the peer's window does not keep up."""
        link = self.link
        unsent = self.unsent
        self.unsent = piece
        if unsent:
            link.codec.send_data(self.stream, unsent)
        else:
            link.senders.append(self)
            if not link.marked:
                link.mark()
            if len(piece) > MOST_QUEUED and len(piece) - link.codec.room(self.stream) > MOST_QUEUED:
                self.settle()  # most of it will wait: no second read is to be held beside it
        return self.stream.queued > MOST_QUEUED

    def last(self, piece: bytes) -> None:
        """Send the last piece, which ends the message."""
        link = self.link
        if self.unsent:
            self.settle()
        link.codec.send_data(self.stream, piece, True)
        if not link.marked:
            link.mark()

    def settle(self) -> None:
        """Send the piece that was kept back: more may follow it."""
        unsent = self.unsent
        if unsent:
            self.unsent = b""
            self.link.codec.send_data(self.stream, unsent)

    def part(self, code: int) -> bool:
        """Let a reset wait for the peer's window to let go what came before; False: nothing does wait."""
        self.settle()
        if self.stream.queued == 0 or self.stream.closed:
            return False
        if self.parting < 0:
            self.parting = code
            self.parting_until = self.link.timers.now() + _RESET_PATIENCE
        return True

    def parted(self) -> int:
        """Give the code of the reset that waited, now that nothing waits before it; else -1."""
        code = self.parting
        if code >= 0 and self.stream.queued == 0:
            self.parting = -1
            return code
        return -1

    def overdue(self, now: float) -> int:
        """Give the code of a reset that has waited for long enough, else -1."""
        return self.parting if self.parting >= 0 and now > self.parting_until else -1

    def finish(self, trailers: Block | None, extra: bytes = b"") -> None:
        """End the message."""
        link = self.link
        codec = link.codec
        unsent = self.unsent
        self.unsent = b""
        if trailers is None:
            codec.send_data(self.stream, unsent, True)
        else:
            if unsent:
                codec.send_data(self.stream, unsent)
            codec.send_trailers(self.stream, trailers, extra)
        if not link.marked:
            link.mark()
