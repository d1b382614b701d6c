"""A client's stream that asks for a WebSocket, and is its end of the tunnel then (RFC 8441)."""

from typing import Any

from proxy import errors
from proxy.exchange import Exchange, Passing
from proxy.farewell import part
from proxy.http2.client_stream import ClientStream
from proxy.http2.conduit import ClientConduit
from proxy.http2.heads import request_head
from proxy.http2.link import Carrier, Link
from proxy.net.pipe import Conduit
from proxy.path import end
from proxy.path.request_head import Intake
from proxy.tunnel import Tunnel
from proxy.wire.errors import ProtocolError
from proxy.wire.h1_head import Head
from proxy.wire.h2_block import Block
from proxy.wire.h2_streams import Stream
from proxy.wire.websocket import WEBSOCKET
from rules.actions import CANCEL


class ClientTunnelStream(ClientStream):
    """Its request has no body: what comes before the answer waits, bounded by the stream's window."""

    def __init__(self, carrier: Carrier, link: Link, stream: Stream, intake: Intake) -> None:
        super().__init__(carrier, link, stream)
        self.intake: Intake = intake
        self.spoken: float = link.timers.now()  # when bytes last passed, either way
        self.conduit: ClientConduit | None = None
        self.passing: Tunnel | None = None
        self.cut: bool = False  # RST_STREAM was sent, or is to be

    def begin(self, block: Block, ended: bool) -> None:
        """Make CONNECT for a WebSocket an exchange; any other is refused, as in HTTP/1.1."""
        intake = self.intake
        self.stream.owner = self
        self.stream.faulted = intake.behind
        ex = intake.begin(self, request_head(block, intake.live.request_names, True))
        self.ex = ex
        ex.request_done = True
        if ended:
            self.incoming.end(None)
        if block.protocol.lower() == WEBSOCKET:
            intake.plan(ex)
            intake.enter(ex)
        else:
            text = "CONNECT is served for websocket alone" if block.protocol else "CONNECT is not served"
            end.fail(ex, errors.refused_request("connect", 501, text))

    def go_on_reading(self) -> None:
        if self.conduit is not None:
            self.conduit.read()

    def head(self, ex: Exchange, head: Head) -> bool:
        if 200 <= head.status < 300 and not head.tunnel:
            raise ProtocolError(
                502, "no_switch", "a WebSocket is refused by an answer that means yes in HTTP/2"
            )
        return super().head(ex, head)

    def writable(self) -> None:
        super().writable()
        if self.conduit is not None:
            self.conduit.writable()

    def tunnel(self, ex: Exchange, upstream: Conduit) -> Passing:
        self.intake.listener.cells.upgraded += 1
        conduit = ClientConduit(self.link, self.stream, self.sender, self.incoming)
        passing = Tunnel(ex, conduit, upstream, end.ENDING)
        conduit.passing = passing
        self.conduit = conduit
        self.passing = passing
        ex.passing = passing
        conduit.read()
        return passing

    # --- the end

    def over(self, ex: Exchange) -> None:
        super().over(ex)
        passing = self.passing
        answered = self.whole or (passing is not None and passing.down.closed)
        if answered and not self.cut and not self.stream.recv_ended:
            self.sender.settle()
            self.unwanted = True
            self._decline()
            self.link.mark()

    def end_tunnel(self) -> None:
        passing = self.passing
        if passing is not None and not passing.down.closed:
            passing.down.closed = True
            self.sender.finish(None)

    def reset(self, code: int = CANCEL, connection: bool = False) -> None:
        self.cut = True
        super().reset(code, connection)

    def lost(self, reset: bool, kind: str = "") -> None:
        passing = self.passing
        if passing is None:
            super().lost(reset, kind)
        else:
            if not reset and self.conduit is not None:
                self.conduit.read_out()
            passing.client_lost(reset)

    def shut(self) -> None:
        pass  # both ways have ended: what waits for the client's window may still go

    # --- what the connection asks

    def sweep(self, now: float) -> None:
        super().sweep(now)
        ex = self.ex
        passing = self.passing
        if ex is None or passing is None:
            return
        if passing.moved() or ex.holding is not None:
            self.spoken = now
        elif now - self.spoken > self.intake.listener.idle_timeout:
            self.reset()
            passing.client_lost(True)

    def drain(self) -> bool:
        passing = self.passing
        if passing is not None:
            part(passing)
        return True

    def describe(self) -> dict[str, Any]:
        view = super().describe()
        if self.passing is not None:
            view["state"] = "tunnel"
        return view
