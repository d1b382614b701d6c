"""From the configuration of a listener to its running form."""

from proxy.config import ListenerConfig, RouteConfig
from proxy.listener import PROTOCOLS as LISTENER_PROTOCOLS
from proxy.listener import TLS_MODES, Capture, Listener, Reach, Route, Target
from proxy.metrics.cells import ListenerCells
from proxy.worker import Worker
from rules.matchers import Matcher, compile_text
from rules.model import Text
from rules.reading import Network


def make_listener(config: ListenerConfig, worker: Worker, own_ports: set[int]) -> Listener:
    """Make a listener, without what TLS needs; ``own_ports`` fills as this proxy opens what listens."""
    cells = ListenerCells(config.name)
    worker.cells.listeners.append(cells)
    made = Listener(
        config.name,
        cells,
        worker.cells.route(config.name, ""),
        [_route(config.name, route, worker) for route in config.routes],
        config.trusted_hops,
        config.limits.head_size,
        config.limits.headers,
        config.limits.connections,
        config.limits.drain,
        config.timeouts.head,
        config.timeouts.idle,
        config.timeouts.drain,
        config.limits.streams,
        LISTENER_PROTOCOLS[config.protocol],
    )
    made.tls_mode = TLS_MODES[config.tls.mode]
    made.handshake_timeout = config.timeouts.handshake
    made.tells_certificates = config.tls.forward_client_certificate
    if config.capture == "redirect":
        ranges = [range(first, last + 1) for first, last in config.opaque_ports]
        opaque = frozenset(port for one in ranges for port in one)
        made.capture = Capture(config.timeouts.sniff, opaque, own_ports)
    return made


def _route(listener_name: str, config: RouteConfig, worker: Worker) -> Route:
    match = config.match
    targets = [
        Target(worker.upstreams[name], weight, worker.cells.route(listener_name, name))
        for name, weight in config.targets
    ]
    headers = [(name.encode(), compile_text(text)) for name, text in match.headers]
    made = Route(_matcher(match.host, fold=True), _matcher(match.path), headers, targets)
    if match.port or match.destination:
        made.reach = Reach(list(match.port), [Network(one) for one in match.destination])
    return made


def _matcher(text: Text | None, fold: bool = False) -> Matcher | None:
    return None if text is None else compile_text(text, fold)
