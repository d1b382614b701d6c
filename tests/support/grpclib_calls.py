"""The client of grpclib, gRPC in pure Python, behind the same call as the others; in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError

from tests.support.grpc_calls import Outcome, Rpc
from tests.support.servers.grpc_server import Bytes

_KINDS: Final = {
    "unary": Cardinality.UNARY_UNARY,
    "client": Cardinality.STREAM_UNARY,
    "server": Cardinality.UNARY_STREAM,
    "bidi": Cardinality.STREAM_STREAM,
}


class GrpcLib:
    """It knows no compression; a stream that is reset has no status here, so it is named by the exception."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._channels: dict[str, Channel] = {}

    def call(self, rpc: Rpc) -> Outcome:
        """Make a call, and wait for its end."""
        return self.many([rpc], 0.0)[0]

    def many(self, rpcs: Sequence[Rpc], interval: float) -> list[Outcome]:
        """Start calls so many seconds apart, and wait for the end of all."""
        outcomes: list[Outcome] = self._run(self._many(rpcs, interval))
        return outcomes

    async def _many(self, rpcs: Sequence[Rpc], interval: float) -> list[Outcome]:
        calls = []
        for rpc in rpcs:
            calls.append(asyncio.create_task(self._call(rpc)))
            await asyncio.sleep(interval)
        return list(await asyncio.gather(*calls))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def _channel(self, address: str) -> Channel:
        host, _, port = address.rpartition(":")
        return Channel(host, int(port), codec=Bytes())

    async def _call(self, rpc: Rpc) -> Outcome:
        if rpc.fresh:
            channel = self._channel(rpc.address)
            try:
                return await self._on(channel, rpc)
            finally:
                channel.close()
        if rpc.address not in self._channels:
            self._channels[rpc.address] = self._channel(rpc.address)
        return await self._on(self._channels[rpc.address], rpc)

    async def _on(self, channel: Channel, rpc: Rpc) -> Outcome:
        outcome = Outcome()
        begun = self._loop.time()
        request = channel.request(
            rpc.path, _KINDS[rpc.kind], bytes, bytes, timeout=rpc.timeout, metadata=rpc.metadata
        )
        stream: Stream[bytes, bytes] | None = None
        try:
            async with request as stream:
                await _talk(stream, rpc, outcome)
            outcome.code = outcome.code or "OK"
        except GRPCError as error:
            outcome.code, outcome.details = error.status.name, error.message or ""
        except TimeoutError:
            outcome.code = "DEADLINE_EXCEEDED"
        except StreamTerminatedError as error:
            outcome.code = outcome.code or "terminated"
            outcome.details = str(error)
        outcome.seconds = self._loop.time() - begun
        if stream is not None:
            outcome.initial = _metadata(stream.initial_metadata)
            outcome.trailing = _metadata(stream.trailing_metadata)
        return outcome

    def close(self) -> None:
        """Close all channels, and end the thread."""

        async def end() -> None:
            for channel in self._channels.values():
                channel.close()

        self._run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def _talk(stream: "Stream[bytes, bytes]", rpc: Rpc, outcome: Outcome) -> None:
    """Send what is to be sent, and take what comes; ends early where the call is to be cancelled."""
    await stream.send_request()
    if rpc.cancel_after == 0:
        await stream.cancel()
        outcome.code = "CANCELLED"
        return
    sending: asyncio.Task[None] | None = None
    if not rpc.ping_pong:
        sending = asyncio.create_task(_send(stream, rpc))
    try:
        for message in rpc.messages if rpc.ping_pong else ():
            await stream.send_message(message)
            if await _take(stream, rpc, outcome):
                return
        if rpc.ping_pong:
            await stream.end()
        while not await _take(stream, rpc, outcome):
            pass
        if outcome.code != "CANCELLED":
            await stream.recv_trailing_metadata()
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(stream: "Stream[bytes, bytes]", rpc: Rpc) -> None:
    for number, message in enumerate(rpc.messages, 1):
        await stream.send_message(message, end=number == len(rpc.messages))
    if not rpc.messages:
        await stream.end()


async def _take(stream: "Stream[bytes, bytes]", rpc: Rpc, outcome: Outcome) -> bool:
    """Take one message; True: it was the last one, or the call was cancelled behind it."""
    message = await stream.recv_message()
    if message is None:
        return True
    outcome.messages.append(message)
    if len(outcome.messages) == rpc.cancel_after:
        await stream.cancel()
        outcome.code = "CANCELLED"
        return True
    return rpc.kind in ("unary", "client")


def _metadata(given: Mapping[str, str | bytes] | None) -> list[tuple[str, bytes]]:
    return [
        (key, value.encode() if isinstance(value, str) else value) for key, value in (given or {}).items()
    ]
