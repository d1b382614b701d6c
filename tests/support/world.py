"""A whole proxy on pretended sockets, with clients and upstreams that do what a test tells them.

Sockets behave as the loop's do: a connection that was closed hears of its end only later, nobody is given
bytes while reading is paused, and an upstream may take its time to be reached.  ``check`` says what must hold
at any moment, ``end`` lets everybody go and says what must hold then.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import h11

from tests.support.fakes import FakeLoop, FakeTransport, Stage

REQUEST = re.compile(rb"([A-Z]+) \S+ HTTP/1\.1\r\n")
TALK = bytes(range(97, 123)) * 40  # what passes through tunnels, either way


class Socket(FakeTransport):
    """One end of a connection: what it was told, and what waits to be sent."""

    def __init__(self, peer: tuple[str, int]) -> None:
        super().__init__(peer)
        self.todo = b""
        self.got = b""
        self.gone = False  # the protocol knows that the connection is lost
        self.silent = False  # the peer has sent FIN
        self.full = False
        self.asked: list[tuple[bytes, bytes]] = []  # of a client: method and version of each request
        self.answered = 0  # of an upstream
        self.talked = 0  # bytes of TALK that were sent in a tunnel
        self.tunnel = False
        self.endless = False  # of an upstream: it has begun what only its end ends

    @property
    def readable(self) -> bool:
        return not (self.gone or self.closing or self.paused or self.silent)

    def note(self) -> None:
        """Take what was written."""
        self.got += self.taken()

    def send(self, size: int) -> None:
        """The peer sends some of what waits."""
        data, self.todo = self.todo[:size], self.todo[size:]
        if data:
            self.gives(data)

    def fin(self) -> None:
        """The peer sends FIN: the loop closes unless the protocol wants to go on writing."""
        self.silent = True
        if not self.protocol.eof_received():
            self.closing = True

    def lose(self, error: Exception | None) -> None:
        """The loop tells that the connection is gone."""
        if not self.gone:
            self.gone = True
            self.lost(error)


class SlowLoop(FakeLoop):
    """Reaches upstreams at once, or when told, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.pending: list[asyncio.Future[None]] = []
        self.sockets: list[Socket] = []

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> Any:
        if self.refuse is not None:
            raise self.refuse
        if self.slow:
            reached = asyncio.get_running_loop().create_future()
            self.pending.append(reached)
            await reached
        socket = Socket((host, port))
        socket.protocol = factory()
        self.sockets.append(socket)
        socket.protocol.connection_made(socket)
        return socket, socket.protocol


