"""Sampling over real traffic: true rates, exact counts, the same verdicts for the same seed and order."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Launch
from tests.support.proxy import Proxy, rule
from tests.support.scripted import Scripted, filling
from tests.support.upstreams import Upstream
from tests.support.wait import eventually
from tests.support.wire import Wire, get

_DENIED = b"HTTP/1.1 503 "
_SERVED = b"HTTP/1.1 200 "


def _pipeline(address: str, count: int, into: list[int]) -> None:
    """Ask ``count`` times, 250 requests in a write; note how many were denied."""
    batch = 250
    asked = get("/small") * batch
    with Wire.to(address, timeout=60) as wire:
        denied = 0
        for _ in range(count // batch):
            wire.send(asked)
            left = batch
            held = b""
            while left:
                data = held + wire.sock.recv(262_144)
                assert data != held, "the connection ended"
                # Each answer has its status line whole before the last empty line that is there.
                cut = data.rfind(b"\r\n\r\n")
                held, data = (data[cut:], data[:cut]) if cut >= 0 else (data, b"")
                now = data.count(_DENIED)
                denied += now
                left -= now + data.count(_SERVED)
        into.append(denied)


@pytest.mark.parametrize("percent", [10])
def test_a_hundred_thousand_requests(
    fronts: Callable[[str], Proxy], upstreams: Callable[[str], Upstream], percent: float
) -> None:
    """Within three standard deviations of the rate, and client, metric and rule agree on every single one."""
    total, lanes = 100_000, 4
    proxy = fronts("nginx")
    proxy.put(rule("some", {"abort": 503}, sample={"percent": percent, "seed": 20_261_121}))
    denied: list[int] = []
    share = total // lanes
    threads = [threading.Thread(target=_pipeline, args=(proxy.address, share, denied)) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert len(denied) == lanes
    expected = total * percent / 100
    deviation = (total * percent / 100 * (1 - percent / 100)) ** 0.5
    assert abs(sum(denied) - expected) <= 3 * deviation, f"{sum(denied)} of {total}"
    eventually(
        lambda: proxy.metric("misrule_rule_matches_total", rule="some") == total, what="all are counted"
    )
    assert proxy.injections(rule="some") == sum(denied)
    proxy.put()


def _verdicts(address: str, count: int, *lines: str) -> str:
    """Ask so many times over one connection; one letter for each answer."""
    with Wire.to(address) as wire:
        return "".join("x" if wire.ask(get("/", *lines)).status == 503 else "." for _ in range(count))


def test_same_seed_and_order_same_verdicts_after_a_restart(
    launch: Launch, shop: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "rules.yaml"
    written = (
        "version: 1\nrules:\n  - {name: some, faults: [{abort: 503}], sample: {percent: 30, seed: SEED}}\n"
    )
    seen = []
    for seed in ["7", "7", "8"]:
        path.write_text(written.replace("SEED", seed))
        proxy = launch(shop.address, rules=[path])
        seen.append(_verdicts(proxy.address, 200))
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]
    assert 30 <= seen[0].count("x") <= 90


def test_state_outlives_a_set_in_which_the_rule_is_unchanged(proxy: Proxy, shop: Scripted) -> None:
    """The stream of draws goes on where it was; a changed match or sample begins it anew."""
    some = rule("some", {"abort": 503}, sample={"percent": 30, "seed": 7})
    proxy.put(some)
    whole = _verdicts(proxy.address, 100)
    proxy.put()
    proxy.put(some)
    first = _verdicts(proxy.address, 50)
    proxy.put(some, rule("other", {"delay": "1ms"}, match={"path": "/never"}))
    assert first + _verdicts(proxy.address, 50) == whole
    proxy.admin("POST", "/v1/rules/some/reset")
    assert _verdicts(proxy.address, 50) == first


def test_every(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("some", {"abort": 503}, sample={"every": 10}))
    assert _verdicts(proxy.address, 50) == ".........x" * 5


def test_first(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("some", {"abort": 503}, sample={"first": 7}))
    assert _verdicts(proxy.address, 20) == "x" * 7 + "." * 13


def test_first_is_exact_over_many_connections(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("some", {"abort": 503}, sample={"first": 100, "percent": 50}))
    seen: list[str] = []
    threads = [threading.Thread(target=lambda: seen.append(_verdicts(proxy.address, 60))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert "".join(seen).count("x") == 100


def test_max_active(proxy: Proxy, shop: Scripted) -> None:
    """Never more than so many at once, and each place is taken again when it is free."""
    proxy.put(rule("some", {"delay": "400ms"}, sample={"max_active": 3}))
    for _ in range(2):
        wires = [Wire.to(proxy.address) for _ in range(10)]
        begun = time.monotonic()
        for wire in wires:
            wire.send(get("/bytes/1"))
        eventually(lambda: proxy.metric("misrule_exchanges_held") == 3, what="three wait")
        took = []
        for wire in wires:
            wire.answer()
            took.append(time.monotonic() - begun)
            wire.close()
        assert proxy.metric("misrule_rule_active", rule="some") == 0
    assert proxy.injections(rule="some") == 6


def test_order_every_then_percent_then_first(proxy: Proxy, shop: Scripted) -> None:
    """Each sees what the one before let through."""
    proxy.put(rule("some", {"abort": 503}, sample={"every": 2, "percent": 100, "first": 3}))
    assert _verdicts(proxy.address, 10) == ".x.x.x...."


@pytest.mark.parametrize(
    ("sticky", "line"),
    [("header:x-user-id", "x-user-id: {}"), ("cookie:sid", "cookie: theme=dark; sid={}; lang=en")],
)
def test_sticky(proxy: Proxy, shop: Scripted, sticky: str, line: str) -> None:
    """One user, one verdict; raising the rate keeps those who were hit; without a key nothing fires."""
    hit: dict[int, set[int]] = {}
    for percent in [20, 50]:
        proxy.put(rule("some", {"abort": 503}, sample={"percent": percent, "sticky": sticky}))
        hit[percent] = set()
        for user in range(120):
            seen = _verdicts(proxy.address, 3, line.format(user))
            assert seen in ("xxx", "..."), "a user has one verdict"
            if seen == "xxx":
                hit[percent].add(user)
    assert hit[20] < hit[50]
    assert 8 <= len(hit[20]) <= 44
    assert 38 <= len(hit[50]) <= 82
    proxy.put(rule("all", {"abort": 503}, sample={"sticky": sticky}))
    assert _verdicts(proxy.address, 3) == "..."
    assert _verdicts(proxy.address, 3, line.format("")) == "..."
    assert proxy.metric("misrule_rule_keyless_total", rule="all") == 6


def test_sticky_by_source_path_and_query(proxy: Proxy, shop: Scripted) -> None:
    for sticky in ["source", "path", "query:user"]:
        proxy.put(rule("some", {"abort": 503}, sample={"percent": 50, "sticky": sticky}))
        verdicts = set()
        for number in range(20):
            with Wire.to(proxy.address) as wire:
                asked = get(f"/{number}?user={number}")
                seen = {wire.ask(asked).status for _ in range(3)}
                assert len(seen) == 1, sticky
                verdicts |= seen
        assert len(verdicts) == (1 if sticky == "source" else 2), sticky


def test_sample_of_one_fault(proxy: Proxy, shop: Scripted) -> None:
    """It multiplies with the rule's: half of the delayed ones are aborted, too."""
    proxy.put(
        rule(
            "some",
            {"delay": "1ms"},
            {"abort": {"status": 503, "sample": {"percent": 50}}},
            sample={"percent": 50},
        )
    )
    _verdicts(proxy.address, 400)
    delays, aborts = (proxy.injections(rule="some", fault=kind) for kind in ["delay", "abort"])
    assert 150 <= delays <= 250
    assert 60 <= aborts <= 140
    assert proxy.metric("misrule_rule_matches_total", rule="some") == 400


def test_unmatched_requests_do_not_count(proxy: Proxy, shop: Scripted) -> None:
    proxy.put(rule("some", {"abort": 503}, match={"path": "/hit"}, sample={"every": 2}))
    with Wire.to(proxy.address) as wire:
        statuses = []
        for _ in range(4):
            assert wire.ask(get("/bytes/3")).body == filling(3)
            statuses.append(wire.ask(get("/hit")).status)
    assert statuses == [200, 503, 200, 503]
