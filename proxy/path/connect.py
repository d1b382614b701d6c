"""Phase ``connect``: the exchange gets a connection to its upstream, kept or new, or waits for one."""

import asyncio
from typing import Final, cast

from proxy import errors
from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.http1.upstream import UpstreamConnection
from proxy.http2.upstream import UpstreamConnection as SharedConnection
from proxy.net import dial
from proxy.net.pool import AUTO, HTTP2, Endpoint, Upstream, Waiter
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
    if target.protocol == HTTP2 or (target.protocol == AUTO and ex.head.grpc):
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


def _share(ex: Exchange, target: Upstream, endpoint: Endpoint) -> bool:
    """Use a connection that carries many exchanges, or open one more; False: there is no room."""
    for kept in endpoint.shared:
        shared = cast(SharedConnection, kept)
        if shared.has_room():
            shared.begin(ex)
            return True
    if not target.make_room():
        return False
    target.open += 1
    target.cells.open = target.open
    made = SharedConnection(ex.worker, target, endpoint, _CONNECT)
    endpoint.shared.append(made)
    made.begin(ex)
    ex.worker.spawn(_dial_shared(made))
    return True


async def _dial_shared(connection: SharedConnection) -> None:
    """Open a connection, then send the requests that wait for it."""
    try:
        await dial.reach(
            connection.worker.loop, connection, connection.endpoint, connection.target.connect_timeout
        )
    except (TimeoutError, OSError, UnicodeError) as error:
        waiting = connection.waiting
        connection.waiting = []
        connection.never_made()
        for ex in waiting:
            if not ex.over:
                _not_connected(ex, connection.endpoint, dial.failure_of(error))
        return
    except asyncio.CancelledError:
        connection.never_made()
        raise
    connection.stands()


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


def _open(worker: Worker, target: Upstream, endpoint: Endpoint, ex: Exchange) -> None:
    """Begin to open a connection for an exchange.  A Task: once per connection, not per exchange."""
    target.open += 1
    target.cells.open = target.open
    worker.spawn(_dial(UpstreamConnection(worker, target, endpoint, _CONNECT), ex))


async def _dial(connection: "UpstreamConnection", ex: Exchange) -> None:
    """Open a connection, then send the exchange's request on it."""
    try:
        await dial.reach(
            connection.worker.loop, connection, connection.endpoint, connection.target.connect_timeout
        )
    except (TimeoutError, OSError, UnicodeError) as error:
        connection.never_made()
        if not ex.over:
            _not_connected(ex, connection.endpoint, dial.failure_of(error))
        return
    except asyncio.CancelledError:
        connection.never_made()
        raise
    connection.target.cells.opened += 1
    if ex.over:
        connection.release(True)
    else:
        connection.begin(ex)


def _not_connected(ex: Exchange, endpoint: Endpoint, failure: Failure) -> None:
    """An address cannot be reached: nothing was sent, so the next one may be tried."""
    target = ex.target
    ex.tried |= 1 << endpoint.number
    other = target.pick(ex.tried) if target is not None else None
    if other is None and target is not None and ex.attempts < target.attempts:
        ex.attempts += 1
        ex.tried = 0
        other = target.pick(0)
    if other is None:
        end.fail(ex, failure)
        return
    ex.worker.cells.failed(ex.listener_name(), target.name if target is not None else "", failure.kind)
    ex.endpoint = other
    take(ex)
