"""A call with a fault beside one in which the same really happens: what clients say of both."""

import re

from tests.support.grpc_calls import Outcome

HEAD = [(":status", "200"), ("content-type", "application/grpc")]
_VARIES = r"[\d.]+s\b|\d+\.\d+\.\d+\.\d+:\d+"  # times and addresses


def alike(real: Outcome, injected: Outcome, whole: int = -1) -> None:
    """What the clients say of both is the same, but for addresses and times.

    ``whole``: so many messages have arrived when the trouble does.  A client that reads both together may
    give them to its caller or throw them away, grpcio now one and now the other; never are there more.
    """
    words = [re.sub(_VARIES, "*", one.details) for one in (real, injected)]
    assert (injected.code, words[1]) == (real.code, words[0])
    sizes = [[len(message) for message in one.messages] for one in (real, injected)]
    if whole < 0:
        assert sizes[0] == sizes[1]
    else:
        assert len(sizes[0]) <= whole
        assert len(sizes[1]) <= whole
        shared = min(len(sizes[0]), len(sizes[1]))
        assert sizes[0][:shared] == sizes[1][:shared]


def framed(*sizes: int) -> bytes:
    """Write gRPC messages of zeros."""
    return b"".join(b"\0" + size.to_bytes(4, "big") + bytes(size) for size in sizes)
