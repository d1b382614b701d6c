"""Envoy: each condition a route, each route with a setting of its own for the fault filter."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from benchmarks.load import certificate
from benchmarks.load.places import PEERS, program
from benchmarks.load.rulesets import TIER_HEADER, Condition, PathFault, RuleSet
from benchmarks.load.subjects.base import Command, Subject, first_line
from benchmarks.load.upstream import PROTOCOLS, Upstream

_TYPES = "type.googleapis.com/envoy.extensions."
_FAULT = _TYPES + "filters.http.fault.v3.HTTPFault"
_FILTER = "envoy.filters.http.fault"
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_HTTP2 = {
    "@type": f"type.googleapis.com/{_OPTIONS}",
    "explicit_http_config": {"http2_protocol_options": {}},
}


def fault_setting(fault: PathFault) -> dict[str, Any]:
    """Give the fault filter's setting for one route."""
    share = {"numerator": fault.percent, "denominator": "HUNDRED"}
    if fault.kind == "abort":
        return {"@type": _FAULT, "abort": {"http_status": 503, "percentage": share}}
    return {
        "@type": _FAULT,
        "delay": {"fixed_delay": f"{fault.milliseconds / 1000:.3f}s", "percentage": share},
    }


def _route(match: dict[str, Any], setting: dict[str, Any] | None) -> dict[str, Any]:
    route: dict[str, Any] = {"match": match, "route": {"cluster": "one", "timeout": "0s"}}
    if setting is not None:
        route["typed_per_filter_config"] = {_FILTER: setting}
    return route


def condition_match(condition: Condition) -> dict[str, Any]:
    """Give the condition as the match of a route."""
    if condition.kind == "path":
        return {"prefix": condition.value}
    name = ":authority" if condition.kind == "host" else TIER_HEADER
    return {"prefix": "/", "headers": [{"name": name, "string_match": {"exact": condition.value}}]}


def routes(rules: RuleSet) -> list[dict[str, Any]]:
    """Give the routes in order: conditions, faults, the rest."""
    always = fault_setting(PathFault("", "abort", 100))
    made = [_route(condition_match(condition), always) for condition in rules.conditions]
    made += [_route({"prefix": fault.prefix}, fault_setting(fault)) for fault in rules.faults]
    return [*made, _route({"prefix": "/"}, None)]


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _over_tls(certificate: str) -> dict[str, Any]:
    shown = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": certificate}}
    common = {"alpn_protocols": ["http/1.1"], "tls_certificates": [shown]}
    kind = _TYPES + "transport_sockets.tls.v3.DownstreamTlsContext"
    setting = {"@type": kind, "common_tls_context": common}
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": setting}}


def config(port: int, upstream: Upstream, rules: RuleSet, certificate: str = "") -> str:
    """Give the whole configuration, as JSON; the listener finds out itself whether it is spoken HTTP/2 to."""
    manager = {
        "@type": _TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "use_remote_address": True,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes(rules)}]},
        "http_filters": [
            {"name": _FILTER, "typed_config": {"@type": _FAULT}},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _TYPES + "filters.http.router.v3.Router"},
            },
        ],
    }
    over_tls = _over_tls(certificate) if certificate else {}
    listener = {
        "name": "web",
        "address": _address(port),
        "filter_chains": [
            {
                "filters": [
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                ],
                **over_tls,
            }
        ],
    }
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(upstream.port)}}]}
    cluster: dict[str, Any] = {
        "name": "one",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "one", "endpoints": [endpoint]},
    }
    if upstream.http2:
        cluster["typed_extension_protocol_options"] = {_OPTIONS: _HTTP2}
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=1)


def find() -> str:
    """Give the path of the program: fetched by ``install_peers``, in this environment, or on the PATH."""
    fetched = PEERS / "envoy" / "envoy" / "_bin" / "envoy"
    if fetched.exists():
        return str(fetched)
    package = importlib.util.find_spec("envoy")
    for folder in (package.submodule_search_locations or []) if package else []:
        inside = Path(folder) / "_bin" / "envoy"
        if inside.exists():
            return str(inside)
    return program("envoy")


class Envoy(Subject):
    """Router and fault filter, one worker thread beside its main thread."""

    name = "Envoy"
    protocols = PROTOCOLS

    def missing(self) -> str:
        return "" if find() else "not installed (python -m benchmarks.install_peers)"

    def version(self) -> str:
        return "Envoy " + first_line(find(), "--version").rpartition("version: ")[2]

    def command(self, work: Path, port: int, upstream: Upstream, rules: RuleSet) -> Command:
        written = work / "envoy.json"
        shown = str(certificate.make(work)) if upstream.tls else ""
        written.write_text(config(port, upstream, rules, shown))
        return Command(
            [find(), "-c", str(written), "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
        )
