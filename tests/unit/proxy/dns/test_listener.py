"""The bounds of the DNS listener, which real clients would take long to reach."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace

import dns.message
import dns.rcode
import pytest
import pytest_asyncio

from proxy.dns import listener
from proxy.dns.listener import DnsListener
from proxy.dns.resolvers import Resolvers
from proxy.metrics.cells import QueryCells
from proxy.net import sockets
from tests.support.dns_server import Resolver
from tests.support.fakes import Stage
from tests.support.process import free_port

LATE = "  - {name: r, match: {dns: {name: late.test}}, faults: [dns: {delay: 1h, answer: nxdomain}]}"


@pytest.fixture
def resolver() -> Iterator[Resolver]:
    with Resolver({"shop.test": {"A": ["192.0.2.1"]}, "late.test": {"A": ["192.0.2.1"]}}) as started:
        yield started


class Case:
    """A listener, asked by calls; rules are on a clock that stands still."""

    def __init__(self, resolver: Resolver, rules: str) -> None:
        self.stage = Stage(rules)
        self.cells = QueryCells()
        self.made = DnsListener(self.stage.worker, Resolvers([resolver.address]), self.cells)
        self.answers: list[dns.message.Message] = []

    def ask(self, name: str) -> "asyncio.Task[None] | None":
        query = dns.message.make_query(name, "A").to_wire()
        return self.made.take(query, "192.0.2.7", False, self.answer)

    def answer(self, packet: bytes) -> None:
        self.answers.append(dns.message.from_wire(packet))

    def codes(self) -> list[dns.rcode.Rcode]:
        return [answer.rcode() for answer in self.answers]


@pytest_asyncio.fixture
async def late(resolver: Resolver) -> AsyncIterator[Case]:
    case = Case(resolver, LATE)
    yield case
    case.made.close()
    await asyncio.sleep(0)


async def test_questions_beyond_the_bound_are_dropped(late: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST", 3)
    held = [late.ask("late.test") for _ in range(3)]
    assert late.ask("shop.test") is None
    assert late.cells.outcomes == {"dropped": 1}
    await asyncio.sleep(0)
    assert late.stage.worker.cells.waiting == 3
    late.stage.timers.advance(3600)
    for task in held:
        assert task is not None
        await task
    assert late.codes() == [dns.rcode.NXDOMAIN] * 3
    assert late.stage.worker.cells.waiting == 0
    task = late.ask("shop.test")
    assert task is not None
    await task
    assert late.codes()[3:] == [dns.rcode.NOERROR]


async def test_a_rule_that_goes_away_lets_go_and_its_fault_does_not_act(late: Case) -> None:
    task = late.ask("late.test")
    assert task is not None
    await asyncio.sleep(0)
    late.stage.change_rules("")
    await task
    assert late.codes() == [dns.rcode.NOERROR]


async def test_an_end_in_the_middle_leaves_nothing_behind(late: Case) -> None:
    task = late.ask("late.test")
    assert task is not None
    await asyncio.sleep(0)
    late.made.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (late.stage.worker.cells.waiting, len(late.stage.worker.waiting)) == (0, 0)


async def test_an_error_of_ours_ends_one_question_alone(late: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(late.made.resolvers, "ask", broken)
    task = late.ask("shop.test")
    assert task is not None
    await task
    assert late.stage.worker.cells.internal_errors == 1


# Over TCP


async def _connected(case: Case) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = await case.made.start("127.0.0.1", 0)
    return await asyncio.open_connection("127.0.0.1", port)


def _framed(name: str) -> bytes:
    wire = dns.message.make_query(name, "A").to_wire()
    return len(wire).to_bytes(2, "big") + wire


async def test_a_quiet_connection_is_closed(late: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "IDLE", 0.05)
    reader, writer = await _connected(late)
    writer.write(b"\0")  # half of a length is no question
    assert await asyncio.wait_for(reader.read(), 10.0) == b""
    writer.close()


async def test_a_connection_with_a_question_under_way_is_not_quiet(
    late: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "IDLE", 0.05)
    reader, writer = await _connected(late)
    writer.write(_framed("late.test") + _framed("shop.test"))
    size = int.from_bytes(await reader.readexactly(2), "big")
    assert dns.message.from_wire(await reader.readexactly(size)).rcode() == dns.rcode.NOERROR
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)
    late.stage.timers.advance(3600)
    answer = await asyncio.wait_for(reader.read(), 10.0)
    assert dns.message.from_wire(answer[2:]).rcode() == dns.rcode.NXDOMAIN
    writer.close()


async def test_connections_beyond_the_bound_are_reset(late: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_STREAMS", 1)
    reader, writer = await _connected(late)
    writer.write(_framed("shop.test"))
    await reader.readexactly(2)
    more, other = await asyncio.open_connection(*writer.get_extra_info("peername"))
    try:
        assert await asyncio.wait_for(more.read(1), 10.0) == b""
    except ConnectionResetError:
        pass
    for one in (writer, other):
        one.close()


async def test_a_port_that_is_taken(late: Case) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError):
            await late.made.start("127.0.0.1", taken.getsockname()[1])


async def test_a_port_that_is_taken_over_udp_is_not_chosen(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel chooses it for TCP alone."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("127.0.0.1", free_port()))
    chosen = [taken.getsockname()[1]]
    bind = sockets.bind

    def bind_first(host: str, port: int) -> socket.socket:
        return bind(host, chosen.pop() if chosen else port)

    monkeypatch.setattr("proxy.dns.listener.sockets", SimpleNamespace(bind=bind_first))
    case = Case(resolver, LATE)
    port = await case.made.start("127.0.0.1", 0)
    case.made.close()
    for _ in range(3):
        await asyncio.sleep(0)  # its sockets close in the next turn of the loop
    with pytest.raises(OSError, match="in use"):
        await case.made.start("127.0.0.1", taken.getsockname()[1])
    assert port not in (0, taken.getsockname()[1])
    taken.close()
