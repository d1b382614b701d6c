"""The proxy's own look-ups: the names of its upstreams, through c-ares, each for as long as its TTL says.

An answer that has expired is still used while no resolver gives another (RFC 8767), for a bounded time.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

import aiodns

from proxy import errors
from proxy.errors import Failure
from proxy.logs import Log
from proxy.metrics.cells import LookupCells
from proxy.net.names import Names

STALE_FOR: Final = 3600.0  # seconds beyond its TTL that an answer may be used while resolvers are down
STALE_AFTER: Final = (
    1.8  # seconds until a resolver counts as down where there is such an answer (RFC 8767, 5)
)
RECHECK: Final = 30.0  # seconds until it is asked again (RFC 8767, 5: failure recheck timer)
LEAST_TTL: Final = 1.0  # a burst of connections, and a line of /etc/hosts, share one look-up
MOST_TTL: Final = 7 * 86400.0  # RFC 8767, section 4
TIMEOUT: Final = 1.0  # seconds until a question is sent again, to the next resolver where there is one
TRIES: Final = 3

_ERRORS: Final[dict[int, Failure]] = {
    aiodns.error.ARES_ENODATA: errors.DNS_NODATA,
    aiodns.error.ARES_ENOTFOUND: errors.DNS_NXDOMAIN,
    aiodns.error.ARES_ESERVFAIL: errors.DNS_SERVFAIL,
    aiodns.error.ARES_EREFUSED: errors.DNS_REFUSED,
    aiodns.error.ARES_ETIMEOUT: errors.DNS_TIMEOUT,
    aiodns.error.ARES_ECONNREFUSED: errors.DNS_TIMEOUT,  # nobody listens there: no answer came
}
# What the name's own servers say is final; the others say that nobody could be asked.
_FINAL: Final = frozenset({errors.DNS_NODATA.kind, errors.DNS_NXDOMAIN.kind})


class Answer:
    """What is known of one name.  Times are of the clock that ``Lookups`` was given."""

    def __init__(self, addresses: list[str], fresh_until: float) -> None:
        self.addresses = addresses
        self.fresh_until = fresh_until
        self.usable_until = fresh_until + STALE_FOR


class Lookups(Names):
    """The names of upstreams.  ``resolvers`` are ``host:port``; none: those of /etc/resolv.conf."""

    def __init__(
        self, resolvers: Sequence[str], clock: Callable[[], float], cells: LookupCells, log: Log
    ) -> None:
        """Begin; needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._resolver = aiodns.DNSResolver(list(resolvers) or None, timeout=TIMEOUT, tries=TRIES)
        self._clock = clock
        self._cells = cells
        self._log = log
        self._known: dict[str, Answer] = {}
        self._asking: dict[str, asyncio.Task[list[str]]] = {}

    def known(self, host: str) -> list[str] | None:
        """Give what is fresh."""
        answer = self._known.get(host)
        return None if answer is None or self._clock() >= answer.fresh_until else answer.addresses

    async def look_up(self, host: str, patience: float) -> list[str]:
        """Ask; all who want the same name at the same time ask once."""
        asking = self._asking.get(host)
        if asking is None:
            asking = self._loop.create_task(self._ask(host))
            self._asking[host] = asking
            asking.add_done_callback(self._asked)
        stale = self._stale(host)
        wait = patience if stale is None else min(patience / 2, STALE_AFTER)  # it is to be dialled, too
        try:
            return await asyncio.wait_for(asyncio.shield(asking), wait)
        except TimeoutError:
            if stale is not None:
                return self._use_stale(host, stale, errors.DNS_TIMEOUT.kind)
            self._cells.outcomes[errors.DNS_TIMEOUT.kind] += 1
            raise socket.gaierror(errors.DNS_TIMEOUT.kind) from None

    async def close(self) -> None:
        """Ask no more."""
        for asking in list(self._asking.values()):
            asking.cancel()
        await self._resolver.close()

    async def _ask(self, host: str) -> list[str]:
        try:
            found = await self._resolver.getaddrinfo(host, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            failure = _ERRORS.get(error.args[0], errors.DNS_ERROR)
            return self._failed(host, failure.kind)
        except UnicodeError:  # IDNA cannot write the name
            return self._failed(host, errors.DNS_ERROR.kind)
        addresses = [node.addr[0].decode() for node in found.nodes]
        if not addresses:
            return self._failed(host, errors.DNS_NODATA.kind)
        ttl = min(max(float(min(node.ttl for node in found.nodes)), LEAST_TTL), MOST_TTL)
        before = self._known.get(host)
        if before is not None and set(before.addresses) != set(addresses):
            self._log.event("info", "upstream_addresses", name=host, addresses=addresses)
        self._known[host] = Answer(addresses, self._clock() + ttl)
        self._cells.outcomes["found"] += 1
        return addresses

    def _failed(self, host: str, kind: str) -> list[str]:
        """Fall back on what was known before, or raise."""
        if kind in _FINAL:
            self._known.pop(host, None)
        stale = self._stale(host)
        if stale is not None:
            return self._use_stale(host, stale, kind)
        self._cells.outcomes[kind] += 1
        raise socket.gaierror(kind)

    def _stale(self, host: str) -> Answer | None:
        answer = self._known.get(host)
        return answer if answer is not None and self._clock() < answer.usable_until else None

    def _use_stale(self, host: str, answer: Answer, kind: str) -> list[str]:
        """Use it, and ask again only after a while."""
        now = self._clock()
        if now >= answer.fresh_until:
            answer.fresh_until = min(now + RECHECK, answer.usable_until)
            self._cells.outcomes["stale"] += 1
            self._log.event("warning", "upstream_addresses_stale", name=host, kind=kind)
        return answer.addresses

    def _asked(self, asking: "asyncio.Task[list[str]]") -> None:
        for host, task in list(self._asking.items()):
            if task is asking:
                del self._asking[host]
        if not asking.cancelled():
            asking.exception()  # those who still wait get it; nobody may be left