class World:
    """The proxy, its clients and its upstreams."""

    def __init__(self, rules: str, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.stage = Stage(rules, **options)
        self.net = SlowLoop()
        self.stage.loop = self.net
        self.stage.worker.loop = self.net  # type: ignore[assignment]
        self.clients: list[Socket] = []
        self.bodies: set[bytes] = {b""}  # of whole answers
        self.states = list(self.stage.snapshot.by_name.values())

    def do(self, what: Callable[[], object]) -> None:
        """Do something on the loop, and let it turn."""

        async def run() -> None:
            what()
            await self.stage.turn()
            while len(self.stage.worker.tasks) > len(self.net.pending):
                await self.stage.turn()  # pipelined requests may dial one after the other

        self.loop.run_until_complete(run())
        for socket in self.sockets():
            socket.note()

    def sockets(self) -> list[Socket]:
        return self.clients + self.net.sockets

    def connect(self) -> None:
        """A client connects."""
        from proxy.path.accept import Door

        client = Socket(("192.0.2.7", 4242))
        client.protocol = Door(self.stage.worker, self.stage.listener).protocol()
        self.clients.append(client)
        self.do(lambda: client.protocol.connection_made(client))

    def change(self, rules: str, stopped: bool) -> None:
        """Put other rules in force."""
        self.do(lambda: self.stage.change_rules(rules, stopped))
        self.states += self.stage.snapshot.by_name.values()

    def tell_ends(self) -> None:
        """The loop tells of the ends of connections that were closed."""
        for socket in self.sockets():
            if socket.closing:
                self.do(lambda socket=socket: socket.lose(None))  # type: ignore[misc]

    @property
    def closes(self) -> bool:
        """Whether a fault has sent a FIN, which is the regular end of an answer to HTTP/1.0."""
        acted = [zip(rule.rule.faults, rule.state.injected, strict=True) for rule in self.states]
        return any(times and one.fault.KIND in ("close", "stall") for rule in acted for one, times in rule)

    # --- what must hold

    def check(self) -> None:
        """Compare the accounts with what there is."""
        worker = self.stage.worker
        cells = worker.cells
        assert cells.internal_errors == 0, self.stage.logged("internal_error")
        assert cells.waiting == len(worker.waiting)
        begun = sum(client.protocol.intake.requests for client in self.clients)
        route = cells.route("web", "app")
        assert sum(route.statuses) + route.active == begun
        assert route.active == sum(client.protocol.ex is not None for client in self.clients)
        assert self.stage.listener.cells.open == sum(not client.gone for client in self.clients)
        upstream = self.stage.upstream
        assert upstream.open == sum(not socket.gone for socket in self.net.sockets) + len(self.net.pending)
        assert upstream.cells.queued == len(upstream.waiting)
        idle: list[Any] = [connection for endpoint in upstream.endpoints for connection in endpoint.idle]
        assert len(set(idle)) == len(idle) == upstream.cells.idle
        alive = [socket.protocol for socket in self.net.sockets if not socket.closing]
        assert all(connection in alive and connection.ex is None for connection in idle)
        for client in self.clients:
            check_answers(client, self.bodies, self.closes)
        for socket in self.net.sockets:
            check_requests(socket)

    def end(self) -> None:
        """Everybody leaves: nothing is left behind."""
        for reached in self.net.pending:
            self.do(lambda reached=reached: reached.done() or reached.set_exception(OSError(111, "no")))  # type: ignore[misc]
        self.net.pending = []
        for socket in self.sockets():
            self.do(lambda socket=socket: socket.lose(None))  # type: ignore[misc]
        self.do(lambda: self.stage.timers.advance(100))
        for socket in self.net.sockets:
            self.do(lambda socket=socket: socket.lose(None))  # type: ignore[misc]
        self.check()
        worker = self.stage.worker
        assert worker.cells.route("web", "app").active == 0
        assert not worker.waiting
        assert not worker.connections
        assert self.stage.upstream.open == self.stage.upstream.cells.queued == 0
        assert [endpoint.active for endpoint in self.stage.upstream.endpoints] == [0] * len(
            self.stage.upstream.endpoints
        )
        assert self.stage.timers.armed == 0
        for rule in self.states:
            tallies = [rule.state.tally, *(fault.tally for fault in rule.state.faults)]
            assert [tally.active for tally in tallies] == [0] * len(tallies), rule.name
            kept = [fault.limits for fault in rule.state.faults if fault.limits is not None]
            assert [limits.under_way() for limits in kept] == [[0, 0, 0]] * len(kept), rule.name
        access = [line for line in self.stage.logged("access") if line["request_id"]]
        assert len({line["request_id"] for line in access}) == len(access)
        assert len(access) == sum(worker.cells.route("web", "app").statuses)

    def close(self) -> None:
        self.stage.log.close()
        self.loop.close()


def check_answers(client: Socket, bodies: set[bytes], closes: bool) -> None:
    """What a client got is whole answers, one for each request in order, or it was visibly cut."""
    rest = client.got
    for method, version in client.asked[: client.protocol.intake.requests]:
        if not rest:
            return
        reader = h11.Connection(h11.CLIENT)
        upgrade = [("connection", "upgrade"), ("upgrade", "chat")] if method == b"CHAT" else []
        verb = b"GET" if method == b"CHAT" else method
        reader.send(h11.Request(method=verb, target="/", headers=[("host", "a"), *upgrade]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(rest)
        ended = client.ended or client.closing
        if ended and not client.aborted:
            reader.receive_data(b"")  # a FIN, as far as the client can see
        parts = closes and version == b"1.0"
        whole = read_answer(reader, bodies, version, ended, parts)
        if reader.their_state is h11.SWITCHED_PROTOCOL:
            assert TALK.startswith(reader.trailing_data[0])
            return
        if not whole:
            cut = ended or client.protocol.pipe.resetting
            assert cut or client.protocol.ex is not None, rest
            return
        rest = reader.trailing_data[0]
    # what is left answers something that was never a request
    assert not rest or re.match(rb"HTTP/1\.1 (400|408|503) ", rest), rest


def read_answer(reader: h11.Connection, bodies: set[bytes], version: bytes, ended: bool, parts: bool) -> bool:
    """Read one answer; True: it is there as a whole (``parts``: as far as anybody can tell)."""
    status, body = 0, b""
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError:
            assert ended  # cut short, and it shows
            return False
        if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
            return False
        if isinstance(event, h11.Response):
            status = event.status_code
            assert version == b"1.1" or b"chunked" not in dict(event.headers).values()
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            known = body in bodies or (parts and any(one.startswith(body) for one in bodies))
            ours = status in (200, 204, 304) and known
            assert ours or status >= 400, (status, body)
            return True


def check_requests(upstream: Socket) -> None:
    """What an upstream got is requests, whole but for the last."""
    rest = upstream.got
    assert b"x-misrule" not in rest
    while rest:
        reader = h11.Connection(h11.SERVER)
        reader.receive_data(rest)
        body, upgrade = b"", False
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Request):
                upgrade = (b"upgrade", b"chat") in event.headers.raw_items()
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        assert body in (b"", b"hello")
        rest = reader.trailing_data[0]
        if upgrade and upstream.tunnel:
            assert TALK.startswith(rest)
            return
