"""Envoy with breakers of its own, and an upstream that answers as the path says."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks.load.subjects.envoy import find
from tests.support.need import not_fetched
from tests.support.process import Process, free_port, listening

_TYPES = "type.googleapis.com/envoy.extensions.filters."


class _Told(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the status that the path ends in."""
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def told_upstream() -> Iterator[int]:
    """Serve on a free port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Told)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _at(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, upstream: int, **more: Any) -> dict[str, Any]:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _at(upstream)}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        **more,
    }


def listener(
    address: dict[str, Any], routes: list[dict[str, Any]], *filters: dict[str, Any]
) -> dict[str, Any]:
    """Make a listener for HTTP/1.1 and HTTP/2, with filters before the one that routes."""
    router = {"name": "router", "typed_config": {"@type": f"{_TYPES}http.router.v3.Router"}}
    manager = {
        "@type": f"{_TYPES}network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [*filters, router],
    }
    return {"address": address, "filter_chains": [{"filters": [{"name": "web", "typed_config": manager}]}]}


def _config(port: int, upstream: int, outliers: list[dict[str, Any]]) -> dict[str, Any]:
    """Route /c0/… to a cluster with the first outlier detection, and so on; all else overflows."""
    full = {"thresholds": [{"max_pending_requests": 0, "max_requests": 0}]}
    clusters = [_cluster("full", upstream, circuit_breakers=full)]
    routes = []
    for number, outlier in enumerate(outliers):
        clusters.append(_cluster(f"c{number}", upstream, outlier_detection=outlier))
        routes.append({"match": {"prefix": f"/c{number}/"}, "route": {"cluster": f"c{number}"}})
    routes.append({"match": {"prefix": "/"}, "route": {"cluster": "full"}})
    return {"static_resources": {"listeners": [listener(_at(port), routes)], "clusters": clusters}}


@contextmanager
def envoy(folder: Path, outliers: list[dict[str, Any]]) -> Iterator[int]:
    """Run Envoy; gives its port."""
    with told_upstream() as upstream:
        port = free_port()
        with running(folder, _config(port, upstream, outliers), lambda: listening(port)):
            yield port


@contextmanager
def running(folder: Path, config: dict[str, Any], ready: Callable[[], bool]) -> Iterator[None]:
    """Run Envoy, with one worker."""
    program = find()
    if not program:
        not_fetched("Envoy")
    written = folder / "envoy.json"
    written.write_text(json.dumps(config))
    more = ("--concurrency", "1", "--disable-hot-restart", "-l", "error")
    process = Process([program, "-c", str(written), *more])
    try:
        process.wait_for(ready)
        yield
    finally:
        process.stop()


@dataclass(frozen=True)
class Seen:
    """An answer as a client saw it, without what may differ: the date, who served it, our proof."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


_MAY_DIFFER = ("date", "server", "x-misrule")


def without(headers: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Leave out the headers that may differ."""
    return tuple(sorted((name, value) for name, value in headers if name not in _MAY_DIFFER))


def see(connection: http.client.HTTPConnection, path: str) -> Seen:
    """Ask once."""
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    return Seen(answer.status, without(answer.getheaders()), body)


def call(address: str) -> tuple[object, ...]:
    """Make a gRPC call; gives what its user sees of the end."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = channel.unary_unary("/shop.Cart/Add")
        with pytest.raises(grpc.RpcError) as caught:
            stub(b"", timeout=20)
        error: Any = caught.value
        metadata = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())]
        return error.code(), error.details(), without([(key, str(value)) for key, value in metadata])
