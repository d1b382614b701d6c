"""One exchange's side on an upstream's HTTP/2 connection."""

from typing import Any

from proxy import errors
from proxy.exchange import BY_PEER, Exchange, Shaping, UpstreamSide
from proxy.http2.body import StreamBody
from proxy.http2.forwarding import block_for, extra_for
from proxy.http2.heads import block_of_lines
from proxy.http2.link import Link, Sender
from proxy.net.pool import Endpoint, Upstream
from proxy.path import end, response_body, response_head
from proxy.performer import Then
from proxy.wire.body import BodyReader
from proxy.wire.h1 import BODY, END, MARK
from proxy.wire.h1_head import NO_BODY, Head
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import REFUSED_STREAM
from proxy.wire.h2_streams import Stream
from rules.actions import CANCEL
from rules.snapshot import Snapshot


class UpstreamStream(UpstreamSide):
    """A request that goes, and its answer that comes, on one stream.  Defaults stand in the class."""

    ex: Exchange | None = None
    credited: int = 0
    full: bool = False  # the client was asked to slow down
    lost: bool = False  # nothing more comes, and the answer is not complete
    since: float = 0.0  # when the answer, or what waited for the upstream's window, last moved

    def __init__(self, link: Link, stream: Stream, target: Upstream, endpoint: Endpoint, again: Then) -> None:
        self.link: Link = link
        self.stream: Stream = stream
        self.target: Upstream = target
        self.endpoint: Endpoint = endpoint
        self.again: Then = again  # sends an exchange once more, on another connection
        self.incoming: StreamBody = StreamBody()
        self.head: Head | None = None  # has come and was not handed on
        self.reasons: int = 0  # why the answer's body is not taken, bits of BY_*
        self.advancing: bool = False
        self.kept: bool = False  # what comes has to wait for one of these, or behind what has come before
        self._sender: Sender | None = None

    @property
    def sender(self) -> Sender:
        """What keeps the request's last piece back: made when it is first asked for, as most have no body."""
        made = self._sender
        if made is None:
            made = self._sender = Sender(self.link, self.stream)
        return made

    def begin(self, ex: Exchange) -> None:
        """Send the head of a request; the body may follow."""
        self.ex = ex
        ex.upstream = self
        ex.attempts += 1
        self.endpoint.active += 1
        self.since = self.stream.opened_at
        altered = ex.altered
        if altered is None or altered.slow_request is None:
            self.send_head(ex)
        else:
            self._send_head_slowly(ex, altered.slow_request)
        if not self.link.marked:
            self.link.mark()
        ex.body_open = True
        if ex.request_done:
            ex.sent_at = self.since
        else:
            ex.client.bare_body()
            ex.client.go_on_reading()

    def send_head(self, ex: Exchange) -> None:
        """Send the request's head."""
        self.link.codec.send_headers(self.stream, block_for(ex), extra_for(ex), ex.request_done)

    def _send_head_slowly(self, ex: Exchange, slow: Shaping) -> None:
        """Send the request's head in parts, unless the connection is busy with another one."""
        slowly = self.link.set_apart()
        self.send_head(ex)
        if slowly:
            slow.feed(self.link.take_apart())

    def head_part(self, data: bytes, last: bool) -> None:
        self.link.send_apart(data, last)

    def head_cut(self, rest: bytes) -> None:
        self.link.send_apart(rest, True)

    def body(self, piece: bytes) -> None:
        ex = self.ex
        if self.sender.push(piece) and ex is not None:
            self.full = True
            self.since = ex.worker.timers.now()
            ex.client.pause(BY_PEER)

    def last(self, piece: bytes) -> None:
        if self._sender is not None:
            self._sender.last(piece)
        else:
            link = self.link
            link.codec.send_data(self.stream, piece, True)
            if not link.marked:
                link.mark()
        ex = self.ex
        if ex is not None:
            ex.sent_at = ex.worker.clock()

    def end(self, reader: BodyReader) -> None:
        trailers: Block | None = None
        if isinstance(reader, StreamBody):
            trailers = reader.block
        elif reader.trailers:
            trailers = block_of_lines(reader.trailers)
        self.sender.finish(trailers)
        ex = self.ex
        if ex is not None:
            ex.sent_at = ex.worker.timers.now()

    def cut_body(self) -> None:
        self.sender.finish(None)
        ex = self.ex
        if ex is not None:
            ex.sent_at = ex.worker.timers.now()

    def writable(self) -> None:
        """The upstream's window let some of what waited go out."""
        code = self.sender.parted()
        if code >= 0:
            self._reset(code)
        self.since = self.link.codec.now
        if self.full and self.stream.queued == 0:
            self.full = False
            if self.ex is not None:
                self.ex.client.resume(BY_PEER)

    # --- the answer

    def took_head(self, head: Head, ended: bool) -> None:
        """The answer's head has come; ``ended``: that is all."""
        ex = self.ex
        if ended:
            self.incoming.end(None)
        elif ex is not None and self._flows(ex):
            response_head.enter(ex, head)
            return
        self.kept = True
        self.head = head
        self.go_on_reading()

    def took_content(self, piece: bytes, ended: bool) -> None:
        """Content of the answer has come; ``ended``: the last."""
        ex = self.ex
        incoming = self.incoming
        if ex is None or ex.plan is not None or not self._flows(ex):
            self.kept = True
            incoming.put(piece)
            if ended:
                incoming.end(None)
            self.go_on_reading()
            return
        size = len(piece)
        incoming.content += size  # nothing asks about it: it need not lie here on its way
        if not ended:
            ex.client.body(piece)
            self.credited += size
            self.link.codec.credit(self.stream, size)
            return
        incoming.pass_end()
        ex.client.last(piece)
        response_body.finish(ex, incoming)

    def took_end(self, trailers: Block | None) -> None:
        """The answer has ended behind what came."""
        ex = self.ex
        incoming = self.incoming
        incoming.end(trailers)
        if ex is not None and ex.plan is None and self._flows(ex):
            incoming.pass_end()
            response_body.finish(ex, incoming)
        else:
            self.kept = True
            self.go_on_reading()

    def _flows(self, ex: Exchange) -> bool:
        """Tell whether nothing came before and nothing holds back what comes now."""
        return not (self.kept or ex.response_held or ex.over or ex.response_shaping is not None)

    def go_on_reading(self) -> None:
        ex = self.ex
        if self.advancing or ex is None:
            return
        self.advancing = self.kept = True
        try:
            while self._step(ex):
                pass
        finally:
            self.advancing = False
            self.kept = self.reasons != 0 or self.head is not None or not self.incoming.empty
        self._credit()

    def _credit(self) -> None:
        """Tell the upstream, in time, that its window is free again."""
        passed = self.incoming.content - self.credited
        if passed:
            self.credited += passed
            self.link.codec.credit(self.stream, passed)
            self.link.mark()

    def _step(self, ex: Exchange) -> bool:
        """Hand one thing on; False: nothing more for now."""
        if ex.over or ex.response_held or self.reasons:
            return self._step_held(ex)
        head = self.head
        if head is not None:
            self.head = None
            response_head.enter(ex, head)
            return True
        incoming = self.incoming
        event = incoming.next()
        if event == BODY:
            response_body.piece(ex, incoming.piece)
            return True
        if event == END:
            response_body.finish(ex, incoming)
            return False
        if event == MARK:
            response_body.mark(ex, incoming.content)
            return True
        if self.lost:
            end.fail(ex, errors.UPSTREAM_RESET if ex.response is None else errors.UPSTREAM_TRUNCATED)
        return False

    def _step_held(self, ex: Exchange) -> bool:
        """Read ahead, or pass on what was read so; False: nothing more for now."""
        if ex.altered is None or ex.over or self.reasons:
            return False
        if response_body.step_held(ex, self.incoming):
            return True
        whole = ex.altered.response
        if self.lost and whole is not None and not whole.decided:
            end.fail(ex, errors.UPSTREAM_RESET)
        return False

    def was_reset(self, code: int, unseen: bool) -> None:
        """The stream is over; ``unseen``: the upstream says that it did nothing of it."""
        ex = self.ex
        if ex is not None and self.incoming.ended:
            return  # its answer is complete
        self.lost = True
        if ex is None:
            self.stream.owner = None
            self._grant()
            return
        # A body that was sent is not held, so that it could be sent once more.
        fresh = ex.response is None and self.head is None and ex.head.framing == NO_BODY
        refused = unseen or code == REFUSED_STREAM
        if refused and fresh and ex.request_done and ex.attempts <= 2:
            self.target.cells.retries += 1
            ex.upstream = None
            self.release(False)
            self.again.carry_on(ex)
        elif refused and ex.response is None and self.head is None:
            end.fail(ex, errors.UPSTREAM_REFUSED)
        else:
            self.go_on_reading()

    def body_as(self, raw: bool) -> None:
        pass  # there is no framing to keep

    def mark_body(self, content_bytes: int) -> None:
        self.kept = True
        self.incoming.mark(content_bytes)

    def content(self) -> int:
        return self.incoming.content

    # --- the end

    def release(self, reusable: bool) -> None:
        if self.ex is not None:
            self.ex = None
            self.endpoint.active -= 1
        stream = self.stream
        if stream.closed:
            stream.owner = None  # no cycle: what came and was not passed on is free at once
        elif self.sender.parting < 0:
            self.end_stream()
        self._grant()

    def _grant(self) -> None:
        """The place of a stream may have become free."""
        if self.target.waiting:
            self.target.grant()

    def end_stream(self) -> None:
        """See that the stream is over: the exchange is."""
        self.sender.settle()
        self._reset(CANCEL)  # nothing where it has ended

    def leave(self) -> None:
        self.sender.part(CANCEL)

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        if connection:
            self.sender.settle()
            self.link.reset(True)  # the rest follows when the loop tells that the connection is gone
        elif not self.sender.part(code):  # else its window is the upstream's to open
            self._reset(code)

    def _reset(self, code: int) -> None:
        """End the stream now, if it has not ended."""
        codec = self.link.codec
        codec.now = self.link.timers.now()
        codec.reset(self.stream, code)
        if self.ex is None:
            self.stream.owner = None  # no cycle: what came and was not passed on is free at once
            self._grant()
        self.link.mark()

    def close(self) -> None:
        self.reset()

    def shut(self) -> None:
        self.reset()

    def pause(self, reason: int) -> None:
        self.kept = True
        self.reasons |= reason

    def resume(self, reason: int) -> None:
        self.reasons &= ~reason
        if not self.reasons:
            self.go_on_reading()

    def tunnel(self, ex: Exchange) -> None:
        raise NotImplementedError("no switch of protocols was asked for, see upstream_tunnel")

    # --- time

    def sweep(self, now: float) -> None:
        ex = self.ex
        if ex is None:
            code = self.sender.overdue(now)
            if code >= 0:
                self._reset(code)
            return
        if ex.holding is not None:
            self.since = now
        elif ex.response is None:
            if ex.sent_at > 0.0 and now - max(ex.sent_at, self.since) > self.target.response_timeout:
                end.fail(ex, errors.RESPONSE_TIMEOUT)
            elif self.full and now - self.since > self.target.idle_timeout:
                end.fail(ex, errors.UPSTREAM_NOT_READING)
        elif not self.reasons and now - self.since > self.target.idle_timeout:
            end.fail(ex, errors.UPSTREAM_IDLE)

    def rules_changed(self, before: Snapshot) -> None:
        pass

    def idle(self) -> bool:
        return self.ex is None

    def describe(self) -> dict[str, Any]:
        ex = self.ex
        return {
            "stream": self.stream.sid,
            "request_id": ex.request_id.decode("latin-1") if ex is not None else None,
        }
