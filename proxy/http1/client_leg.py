"""The client's leg in HTTP/1.1: what is written to a client, and how its connection ends.

An answer must arrive whole, also while the client is still sending: closing a socket with unread
bytes sends RST, and the RST overtakes the answer (measured: a 503 followed by close reached 0 of 20
clients that were uploading 8 MB).  So after an early answer the rest of the request is read and
thrown away, up to ``drain_bytes``, before the next request; where there is more, we send FIN and
read on until the client has seen it, up to ``drain_timeout`` and once more ``drain_bytes`` (RFC 9112,
section 9.6).
"""

from typing import Final

from proxy.exchange import ClientSide, Exchange, Shaping
from proxy.http2 import heads
from proxy.listener import Listener
from proxy.net.pipe import Pipe
from proxy.wire import h1_write
from proxy.wire.body import BodyReader
from proxy.wire.h1_head import CHUNKED, NO_BODY, UNTIL_CLOSE, Head
from proxy.worker import Worker
from rules.actions import CANCEL, Answer, Disturb, EndCall, GoAway
from rules.compiled import CompiledRule

# What a client connection is doing.
READ_HEAD: Final = 0  # waits for a request
READ_BODY: Final = 1  # a request's body is being read
WAIT: Final = 2  # the request is complete, its answer is not
DRAIN: Final = 3  # answered early: the rest of the request is thrown away
LINGER: Final = 4  # FIN was sent: everything is thrown away until the client closes
TUNNEL: Final = 5  # bytes in both directions after a switch of protocols
CLOSED: Final = 6

# Bytes of unread requests that we hold before we stop reading.
HELD_BYTES: Final = 65536

# HTTP/1.1 says "unknown" by a method of three letters less often than this is looked at.
_HEAD: Final = b"HEAD"


class _Kept(Pipe):
    """Keeps what is sent."""

    kept: bytes = b""

    def send(self, data: bytes) -> None:
        self.kept += data


