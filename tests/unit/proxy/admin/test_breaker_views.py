"""Breakers over the admin endpoint: shown, changed while they work, forced."""

from typing import Any

import pytest

from rules.breakers.keeper import MOST_KEYS, Breakers
from tests.unit.proxy.admin.fake_proxy import Endpoint, FakeProxy

FILE = b"""version: 1
rules:
  - name: short
    faults: [breaker: gobreaker]
  - name: long
    faults:
      - delay: 1ms
      - breaker: {profile: hystrix, window: {time: 20s, buckets: 4}, slow_call: {over: 1500ms}, per: upstream}
  - name: mesh
    enabled: false
    faults: [breaker: {profile: istio, force: open}]
  - {name: two, faults: [breaker: envoy, breaker: istio]}
  - {name: none, faults: [delay: 1ms]}
"""


def keeper(proxy: FakeProxy, rule: str, number: int = 0) -> Breakers:
    """Give what the rule keeps, made as the path makes it."""
    compiled = proxy.changes.store.snapshot.by_name[rule]
    state = compiled.state.faults[number]
    figures = compiled.rule.faults[number].fault.figures
    assert figures is not None
    if state.breakers is None:
        state.breakers = Breakers(rule, figures)
    state.breakers.take(figures, proxy.changes.store.version)
    return state.breakers


@pytest.fixture
async def loaded(endpoint: Endpoint) -> Endpoint:
    await endpoint.proxy.load(FILE)
    return endpoint


async def shown(endpoint: Endpoint, rule: str, query: str = "") -> dict[str, Any]:
    answer = await endpoint.call("GET", f"/v1/breakers{query}")
    assert answer.status == 200
    (found,) = [one for one in answer.json["breakers"] if one["rule"] == rule]
    return dict(found)


async def patch(endpoint: Endpoint, rule: str, body: dict[str, Any], query: str = "") -> Any:
    return await endpoint.call("PATCH", f"/v1/breakers/{rule}{query}", body)


async def test_all_breakers_with_their_figures(loaded: Endpoint) -> None:
    answer = await loaded.call("GET", "/v1/breakers")
    assert (answer.json["version"], answer.json["stopped"]) == (2, False)
    found = [(one["rule"], one["fault"], one["enabled"]) for one in answer.json["breakers"]]
    assert found == [
        ("short", 0, True),
        ("long", 1, True),
        ("mesh", 0, False),
        ("two", 0, True),
        ("two", 1, True),
    ]
    by_rule = {one["rule"]: one for one in answer.json["breakers"]}
    assert by_rule["short"]["figures"] == {
        "profile": "gobreaker",
        "consecutive_failures": 6,
        "open_for": "60s",
        "min_calls": 1,
        "half_open": {"calls": 1},
    }
    assert by_rule["long"]["figures"] == {
        "profile": "hystrix",
        "open_for": "5s",
        "window": {"time": "20s", "buckets": 4},
        "min_calls": 20,
        "failure_percent": 50.0,
        "slow_call": {"over": "1500ms", "percent": 100.0},
        "half_open": {"calls": 1},
    }
    assert by_rule["mesh"]["figures"] == {
        "profile": "istio",
        "force": "open",
        "consecutive_failures": 5,
        "open_for": "30s",
        "interval": "10s",
        "max_open_for": "300s",
        "max_requests": 1024,
    }
    assert by_rule["short"]["keys"] == []


async def test_keys_with_their_counts(loaded: Endpoint) -> None:
    kept = keeper(loaded.proxy, "short")
    for number in range(7):
        passed = kept.admit(b"a", number)
        if passed is not None:
            passed.judge(number, True, number > 3)
    kept.admit(b"\xff", 7)
    view = await shown(loaded, "short")
    assert (view["admitted"], view["refused"], view["keys_in_all"], view["evicted"]) == (7, 1, 2, 0)
    assert view["transitions"] == {"closed": 0, "half_open": 0, "open": 1}
    newest, other = view["keys"]
    assert (newest["key"], newest["state"], newest["active"]) == ("\\xff", "closed", 1)
    assert other["seconds"] > 0
    del other["seconds"]
    assert other == {
        "key": "a",
        "state": "open",
        "calls": 0,
        "failures": 0,
        "slow": 0,
        "consecutive_failures": 0,
        "active": 0,
        "admitted": 6,
        "refused": 1,
    }


