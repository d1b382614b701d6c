"""An Envoy of many listeners, each at a path in a folder; its hosts are such too, and answer as told."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conformance.breakers.mesh import listener, running

HOSTS = 6


class Connection(http.client.HTTPConnection):
    """A connection to the listener at a path."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=20)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))

    def status(self, path: str) -> int:
        """Ask once; gives the status."""
        self.request("GET", path)
        answer = self.getresponse()
        answer.read()
        return answer.status


def pipe(path: Path) -> dict[str, Any]:
    """Give an address."""
    return {"pipe": {"path": str(path)}}


def answers(path: Path) -> dict[str, Any]:
    """Make a listener that answers with 500 where the path says so, else with 200."""
    routes = [
        {"match": {"safe_regex": {"regex": ".*/500"}}, "direct_response": {"status": 500}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 200}},
    ]
    return listener(pipe(path), routes)


def cluster(name: str, folder: Path, hosts: int, **more: Any) -> dict[str, Any]:
    """Make a cluster of so many hosts; each is a subset of its own, so that a route can name it."""
    endpoints = [
        {
            "endpoint": {"address": pipe(folder / f"h{number}")},
            "metadata": {"filter_metadata": {"envoy.lb": {"host": str(number)}}},
        }
        for number in range(hosts)
    ]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        # Without a window of 0 its worker hears of the second of two ejections up to a second later.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "lb_subset_config": {"fallback_policy": "NO_FALLBACK", "subset_selectors": [{"keys": ["host"]}]},
        **more,
    }


def route(prefix: str, name: str, host: int) -> dict[str, Any]:
    """Route a prefix to one host of a cluster."""
    chosen = {"filter_metadata": {"envoy.lb": {"host": str(host)}}}
    return {"match": {"prefix": prefix}, "route": {"cluster": name, "metadata_match": chosen}}


@contextmanager
def envoy(folder: Path, listeners: list[dict[str, Any]], clusters: list[dict[str, Any]]) -> Iterator[None]:
    """Run Envoy with these, and the hosts ``h0``, ``h1`` … in the folder."""
    hosts = [answers(folder / f"h{number}") for number in range(HOSTS)]
    config = {"static_resources": {"listeners": [*hosts, *listeners], "clusters": clusters}}
    last = Path(listeners[-1]["address"]["pipe"]["path"])
    with running(folder, config, lambda: accepts(last)):
        yield


def accepts(path: Path) -> bool:
    """Say whether something listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0
