"""gRPC clients, upstreams, and a proxy before each upstream."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.grpc_calls import CLIENTS, GrpcIo, GrpcJs, Outcome, Rpc, start_server
from tests.support.grpclib_calls import GrpcLib
from tests.support.h2_scripted import ScriptedH2
from tests.support.process import Process
from tests.support.proxy import Proxy

Call = Callable[[Rpc], Outcome]
Client = GrpcIo | GrpcJs | GrpcLib


class Backend:
    """A gRPC upstream and the proxy before it."""

    def __init__(self, process: Process, direct: str, proxy: Proxy) -> None:
        self.process = process
        self.direct = direct
        self.proxy = proxy
        self.address = proxy.address


@pytest.fixture(scope="session")
def _backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Backend]]:
    running: dict[str, Backend] = {}

    def named(engine: str) -> Backend:
        if engine not in running:
            process, address = start_server(engine)
            # The protocol of the upstream is not said: gRPC calls go by HTTP/2 of themselves.
            running[engine] = Backend(process, address, Proxy(tmp_path_factory.mktemp(engine), address))
        return running[engine]

    yield named
    for backend in running.values():
        backend.process.stop()
        backend.proxy.stop()


@pytest.fixture(params=["grpcio", "grpclib"])
def backend(request: pytest.FixtureRequest, _backends: Callable[[str], Backend]) -> Iterator[Backend]:
    """Each kind of upstream in turn, without rules."""
    found = _backends(request.param)
    found.proxy.calm()
    yield found
    found.proxy.calm()


@pytest.fixture
def shop_of_calls(_backends: Callable[[str], Backend]) -> Iterator[Backend]:
    """One upstream, for tests that are about clients."""
    found = _backends("grpcio")
    found.proxy.calm()
    yield found
    found.proxy.calm()


@pytest.fixture(scope="session")
def clients() -> Iterator[Callable[[str], Client]]:
    """Give a client by its name; each is started once."""
    running: dict[str, Client] = {}

    def named(name: str) -> Client:
        if name not in running:
            running[name] = GrpcLib() if name == "grpclib" else CLIENTS[name]()
        return running[name]

    yield named
    for client in running.values():
        client.close()


@pytest.fixture(params=list(CLIENTS))
def client(request: pytest.FixtureRequest, clients: Callable[[str], Client]) -> Client:
    """Each of the clients that most of the world uses in turn."""
    return clients(request.param)


@pytest.fixture
def call(client: Client) -> Call:
    """Make a call with each client in turn."""
    return client.call


@pytest.fixture(scope="session")
def _real_of_session() -> Iterator[ScriptedH2]:
    shop = ScriptedH2()
    yield shop
    shop.close()


@pytest.fixture
def real(_real_of_session: ScriptedH2) -> Iterator[ScriptedH2]:
    """An upstream that does in earnest what faults pretend."""
    _real_of_session.forget()
    yield _real_of_session
    _real_of_session.forget()