async def test_keys_are_limited(loaded: Endpoint) -> None:
    kept = keeper(loaded.proxy, "short")
    for number in range(MOST_KEYS + 1):
        kept.admit(b"%d" % number, 0)
    view = await shown(loaded, "short", "?limit=3")
    assert [key["key"] for key in view["keys"]] == ["1000", "999", "998"]
    assert (view["keys_in_all"], view["evicted"]) == (MOST_KEYS, 1)
    assert (await loaded.call("GET", "/v1/breakers?limit=0")).status == 400


async def test_figures_change_and_the_state_stays(loaded: Endpoint) -> None:
    kept = keeper(loaded.proxy, "short")
    for number in range(6):
        passed = kept.admit(b"", number)
        assert passed is not None
        passed.judge(number, True, False)
    answer = await patch(loaded, "short", {"open_for": "1ms", "half_open": {"calls": 2}})
    assert (answer.status, answer.json["changed"], answer.json["version"]) == (200, ["short"], 3)
    assert answer.headers["etag"] == '"3"'
    assert keeper(loaded.proxy, "short") is kept
    view = await shown(loaded, "short")
    assert (view["figures"]["open_for"], view["figures"]["half_open"]) == ("1ms", {"calls": 2})
    assert view["keys"][0]["state"] == "open"
    assert kept.admit(b"", 2000) is not None
    rule = (await loaded.call("GET", "/v1/rules/short")).json
    assert rule["rule"]["faults"] == [
        {"breaker": {"profile": "gobreaker", "open_for": "1ms", "half_open": {"calls": 2}}}
    ]
    assert rule["layer"] == "admin"
    line = loaded.proxy.log_lines("audit")[-1]
    assert (line["rule"], line["version_before"], line["version_after"]) == ("short", 2, 3)


async def test_a_state_is_forced_and_let_go(loaded: Endpoint) -> None:
    kept = keeper(loaded.proxy, "long", 1)
    kept.admit(b"pay", 0)
    assert (await patch(loaded, "long", {"force": "open"})).status == 200
    assert (await shown(loaded, "long"))["keys"][0]["state"] == "open"
    keeper(loaded.proxy, "long", 1)
    assert kept.admit(b"pay", 0) is None
    assert (await patch(loaded, "long", {"force": None})).status == 200
    keeper(loaded.proxy, "long", 1)
    assert kept.admit(b"pay", 0) is not None
    assert "force" not in (await shown(loaded, "long"))["figures"]


async def test_guards(loaded: Endpoint) -> None:
    dry = await patch(loaded, "short", {"force": "open"}, "?dry_run=true")
    assert (dry.status, dry.json["dry_run"], dry.json["version"]) == (200, True, 2)
    stale = await loaded.call("PATCH", "/v1/breakers/short", {}, if_match='"1"')
    assert (stale.status, stale.kind) == (412, "version-conflict")
    bad = await patch(loaded, "short", {"open_for": 5, "force": "broken"})
    assert (bad.status, bad.kind, len(bad.json["errors"])) == (422, "invalid-rules", 2)
    assert (await patch(loaded, "short", {"profile": None})).kind == "invalid-rules"


@pytest.mark.parametrize(
    ("rule", "status", "kind"),
    [("nobody", 404, "unknown-rule"), ("none", 404, "no-breaker"), ("two", 409, "no-breaker")],
)
async def test_what_cannot_be_changed(loaded: Endpoint, rule: str, status: int, kind: str) -> None:
    answer = await patch(loaded, rule, {"force": "open"})
    assert (answer.status, answer.kind) == (status, kind)
