"""The upstream's leg in HTTP/1.1: what is written to an upstream, and what becomes of its connection."""

import os
from typing import Final

from proxy import forwarding
from proxy.exchange import Exchange, UpstreamSide
from proxy.http2 import heads
from proxy.net import sockets
from proxy.net.pipe import Pipe
from proxy.net.pool import Endpoint, Upstream
from proxy.wire import h1_write, websocket
from proxy.wire.body import BodyReader
from proxy.wire.h1 import CHUNKED, LENGTH, RESPONSE, H1Reader
from proxy.worker import Worker
from rules.actions import CANCEL

# Limits on an answer's head: generous, since the upstream is trusted more than clients are.
_HEAD_SIZE: Final = 262144
_HEADER_COUNT: Final = 1000


class UpstreamLeg(UpstreamSide):
    """The writing half of an upstream connection."""

    def __init__(self, worker: Worker, target: Upstream, endpoint: Endpoint) -> None:
        self.worker: Worker = worker
        self.target: Upstream = target
        self.endpoint: Endpoint = endpoint
        self.pipe: Pipe = Pipe(worker.cork, worker.timers)
        self.reader: H1Reader = H1Reader(RESPONSE, _HEAD_SIZE, _HEADER_COUNT)
        self.ex: Exchange | None = None
        self.uses: int = 0
        self.lost: bool = False  # the connection ends or has ended; what came before may still be read
        self.moved: bool = True  # something has happened here since the last sweep
        self.answered: bool = False  # a byte of the answer has come
        self.body_sent: bool = False  # bytes of the request's body have left
        self.due: int = -1  # bytes of it that the upstream still waits for; -1: only its end tells
        self.chunking: bool = False  # we write the chunks of the request's body
        self.key: bytes = b""  # the sec-websocket-key that we made
        self.spare: int = -1  # a second descriptor of the socket, see keep_readable

    def begin(self, ex: Exchange) -> None:
        """Send the head of a request; the body may follow."""
        self.ex = ex
        self.uses += 1
        self.answered = False
        self.body_sent = False
        self.moved = True  # the upstream's time begins now, whatever the exchange waited for before
        ex.upstream = self
        ex.attempts += 1
        self.endpoint.active += 1
        self.reader.names = self.worker.live.response_names
        self.reader.expect(ex.head.method == b"HEAD")
        head = ex.head
        self.chunking = False
        altered = ex.altered
        if head.block is not None:
            head = heads.h1_request(head, self.worker.live.request_names)
            self.chunking = head.framing == CHUNKED
        elif ex.request_shaping is not None or altered is not None:
            self.chunking = head.framing == CHUNKED
        self.due = head.length if head.framing == LENGTH else -1
        written = forwarding.upstream_head(ex, head)
        if ex.head.block is not None and head.upgrade:  # the client's protocol has no key of its own
            self.key = websocket.key_of(os.urandom(websocket.KEY_SIZE))
            written = b"%b%b: %b\r\n\r\n" % (written[:-2], websocket.KEY, self.key)
        if altered is None or altered.slow_request is None:
            self.pipe.send(written)
        else:
            altered.slow_request.feed(written)
        ex.body_open = True
        if ex.request_done:
            ex.sent_at = self.worker.timers.now() if self.uses == 1 or ex.attempts > 1 else ex.started
        else:
            ex.client.go_on_reading()

    def head_part(self, data: bytes, last: bool) -> None:
        self.pipe.send(data)

    def head_cut(self, rest: bytes) -> None:
        self.lost = True  # no other request may follow on this connection

    def body(self, piece: bytes) -> None:
        if self.spare < 0:
            self.keep_readable()
        self.body_sent = True
        if self.due > 0:
            self.due -= len(piece)
        self.pipe.send(h1_write.chunk(piece) if self.chunking else piece)

    def end(self, reader: BodyReader) -> None:
        if self.chunking:
            self.pipe.send(h1_write.last_chunk(reader.trailers))
        elif reader.piece:
            self.body(reader.piece)
        ex = self.ex
        if ex is not None:
            ex.sent_at = self.worker.timers.now()

    def cut_body(self) -> None:
        self.due = -1  # it waits for more: no other request may follow on this connection
        self.pipe.finish()
        ex = self.ex
        if ex is not None:
            ex.sent_at = self.worker.timers.now()

    def keep_readable(self) -> None:
        """Keep a second descriptor while a body is sent.

        An upstream may answer (413, say) and close while we are still sending.  Our next write then
        fails, and the loop closes its descriptor with the answer unread in it.  The answer stays
        readable through this one.
        """
        transport = self.pipe.transport
        sock = sockets.raw(transport) if transport is not None else None
        if sock is not None:
            try:
                self.spare = os.dup(sock.fileno())
            except OSError:
                self.spare = -1  # no descriptor to be had: then the answer may be lost, as it always was

    def drop_spare(self) -> None:
        """Give the second descriptor back."""
        if self.spare >= 0:
            os.close(self.spare)
            self.spare = -1

    def body_as(self, raw: bool) -> None:
        self.reader.body_as(raw)

    def mark_body(self, content_bytes: int) -> None:
        self.reader.mark(content_bytes)

    def content(self) -> int:
        return self.reader.content

    def release(self, reusable: bool) -> None:
        ex = self.ex
        self.ex = None
        if ex is not None:
            self.endpoint.active -= 1
            if not ex.request_done and self.due != 0:
                reusable = False  # the upstream would take what comes next for the rest of this request
        if self.spare >= 0:
            self.drop_spare()
        if self.pipe.full:
            reusable = False  # part of a request still waits to be sent
        if not reusable or self.lost or not self.reader.idle or not self.reader.head.keep_alive:
            self.shut()
            return
        if self.pipe.reasons:
            self.pipe.resume(~0)
        target = self.target
        if target.waiting:
            if target.keep(self.endpoint, self):
                target.grant()
            else:
                self.shut()
        elif not target.keep(self.endpoint, self):
            self.shut()

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        self.lost = True
        self.pipe.reset(self.uses > 0)

    def close(self) -> None:
        self.lost = True
        self.pipe.close()

    def shut(self) -> None:
        self.lost = True  # the loop tells of its end only later: until then nobody may be given it
        self.target.forget(self.endpoint, self)
        self.pipe.close()

    def pause(self, reason: int) -> None:
        self.pipe.pause(reason)

    def resume(self, reason: int) -> None:
        self.pipe.resume(reason)
