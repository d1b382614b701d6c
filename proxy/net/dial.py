"""Opens connections to upstreams, and tells apart why one could not be opened."""

import asyncio
import errno
import socket
import ssl
from typing import Any, Final

from proxy import errors
from proxy.errors import Failure
from proxy.net import sockets
from proxy.net.dialled import Dialled
from proxy.net.identity import Credentials, upstream_failure
from proxy.net.pool import AUTO, Endpoint
from proxy.net.tls import Handshake, TlsTransport

_UNREACHABLE: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM, errno.ENETDOWN}
)
# RFC 8305, section 5: how long an address may keep the next one waiting, seconds.
_NEXT_ADDRESS_AFTER: Final = 0.25
_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.ENOENT})  # ENOENT: no such Unix socket


class _Made:
    """Hands the loop a protocol that exists already."""

    def __init__(self, protocol: Any) -> None:
        self.made: Any = protocol

    def protocol(self) -> Any:
        """Give it."""
        return self.made


async def reach(
    loop: asyncio.AbstractEventLoop, protocol: Any, endpoint: Endpoint, patience: float, offer: int = AUTO
) -> None:
    """Connect ``protocol`` to an endpoint within ``patience`` seconds, over TLS where that is configured.

    Raises OSError, TimeoutError, or UnicodeError for a name that cannot be one.
    """
    if endpoint.credentials is not None:
        transport = await secure(loop, endpoint, endpoint.credentials, patience, offer)
        transport.open(protocol)
        return
    addresses, left = await _find(loop, endpoint, patience)
    await asyncio.wait_for(_connect(loop, protocol, endpoint, addresses), left)


async def _find(
    loop: asyncio.AbstractEventLoop, endpoint: Endpoint, patience: float
) -> tuple[list[str], float]:
    """Give the addresses of an endpoint, and the seconds that are left; raises socket.gaierror."""
    names = endpoint.names
    if names is None:
        return [endpoint.host], patience
    known = names.known(endpoint.host)
    if known is not None:
        return known, patience
    before = loop.time()
    found = await names.look_up(endpoint.host, patience)
    return found, patience - (loop.time() - before)


async def _connect(
    loop: asyncio.AbstractEventLoop, protocol: Any, endpoint: Endpoint, addresses: list[str]
) -> None:
    made = _Made(protocol)
    if endpoint.path:
        await loop.create_unix_connection(made.protocol, endpoint.path)
        return
    if len(addresses) == 1:
        connected: Any = await loop.create_connection(made.protocol, addresses[0], endpoint.port)
    else:
        sock = await _race(loop, addresses, endpoint.port)
        connected = await loop.create_connection(made.protocol, sock=sock)
    if isinstance(endpoint, Dialled):
        endpoint.owner.made(connected[0])
    if endpoint.keepalive > 0.0:
        sockets.keep_alive(sockets.raw(connected[0]), endpoint.keepalive)


async def _race(loop: asyncio.AbstractEventLoop, addresses: list[str], port: int) -> socket.socket:
    """Connect to the first address that answers, both families in turn (RFC 8305); raises OSError."""
    from aiohappyeyeballs import start_connection  # only names with several addresses need it

    found: list[Any] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)))
    try:
        return await start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_AFTER, interleave=1, loop=loop
        )
    except RuntimeError as error:  # uvloop's word for a socket that it cannot use
        raise OSError(str(error)) from None


async def secure(
    loop: asyncio.AbstractEventLoop,
    endpoint: Endpoint,
    credentials: Credentials,
    patience: float,
    offer: int,
) -> TlsTransport:
    """Connect and shake hands within ``patience`` seconds; the transport waits for its ``open``.

    ``offer`` is a protocol of ``proxy.net.pool``.  Raises as ``reach``, and ssl.SSLError.
    """
    name = credentials.server_name or endpoint.host or "localhost"
    securing = Securing(loop, Handshake(credentials.context(offer), False, name))
    addresses, left = await _find(loop, endpoint, patience)
    try:
        await asyncio.wait_for(_secured(loop, endpoint, securing, addresses), left)
    except BaseException:
        securing.give_up()
        raise
    return securing.transport()


async def _secured(
    loop: asyncio.AbstractEventLoop, endpoint: Endpoint, securing: "Securing", addresses: list[str]
) -> None:
    await _connect(loop, securing, endpoint, addresses)
    await securing.done


class Securing:
    """The protocol of a raw connection to an upstream until its handshake is complete."""

    def __init__(self, loop: asyncio.AbstractEventLoop, handshake: Handshake) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self.handshake: Handshake = handshake
        self.done: asyncio.Future[None] = loop.create_future()
        self.raw: Any = None
        self.made: TlsTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the ClientHello."""
        self.raw = transport
        self.data_received(b"")

    def data_received(self, data: bytes) -> None:
        """Go on with the handshake."""
        if self.made is not None or self.done.done():
            return
        handshake = self.handshake
        error: Exception | None = None
        complete = False
        try:
            complete = handshake.step(data)
        except (ssl.SSLError, ValueError) as wrong:
            error = wrong
        flight = handshake.flight()
        if flight:
            self.raw.write(flight)
        if error is not None:
            self.done.set_exception(error)
            self.raw.close()
        elif complete:
            made = TlsTransport(self.loop, self.raw, handshake)
            made.wait()
            self.made = made
            self.raw.set_protocol(made)
            self.done.set_result(None)

    def eof_received(self) -> bool:
        """The upstream has ended the handshake."""
        self._ended(ConnectionResetError(errno.ECONNRESET, "the upstream ended the handshake"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._ended(error or ConnectionResetError(errno.ECONNRESET, "the upstream ended the handshake"))

    def pause_writing(self) -> None:
        """The upstream does not read: the handshake will time out."""

    def resume_writing(self) -> None:
        """The upstream reads again."""

    def _ended(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def transport(self) -> TlsTransport:
        """Give the transport of a handshake that is complete."""
        made = self.made
        if made is None:
            raise ConnectionResetError(errno.ECONNRESET, "the handshake was not completed")
        return made

    def give_up(self) -> None:
        """End the connection: the handshake failed, or nobody waits for it any more."""
        if self.done.done() and not self.done.cancelled():
            self.done.exception()  # it was raised already, or came too late to be
        if self.raw is not None:
            self.raw.abort()


def failure_of(error: BaseException) -> Failure:
    """Tell apart why a connection could not be made."""
    if isinstance(error, ssl.SSLError):
        return upstream_failure(error)
    if isinstance(error, TimeoutError):
        return errors.CONNECT_TIMEOUT
    if isinstance(error, socket.gaierror):
        return errors.LOOKUPS.get(str(error.args[0]), errors.DNS_ERROR)
    if isinstance(error, UnicodeError):  # a name that IDNA cannot write
        return errors.DNS_ERROR
    if isinstance(error, OSError):
        if error.errno in _REFUSED:
            return errors.CONNECT_REFUSED
        if error.errno in _UNREACHABLE:
            return errors.CONNECT_UNREACHABLE
        if error.errno == errno.ETIMEDOUT:
            return errors.CONNECT_TIMEOUT
        if "refused" in str(error).lower():
            return errors.CONNECT_REFUSED  # several addresses of one name, all refused: told in words only
    return errors.UPSTREAM_RESET
