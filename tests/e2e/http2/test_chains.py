"""Other proxies of HTTP/2 before and behind this one: bodies, trailers, gRPC and load pass all of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.load.rulesets import RuleSet
from benchmarks.load.subjects import envoy, nghttpx
from benchmarks.load.upstream import HTTP2
from benchmarks.load.upstream import Upstream as Origin
from tests.e2e.http2.test_matrix import both_ways, load
from tests.support.grpc_calls import GrpcIo, Rpc, start_server
from tests.support.grpc_calls import ask as wanted
from tests.support.need import need
from tests.support.process import Process, free_port, listening
from tests.support.proxy import Proxy
from tests.support.upstreams import Corpus, Upstream

PEERS = ["nghttpx", "envoy"]
ENVOY = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]


LAST = ["node2", "grpcio"]


class Chains:
    """One proxy with a listener for each way through it, and the others, each started when first asked for.

    Way: another proxy, its place (``front`` of ours, or ``behind`` it), and the upstream at the end.
    """

    def __init__(self, folder: Path, addresses: dict[str, str]) -> None:
        self._folder = folder
        self._last = {name: int(address.rpartition(":")[2]) for name, address in addresses.items()}
        self._behind = {f"{peer}-{name}": free_port() for peer in PEERS for name in LAST}
        ports = self._last | self._behind
        document = {
            "listeners": [
                {"name": name, "address": "127.0.0.1:0", "routes": [{"upstream": name}]} for name in ports
            ],
            "upstreams": {
                name: {"address": f"127.0.0.1:{port}", "protocol": "http2"} for name, port in ports.items()
            },
        }
        self._proxy = Proxy(folder, config=document)
        self._started: dict[tuple[str, str, str], str] = {}
        self._processes: list[Process] = []

    def end(self, peer: str, place: str, last: str) -> str:
        """Give the client's end of a way, as ``host:port``."""
        way = (peer, place, last)
        if way not in self._started:
            name = f"{peer}-{last}"
            if place == "front":
                port = free_port()
                self._start(peer, port, int(self._proxy.listeners[last].rpartition(":")[2]))
                self._started[way] = f"127.0.0.1:{port}"
            else:
                self._start(peer, self._behind[name], self._last[last])
                self._started[way] = self._proxy.listeners[name]
        return self._started[way]

    def _start(self, peer: str, port: int, upstream: int) -> None:
        if peer == "envoy":
            if not envoy.find():
                pytest.skip("envoy is not installed (python -m benchmarks.install_peers)")
            file = self._folder / f"envoy{port}.json"
            file.write_text(envoy.config(port, Origin(upstream, HTTP2), RuleSet("none", ())))
            command = [envoy.find(), "-c", str(file), *ENVOY]
        else:
            command = [need("nghttpx"), *nghttpx.arguments(port, upstream)]
        self._processes.append(Process(command))
        self._processes[-1].wait_for(lambda: listening(port))

    def stop(self) -> None:
        """Stop them all."""
        for process in self._processes:
            process.stop()
        self._proxy.stop()


@pytest.fixture(scope="module")
def chains(
    upstreams: Callable[[str], Upstream], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chains]:
    server, address = start_server("grpcio")
    addresses = {"node2": upstreams("node2").address, "grpcio": address}
    made = Chains(tmp_path_factory.mktemp("chains"), addresses)
    yield made
    made.stop()
    server.stop()


@pytest.mark.parametrize("place", ["front", "behind"])
@pytest.mark.parametrize("peer", PEERS)
class TestChain:
    """Each peer at each place."""

    def test_bodies(
        self, chains: Chains, upstreams: Callable[[str], Upstream], corpus: Corpus, peer: str, place: str
    ) -> None:
        """curl gets and puts 0 B to 10 MiB."""
        url = f"http://{chains.end(peer, place, 'node2')}"
        both_ways(url, upstreams("node2"), corpus, "curl", "node2", True)

    def test_load(self, chains: Chains, peer: str, place: str) -> None:
        url = f"http://{chains.end(peer, place, 'node2')}/files/1"
        told = load(url, "-n", "2000", "-c", "4", "-m", "32")
        assert (told["succeeded"], told["failed"], told["errored"]) == (2000, 0, 0)

    def test_grpc(self, chains: Chains, peer: str, place: str) -> None:
        """Messages one by one, a status in trailers, a status alone."""
        end = chains.end(peer, place, "grpcio")
        client = GrpcIo()
        try:
            messages = tuple(wanted({"size": size}) for size in (31_415, 9, 2_653))
            got = client.call(Rpc(end, "FullDuplexCall", messages, "bidi", ping_pong=True))
            assert (got.code, [len(one) for one in got.messages]) == ("OK", [31_415, 9, 2_653]), got.details
            assert client.call(Rpc(end, "NoSuchCall")).code == "UNIMPLEMENTED"
        finally:
            client.close()
