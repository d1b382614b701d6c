"""From the request that ``POST /v1/explain`` asks about to the facts that rules look at."""

from ipaddress import ip_address

from proxy.admin.problem import Refusal
from proxy.admin.types import ExplainRequest
from proxy.config import Config, ListenerConfig, RouteConfig, split_address
from proxy.config.addresses import ORIGINAL_DST
from rules.facts import PROTOCOLS, Facts
from rules.matchers import compile_text

Headers = dict[bytes, list[bytes]]


def facts_of(asked: ExplainRequest, config: Config) -> Facts:
    """Make the facts; what was not given is as an ordinary request would have it.  Raises Refusal."""
    listener = _listener(asked.listener, config)
    facts = Facts(listener.name, _source(asked.source), _protocols(asked.protocol))
    path, _, query = asked.path.partition("?")
    facts.method = _bytes(asked.method)
    facts.path, facts.query = _bytes(path), _bytes(query)
    facts.headers = _headers(asked.headers)
    named = _bytes(asked.host) or facts.headers.get(b"host", [b""])[0]
    facts.host = _host(named)
    if named and b"host" not in facts.headers:
        facts.headers[b"host"] = [named]
    facts.sni = _bytes(asked.sni).lower() or None
    facts.upstream = asked.upstream or _upstream(facts, listener)
    facts.names = _hosts(facts.upstream, config)
    if asked.response is not None:
        facts.response_status = asked.response.status
        facts.response_headers = _headers(asked.response.headers)
        facts.grpc_status = asked.response.grpc_status
    return facts


def _listener(name: str, config: Config) -> ListenerConfig:
    for listener in config.listeners:
        if name in ("", listener.name):
            return listener
    known = ", ".join(listener.name for listener in config.listeners)
    raise Refusal(422, "invalid-body", f'there is no listener "{name}"; there are {known}')


def _source(given: str) -> str:
    """Take an address as clients have it, or "", which is that of clients at a unix socket."""
    try:
        return given and str(ip_address(given))
    except ValueError:
        text = f'the source is an IP address such as 10.0.0.7, not "{given[:40]}"'
        raise Refusal(422, "invalid-body", text) from None


def _protocols(given: str | list[str]) -> int:
    bits = 0
    for name in [given] if isinstance(given, str) else given:
        if name not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise Refusal(422, "invalid-body", f'there is no protocol "{name[:40]}"; there are {known}')
        bits |= PROTOCOLS[name]
    return bits


def _headers(given: dict[str, str | list[str]]) -> Headers:
    found: Headers = {}
    for name, value in given.items():
        values = [value] if isinstance(value, str) else value
        found.setdefault(_bytes(name.lower()), []).extend(_bytes(one) for one in values)
    return found


def _host(host: bytes) -> bytes:
    """Lower-case, without port; an IPv6 address keeps its brackets."""
    host = host.lower()
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0]


def _upstream(facts: Facts, listener: ListenerConfig) -> str:
    """Follow the listener's routes; where weights decide, the heaviest target stands for all."""
    for route in listener.routes:
        if _goes(route, facts):
            return max(route.targets, key=lambda target: target[1])[0]
    return ""


def _hosts(upstream: str, config: Config) -> list[bytes]:
    known = config.upstreams.get(upstream)
    addresses = known.addresses if known is not None else []
    hosts = [split_address(one) for one in addresses if one != ORIGINAL_DST]
    return [host.rstrip(".").lower().encode() for host, port in hosts if port != -1]


def _goes(route: RouteConfig, facts: Facts) -> bool:
    match = route.match
    if match.port or match.destination:
        return False  # nobody has dialled anything here
    if match.host is not None and not compile_text(match.host, fold=True).test(facts.host):
        return False
    if match.path is not None and not compile_text(match.path).test(facts.path):
        return False
    return all(compile_text(text).any(facts.headers.get(_bytes(name))) for name, text in match.headers)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
