"""Each case against the codec in a small server: in one piece, byte by byte, and over a socket."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

# The modules that fill the table.
from tests.conformance import compression, definitions, generic, messages, streams
from tests.conformance.cases import CASES, Case
from tests.conformance.channels import Connect, EchoChannel, SocketChannel
from tests.conformance.peer import Peer
from tests.support.h2_server import background

MODULES = (compression, definitions, generic, messages, streams)
NUMBERED = sorted(CASES, key=lambda case: case.number)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with background() as port:
        yield port


@pytest.fixture(params=["whole", "bytes", "tcp"])
def connect(request: pytest.FixtureRequest) -> Connect:
    if request.param == "tcp":
        return partial(SocketChannel, "127.0.0.1", request.getfixturevalue("port"), 2.0)
    return partial(EchoChannel, 1 if request.param == "bytes" else 0)


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
