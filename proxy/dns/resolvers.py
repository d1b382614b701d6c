"""Those whom the DNS listener asks: one question at a time, over UDP or TCP, from a port of its own."""

import asyncio
import contextlib
import os
import random
from collections.abc import Sequence
from typing import Final

from proxy.config import is_loopback, split_address
from proxy.config.addresses import WILDCARDS
from proxy.dns.messages import Query

TIMEOUT: Final = 2.0  # seconds for one resolver to answer
ROUNDS: Final = 2  # so often all of them are asked
SYSTEM: Final = "/etc/resolv.conf"
PORT: Final = 53

Place = tuple[str, int]


class Resolvers:
    """``given`` are ``address:port``; without any, those that ``path`` names now, whenever it changes."""

    def __init__(self, given: Sequence[str], path: str = SYSTEM) -> None:
        self._places = [split_address(one) for one in given]
        self._path = "" if given else path
        self._stamp = (0, 0)
        self.own: Place | None = None  # where the listener itself is: it must not ask itself

    def places(self) -> list[Place]:
        """Give whom to ask, in order."""
        if self._path:
            self._look()
        return [place for place in self._places if not self._is_own(place)]

    def _is_own(self, place: Place) -> bool:
        if self.own is None or place[1] != self.own[1]:
            return False
        return place[0] == self.own[0] or (self.own[0] in WILDCARDS and is_loopback(f"{place[0]}:{place[1]}"))

    def _look(self) -> None:
        """Read the file again if it is another one than before."""
        try:
            now = os.stat(self._path)
            if (now.st_mtime_ns, now.st_ino) == self._stamp:
                return
            with open(self._path, encoding="utf-8", errors="replace") as file:
                lines = [line.split() for line in file]
        except OSError:
            return  # what it said before is the best there is
        self._stamp = (now.st_mtime_ns, now.st_ino)
        self._places = [(line[1], PORT) for line in lines if len(line) > 1 and line[0] == "nameserver"]

    async def ask(self, query: Query, stream: bool) -> bytes | None:
        """Ask them in turn, the way the client asked; None: none of them answers."""
        for _ in range(ROUNDS):
            for place in self.places():
                with contextlib.suppress(OSError, TimeoutError):
                    asking = _over_tcp(query, place) if stream else _over_udp(query, place)
                    return await asyncio.wait_for(asking, TIMEOUT)
        return None


class _Question(asyncio.DatagramProtocol):
    """One question on a socket of its own: whoever guesses must guess its port, too (RFC 5452)."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._number = random.SystemRandom().randbytes(2)
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.sendto(self._number + self._query.packet[2:])  # type: ignore[attr-defined]

    def datagram_received(self, data: bytes, addr: object) -> None:
        restored = self._query.packet[:2] + data[2:]
        if data[:2] == self._number and self._query.answered_by(restored) and not self.answer.done():
            self.answer.set_result(restored)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def _over_udp(query: Query, place: Place) -> bytes:
    loop = asyncio.get_running_loop()
    transport, question = await loop.create_datagram_endpoint(lambda: _Question(query), remote_addr=place)
    try:
        return await question.answer
    finally:
        transport.close()


async def _over_tcp(query: Query, place: Place) -> bytes:
    reader, writer = await asyncio.open_connection(*place)
    try:
        writer.write(len(query.packet).to_bytes(2, "big") + query.packet)
        answer = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    except EOFError:
        raise ConnectionResetError("the resolver ended the connection") from None
    finally:
        writer.close()
    if not query.answered_by(answer):
        raise ConnectionResetError("the resolver answered another question")
    return answer
