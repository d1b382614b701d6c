"""Checks by gRPC's health protocol, with grpclib: imported only where such a check is configured.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md: SERVING is well; NOT_SERVING, UNKNOWN,
SERVICE_UNKNOWN and the status NOT_FOUND (the server does not know the service) are not.  A server without the
health service answers UNIMPLEMENTED: clients then take it as well, says
https://github.com/grpc/proposal/blob/master/A17-client-side-health-checking.md, and so is it done here.

Its two messages have one field each, so they are written and read here instead of by protobuf.
"""

import asyncio
from typing import Any, Final, cast

from grpclib.client import Channel, Handler, Stream
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.metadata import Deadline
from grpclib.protocol import H2Protocol
from multidict import MultiDict

from proxy.config import HealthCheck
from proxy.health.outcome import FAILED, PASSED, UNIMPLEMENTED, UNREACHABLE, Outcome
from proxy.health.probe import ENOUGH, host_of, late
from proxy.net import dial
from proxy.net.pool import HTTP2, Endpoint

METHOD: Final = "/grpc.health.v1.Health/Check"
SERVING: Final = 1
STATES: Final[dict[int, str]] = {0: "UNKNOWN", SERVING: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}

_SERVICE_FIELD: Final = b"\x0a"  # field 1, a string
_STATUS_FIELD: Final = 1
_FIXED: Final[dict[int, int]] = {1: 8, 5: 4}  # bytes of values by wire type


def write_request(service: str) -> bytes:
    """Write HealthCheckRequest: the service in field 1, nothing for the whole server."""
    name = service.encode()
    return _SERVICE_FIELD + _varint(len(name)) + name if name else b""


def read_response(data: bytes) -> int:
    """Read HealthCheckResponse: the status of field 1, 0 (UNKNOWN) where it is absent.

    Fields that are not known are passed over; raises ValueError where it is no message.
    """
    status = at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _read_varint(data, at)
            status = value if number == _STATUS_FIELD else status
        elif wire == 2:
            size, at = _read_varint(data, at)
            at += size
        elif wire in _FIXED:
            at += _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire}")
    if at > len(data):
        raise ValueError("cut short")
    return status


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number that does not end")


class _Codec(CodecBase):
    """Requests are names of services, answers are states."""

    __content_subtype__ = "proto"

    def encode(self, message: str, message_type: Any) -> bytes:
        """Write the request."""
        return write_request(message)

    def decode(self, data: bytes, message_type: Any) -> int:
        """Read the answer."""
        return read_response(data)


class _Protocol(H2Protocol):
    """grpclib would hold a message of any size: a connection that brings too much is cut."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self._size = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take in what came, up to a bound."""
        self._size += len(data)
        if self._size <= ENOUGH:
            super().data_received(data)
        elif self._transport is not None:
            self._transport.abort()


class _OneChannel(Channel):
    """A channel that connects as exchanges do (``proxy.net.dial``), once."""

    def __init__(self, check: HealthCheck, endpoint: Endpoint) -> None:
        super().__init__(codec=_Codec())
        self._authority = host_of(check, endpoint)
        self._endpoint = endpoint
        self._patience = check.timeout
        self.connected = False

    def _protocol_factory(self) -> H2Protocol:
        return _Protocol(Handler(), self._config, self._h2_config)

    async def _create_connection(self) -> H2Protocol:
        protocol = self._protocol_factory()
        told = cast(Handler, protocol.handler)
        await dial.reach(asyncio.get_running_loop(), protocol, self._endpoint, self._patience, HTTP2)
        self.connected = True
        if told.connection_lost:
            raise ConnectionResetError  # grpclib would stumble over it
        return protocol


class _Call(Stream[str, int]):
    """One call of ``METHOD``."""

    def __init__(self, channel: _OneChannel, patience: float) -> None:
        super().__init__(
            channel,
            METHOD,
            cast(Any, MultiDict()),
            Cardinality.UNARY_UNARY,
            str,
            int,
            codec=_Codec(),
            status_details_codec=None,
            dispatch=channel.__dispatch__,
            deadline=Deadline.from_timeout(patience),
        )

    def _raise_for_content_type(self, headers_map: dict[str, str]) -> None:
        """Take a bare status too: so do grpclib's own servers say UNIMPLEMENTED."""
        if "content-type" in headers_map or "grpc-status" not in headers_map:
            super()._raise_for_content_type(headers_map)


async def run(check: HealthCheck, endpoint: Endpoint) -> Outcome:
    """Ask once."""
    loop = asyncio.get_running_loop()
    until = loop.time() + check.timeout
    channel = _OneChannel(check, endpoint)
    try:
        await channel.__connect__()
        left = max(0.001, until - loop.time())
        async with asyncio.timeout(left), _Call(channel, left) as call:
            await call.send_message(check.grpc or "", end=True)
            state = await call.recv_message()
    except TimeoutError:
        return late(channel.connected, check.timeout)
    except GRPCError as error:
        return _refused(error, check.timeout)
    except StreamTerminatedError as error:
        return Outcome(UNREACHABLE, f"the call broke off: {error}".rstrip(": "))
    except ValueError as error:
        if isinstance(error, UnicodeError | OSError):  # an OSError: ssl.SSLCertVerificationError is both
            return Outcome(UNREACHABLE, dial.failure_of(error).text)
        return Outcome(FAILED, f"not a HealthCheckResponse: {error}")
    except OSError as error:
        return Outcome(UNREACHABLE, dial.failure_of(error).text)
    finally:
        channel.close()
    if state is None:
        return Outcome(FAILED, "the call succeeded without a message")
    name = STATES.get(state, str(state))
    return Outcome(PASSED if state == SERVING else FAILED, name)


def _refused(error: GRPCError, patience: float) -> Outcome:
    if error.status is Status.DEADLINE_EXCEEDED:
        return late(True, patience)
    if error.status is Status.UNIMPLEMENTED:
        return Outcome(UNIMPLEMENTED, "UNIMPLEMENTED: it has no health service, and is taken as well")
    return Outcome(FAILED, f"{error.status.name}: {error.message}" if error.message else error.status.name)
