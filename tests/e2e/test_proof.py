"""Every injection leaves proof: a header, a log line, a metric; ``shadow`` leaves all but the header."""

import os
from typing import Any

import pytest

from tests.e2e.conftest import Launch
from tests.support.proxy import Proxy, Rule, rule
from tests.support.scripted import Scripted
from tests.support.wait import eventually, pause
from tests.support.wire import OPEN, Wire, get

_FAULTS: dict[str, Rule] = {
    "delay": {"delay": "20ms"},
    "abort": {"abort": 503},
    "reset": {"reset": {}},
    "close": {"close": {}},
    "stall": {"stall": "20ms"},
}


def _ask(proxy: Proxy, *lines: str) -> None:
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/100", "connection: close", *lines))
        assert wire.rest()[1] != OPEN


@pytest.mark.parametrize("kind", _FAULTS)
def test_log_and_metric(proxy: Proxy, shop: Scripted, kind: str) -> None:
    name = f"proof-{kind}"
    proxy.put(rule(name, _FAULTS[kind]))
    version = proxy.version
    _ask(proxy, "x-request-id: id-of-the-caller")
    line = proxy.wait_record(rule=name, version=version)
    assert (line["fault"], line["phase"]) == (kind, "request_head")
    assert line["request_id"] == "id-of-the-caller"
    assert (line["listener"], line["upstream"]) == ("web", "shop")
    assert line["ms"] >= (20 if kind in ("delay", "stall") else 0)
    assert proxy.injections(rule=name, fault=kind, phase="request_head") == 1
    assert proxy.injections(rule=name) == 1
    assert proxy.metric("misrule_rule_matches_total", rule=name) == 1


@pytest.mark.parametrize("kind", _FAULTS)
def test_shadow(proxy: Proxy, shop: Scripted, kind: str) -> None:
    """Decided, counted and logged; nothing changes for the client, and no header tells."""
    name = f"shadow-{kind}"
    proxy.put(rule(name, _FAULTS[kind], mode="shadow"))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get("/bytes/5"))
    assert (answer.status, answer.all("x-misrule")) == (200, [])
    line = eventually(lambda: proxy.records(rule=name), what="the log line")[-1]
    assert line["shadow"] is True
    assert proxy.metric("misrule_shadow_injections_total", rule=name, fault=kind) == 1
    assert proxy.injections(rule=name) == 0


def test_no_header_where_the_rule_says_so(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("silent", {"abort": 503}, proof=False))
    with Wire.to(proxy.address) as wire:
        answer = wire.ask(get())
    assert (answer.status, answer.all("x-misrule")) == (503, [])
    assert proxy.injections(rule="silent") == 1
    assert eventually(lambda: proxy.records(rule="silent"), what="the log line")


def test_header_of_what_comes_after_the_head(proxy: Proxy, shop: Scripted) -> None:
    """A fault in the body was decided before the head left: the head says so."""
    proxy.put(rule("cut", {"reset": {"after_bytes": "10B"}}))
    with Wire.to(proxy.address) as wire:
        wire.send(get("/bytes/100"))
        proof = wire.read_head().get("x-misrule") or ""
        assert proof.startswith("rule=cut; fault=reset; ")
        assert f"version={proxy.version}" in proof


def test_proof_is_never_sent_upstream(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("slow", {"delay": "10ms"}))
    _ask(proxy)
    assert shop.last.all("x-misrule") == []


def test_durations_with_and_without_injected_time(proxy: Proxy, shop: Scripted) -> None:
    sums = ["misrule_request_duration_seconds_sum", "misrule_request_duration_without_injection_seconds_sum"]
    before = [proxy.metric(name) for name in sums]
    proxy.put(rule("slow", {"delay": "300ms"}))
    with Wire.to(proxy.address) as wire:
        assert wire.ask(get()).status == 200
    eventually(lambda: proxy.metric("misrule_requests_active") == 0, what="the end of the exchange")
    whole, own = (proxy.metric(name) - was for name, was in zip(sums, before, strict=True))
    assert whole >= 0.3
    assert own < 0.2


def test_requests_are_counted_by_status(proxy: Proxy, shop: Scripted) -> None:
    before = {code: proxy.metric("misrule_requests_total", code=code) for code in ["200", "404", "503"]}
    proxy.put(rule("deny", {"abort": 503}, match={"path": "/deny"}))
    with Wire.to(proxy.address) as wire:
        for path in ["/bytes/1", "/bytes/2", "/status/404", "/deny", "/deny", "/deny"]:
            wire.ask(get(path))
    after = {code: proxy.metric("misrule_requests_total", code=code) for code in before}
    assert {code: after[code] - before[code] for code in before} == {"200": 2, "404": 1, "503": 3}


@pytest.mark.parametrize(("access", "lines"), [("all", 3), ("injected", 1), ("none", 0)])
def test_access_lines(launch: Launch, shop: Scripted, access: str, lines: int) -> None:
    proxy = launch(shop.address, access=access)
    proxy.put(rule("deny", {"abort": 503}, match={"path": "/deny"}))
    with Wire.to(proxy.address) as wire:
        for path in ["/bytes/1?secret=1", "/deny", "/bytes/2"]:
            wire.ask(get(path))

    def written() -> list[dict[str, Any]]:
        return [record for record in proxy.records() if "status" in record and "path" in record]

    eventually(lambda: len(written()) >= lines, what="the lines")
    pause(0.2)
    found = written()
    assert len(found) == lines
    if lines:
        deny = next(record for record in found if record["path"] == "/deny")
        assert (deny["status"], deny["outcome"], deny["method"]) == (503, "injected", "GET")
    assert "secret" not in proxy.process.text()


def test_the_build_under_test_is_what_runs(proxy: Proxy) -> None:
    """``make test`` runs these tests once on each build: this says which one the process really is."""
    assert proxy.metric("misrule_build_info", build=os.environ.get("MISRULE_EXPECT", "interpreted")) == 1