class ClientLeg(ClientSide):
    """The writing half of a client connection."""

    def __init__(self, worker: Worker, listener: Listener) -> None:
        self.worker: Worker = worker
        self.listener: Listener = listener
        self.pipe: Pipe = Pipe(worker.cork, worker.timers)
        self.state: int = READ_HEAD
        self.ex: Exchange | None = None
        self.chunking: bool = False  # we write the chunks of the answer under way
        self.framing: int = NO_BODY  # of the answer under way, as the client gets it
        self.ending: bool = False  # whatever happens, no request follows this one
        self.close_after: bool = False  # the answer under way is the last one
        self.continued: bool = False  # the client was told 100 Continue
        self.linger_until: float = 0.0
        self.drain_left: int = 0

    # --- the answer

    def head(self, ex: Exchange, head: Head) -> bool:
        request = ex.head
        raw = ex.response_shaping is None and ex.altered is None  # which see content alone
        if head.block is not None:  # it came by HTTP/2
            head = heads.h1_response(head, self.worker.live.response_names, request.method == _HEAD)
            raw = raw and head.framing != CHUNKED
        framing = head.framing
        if request.minor == 0:
            if framing == CHUNKED or (framing == NO_BODY and head.codings is not None):
                # HTTP/1.0 knows no chunks, and is not told of any either (RFC 9112, section 6.1): the end of
                # the connection ends the body, also one that is left out as in the answer to HEAD.
                framing = UNTIL_CLOSE
                raw = False
        elif framing == UNTIL_CLOSE:
            framing = CHUNKED  # so that the client can tell a whole answer from a broken one
            raw = False
        close = self._last(ex, framing)
        self.framing = framing
        self.chunking = framing == CHUNKED and not raw
        if close or ex.proofs is not None or framing != head.framing or request.minor == 0:
            self.pipe.send(h1_write.response_head(head, framing, close, self._extra(ex, close)))
            return raw
        written = head.written  # the same head was passed on before, and nothing is added
        if not written:
            written = h1_write.response_head(head, framing, False, b"")
            head.written = written
        self.pipe.send(written)
        return raw

    def head_slowly(self, ex: Exchange, head: Head, slow: Shaping) -> None:
        pipe = self.pipe
        kept = _Kept(pipe.cork, pipe.timers)
        self.pipe = kept
        try:
            self.head(ex, head)
        finally:
            self.pipe = pipe
        slow.feed(kept.kept)

    def head_part(self, data: bytes, last: bool) -> None:
        self.pipe.send(data)

    def head_cut(self, rest: bytes) -> None:
        pass  # what ends the exchange there ends the connection

    def _last(self, ex: Exchange, framing: int) -> bool:
        """Decide whether the connection ends with this answer."""
        request = ex.head
        close = not request.keep_alive or framing == UNTIL_CLOSE or self.ending
        if self.worker.draining and not (ex.request_done and self.unread() > 0):
            close = True  # unless the next request has come already: it is answered too
        if request.expect_continue and not ex.request_done and not self.continued:
            # Whether the body still comes is up to the client (RFC 9110, section 10.1.1): no way to tell.
            close = True
        self.close_after = close
        return close

    def _extra(self, ex: Exchange, close: bool) -> bytes:
        """Give our own header lines: proof of injection; what an HTTP/1.0 client needs to stay."""
        proofs = ex.proofs
        extra = b"" if proofs is None else b"".join(proofs)
        if ex.head.minor == 0 and not close:
            extra += b"connection: keep-alive\r\n"
        return extra

    def interim(self, ex: Exchange, head: Head) -> None:
        if ex.head.minor == 0:
            return  # RFC 9110, section 15.2: never to HTTP/1.0
        if head.status == 100:
            self.continued = True
        if head.block is not None:
            head = heads.h1_response(head, self.worker.live.response_names, False)
        self.pipe.send(h1_write.response_head(head, NO_BODY, False, b""))

    def body(self, piece: bytes) -> None:
        if self.chunking:
            piece = h1_write.chunk(piece)
        self.pipe.send(piece)

    def end(self, reader: BodyReader) -> None:
        if self.chunking:
            self.pipe.send(h1_write.last_chunk(reader.trailers))
        elif reader.piece:
            self.pipe.send(reader.piece)

    def answer(self, ex: Exchange, answer: Answer, extra: bytes) -> None:
        close = self._last(ex, NO_BODY)
        headers = answer.headers
        lines = extra + self._extra(ex, close)
        self.pipe.send(
            h1_write.answer(answer.status, headers, answer.body, close, ex.head.method == _HEAD, lines)
        )

    def cut_body(self) -> None:
        self.close()

    def end_call(self, ex: Exchange, end: EndCall) -> None:
        self.broken()  # HTTP/1.1 carries no gRPC calls

    def broken(self) -> None:
        if self.framing == UNTIL_CLOSE:
            self.reset()  # a FIN would be the regular end of such an answer
        else:
            self.close()

    # --- the end of an exchange and of the connection

    def over(self, ex: Exchange) -> None:
        self.ex = None
        if self.state >= LINGER:
            return
        if self.pipe.reasons:
            self.pipe.resume(~0)  # whom this client was too fast for is gone
        if ex.request_done:
            if self.close_after:
                self.leave()
            else:
                self.begin_next()
        elif self.close_after:
            self.linger()
        else:
            self.state = DRAIN
            self.drain_left = self.listener.drain_bytes
            self.linger_until = self.worker.timers.now() + self.listener.drain_timeout
            self.go_on_reading()

    def begin_next(self) -> None:
        """Be ready for the next request."""
        raise NotImplementedError

    def leave(self) -> None:
        """Close after the last answer; with unread bytes about, only when the client has seen it."""
        if self.unread() == 0:
            self.state = CLOSED
            self.pipe.close()
        else:
            self.linger()

    def unread(self) -> int:
        """Count bytes that came and were not looked at."""
        raise NotImplementedError

    def linger(self) -> None:
        """Send FIN after the answer and throw away what still comes, for a bounded time."""
        self.state = LINGER
        self.drain_left = self.listener.drain_bytes
        self.linger_until = self.worker.timers.now() + self.listener.drain_timeout
        self.pipe.resume(~0)
        self.pipe.finish()
        self.go_on_reading()

    def throw_away(self, size: int) -> None:
        """Count bytes that came after FIN was sent; a client that never stops is reset."""
        self.drain_left -= size
        if self.drain_left < 0 and self.state == LINGER:
            self.reset()

    def close(self, goaway: GoAway | None = None) -> None:
        if self.state < LINGER or self.state == TUNNEL:
            self.linger()

    def unannounced(self) -> None:
        self.pipe.unannounced()

    def dismiss(self, goaway: GoAway) -> None:
        self.ending = True
        self.close_after = True

    def disturb(self, action: Disturb, rule: CompiledRule) -> None:
        pass  # HTTP/1.1 has nothing of this

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        if self.state != CLOSED:
            ex = self.ex
            partly = self.state == TUNNEL or (ex is not None and ex.response is not None)
            self.state = CLOSED
            self.pipe.reset(partly)

    def shut(self) -> None:
        self.state = CLOSED
        self.pipe.close()

    def pause(self, reason: int) -> None:
        self.pipe.pause(reason)

    def resume(self, reason: int) -> None:
        self.pipe.resume(reason)
