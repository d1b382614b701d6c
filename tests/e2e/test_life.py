"""A proxy that is asked to end in order, and one that is asked what it does."""

import http.client
import json
import re
import signal
import threading
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Launch
from tests.support.process import listening
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted
from tests.support.wait import eventually
from tests.support.wire import Message, Wire, get, response
from tests.unit.proxy.test_cli import run


class Waiting:
    """An upstream that answers when the test says so."""

    def __init__(self, upstream: Callable[..., Scripted]) -> None:
        self.free = threading.Event()
        self.shop = upstream(play=self.play)

    def play(self, wire: Wire, asked: Message) -> None:
        wire.read_body(asked)
        self.free.wait(20.0)
        wire.send(response(200, body=b"done"))


@pytest.fixture
def waiting(upstream: Callable[..., Scripted]) -> Waiting:
    return Waiting(upstream)


def patient(launch: Launch, waiting: Waiting) -> Proxy:
    """A proxy with an hour of grace and a health listener of its own."""
    listener = {"name": "web", "address": "127.0.0.1:0", "routes": [{"upstream": "shop"}]}
    return launch(
        config={
            "listeners": [listener],
            "upstreams": {"shop": {"address": waiting.shop.address}},
            "health": {"address": "127.0.0.1:0"},
            "drain": {"grace": "1h"},
        }
    )


def health_address(proxy: Proxy) -> str:
    return str(proxy.process.wait_line(r"health ([\w.]+:\d+)")[1])


def ask_health(proxy: Proxy, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(health_address(proxy), timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_drain_that_is_asked_for_ends_it_in_order(launch: Launch, waiting: Waiting) -> None:
    proxy = patient(launch, waiting)
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        eventually(lambda: waiting.shop.requests)
        told = proxy.admin("POST", "/v1/drain")
        assert told == {"draining": True, "grace": 3600.0, "connections": 1}
        status, text = ask_health(proxy, "/readyz")  # at once
        assert (status, json.loads(text)["draining"]) == (503, True)
        assert ask_health(proxy, "/healthz")[0] == 200
        assert not listening(int(proxy.address.rpartition(":")[2]))
        assert proxy.admin("POST", "/v1/drain")["draining"]  # once more changes nothing
        proxy.process.signal(signal.SIGTERM)  # a kubelet's, behind its preStop hook: the first signal
        assert proxy.call("GET", "/readyz")[0] == 503
        waiting.free.set()
        answer = wire.answer()
        assert (answer.status, answer.body, answer.get("connection")) == (200, b"done", "close")
    assert proxy.process.wait(15.0) == 0
    audit = proxy.records(event="audit")[0]
    assert (audit["who"], audit["call"], audit["draining"]) == ("local", "POST /v1/drain", True)


def test_a_second_signal_behind_a_drain_ends_it_at_once(launch: Launch, waiting: Waiting) -> None:
    proxy = patient(launch, waiting)
    with Wire.to(proxy.address) as wire:
        wire.send(get())
        eventually(lambda: waiting.shop.requests)
        code, out, _ = run("drain", "--admin", proxy.admin_address)
        assert (code, out) == (0, "draining: 1 connection open, gone within 3600 s\n")
        proxy.process.signal(signal.SIGTERM)
        assert proxy.call("GET", "/readyz")[0] == 503
        proxy.process.signal(signal.SIGINT)
        assert proxy.process.wait(15.0) == 0
    waiting.free.set()


def test_the_command_waits_until_it_is_gone(launch: Launch, waiting: Waiting) -> None:
    waiting.free.set()
    proxy = patient(launch, waiting)
    code, out, _ = run("drain", "--wait", "--admin", proxy.admin_address)
    assert code == 0
    assert out.splitlines()[0] == "draining: 0 connections open, gone within 3600 s"
    assert out.splitlines()[1].startswith("gone after ")
    assert proxy.process.wait(15.0) == 0


def test_the_health_listener_shows_nothing_else(launch: Launch, waiting: Waiting) -> None:
    proxy = patient(launch, waiting)
    assert [ask_health(proxy, path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    for path in ("/v1/rules", "/v1/config", "/v1/connections", "/v1/drain", "/"):
        assert ask_health(proxy, path)[0] == 404


def test_sigusr1_writes_down_what_is_open(launch: Launch, waiting: Waiting) -> None:
    proxy = launch(waiting.shop.address)
    proxy.put(rule("held", {"stall": {}}, match={"path": "/stalled"}))
    with Wire.to(proxy.address), Wire.to(proxy.address) as under_way, Wire.to(proxy.address) as stalled:
        under_way.send(get("/slow"))
        stalled.send(get("/stalled"))
        eventually(lambda: waiting.shop.requests)
        eventually(lambda: proxy.admin("GET", "/v1/stats")["held"] == 1)
        eventually(lambda: proxy.admin("GET", "/v1/connections")["total"] == 4)
        proxy.process.signal(signal.SIGUSR1)
        head = proxy.wait_record(event="dump")
        assert (head["connections"], head["exchanges"], head["held"]) == (4, 2, 1)  # one is to the upstream
        assert head["message"] == f"4 connections, 2 exchanges, {head['tasks']} tasks"
        assert head["upstreams"] == {"shop": {"open": 1, "active": 1, "waiting": 0}}
        eventually(lambda: len(proxy.records(event="dump_connection")) == 4)
        eventually(lambda: len(proxy.records(event="dump_task")) == head["tasks"] > 0)
        paths = {one.get("path"): one for one in proxy.records(event="dump_connection")}
        assert set(paths) == {None, "/slow", "/stalled"}
        assert paths["/stalled"]["held_by"] == ["held"]
        assert any(
            re.search(r"App.run_until_signal > Life.over > Event.wait at \S+:\d+$", one["runs"])
            for one in proxy.records(event="dump_task")
        )
        waiting.free.set()
        assert under_way.answer().body == b"done"
