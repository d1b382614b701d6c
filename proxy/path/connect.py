"""Phase ``connect``: the exchange gets a connection to its upstream, kept or new, or waits for one."""

import asyncio
import errno
import ssl
from typing import Final, cast

from proxy import errors
from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.http1.upstream import OpaqueConnection, UpstreamConnection
from proxy.http2.upstream import UpstreamConnection as SharedConnection
from proxy.net import dial
from proxy.net.dialled import Dialled
from proxy.net.identity import upstream_failure, words
from proxy.net.pool import AUTO, HTTP1, HTTP2, TCP, Endpoint, Upstream, Waiter
from proxy.net.tls import TlsTransport
from proxy.path import end
from proxy.performer import Then
from proxy.worker import Worker
from rules import phases


class _Connect(Then):
    """Connect, after the faults of this phase."""

    def carry_on(self, ex: Exchange) -> None:
        take(ex)


_CONNECT: Final = _Connect()


def enter(ex: Exchange) -> None:
    """An address is chosen, faults may be planned: then get a connection."""
    end.perform(ex, phases.CONNECT, _CONNECT)


def take(ex: Exchange) -> None:
    """Use a kept connection, or open one, or wait until there may be another."""
    target = ex.target
    endpoint = ex.endpoint
    if target is not None and endpoint is not None and not _find(ex, target, endpoint):
        waiter = _Queued(ex)
        ex.queued = waiter
        target.wait(ex.worker.timers.now() + target.connect_timeout, waiter)


def _find(ex: Exchange, target: Upstream, endpoint: Endpoint) -> bool:
    """Use a kept connection, or open one; False: there is no room."""
    if ex.opaque:
        if not target.make_room():
            return False
        _open(ex.worker, target, endpoint, ex)
        return True
    protocol = target.protocol if endpoint.protocol == AUTO else endpoint.protocol
    if protocol == HTTP2 or (protocol == AUTO and _shares(ex, endpoint)):
        return _share(ex, target, endpoint)
    kept = target.take(endpoint)
    if kept is not None:
        target.cells.reused += 1
        cast(UpstreamConnection, kept).begin(ex)
        return True
    if not target.make_room():
        return False
    _open(ex.worker, target, endpoint, ex)
    return True


def _shares(ex: Exchange, endpoint: Endpoint) -> bool:
    """Tell whether HTTP/2 is spoken where the configuration leaves that open.

    Over TLS the upstream decides; as long as it is not known how, requests wait together for its word.
    """
    return ex.head.grpc if endpoint.credentials is None else endpoint.speaks != HTTP1


def _share(ex: Exchange, target: Upstream, endpoint: Endpoint) -> bool:
    """Use a connection that carries many exchanges, or open one more; False: there is no room."""
    shared = _with_room(endpoint, True)
    if shared is None:
        crowded = _with_room(endpoint, False)
        shared = _open_shared(ex, target, endpoint) if target.make_room(crowded is None) else crowded
    if shared is None:
        return False
    shared.begin(ex)
    return True


def _open_shared(ex: Exchange, target: Upstream, endpoint: Endpoint) -> SharedConnection:
    target.open += 1
    target.cells.open = target.open
    made = SharedConnection(ex.worker, target, endpoint, _CONNECT)
    endpoint.shared.append(made)
    ex.worker.spawn(_dial_shared(made))
    return made


def _with_room(endpoint: Endpoint, careful: bool) -> SharedConnection | None:
    """Find a connection that others use and one more may."""
    for kept in endpoint.shared:
        shared = cast(SharedConnection, kept)
        if shared.has_room(careful):
            return shared
    return None


async def _dial_shared(connection: SharedConnection) -> None:
    """Open a connection, then send the requests that wait for it."""
    target = connection.target
    endpoint = connection.endpoint
    loop = connection.worker.loop
    credentials = endpoint.credentials
    try:
        if credentials is None:
            await dial.reach(loop, connection, endpoint, target.connect_timeout)
        else:
            transport = await dial.secure(
                loop, endpoint, credentials, target.connect_timeout, target.protocol
            )
            if target.protocol == AUTO and transport.chosen != "h2":
                _descend(connection, transport)
                return
            endpoint.speaks = HTTP2
            transport.open(connection)
    except (TimeoutError, OSError, UnicodeError) as error:
        _not_shared(connection, error)
        return
    except asyncio.CancelledError:
        connection.never_made()
        raise
    except Exception:
        waiting = connection.take_waiting()
        connection.never_made()
        _give_up(connection.worker, waiting)
        return
    if connection.lost:
        _not_shared(connection, connection.error)
    else:
        connection.stands()


def _not_shared(connection: SharedConnection, error: Exception | None) -> None:
    """A connection could not be made, or ended at once (None: in order): nothing was sent on it."""
    waiting = connection.take_waiting()
    connection.never_made()
    failure = errors.UPSTREAM_CLOSED
    if error is not None:
        failure = dial.failure_of(error)
        _tell_tls(connection.worker, connection.target, error)
    for ex in waiting:
        if not ex.over:
            _not_connected(ex, connection.endpoint, failure)


def _give_up(worker: Worker, waiting: list[Exchange]) -> None:
    """Tell of an exception in connecting that nobody expected, and fail what waits for the connection."""
    worker.bug("connect")
    for ex in waiting:
        if not ex.over:
            end.fail(ex, errors.INTERNAL)


