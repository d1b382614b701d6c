"""Each case against the codec in a small server (in one piece, byte by byte, over a socket), and the proxy.

The proxy stands before an upstream of each protocol.  ``TRANSPORTS`` says what its clients come by.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest

# The modules that fill the table.
from tests.conformance import compression, definitions, generic, messages, streams
from tests.conformance.cases import CASES, Case
from tests.conformance.channels import Channel, Connect, EchoChannel, SocketChannel, TlsChannel
from tests.conformance.conftest import LISTENERS
from tests.conformance.peer import Peer
from tests.support.h2_server import background
from tests.support.proxy import Proxy

MODULES = (compression, definitions, generic, messages, streams)
NUMBERED = sorted(CASES, key=lambda case: case.number)


# How a client reaches a listener: transport, host, port, seconds of silence that mean nothing will come.
Transport = Callable[[str, int, float], Channel]
TRANSPORTS: dict[str, Transport] = {"tcp": SocketChannel, "tls": TlsChannel}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with background() as port:
        yield port


WAYS = ["whole", "bytes", "tcp", *(f"{name} by {way}" for name in LISTENERS for way in TRANSPORTS)]


@pytest.fixture(params=WAYS)
def connect(request: pytest.FixtureRequest) -> Connect:
    listener, proxied, way = request.param.partition(" by ")
    if proxied:
        proxy: Proxy = request.getfixturevalue("proxy")
        host, _, number = proxy.listeners[listener].rpartition(":")
        return partial(TRANSPORTS[way], host, int(number), 2.0)
    if listener == "tcp":
        return partial(SocketChannel, "127.0.0.1", request.getfixturevalue("port"), 2.0)
    return partial(EchoChannel, 1 if listener == "bytes" else 0)


@pytest.mark.parametrize("case", NUMBERED, ids=lambda case: f"{case.number}: {case.name}")
def test_h2spec(case: Case, connect: Connect) -> None:
    channel = connect()
    try:
        peer = Peer(channel)
        if case.handshake:
            peer.handshake()
        case.run(peer)
    finally:
        channel.close()


def test_no_case_is_missing() -> None:
    groups = Counter(case.number.partition("/")[0] for case in CASES)
    assert groups == {"generic": 44, "http2": 95, "hpack": 7}
    assert len({case.number for case in CASES}) == len(CASES)
