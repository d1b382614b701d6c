"""Fifty new rule sets a second under load: no request is lost, none sees two sets."""

import threading
import time

import pytest

from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted, filling
from tests.support.wire import Wire, get

_RATE = 50  # sets a second
_CLIENTS = 4


def _set(stamp: int) -> list[Rule]:
    """Twenty rules; two of them act on one exchange, and both carry the set's number."""
    stamped = {"path": "/stamped"}
    rules = [
        rule("slow", {"delay": f"{1 + stamp % 5}ms"}, match=stamped),
        rule(
            "deny",
            {"abort": {"status": 503, "headers": {"x-set": str(stamp)}, "at": "response_head"}},
            match=stamped,
        ),
    ]
    return rules + [rule(f"other{n}", {"abort": 500}, match={"path": f"/o/{n}/{stamp}"}) for n in range(18)]


class _Client(threading.Thread):
    """Asks in turn for what two faults of the set stamp, and for what no rule touches."""

    def __init__(self, address: str, over: threading.Event) -> None:
        super().__init__()
        self.seen: list[tuple[set[str], str]] = []  # versions in the proofs, stamp of the answer
        self.plain = 0
        self.error: BaseException | None = None
        self._address = address
        self._over = over

    def run(self) -> None:
        try:
            with Wire.to(self._address) as wire:
                while not self._over.is_set():
                    answer = wire.ask(get("/stamped"))
                    proofs = answer.all("x-misrule")
                    names = [proof.split(";")[0] for proof in proofs]
                    assert names == ["rule=slow", "rule=deny"], proofs
                    assert answer.status == 503
                    self.seen.append(
                        ({proof.rpartition("version=")[2] for proof in proofs}, answer.get("x-set") or "")
                    )
                    assert wire.ask(get("/bytes/2000")).body == filling(2000)
                    self.plain += 1
        except BaseException as error:
            self.error = error


@pytest.mark.parametrize("seconds", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_reloads_under_load(proxy: Proxy, shop: Scripted, seconds: int) -> None:
    proxy.put(*_set(0))
    stamps = {str(proxy.version): "0"}
    over = threading.Event()
    clients = [_Client(proxy.address, over) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    begun = time.monotonic()
    number = 0
    try:
        while time.monotonic() - begun < seconds:
            number += 1
            proxy.put(*_set(number))
            stamps[str(proxy.version)] = str(number)
            over.wait(max(0.0, begun + number / _RATE - time.monotonic()))
            assert not any(client.error for client in clients)
    finally:
        over.set()
        for client in clients:
            client.join(10)
    errors = [client.error for client in clients if client.error]
    assert errors == []
    assert number >= 0.9 * _RATE * seconds, f"only {number} sets in {seconds} s"
    seen = [one for client in clients for one in client.seen]
    for versions, stamp in seen:
        assert len(versions) == 1, f"one exchange saw the sets {versions}"
        assert stamps[next(iter(versions))] == stamp
    assert len({stamp for _, stamp in seen}) > number / 2, "the sets were seen by traffic"
    assert sum(client.plain for client in clients) > 100
