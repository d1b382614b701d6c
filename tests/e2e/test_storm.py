"""Everything at once: whatever clients, upstreams and rules do to each other, nothing is left over.

Clients that send, wait, read slowly and leave at random; an upstream that answers, dawdles, breaks off and
resets at random; faults of every kind at every phase; rule sets that come and go.  What a client gets must be
a beginning of what was sent, and at the end the proxy holds nothing.
"""

import contextlib
import random
import threading
import time

import pytest

from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually, pause
from tests.support.wire import OPEN, Gone, Message, Wire, chunked, request, response

_BODY = filling(400_000)
_CLIENTS = 12
_PHASES = [
    "accept",
    "request_head",
    "request_body",
    "resolve",
    "connect",
    "response_head",
    "response_body",
    "end",
]


def _fault(dice: random.Random) -> Rule:
    """Any fault that is valid."""
    phase = dice.choice(_PHASES)
    kind = dice.choice(["delay", "abort", "reset", "close", "stall"])
    if kind == "delay":
        phase = phase if phase not in ("resolve", "end") else "connect"
        return {"delay": {"uniform": {"min": "0ms", "max": "30ms"}, "at": phase}}
    if kind == "abort":
        answer = {"status": dice.choice([204, 304, 429, 503]), "headers": {"x-fault": "yes"}}
        return {"abort": {**answer, "at": dice.choice(["request_head", "response_head"])}}
    fields: Rule = {"at": phase, "on": dice.choice(["next", "next", "new", "open"])}
    if phase in ("request_body", "response_body"):
        fields["after_bytes"] = f"{dice.choice([0, 1, 1000, 65_536, 200_000])}B"
    if phase in ("connect", "request_body", "response_head", "response_body", "end"):
        fields["side"] = dice.choice(["client", "upstream", "both"])
    if kind == "stall":
        fields |= {"for": f"{dice.randrange(1, 60)}ms", "then": dice.choice(["continue", "reset", "close"])}
    return {kind: fields}


def _rules(dice: random.Random) -> list[Rule]:
    return [
        rule(
            f"r{number}",
            *[_fault(dice) for _ in range(dice.randrange(1, 3))],
            priority=dice.randrange(3),
            mode=dice.choice(["inject", "inject", "shadow"]),
            sample={"percent": dice.choice([3, 10, 30]), "max_active": dice.choice([2, 50]), "seed": number},
        )
        for number in range(dice.randrange(1, 9))
    ]


def _upstream(dice: random.Random, wire: Wire, asked: Message) -> None:
    """Answer in any way that an upstream may."""
    how = dice.random()
    if how < 0.05:
        wire.reset()
        return
    if how < 0.85:
        wire.read_body(asked)  # else: an answer before the request has ended
    if how < 0.1:
        wire.close()
        return
    size = dice.choice([0, 1, 5000, 70_000, 400_000])
    body = _BODY[:size]
    lines = ["connection: close"] if dice.random() < 0.1 or not asked.wholly else []
    if dice.random() < 0.5:
        answer = response(200, *lines, body=body)
    else:
        answer = response(200, "transfer-encoding: chunked", *lines) + chunked(
            body[: size // 2], body[size // 2 :]
        )
    if dice.random() < 0.1:
        answer = answer[: dice.randrange(len(answer))]
        lines = ["cut"]
    wire.send(answer)
    if lines or not asked.wholly:
        wire.close()


def _request(dice: random.Random) -> bytes:
    size = dice.choice([0, 1, 3000, 100_000, 300_000])
    body = _BODY[:size]
    kind = dice.random()
    if kind < 0.5:
        return request("GET", f"/{dice.randrange(100)}")
    if kind < 0.75:
        return request("POST", "/length", body=body)
    return request("PUT", "/chunks", "transfer-encoding: chunked") + chunked(body[:10], body[10:])


class _Client(threading.Thread):
    """One client after another, each with habits of its own."""

    def __init__(self, address: str, seed: int, over: threading.Event) -> None:
        super().__init__()
        self.error: BaseException | None = None
        self.answers = 0
        self._address = address
        self._dice = random.Random(seed)
        self._over = over

    def run(self) -> None:
        try:
            while not self._over.is_set():
                with contextlib.suppress(Gone, ConnectionError), Wire.to(self._address, 5.0) as wire:
                    self._talk(wire)
        except BaseException as error:
            self.error = error

    def _talk(self, wire: Wire) -> None:
        dice = self._dice
        for _ in range(dice.randrange(1, 6)):
            data = _request(dice)
            habit = dice.random()
            if habit < 0.05:
                wire.send(data[: dice.randrange(len(data))])
                (wire.reset if habit < 0.025 else wire.close)()
                return
            wire.send(data)
            if habit < 0.1:
                wire.reset()
                return
            if habit < 0.2:
                pause(dice.random() * 0.05)
            self._read(wire)

    def _read(self, wire: Wire) -> None:
        try:
            answer = wire.answer()
        except Gone as gone:
            if gone.how == OPEN:
                raise AssertionError("an answer is stuck") from gone
            raise
        self.answers += 1
        assert answer.status in (200, 204, 304, 429, 502, 503), answer.head
        if answer.status == 200:
            assert _BODY.startswith(answer.body), "these are not the bytes that were sent"
        if answer.get("connection") == "close":
            raise Gone("", b"")


def _spare(proxy: Proxy) -> float:
    """Count the connections to the upstream that are open though nothing uses or keeps them."""
    open_, idle = (proxy.metric(f"misrule_upstream_connections_{state}") for state in ("open", "idle"))
    return open_ - idle


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_storm(proxy: Proxy, shop: Scripted, seed: int) -> None:
    dice = random.Random(seed)
    quiet = proxy.process.files()
    shop.play = lambda wire, asked: _upstream(dice, wire, asked)
    over = threading.Event()
    clients = [_Client(proxy.address, seed * 1000 + number, over) for number in range(_CLIENTS)]
    for client in clients:
        client.start()
    end = time.monotonic() + 4.0
    while time.monotonic() < end and not any(client.error for client in clients):
        proxy.put(*_rules(dice))
        if dice.random() < 0.1:
            proxy.admin("POST", "/v1/stop")
            proxy.admin("POST", "/v1/resume")
        over.wait(0.1)
    over.set()
    for client in clients:
        client.join(10)
    assert [client.error for client in clients if client.error] == []
    assert sum(client.answers for client in clients) > 100
    proxy.put()
    for name in [
        "misrule_requests_active",
        "misrule_exchanges_held",
        "misrule_connections_open",
        "misrule_upstream_queued",
    ]:
        eventually(lambda name=name: proxy.metric(name) == 0, 8.0, f"{name} is 0")  # type: ignore[misc]
    assert proxy.metric("misrule_internal_errors_total") == 0
    eventually(lambda: _spare(proxy) == 0, 8.0, "only idle connections are kept to the upstream")
    idle = proxy.metric("misrule_upstream_connections_idle")
    assert proxy.process.files() <= quiet + idle + 2
