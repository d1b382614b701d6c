"""What the proxy has to do with names: its own look-ups, the DNS listener; each made where it is used."""

from typing import TYPE_CHECKING

from proxy.config import DnsConfig, split_address
from proxy.metrics.cells import LookupCells, QueryCells
from proxy.net.names import Names
from proxy.worker import Worker

if TYPE_CHECKING:
    from proxy.dns.listener import DnsListener
    from proxy.dns.lookups import Lookups


class Naming:
    """What one proxy has of it."""

    def __init__(self, worker: Worker, config: DnsConfig) -> None:
        self._worker = worker
        self._config = config
        self._asked = [one for one in config.resolvers if one != "system"]
        self._lookups: Lookups | None = None
        self._listener: DnsListener | None = None

    def names(self) -> Names:
        """Give what looks up the names of upstreams."""
        if self._lookups is None:
            from proxy.dns.lookups import Lookups

            cells = LookupCells()
            self._worker.cells.lookups = cells
            self._lookups = Lookups(self._asked, self._worker.clock, cells, self._worker.log)
        return self._lookups

    async def listen(self) -> str:
        """Open the listener, where one is configured; gives its address, "": none.  Raises OSError."""
        if not self._config.listen:
            return ""
        from proxy.dns.listener import DnsListener
        from proxy.dns.resolvers import Resolvers

        host, port = split_address(self._config.listen)
        cells = QueryCells()
        self._worker.cells.queries = cells
        self._listener = DnsListener(self._worker, Resolvers(self._asked), cells)
        port = await self._listener.start(host, port)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def close(self) -> None:
        """Stop at once."""
        if self._listener is not None:
            self._listener.close()
        if self._lookups is not None:
            await self._lookups.close()
