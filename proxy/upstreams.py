"""From the configuration of an upstream to its pool."""

from collections.abc import Callable
from typing import Any

from proxy.config import UpstreamConfig, is_address, split_address
from proxy.config.addresses import ORIGINAL_DST
from proxy.metrics.cells import UpstreamCells
from proxy.net.dialled import DialledUpstream
from proxy.net.names import Names
from proxy.net.pool import BALANCES, PROTOCOLS, Endpoint, Upstream


def make_upstream(
    config: UpstreamConfig, cells: UpstreamCells, credentials: Any, names: Callable[[], Names]
) -> Upstream:
    """Make the pool; ``credentials`` are those for TLS (None: clear text), ``names`` makes look-ups."""
    if config.addresses == [ORIGINAL_DST]:
        return _dialled(config, cells, credentials)
    weights = config.weights or [1] * len(config.addresses)
    endpoints = [
        _endpoint(number, address, weights[number]) for number, address in enumerate(config.addresses)
    ]
    for endpoint in endpoints:
        endpoint.credentials = credentials
        endpoint.keepalive = config.timeouts.keepalive or 0.0
        if not endpoint.path and not is_address(endpoint.host):
            endpoint.names = names()
    return Upstream(
        config.name,
        endpoints,
        BALANCES[config.balance],
        cells,
        config.timeouts.connect,
        config.timeouts.response_head,
        config.timeouts.idle,
        config.pool.max_connections,
        config.pool.max_idle,
        config.retry.reused_connection,
        config.retry.attempts,
        PROTOCOLS[config.protocol],
    )


def _dialled(config: UpstreamConfig, cells: UpstreamCells, credentials: Any) -> Upstream:
    return DialledUpstream(
        config.name,
        cells,
        config.timeouts.connect,
        config.timeouts.response_head,
        config.timeouts.idle,
        config.pool.max_connections,
        config.pool.max_idle,
        config.retry.reused_connection,
        config.retry.attempts,
        PROTOCOLS[config.protocol],
        config.timeouts.keepalive or 0.0,
        credentials,
    )


def _endpoint(number: int, address: str, weight: int) -> Endpoint:
    if address.startswith("unix:"):
        return Endpoint(number, "", 0, address.removeprefix("unix:"), weight)
    host, port = split_address(address)
    return Endpoint(number, host, port, "", weight)
