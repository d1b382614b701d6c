"""The proxy that all cases share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.h2_heard import Heard
from tests.support.h2_peer import Peer
from tests.support.h2_scripted import ScriptedH2
from tests.support.h2_server import ANSWER
from tests.support.proxy import Proxy
from tests.support.scripted import Scripted
from tests.support.wire import Message, Wire, response

# Listener of the proxy: what its upstream speaks.
LISTENERS = ("http1", "http2")


def _answer(wire: Wire, asked: Message) -> None:
    wire.read_body(asked)
    wire.send(response(200, body=ANSWER))


def _answer_http2(peer: Peer, asked: Heard) -> None:
    peer.answer(asked, 200, body=ANSWER)


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One proxy for all cases, with a listener before each upstream; clients speak HTTP/2 alone."""
    upstreams: dict[str, Scripted | ScriptedH2] = {
        "http1": Scripted(_answer),
        "http2": ScriptedH2(_answer_http2),
    }
    listener: dict[str, Any] = {"address": "127.0.0.1:0", "protocol": "http2", "timeouts": {"drain": "1s"}}
    listener["tls"] = {"mode": "auto"}  # clear text and TLS on the same port
    document = {
        "listeners": [{**listener, "name": name, "routes": [{"upstream": name}]} for name in LISTENERS],
        "upstreams": {name: {"address": one.address, "protocol": name} for name, one in upstreams.items()},
    }
    proxy = Proxy(tmp_path_factory.mktemp("conformance"), config=document)
    yield proxy
    proxy.stop()
    for one in upstreams.values():
        one.close()
