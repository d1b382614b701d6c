"""The faults of bytes on plain TCP: connections that were open before the rule came."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted, filling
from tests.support.wire import FIN, Wire

TCP = {"match": {"protocol": ["tcp"]}}


def _echo(wire: Wire) -> None:
    while True:
        wire.send(wire.take(1))


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    echo = Scripted(on_open=_echo)
    folder: Path = tmp_path_factory.mktemp("tcp")
    tcp = {"protocol": "tcp"}
    proxy = Proxy(folder, echo.address, listener=tcp, upstream_options=tcp)
    yield proxy
    proxy.stop()
    echo.close()


@pytest.fixture
def wire(front: Proxy) -> Iterator[Wire]:
    """A connection that is open already, without rules."""
    front.calm()
    with Wire.to(front.address) as made:
        made.send(b"before")
        assert made.take(6) == b"before"
        yield made
    front.calm()


_SLOW: list[tuple[Rule, float]] = [
    ({"throttle": "10KB/s"}, 0.5),
    ({"throttle": {"rate": "10KB/s", "direction": "request"}}, 0.5),
    ({"drip": {"bytes": 100, "every": "10ms"}}, 0.4),
    ({"loss": {"percent": 100, "rto": "1ms", "backoff": 1.2}}, 0.2),
]


@pytest.mark.parametrize(("fault", "least"), _SLOW)
def test_slow(front: Proxy, wire: Wire, fault: Rule, least: float) -> None:
    front.put(rule("slow", fault, **TCP))
    begun = time.monotonic()
    wire.send(filling(5_000))
    assert wire.take(5_000) == filling(5_000)
    assert time.monotonic() - begun >= least
    assert front.injections(rule="slow") == 1


def test_a_rule_that_is_deleted_lets_go(front: Proxy, wire: Wire) -> None:
    front.put(rule("slow", {"throttle": "100B/s"}, **TCP))
    wire.send(filling(5_000))
    wire.take(10)
    begun = time.monotonic()
    front.put()
    assert wire.take(4_990) == filling(5_000)[10:]
    assert time.monotonic() - begun < 5.0  # and not 50 seconds


def test_truncate(front: Proxy, wire: Wire) -> None:
    front.put(rule("cut", {"truncate": "100B"}, **TCP))
    wire.send(filling(5_000))
    assert wire.rest() == (filling(100), FIN)


def test_corrupt(front: Proxy, wire: Wire) -> None:
    front.put(rule("wrong", {"corrupt": {"flips": 3}}, **TCP))
    wire.send(filling(5_000))
    pairs = zip(wire.take(5_000), filling(5_000), strict=True)
    assert [(a ^ b).bit_count() for a, b in pairs if a != b] == [1, 1, 1]
