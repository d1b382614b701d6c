"""A call with a fault beside one in which the same really happens: what clients say of both."""

import re

from tests.support.grpc_calls import Outcome

HEAD = [(":status", "200"), ("content-type", "application/grpc")]
_VARIES = r"[\d.]+s\b|\d+\.\d+\.\d+\.\d+:\d+"  # times and addresses


def alike(real: Outcome, injected: Outcome) -> None:
    """What the clients say of both is the same, but for addresses and times."""
    words = [re.sub(_VARIES, "*", one.details) for one in (real, injected)]
    assert (injected.code, words[1]) == (real.code, words[0])
    assert [len(one) for one in injected.messages] == [len(one) for one in real.messages]


def framed(*sizes: int) -> bytes:
    """Write gRPC messages of zeros."""
    return b"".join(b"\0" + size.to_bytes(4, "big") + bytes(size) for size in sizes)
