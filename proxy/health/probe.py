"""Single checks over a connection of their own: by TCP, by HTTP/1.1 and by HTTP/2.

Each check connects anew, so that it also sees whether new connections are taken.
"""

import asyncio
from typing import Final, cast

from proxy import __version__
from proxy.config import HealthCheck
from proxy.health.outcome import FAILED, PASSED, TIMEOUT, UNREACHABLE, Outcome
from proxy.net import dial
from proxy.net.pool import HTTP1, HTTP2, Endpoint
from proxy.wire import h2
from proxy.wire.errors import ProtocolError
from proxy.wire.h1 import BODY, HEAD, NEED, RESPONSE, H1Reader
from proxy.wire.h2_block import Block
from proxy.wire.h2_errors import H2Error
from proxy.wire.h2_field import interned

AGENT: Final = f"misrule/{__version__} (health check)"
_HEAD_SIZE: Final = 65536
_HEADERS: Final = 100
ENOUGH: Final = 65536  # bytes of a body: of a longer one no more is read


class Probe(asyncio.Protocol):
    """One connection that asks once; ``outcome`` is there when it is over.  This one only connects."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = cast(asyncio.Transport, transport)
        self.ask(self.transport)

    def ask(self, transport: asyncio.Transport) -> None:
        """Send what is to be asked."""
        self.end(PASSED, "connected")

    def end(self, kind: str, text: str) -> None:
        """It is known now; the first word counts."""
        if not self.outcome.done():
            self.outcome.set_result(Outcome(kind, text))

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self.end(
            UNREACHABLE, "the connection was reset" if error else "the connection ended without an answer"
        )

    def close(self) -> None:
        """Let the connection go, at once."""
        if self.transport is not None:
            self.transport.abort()
        if not self.outcome.done():
            self.outcome.cancel()


class _Http(Probe):
    """What HTTP/1.1 and HTTP/2 have in common: a status is expected, and the whole answer."""

    def __init__(self, check: HealthCheck, endpoint: Endpoint) -> None:
        super().__init__()
        self.path = (check.http or "/").encode()
        self.authority = host_of(check, endpoint).encode()
        self.status = 0
        self._expected = check.expect
        self._size = 0

    def body(self, size: int) -> None:
        """Content came."""
        self._size += size
        if self._size > ENOUGH:
            self.whole()

    def whole(self) -> None:
        """The answer has come: judge its status."""
        if any(first <= self.status <= last for first, last in self._expected):
            self.end(PASSED, f"status {self.status}")
        else:
            self.end(FAILED, f"status {self.status}, not {_written(self._expected)}")


class Http1Probe(_Http):
    """GET in HTTP/1.1."""

    def __init__(self, check: HealthCheck, endpoint: Endpoint) -> None:
        super().__init__(check, endpoint)
        self._reader = H1Reader(RESPONSE, _HEAD_SIZE, _HEADERS)

    def ask(self, transport: asyncio.Transport) -> None:
        """Send the request."""
        lines = b"GET %b HTTP/1.1\r\nhost: %b\r\nuser-agent: %b\r\naccept: */*\r\nconnection: close\r\n\r\n"
        transport.write(lines % (self.path, self.authority, AGENT.encode()))

    def data_received(self, data: bytes) -> None:
        """A part of the answer."""
        self._reader.feed(data)
        self._read()

    def eof_received(self) -> bool:
        """No more will come: this ends the answer, or cuts it."""
        self._reader.feed_eof()
        self._read()
        return False

    def _read(self) -> None:
        reader = self._reader
        try:
            while not self.outcome.done() and (event := reader.next()) != NEED:
                if event == HEAD:
                    self.status = reader.head.status
                elif event == BODY:
                    self.body(len(reader.piece))
                elif self.status >= 200:  # the end; of an interim answer it is none
                    self.whole()
        except ProtocolError as error:
            self.end(FAILED, f"not a valid answer of HTTP/1.1: {error.text}")


class Http2Probe(_Http):
    """GET in HTTP/2, in clear text by prior knowledge."""

    def __init__(self, check: HealthCheck, endpoint: Endpoint) -> None:
        super().__init__(check, endpoint)
        self._codec = h2.H2Connection(h2.CLIENT, h2.H2Settings())
        self._now = asyncio.get_running_loop().time

    def ask(self, transport: asyncio.Transport) -> None:
        """Send the request."""
        codec = self._codec
        codec.start()
        stream = codec.open(self._now())
        assert stream is not None  # a new connection has room for one
        fields = (
            (b":method", b"GET"), (b":scheme", b"http"), (b":authority", self.authority),
            (b":path", self.path), (b"user-agent", AGENT.encode()), (b"accept", b"*/*"),
        )  # fmt: skip
        codec.send_headers(stream, Block.of([interned(name, value) for name, value in fields]), end=True)
        self._write()

    def data_received(self, data: bytes) -> None:
        """A part of the answer."""
        codec = self._codec
        codec.feed(data, self._now())
        try:
            while not self.outcome.done() and (event := codec.next()) != h2.NEED:
                self._on_event(event)
        except H2Error as error:
            self.end(FAILED, f"not a valid answer of HTTP/2: {error.text}")
        self._write()

    def _on_event(self, event: int) -> None:
        codec = self._codec
        if event == h2.RESET:
            self.end(FAILED, "the request was reset")
            return
        if event == h2.HEAD:
            self.status = codec.block.status
        elif event == h2.DATA:
            self.body(len(codec.piece))
            codec.credit(codec.stream, codec.flow)
        if event in (h2.END, h2.TRAILERS) or (event in (h2.HEAD, h2.DATA) and codec.end):
            self.whole()

    def _write(self) -> None:
        data = self._codec.take()
        if self.transport is not None and data:
            self.transport.write(data if isinstance(data, bytes) else b"".join(data))


def host_of(check: HealthCheck, endpoint: Endpoint) -> str:
    """What the host header says: as configured, else the address."""
    return check.host or ("localhost" if endpoint.path else endpoint.address())


def _written(expected: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in expected)


async def run(probe: Probe, endpoint: Endpoint, patience: float) -> Outcome:
    """Connect and ask, within ``patience`` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    try:
        offer = HTTP2 if isinstance(probe, Http2Probe) else HTTP1
        await dial.reach(loop, probe, endpoint, patience, offer)
        return await asyncio.wait_for(probe.outcome, max(0.0, until - loop.time()))
    except TimeoutError:
        return late(probe.transport is not None, patience)
    except (OSError, UnicodeError) as error:
        return Outcome(UNREACHABLE, dial.failure_of(error).text)
    finally:
        probe.close()


def late(connected: bool, patience: float) -> Outcome:
    """What a check saw whose time was over."""
    return Outcome(TIMEOUT, f"no {'answer' if connected else 'connection'} within {patience:g} s")