def _descend(connection: SharedConnection, transport: TlsTransport) -> None:
    """The upstream has chosen HTTP/1.1: one request goes on here, the others look for connections anew."""
    target = connection.target
    endpoint = connection.endpoint
    endpoint.speaks = HTTP1
    target.open += 1
    made = UpstreamConnection(connection.worker, target, endpoint, _CONNECT)
    transport.open(made)
    if made.lost:
        raise _ended(transport)
    waiting = connection.take_waiting()
    connection.never_made()
    target.cells.opened += 1
    first: Exchange | None = None
    for ex in waiting:
        if ex.over:
            continue
        if first is None:
            first = ex
            made.begin(ex)
        else:
            take(ex)
    if first is None:
        made.release(True)


def _ascend(connection: UpstreamConnection, transport: TlsTransport, ex: Exchange) -> None:
    """The upstream, which spoke HTTP/1.1 before, has chosen HTTP/2."""
    target = connection.target
    endpoint = connection.endpoint
    endpoint.speaks = HTTP2
    target.open += 1
    made = SharedConnection(connection.worker, target, endpoint, _CONNECT)
    endpoint.shared.append(made)
    if not ex.over:
        made.begin(ex)
    transport.open(made)
    if made.lost:
        made.take_waiting()
        raise _ended(transport)
    connection.never_made()
    made.stands()


def _ended(transport: TlsTransport) -> Exception:
    """Give the error for a connection that ended right behind its handshake: others may be tried."""
    return transport.trouble or ConnectionResetError(errno.ECONNRESET, "the upstream ended the connection")


def _tell_tls(worker: Worker, target: Upstream, error: BaseException) -> None:
    """Write down what was wrong with an upstream's TLS: the answer says only of what kind it was."""
    if isinstance(error, ssl.SSLError):
        failure = upstream_failure(error)
        worker.log.event(
            "warning", "upstream_tls", message=words(error), kind=failure.kind, upstream=target.name
        )


class _Queued(Waiter):
    """An exchange that waits because its upstream's pool is at its limit."""

    def __init__(self, ex: Exchange) -> None:
        self.ex: Exchange = ex

    def granted(self) -> bool:
        ex = self.ex
        target = ex.target
        endpoint = ex.endpoint
        ex.queued = None
        if target is None or endpoint is None or _find(ex, target, endpoint):
            return True
        ex.queued = self
        return False

    def expired(self) -> None:
        self.ex.queued = None
        end.fail(self.ex, errors.POOL_EXHAUSTED)

    def over(self) -> bool:
        return self.ex.over


def _open(worker: Worker, target: Upstream, endpoint: Endpoint, ex: Exchange) -> None:
    """Begin to open a connection for an exchange.  A Task: once per connection, not per exchange."""
    target.open += 1
    target.cells.open = target.open
    if ex.opaque:
        made: UpstreamConnection = OpaqueConnection(worker, target, endpoint, _CONNECT)
    else:
        made = UpstreamConnection(worker, target, endpoint, _CONNECT)
    worker.spawn(_dial(made, ex))


async def _dial(connection: "UpstreamConnection", ex: Exchange) -> None:
    """Open a connection, then send the exchange's request on it."""
    target = connection.target
    endpoint = connection.endpoint
    loop = connection.worker.loop
    credentials = endpoint.credentials
    try:
        if credentials is None:
            await dial.reach(loop, connection, endpoint, target.connect_timeout)
        else:
            offer = target.protocol if endpoint.protocol == AUTO else endpoint.protocol
            if ex.opaque:
                offer = TCP
            transport = await dial.secure(loop, endpoint, credentials, target.connect_timeout, offer)
            if offer == AUTO and transport.chosen == "h2":
                _ascend(connection, transport, ex)
                return
            transport.open(connection)
            if transport.trouble is not None:  # an alert that came right behind the handshake
                raise transport.trouble
    except (TimeoutError, OSError, UnicodeError) as error:
        connection.never_made()
        _tell_tls(connection.worker, target, error)
        if not ex.over:
            _not_connected(ex, endpoint, dial.failure_of(error))
        return
    except asyncio.CancelledError:
        connection.never_made()
        raise
    except Exception:
        connection.never_made()
        _give_up(connection.worker, [ex])
        return
    connection.target.cells.opened += 1
    if ex.over:
        connection.release(True)
    elif connection.lost and not ex.opaque:
        lost = connection.error  # before anything was sent
        _not_connected(ex, endpoint, errors.UPSTREAM_CLOSED if lost is None else dial.failure_of(lost))
    else:
        connection.begin(ex)


def _not_connected(ex: Exchange, endpoint: Endpoint, failure: Failure) -> None:
    """An address cannot be reached: nothing was sent, so the next one may be tried."""
    target = ex.target
    if ex.aside is not None and not isinstance(ex.aside, Dialled):
        end.fail(ex, failure)  # a fault has sent it there: no other address is meant
        return
    ex.tried |= 1 << endpoint.number
    other = target.pick(ex.tried) if target is not None else None
    if other is None and target is not None and ex.attempts < target.attempts:
        ex.attempts += 1
        ex.tried = 0
        other = target.pick(0) if ex.aside is None else ex.aside
    if other is None:
        end.fail(ex, failure)
        return
    ex.worker.cells.failed(ex.listener_name(), target.name if target is not None else "", failure.kind)
    ex.endpoint = other
    take(ex)
