"""``POST /v1/explain``: the facts that it makes of a request, and what rules make of them."""

import pytest

from tests.unit.proxy.admin.fake_proxy import Endpoint


async def test_explain_follows_routes_and_rules(endpoint: Endpoint) -> None:
    asked = {
        "method": "POST",
        "path": "/x?debug=1",
        "host": "Pay.example:443",
        "headers": {"X-A": ["1", "2"]},
    }
    answer = await endpoint.call("POST", "/v1/explain", asked)
    found = answer.json
    assert (found["version"], found["stopped"], found["upstream"]) == (1, False, "payments")
    (entry,) = found["rules"]
    assert (entry["rule"], entry["outcome"]) == ("from-file", "fires")
    answer = await endpoint.call("POST", "/v1/explain", {"headers": {"host": "other.example"}})
    (entry,) = answer.json["rules"]
    assert (answer.json["upstream"], entry["outcome"]) == ("stable", "no_match")
    assert entry["failed"]["part"] == "host"
    assert "other.example" in entry["failed"]["seen"]
    assert endpoint.proxy.changes.store.snapshot.by_name["from-file"].state.matches == 0


async def test_explain_knows_the_hosts_of_the_upstream(endpoint: Endpoint) -> None:
    rule = {"match": {"dns": {"name": "127.0.0.1", "type": "A"}}, "faults": [{"dns": "nxdomain"}]}
    await endpoint.call("PUT", "/v1/rules/lost", rule)
    entries = (await endpoint.call("POST", "/v1/explain", {})).json["rules"]
    assert [entry["outcome"] for entry in entries if entry["rule"] == "lost"] == ["fires"]


async def test_explain_looks_at_an_answer_too(endpoint: Endpoint) -> None:
    late = {
        "match": {"response": {"status": "500-599"}},
        "faults": [{"abort": {"status": 500, "at": "response_head"}}],
    }
    await endpoint.call("PUT", "/v1/rules/late", late)
    without = (await endpoint.call("POST", "/v1/explain", {})).json["rules"]
    given = (await endpoint.call("POST", "/v1/explain", {"response": {"status": 503}})).json["rules"]
    other = (await endpoint.call("POST", "/v1/explain", {"response": {"status": 200}})).json["rules"]
    found = [
        next(e["outcome"] for e in entries if e["rule"] == "late") for entries in (without, given, other)
    ]
    assert found == ["needs_response", "fires", "no_match"]


@pytest.mark.parametrize(
    "asked",
    [
        {"listener": "nobody"},
        {"protocol": "http9"},
        {"source": "10.0.0"},
        {"mehtod": "GET"},
        {"path": 5},
        {"response": {"status": 5}},
        [],
    ],
)
async def test_explain_refuses_what_it_does_not_understand(endpoint: Endpoint, asked: object) -> None:
    assert (await endpoint.call("POST", "/v1/explain", asked)).kind == "invalid-body"
