"""The DNS listener: passes the look-ups of applications on, and does to them what rules say."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

from proxy.dns import messages
from proxy.dns.messages import BadQuery, Query
from proxy.dns.resolvers import Resolvers
from proxy.metrics.cells import QueryCells
from proxy.net import sockets
from proxy.worker import Releasable, Worker
from rules import phases
from rules.actions import ShapeLookup
from rules.compiled import CompiledRule
from rules.facts import Facts
from rules.plan import Chosen
from rules.snapshot import Plan

NAME: Final = "dns"  # what ``match.listener`` calls it
MOST: Final = 1000  # questions under way at once; more are dropped, as an overloaded resolver drops them
MOST_STREAMS: Final = 200  # TCP connections at once
TRIES: Final = 10  # ports that the kernel may choose for TCP and have in use for UDP
IDLE: Final = 10.0  # seconds until a TCP connection without a question is closed (RFC 7766, section 6.2.3)

Reply = Callable[[bytes], None]


class DnsListener:
    """Serves one address over UDP and TCP."""

    def __init__(self, worker: Worker, resolvers: Resolvers, cells: QueryCells) -> None:
        self.worker = worker
        self.resolvers = resolvers
        self.cells = cells
        self.streams: set[_Stream] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._packets: asyncio.DatagramTransport | None = None
        self._server: asyncio.AbstractServer | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, on one port for both; gives it.  Raises OSError."""
        loop = asyncio.get_running_loop()
        bound, packets = _bind(host, port)
        where = bound.getsockname()
        try:
            self._server = await loop.create_server(lambda: _Stream(self), sock=bound)
        except OSError:
            bound.close()
            packets.close()
            raise
        self._packets, _ = await loop.create_datagram_endpoint(lambda: _Packets(self), sock=packets)
        self.resolvers.own = (where[0], where[1])
        return int(where[1])

    def close(self) -> None:
        """Stop at once."""
        if self._server is not None:
            self._server.close()
        if self._packets is not None:
            self._packets.close()
        for stream in list(self.streams):
            stream.close()
        for task in list(self._under_way):
            task.cancel()

    def take(self, packet: bytes, source: str, stream: bool, reply: Reply) -> "asyncio.Task[None] | None":
        """Begin with one packet of a client; gives what is under way by that, if anything."""
        try:
            query = messages.read(packet)
        except BadQuery as bad:
            self.cells.count("malformed")
            if bad.reply is not None:
                reply(bad.reply)
            return None
        if len(self._under_way) >= MOST:
            self.cells.count("dropped")
            return None
        return self._spawn(self._serve(query, source, stream, reply))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _serve(self, query: Query, source: str, stream: bool, reply: Reply) -> None:
        try:
            plan = self._plan(query, source)
            answer: bytes | None
            if plan is None:
                answer = await self.forward(query, stream)
            else:
                answer = await _Shaping(self, query, source, stream, plan).answer()
            self.cells.count("silence" if answer is None else messages.rcode_of(answer))
            if answer is not None:
                reply(answer if stream else messages.fit(query, answer))
        except Exception:  # one question must not take the listener along
            self.worker.bug(phases.NAMES[phases.RESOLVE])

    def _plan(self, query: Query, source: str) -> Plan | None:
        live = self.worker.live
        if not live.faulting:
            return None
        facts = Facts(NAME, source)
        facts.names = [query.name.encode()]
        facts.name_types = [query.kind.encode()]
        plan = live.snapshot.plan_lookup(facts)
        if plan is not None:
            for chosen in plan.shadowed:
                self.log(query, source, plan, chosen, True)
        return plan

    async def forward(self, query: Query, stream: bool) -> bytes:
        """Ask the resolvers; SERVFAIL where none of them answers, as any forwarder says."""
        answer = await self.resolvers.ask(query, stream)
        return messages.failed(query, "servfail") if answer is None else answer

    def log(self, query: Query, source: str, plan: Plan, chosen: Chosen, shadow: bool) -> None:
        """Write the line of what a rule did to a look-up, or would have done."""
        log = self.worker.log
        if log.wants_injected:
            log.event(
                "info",
                "shadow" if shadow else "injection",
                rule=chosen.rule.name,
                fault=chosen.fault.KIND,
                phase=phases.NAMES[chosen.fault.phase],
                version=plan.snapshot.version,
                listener=NAME,
                client=source,
                name=query.name,
                type=query.kind,
                ms=round(chosen.milliseconds, 3),
                shadow=shadow,
            )


