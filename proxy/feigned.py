"""What this proxy makes of an upstream's trouble that a fault speaks of: Fail, Wait, or Nothing."""

from typing import Final

from proxy import errors
from proxy.errors import Failure
from proxy.exchange import Exchange
from proxy.net import spoiled
from proxy.net.pool import Upstream
from proxy.performer import Fail
from rules.actions import (
    Action,
    Nothing,
    ShapeHandshake,
    ShapeLookup,
    Wait,
)
from rules.way_actions import (
    REFUSED,
    RESET,
    TIMED_OUT,
    UNREACHABLE,
    FailToConnect,
)

_NOTHING: Final = Nothing()
_CANNOT_CONNECT: Final[dict[int, Failure]] = {
    REFUSED: errors.CONNECT_REFUSED,
    TIMED_OUT: errors.CONNECT_TIMEOUT,
    UNREACHABLE: errors.CONNECT_UNREACHABLE,
    RESET: errors.UPSTREAM_RESET,
}


def handshake(ex: Exchange, shape: ShapeHandshake) -> Action:
    """Say what comes of TLS with an upstream that is so."""
    target = ex.target
    endpoint = ex.endpoint
    if target is None or endpoint is None or endpoint.credentials is None:
        return _NOTHING  # no TLS is spoken there
    patience = target.connect_timeout
    failure = spoiled.failure_of(shape, endpoint.credentials.context(target.protocol), patience)
    pause = spoiled.pause_of(shape, patience)
    if failure is not None:
        return Fail(failure, pause)
    return Wait(pause) if pause > 0.0 else _NOTHING


def look_up(ex: Exchange, shape: ShapeLookup) -> Action:
    """Say what comes of a look-up of the upstream's name that goes so."""
    target = ex.target
    if target is None:
        return _NOTHING
    if shape.failure:
        failure = errors.LOOKUPS["dns_" + shape.failure]
        patience = _all_tries(target) if failure is errors.DNS_TIMEOUT else 0.0
        return Fail(failure, patience + shape.seconds)
    aside = target.aside(shape.addresses, shape.partial)
    if aside is not None:
        ex.aside = aside
    return Wait(shape.seconds) if aside is not None or shape.seconds > 0.0 else _NOTHING


def connection(ex: Exchange, action: FailToConnect) -> Action:
    """Say what comes of an upstream that cannot be connected to."""
    target = ex.target
    if target is None:
        return _NOTHING
    patience = _all_tries(target) if action.reason == TIMED_OUT else 0.0
    return Fail(_CANNOT_CONNECT[action.reason], patience)


def _all_tries(target: Upstream) -> float:
    """Give the seconds until each address was waited for in turn, as often as it is configured."""
    return target.connect_timeout * (max(1, len(target.usable)) * (1 + target.attempts))
