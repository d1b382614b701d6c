"""Schedules of a running proxy: windows by its real clocks, what they release, and what is told of them."""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.wait import eventually
from tests.support.wire import Message, Wire, get, response

_NUMBERS = itertools.count()


@pytest.fixture
def name() -> str:
    """Name a rule as no other one in this proxy's log."""
    return f"r{next(_NUMBERS)}"


def _view(proxy: Proxy, name: str) -> dict[str, Any]:
    seen: dict[str, Any] = proxy.rule(name)["schedule"]
    return seen


def _unix(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def test_a_window_that_opens_and_ends(proxy: Proxy, shop: Scripted, name: str) -> None:
    """It waits, acts, releases what it holds, and has ended; each is told."""
    schedule = {"start_after": "1s", "duration": "1s"}
    begun = time.monotonic()
    proxy.put(rule(name, {"stall": {}}, schedule=schedule))
    waiting = _view(proxy, name)
    if time.monotonic() - begun < 0.8:  # else the machine stood still, and nothing can be said
        assert waiting["state"] == "waiting"
        assert 0 < _unix(waiting["opens"]) - time.time() <= 1.0
        assert waiting.get("percent", 0.0) == 0.0
    opened = proxy.wait_record(event="rule_window_opened", rule=name)
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/5"))
        answer = wire.answer()
    assert (answer.status, answer.body) == (200, filling(5))
    assert time.monotonic() - begun >= 2.0 or proxy.injections(rule=name) == 0
    closed = proxy.wait_record(event="rule_window_closed", rule=name)
    assert (opened["state"], closed["state"]) == ("active", "ended")
    assert _view(proxy, name) == {"state": "ended", "percent": 0.0}
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get("/bytes/5")).status == 200


def test_a_reset_begins_it_anew(proxy: Proxy, shop: Scripted, name: str) -> None:
    proxy.put(rule(name, {"abort": 503}, schedule={"duration": "100ms"}))
    eventually(lambda: _view(proxy, name)["state"] == "ended", what="it ends")
    proxy.admin("POST", f"/v1/rules/{name}/reset")
    eventually(lambda: len(proxy.records(event="rule_window_opened", rule=name)) >= 2, what="it opens again")
    proxy.admin("PATCH", f"/v1/rules/{name}", {"schedule": {"duration": "1h"}})
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 503
    assert _view(proxy, name)["state"] == "active"
    assert _view(proxy, name)["percent"] == 100.0


def test_cron(proxy: Proxy, shop: Scripted, name: str) -> None:
    """The window of this very minute closes in a moment; the next one comes in an hour."""
    now = datetime.now(UTC)
    left = now.second + now.microsecond / 1e6 + 1.5
    schedule = {"cron": f"{now.minute} * * * *", "duration": f"{left * 1000:.0f}ms"}
    proxy.put(rule(name, {"stall": {}}, schedule=schedule))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/5"))
        assert wire.answer().body == filling(5)
    assert time.time() >= now.timestamp() + 1.4 or proxy.injections(rule=name) == 0
    eventually(lambda: _view(proxy, name)["state"] == "waiting", what="the window closes")
    following = now.replace(second=0, microsecond=0).timestamp() + 3600
    assert _unix(_view(proxy, name)["opens"]) == following


def test_a_tunnel_meets_the_edges(proxy: Proxy, shop: Scripted, name: str) -> None:
    """What is open stalls when the window opens, and flows when it closes."""

    def echo(wire: Wire, asked: Message) -> None:
        wire.send(response(101, "connection: upgrade", "upgrade: chat"))
        while True:
            wire.send(wire.take(1))

    shop.play = echo
    with Wire.to(proxy.address) as wire:
        wire.send(get("/chat", "connection: upgrade", "upgrade: chat"))
        assert wire.read_head().status == 101
        wire.send(b"a")
        assert wire.take(1) == b"a"
        stall = {"stall": {"at": "response_body"}}
        proxy.put(rule(name, stall, schedule={"start_after": "200ms", "duration": "1s"}))
        opened = proxy.wait_record(event="rule_window_opened", rule=name)
        wire.send(b"b")
        assert wire.take(1) == b"b"
        assert time.time() >= _unix(opened["closes"]) - 0.1
        assert proxy.injections(rule=name) == 1


def test_explain_and_check(proxy: Proxy, shop: Scripted, name: str, tmp_path: Path) -> None:
    proxy.put(rule(name, {"abort": 503}, schedule={"start_after": "1h"}))
    (entry,) = proxy.admin("POST", "/v1/explain", {"path": "/"})["rules"]
    assert entry["outcome"] == "not_sampled"
    assert entry["sample"][0].startswith("schedule: opens 20")
    good = (
        "version: 1\nrules:\n  - {name: a, faults: [reset], schedule: {cron: '0 9 * * 1-5', duration: 1h}}\n"
    )
    path = tmp_path / "rules.yaml"
    path.write_text(good)
    assert _misrule("check", str(path)).returncode == 0
    offline = _misrule("explain", "--rules", str(path), "http://a/")
    assert "schedule: not running here, taken as open" in " ".join(offline.stdout.split())
    path.write_text(good.replace("0 9 *", "0 25 *"))
    told = _misrule("check", str(path))
    assert told.returncode == 1
    assert f"{path}:3:49" in told.stdout + told.stderr
    assert "bad hour" in told.stdout + told.stderr


def _misrule(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "proxy", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_rules_of_files_keep_their_schedule_over_reloads(
    launch: Callable[..., Proxy], shop: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "rules.yaml"
    text = "version: 1\nrules:\n  - {name: r, faults: [abort: 503], schedule: {duration: 1s}}\n"
    path.write_text(text)
    proxy = launch(shop.address, rules=[path])
    path.write_text(text + "  - {name: other, match: {path: /x}, faults: [abort: 500]}\n")
    eventually(lambda: proxy.version == 2 or None, what="the reload")
    proxy.wait_record(event="rule_window_closed", rule="r")
    assert len(proxy.records(event="rule_window_opened", rule="r")) == 1
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 200
