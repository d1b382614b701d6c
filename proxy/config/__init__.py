"""The bootstrap configuration: listeners, upstreams, admin, log; what does not change while running.

``options`` holds every option once, ``read`` turns a file or the command line into a ``Config`` and
reports all mistakes with their places, ``schema`` describes the file for editors.
"""

from proxy.config.addresses import is_address, is_loopback, split_address
from proxy.config.command_line import OptionsError, from_options, with_options
from proxy.config.options import (
    AdminConfig,
    CertsConfig,
    Config,
    DnsConfig,
    HealthCheck,
    HealthConfig,
    Limits,
    ListenerConfig,
    ListenerTimeouts,
    ListenerTls,
    LogConfig,
    PoolConfig,
    RetryConfig,
    RouteConfig,
    RouteMatch,
    UpstreamConfig,
    UpstreamTimeouts,
    UpstreamTls,
)
from proxy.config.read import load, parse

__all__ = [
    "AdminConfig",
    "CertsConfig",
    "Config",
    "DnsConfig",
    "HealthCheck",
    "HealthConfig",
    "Limits",
    "ListenerConfig",
    "ListenerTimeouts",
    "ListenerTls",
    "LogConfig",
    "OptionsError",
    "PoolConfig",
    "RetryConfig",
    "RouteConfig",
    "RouteMatch",
    "UpstreamConfig",
    "UpstreamTimeouts",
    "UpstreamTls",
    "from_options",
    "is_address",
    "is_loopback",
    "load",
    "parse",
    "split_address",
    "with_options",
]
