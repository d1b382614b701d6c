"""One exchange's side on a client's HTTP/2 connection."""

from typing import Any, Final

from proxy import errors
from proxy.exchange import BY_PEER, ClientSide, Exchange, Passing, Shaping
from proxy.http2 import answers
from proxy.http2.body import StreamBody
from proxy.http2.heads import block_of_lines, response_block, with_status
from proxy.http2.link import MOST_QUEUED, Carrier, Link, Sender
from proxy.metrics.calls import status_of
from proxy.net.pipe import Conduit
from proxy.net.timers import Callback
from proxy.path import end, request_body
from proxy.wire.body import BodyReader
from proxy.wire.h1_head import NO_BODY, Head
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM
from proxy.wire.h2_streams import Stream
from proxy.wire.hpack_encode import literal
from rules.actions import CANCEL, Answer, Disturb, EndCall, GoAway
from rules.compiled import CompiledRule
from rules.snapshot import Snapshot

# A client has so long (seconds) to read what came before an end: curl throws away the head and the
# content of a stream whose RST_STREAM, or GOAWAY, it reads together with them.
_TO_READ: Final = 0.015

_NO_FIELDS: Final = Block.of([])
_EMPTY: Final = Answer(200, [], b"")


class ClientStream(ClientSide):
    """A request that comes, and its answer that goes, on one stream.  Defaults stand in the class."""

    ex: Exchange | None = None
    credited: int = 0
    reasons: int = 0  # why the request's body is not taken, bits of BY_*
    full: bool = False  # the upstream was asked to slow down
    advancing: bool = False
    disturbed: bool = False  # a rule does something to this stream or its connection
    whole: bool = False  # the answer's end was sent
    unwanted: bool = False  # it came before the request was complete: the rest is not wanted
    moved: bool = True  # some of what waits for the client has gone out since the last sweep,
    since: float = 0.0  # or did so then

    def __init__(self, carrier: Carrier, link: Link, stream: Stream) -> None:
        self.carrier: Carrier = carrier
        self.link: Link = link
        self.stream: Stream = stream
        self._incoming: StreamBody | None = None
        self._sender: Sender | None = None

    @property
    def incoming(self) -> StreamBody:
        """The request's body: made when it is first asked for, as most requests have none."""
        made = self._incoming
        if made is None:
            made = self._incoming = StreamBody()
        return made

    @property
    def sender(self) -> Sender:
        """What keeps the answer's last piece back: an answer that came whole needs none."""
        made = self._sender
        if made is None:
            made = self._sender = Sender(self.link, self.stream)
        return made

    # --- the request

    def took_content(self, piece: bytes, ended: bool) -> None:
        """Content of the request has come; ``ended``: the last."""
        ex = self.ex
        if ended and self._incoming is None and ex is not None and self._flows(ex):
            request_body.whole(ex, piece)
            return
        incoming = self.incoming
        if ex is None or not incoming.empty or not self._flows(ex):
            incoming.put(piece)
            if ended:
                incoming.end(None)
            self.go_on_reading()
            return
        incoming.content += len(piece)  # nothing asks about it: it need not lie here on its way
        upstream = ex.upstream
        if upstream is not None:
            upstream.body(piece)
        if ended:
            incoming.pass_end()
            request_body.finish(ex, incoming)
        else:
            self._credit()

    def _flows(self, ex: Exchange) -> bool:
        """Tell whether no rule is there and nothing holds back what comes now."""
        if ex.plan is not None or ex.request_shaping is not None or self.advancing or self.reasons:
            return False
        return ex.body_open and not (ex.body_held or ex.over or ex.request_done)

    def go_on_reading(self) -> None:
        ex = self.ex
        if self.advancing or ex is None or (self._incoming is None and ex.altered is None):
            return  # nothing has come yet, or all of it has gone on at once
        self.advancing = True
        try:
            while not self.reasons and not ex.over and not ex.request_done:
                if not request_body.step(ex, self.incoming):
                    break
        finally:
            self.advancing = False
        self._credit()

    def _credit(self) -> None:
        """Tell the client, in time, that its window is free again."""
        passed = self.incoming.content - self.credited
        if passed:
            self.credited += passed
            self.link.codec.credit(self.stream, passed)
            self.link.mark()

    def bare_body(self) -> None:
        pass  # there is no framing to leave away

    def pause(self, reason: int) -> None:
        self.reasons |= reason

    def resume(self, reason: int) -> None:
        self.reasons &= ~reason
        if not self.reasons:
            self.go_on_reading()

    # --- the answer

    def head(self, ex: Exchange, head: Head) -> bool:
        extra = b""
        if ex.proofs is not None:
            for field in block_of_lines(b"".join(ex.proofs)).fields:
                extra += literal(field.name, field.value)
        block = response_block(head)
        ended = head.framing == NO_BODY and not head.tunnel
        self.whole = ended
        if ended and ex.head.grpc:
            ex.grpc_status = status_of(block.get(b"grpc-status"))
        link = self.link
        link.codec.send_headers(self.stream, block, extra, ended)
        if not link.marked:
            link.mark()
        return False

    def head_slowly(self, ex: Exchange, head: Head, slow: Shaping) -> None:
        slowly = self.link.set_apart()
        try:
            self.head(ex, head)
        finally:
            data = self.link.take_apart() if slowly else b""
        if slowly:
            slow.feed(data)

    def head_part(self, data: bytes, last: bool) -> None:
        self.link.send_apart(data, last)

    def head_cut(self, rest: bytes) -> None:
        self.link.send_apart(rest, True)

    def interim(self, ex: Exchange, head: Head) -> None:
        self.link.codec.send_headers(self.stream, response_block(head))
        self.link.mark()

    def body(self, piece: bytes) -> None:
        ex = self.ex
        if self._sender is None and ex is not None and ex.head.grpc:
            link = self.link  # trailers are to follow: no piece has to be kept back as it may be the last
            full = link.codec.send_data(self.stream, piece) > MOST_QUEUED
            if not link.marked:
                link.mark()
        else:
            full = self.sender.push(piece)
        if full and ex is not None and ex.upstream is not None:
            self.full = True
            ex.upstream.pause(BY_PEER)

    def writable(self) -> None:
        """The client's window let some of what waited go out."""
        self.moved = True
        self._decline()
        ex = self.ex
        code = self.sender.parted()
        if code >= 0:
            self.link.timers.after(_TO_READ, _Parting(self, code, None))
        if self.full and self.stream.queued == 0:
            self.full = False
            if ex is not None and ex.upstream is not None:
                ex.upstream.resume(BY_PEER)

    def last(self, piece: bytes) -> None:
        self.whole = True
        if self._sender is not None:
            self._sender.last(piece)
            return
        link = self.link
        link.codec.send_data(self.stream, piece, True)
        if not link.marked:
            link.mark()

    def end(self, reader: BodyReader) -> None:
        if self.whole:
            return
        self.whole = True
        trailers: Block | None = None
        if isinstance(reader, StreamBody):
            trailers = reader.block
        elif reader.trailers:
            trailers = block_of_lines(reader.trailers)
        ex = self.ex
        if trailers is not None and ex is not None and ex.head.grpc:
            ex.grpc_status = status_of(trailers.get(b"grpc-status"))
        if trailers is None or self._sender is not None:
            self.sender.finish(trailers)
            return
        link = self.link
        link.codec.send_trailers(self.stream, trailers)
        if not link.marked:
            link.mark()

    def answer(self, ex: Exchange, answer: Answer, extra: bytes) -> None:
        if ex.proofs is not None:
            extra += b"".join(ex.proofs)
        codec = self.link.codec
        self.whole = True
        if ex.head.grpc:
            ex.grpc_status = answers.grpc_status_of(answer)
            head = answers.grpc_head(answer, extra)
            trailers = answers.grpc_trailers(answer)
            if answer.trailers_only:
                codec.send_headers(self.stream, answers.together(head, trailers), b"", True)
            else:
                codec.send_headers(self.stream, head)
                codec.send_trailers(self.stream, trailers)
        else:
            body = b"" if ex.head.method == b"HEAD" else answer.body
            trailed = len(answer.trailers) > 0
            codec.send_headers(self.stream, answers.plain(answer, extra), b"", not body and not trailed)
            if body:
                codec.send_data(self.stream, body, not trailed)
            if trailed:
                codec.send_trailers(self.stream, answers.trailers(answer))
        self.link.mark()

    def cut_body(self) -> None:
        self.whole = True
        self.sender.finish(None)

    def end_call(self, ex: Exchange, end: EndCall) -> None:
        self.whole = True
        ex.grpc_status = status_of(end.status or None)
        trailers = with_status(_NO_FIELDS, end.status, end.message)
        if ex.response is None:
            proofs = b"" if ex.proofs is None else b"".join(ex.proofs)
            head = answers.grpc_head(_EMPTY, proofs)
            self.link.codec.send_headers(self.stream, answers.together(head, trailers), b"", True)
            self.link.mark()
        else:
            self.sender.finish(trailers if trailers.fields else None)

    # --- the end

    def over(self, ex: Exchange) -> None:
        self.ex = None
        if self.disturbed:
            self.carrier.rest(self.stream)
        stream = self.stream
        # Where content-length is met only the end of the stream is missing, and that is on its way: Node's
        # clients take RST_STREAM for an answer that was aborted.
        if not ex.request_done and self.whole and stream.received != stream.expected:
            self.sender.settle()
            self.unwanted = True
            self._decline()
        if not self.link.marked:
            self.link.mark()
        self.carrier.done(stream)

    def _decline(self) -> None:
        """Tell the client, behind the answer, that its request is not wanted (RFC 9113, section 8.1)."""
        if self.unwanted and self.stream.send_ended:
            self.link.codec.reset(self.stream, NO_ERROR)

    def broken(self) -> None:
        self._reset(INTERNAL_ERROR)

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        self.sender.settle()
        if connection:
            self.carrier.reset()
        elif self.ex is None or self.ex.response is None:
            self._reset(code)
        elif not self.sender.part(code):  # else its window is the client's to open
            self.link.timers.after(_TO_READ, _Parting(self, code, None))

    def refuse(self, ex: Exchange) -> bool:
        if ex.head.grpc:  # the libraries of gRPC send such a call once more, unseen by who made it
            self._reset(REFUSED_STREAM)
        return ex.head.grpc

    def end_by(self, code: int) -> None:
        """Send RST_STREAM now."""
        self._reset(code)

    def _reset(self, code: int) -> None:
        self.sender.settle()
        self.link.codec.reset(self.stream, code)
        self.link.mark()

    def close(self, goaway: GoAway | None = None) -> None:
        self.sender.settle()
        self.link.mark()
        if self.ex is None or self.ex.response is None:
            self.carrier.cut(self.stream, goaway)
        else:
            self.link.timers.after(_TO_READ, _Parting(self, -1, goaway))

    def faulted(self) -> None:
        self.stream.faulted = True

    def unannounced(self) -> None:
        self.link.unannounced()

    def disturb(self, action: Disturb, rule: CompiledRule) -> None:
        self.disturbed = True
        self.carrier.disturb(action, rule, self.stream)

    def dismiss(self, goaway: GoAway) -> None:
        self.carrier.dismiss(goaway)

    def shut(self) -> None:
        self._reset(NO_ERROR)

    def tunnel(self, ex: Exchange, upstream: Conduit) -> Passing:
        raise NotImplementedError("no switch of protocols was asked for, see client_tunnel")

    def lost(self, reset: bool, kind: str = "") -> None:
        """The client has given the stream up (``reset``: by an error), or its connection is gone.

        ``kind``: we had to reset it, for what came on it.
        """
        if self.ex is not None:
            end.gone(self.ex, errors.refused_request(kind, 400, "") if kind else errors.CLIENT_CLOSED)

    # --- what only whole connections do

    def sweep(self, now: float) -> None:
        if self.moved or self.stream.queue is None:
            self.moved = False
            self.since = now
        sender = self._sender
        if sender is not None and (code := sender.overdue(now)) >= 0:
            self._reset(code)

    def rules_changed(self, before: Snapshot) -> None:
        pass

    def idle(self) -> bool:
        return self.ex is None

    def drain(self) -> bool:
        return True  # it ends by itself

    def describe(self) -> dict[str, Any]:
        ex = self.ex
        if ex is None:
            return {"stream": self.stream.sid}
        return {
            "stream": self.stream.sid,
            "request_id": ex.request_id.decode("latin-1"),
            "method": ex.head.method.decode("latin-1"),
            "host": ex.head.host.decode("latin-1"),
            "path": ex.head.path.decode("latin-1"),
            "upstream": ex.target.name if ex.target is not None else "",
            "held_by": [h.name for held in ex.holding or [] if (h := held.rule_now()) is not None],
        }


class _Parting(Callback):
    """The end of a stream, or of its connection, behind a part of the answer."""

    def __init__(self, side: ClientStream, code: int, goaway: GoAway | None) -> None:
        self.side: ClientStream = side
        self.code: int = code  # of RST_STREAM; -1: the connection ends
        self.goaway: GoAway | None = goaway

    def fire(self) -> None:
        side = self.side
        if self.code < 0:
            side.carrier.cut(side.stream, self.goaway)
        else:
            side.end_by(self.code)
