"""Opens connections to upstreams, and tells apart why one could not be opened."""

import asyncio
import errno
import socket
from typing import Any, Final

from proxy import errors
from proxy.errors import Failure
from proxy.net.pool import Endpoint

_UNREACHABLE: Final = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM, errno.ENETDOWN}
)
_REFUSED: Final = frozenset({errno.ECONNREFUSED, errno.ENOENT})  # ENOENT: no such Unix socket


class _Made:
    """Hands the loop a protocol that exists already."""

    def __init__(self, protocol: Any) -> None:
        self.made: Any = protocol

    def protocol(self) -> Any:
        """Give it."""
        return self.made


async def reach(loop: asyncio.AbstractEventLoop, protocol: Any, endpoint: Endpoint, patience: float) -> None:
    """Connect ``protocol`` to an endpoint within ``patience`` seconds.

    Raises OSError, TimeoutError, or UnicodeError for a name that cannot be one.
    """
    made = _Made(protocol)
    if endpoint.path:
        await asyncio.wait_for(loop.create_unix_connection(made.protocol, endpoint.path), patience)
    else:
        await asyncio.wait_for(loop.create_connection(made.protocol, endpoint.host, endpoint.port), patience)


def failure_of(error: BaseException) -> Failure:
    """Tell apart why a connection could not be made."""
    if isinstance(error, TimeoutError):
        return errors.CONNECT_TIMEOUT
    if isinstance(error, (socket.gaierror, UnicodeError)):  # a name that IDNA cannot write
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