def _bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind one port for TCP and UDP; of port 0 one that is free for both.  Raises OSError."""
    for left in reversed(range(TRIES)):
        stream = sockets.bind(host, port)
        packets = socket.socket(stream.family, socket.SOCK_DGRAM)
        try:
            packets.bind(stream.getsockname())
            break
        except OSError:
            stream.close()
            packets.close()
            if port or not left:
                raise
    return stream, packets


class _Shaping:
    """What rules make of one look-up."""

    def __init__(self, listener: DnsListener, query: Query, source: str, stream: bool, plan: Plan) -> None:
        self._listener = listener
        self._query = query
        self._source = source
        self._stream = stream
        self._plan = plan
        self._answer: bytes | None = None

    async def answer(self) -> bytes | None:
        """Give the answer, None where nothing is said."""
        try:
            for chosen in self._plan.phases[phases.RESOLVE] or []:
                action = chosen.fault.decide(Facts(NAME, self._source), chosen.dice)
                if isinstance(action, ShapeLookup) and not await self._perform(chosen, action):
                    return None if action.failure == "timeout" else self._answer
            return await self._known()
        finally:
            self._plan.release()

    async def _known(self) -> bytes:
        """Give the answer as it is so far, the resolvers' own where nothing else was said."""
        if self._answer is None:
            self._answer = await self._listener.forward(self._query, self._stream)
        return self._answer

    async def _perform(self, chosen: Chosen, shape: ShapeLookup) -> bool:
        """Carry out one fault; False: nothing comes after it."""
        waited = shape.seconds > 0.0
        if waited and not await self._wait(chosen, shape.seconds):
            self._prove(chosen)
            return True  # its rule went away meanwhile
        if shape.failure:
            if shape.failure != "timeout":
                self._answer = messages.failed(self._query, shape.failure)
            self._prove(chosen)
            return False
        acted = await self._change(shape)
        if acted or waited:
            self._prove(chosen)
        else:
            chosen.cancel()
        if shape.truncated and not self._stream:
            self._answer = messages.truncated(self._query)
            return False
        return True

    async def _change(self, shape: ShapeLookup) -> bool:
        """Make the answer another one; True: there was something to change."""
        query = self._query
        acted = shape.truncated and not self._stream
        if shape.addresses and messages.asks_address(query):
            self._answer = messages.told(query, shape.addresses, shape.ttl)
            acted = True
        elif shape.ttl >= 0 or shape.partial:
            made = messages.changed(query, await self._known(), shape.ttl, shape.partial)
            if made is not None:
                self._answer = made
                acted = True
        return acted

    def _prove(self, chosen: Chosen) -> None:
        self._plan.acted(chosen)
        self._listener.log(self._query, self._source, self._plan, chosen, False)

    async def _wait(self, chosen: Chosen, seconds: float) -> bool:
        """Wait; False: the rule went away."""
        worker = self._listener.worker
        before = worker.timers.now()
        held = _Held(chosen)
        worker.waiting[held] = None
        worker.cells.waiting += 1
        timer = worker.timers.after(seconds, held)
        try:
            return await held.over
        finally:
            timer.cancel()
            worker.waiting.pop(held, None)
            worker.cells.waiting -= 1
            chosen.milliseconds += (worker.timers.now() - before) * 1000.0


class _Held(Releasable):
    """A look-up that a fault keeps waiting."""

    def __init__(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self.over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def rule_now(self) -> CompiledRule | None:
        return self._chosen.rule

    def fire(self) -> None:
        self._end(True)

    def let_go(self) -> None:
        self._end(False)

    def cancel(self) -> None:
        self._end(False)

    def _end(self, ran_out: bool) -> None:
        if not self.over.done():
            self.over.set_result(ran_out)


class _Packets(asyncio.DatagramProtocol):
    """Questions over UDP."""

    def __init__(self, listener: DnsListener) -> None:
        self._listener = listener
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        def reply(answer: bytes) -> None:
            if not self._transport.is_closing():
                self._transport.sendto(answer, addr)

        self._listener.take(data, sockets.name_of(addr), False, reply)

    def error_received(self, exc: Exception) -> None:
        """A client has closed its port before its answer came: its own affair."""


class _Stream(asyncio.Protocol):
    """Questions over TCP, each behind its length in two bytes; answers come as they are ready (RFC 7766)."""

    def __init__(self, listener: DnsListener) -> None:
        self._listener = listener
        self._transport: Any = None
        self._had = b""
        self._asked = 0  # questions under way
        self._source = ""
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._source = sockets.name_of(transport.get_extra_info("peername"))
        if len(self._listener.streams) >= MOST_STREAMS:
            self._transport.abort()
            return
        self._listener.streams.add(self)
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.streams.discard(self)
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._had += data
        while len(self._had) >= 2:
            end = 2 + int.from_bytes(self._had[:2], "big")
            if len(self._had) < end:
                break
            packet, self._had = self._had[2:end], self._had[end:]
            task = self._listener.take(packet, self._source, True, self._reply)
            if task is not None:
                self._asked += 1
                task.add_done_callback(self._answered)
        self._rest()

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def pause_writing(self) -> None:
        """The client reads none of its answers: take no more questions."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._transport.resume_reading()

    def _reply(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(len(answer).to_bytes(2, "big") + answer)

    def _answered(self, _: object) -> None:
        self._asked -= 1
        if not self._transport.is_closing():
            self._rest()

    def _rest(self) -> None:
        """Begin to count the time without a question anew."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._asked:
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._gone_quiet)

    def _gone_quiet(self) -> None:
        """End the connection; what the client has not read in all that time it does not want."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self.close()
