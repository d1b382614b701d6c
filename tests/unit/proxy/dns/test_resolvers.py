"""Whom the DNS listener asks, and whose answers it believes."""

import asyncio
import os
from pathlib import Path

import dns.message
import pytest

from proxy.dns import messages, resolvers
from proxy.dns.messages import Query
from proxy.dns.resolvers import Resolvers


def question(name: str = "shop.test") -> Query:
    return messages.read(dns.message.make_query(name, "A").to_wire())


def test_the_system_says_whom_and_may_change_its_mind(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# ours\nsearch a.example\nnameserver 10.0.0.2\nnameserver\nnameserver ::1 # v6\n")
    asked = Resolvers([], str(file))
    assert asked.places() == [("10.0.0.2", 53), ("::1", 53)]
    file.write_text("nameserver 10.0.0.3\n")
    os.utime(file, ns=(1, 1))
    assert asked.places() == [("10.0.0.3", 53)]
    file.unlink()
    assert asked.places() == [("10.0.0.3", 53)]


@pytest.mark.parametrize(
    ("own", "left"),
    [
        (("127.0.0.1", 53), [("10.0.0.2", 53), ("127.0.0.1", 54)]),
        (("0.0.0.0", 53), [("10.0.0.2", 53), ("127.0.0.1", 54)]),
        (("::", 53), [("10.0.0.2", 53), ("127.0.0.1", 54)]),
        (("127.0.0.9", 53), [("127.0.0.1", 53), ("10.0.0.2", 53), ("127.0.0.1", 54)]),
    ],
)
def test_it_does_not_ask_itself(own: tuple[str, int], left: list[tuple[str, int]]) -> None:
    asked = Resolvers(["127.0.0.1:53", "10.0.0.2:53", "127.0.0.1:54"])
    asked.own = own
    assert asked.places() == left


async def test_without_anybody_to_ask_there_is_no_answer(tmp_path: Path) -> None:
    assert await Resolvers([], str(tmp_path / "none")).ask(question(), False) is None


class Liar(asyncio.DatagramProtocol):
    """Sends answers that are not to the question before the one that is."""

    def __init__(self) -> None:
        self.numbers: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.numbers.append(data[:2])
        asked = messages.read(data)
        right = messages.told(asked, ["192.0.2.1"], 5)
        wrong = messages.told(question("else.test"), ["192.0.2.66"], 5)
        number = bytes([data[0] ^ 1, data[1]])
        for answer in (number + right[2:], data[:2] + wrong[2:], b"", data, right):
            self.transport.sendto(answer, addr)  # type: ignore[attr-defined]


async def test_only_an_answer_to_the_question_is_believed() -> None:
    loop = asyncio.get_running_loop()
    transport, liar = await loop.create_datagram_endpoint(Liar, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    asked = Resolvers([f"127.0.0.1:{port}"])
    query = question()
    for _ in range(20):
        answer = await asked.ask(query, False)
        assert answer is not None
        assert answer[:2] == query.packet[:2]
        (records,) = dns.message.from_wire(answer).answer
        assert [one.to_text() for one in records] == ["192.0.2.1"]
    transport.close()
    assert len(set(liar.numbers)) > 15  # each has a number of its own


async def test_the_next_one_is_asked_where_one_refuses_the_connection() -> None:
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        packet = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
        answer = messages.told(messages.read(packet), ["192.0.2.1"], 5)
        writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()
        served.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked = Resolvers(["127.0.0.2:1", f"127.0.0.1:{port}"])
    assert await asked.ask(question(), True) is not None
    await asyncio.wait_for(served.wait(), resolvers.TIMEOUT)
    server.close()
