"""A stream as one end of a tunnel: DATA both ways, END_STREAM for FIN, windows for back-pressure."""

from mypy_extensions import mypyc_attr

from proxy.exchange import Passing
from proxy.http2.body import StreamBody
from proxy.http2.link import Link, Sender
from proxy.net.pipe import Conduit
from proxy.wire.h2_streams import Stream


@mypyc_attr(allow_interpreted_subclasses=True)
class StreamConduit(Conduit):
    """What came on the stream waits in ``incoming``; its window opens as the tunnel takes it."""

    def __init__(self, link: Link, stream: Stream, sender: Sender, incoming: StreamBody) -> None:
        self.link: Link = link
        self.stream: Stream = stream
        self.sender: Sender = sender
        self.incoming: StreamBody = incoming
        self.passing: Passing | None = None
        self.reasons: int = 0  # why nothing is taken from it, bits of BY_*
        self.full: bool = False  # its peer's window does not keep up, and the tunnel was told
        self.reading: bool = False
        self.told: bool = False  # ... that the peer has ended

    def came(self, passing: Passing, data: bytes) -> None:
        """Give the tunnel what came."""
        raise NotImplementedError

    def ended(self, passing: Passing) -> None:
        """Tell the tunnel that END_STREAM came."""
        raise NotImplementedError

    def slow(self, passing: Passing, full: bool) -> None:
        """Tell the tunnel that the peer's window is shut, or has opened."""
        raise NotImplementedError

    def read(self) -> None:
        """Pass on what has come."""
        passing = self.passing
        if passing is None or self.reading:
            return
        self.reading = True
        incoming = self.incoming
        passed = 0
        try:
            while incoming.waiting and not self.reasons:
                piece = incoming.waiting.pop(0)
                passed += len(piece)
                self.came(passing, piece)
            if incoming.ended and not incoming.waiting and not self.reasons and not self.told:
                self.told = True
                self.ended(passing)
        finally:
            self.reading = False
        if passed:
            self.link.codec.credit(self.stream, passed)
            self.link.mark()

    def read_out(self) -> None:
        """Pass on all that has come, though the other end is slow: the stream is over."""
        self.reasons = 0
        self.read()

    def writable(self) -> None:
        """The peer's window let some of what waited go out."""
        passing = self.passing
        if self.full and self.stream.queued == 0 and passing is not None:
            self.full = False
            self.slow(passing, False)

    # --- as the tunnel sees it

    def send(self, data: bytes) -> None:
        passing = self.passing
        if self.sender.push(data) and not self.full and passing is not None:
            self.full = True
            self.slow(passing, True)

    def finish(self) -> None:
        self.sender.finish(None)

    def pause(self, reason: int) -> None:
        self.reasons |= reason

    def resume(self, reason: int) -> None:
        self.reasons &= ~reason
        if not self.reasons:
            self.read()


class ClientConduit(StreamConduit):
    """The client's stream."""

    def came(self, passing: Passing, data: bytes) -> None:
        passing.from_client(data)

    def ended(self, passing: Passing) -> None:
        passing.client_ended()

    def slow(self, passing: Passing, full: bool) -> None:
        passing.client_full(full)


class UpstreamConduit(StreamConduit):
    """The upstream's stream."""

    def came(self, passing: Passing, data: bytes) -> None:
        passing.from_upstream(data)

    def ended(self, passing: Passing) -> None:
        passing.upstream_ended()

    def slow(self, passing: Passing, full: bool) -> None:
        passing.upstream_full(full)
