"""The versions over the endpoint: listed, shown with their differences, put back."""

from typing import Any

from proxy.history import History
from tests.unit.proxy.admin.fake_proxy import Endpoint


def rule(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "faults": [{"delay": "1s"}], **more}


async def put(endpoint: Endpoint, *rules: dict[str, Any]) -> None:
    answer = await endpoint.call("PUT", "/v1/rules", {"version": 1, "rules": list(rules)})
    assert answer.status == 200


async def names(endpoint: Endpoint) -> list[str]:
    return [one["name"] for one in (await endpoint.call("GET", "/v1/rules")).json["rules"]]


async def test_versions_are_listed_newest_first(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"))
    await put(endpoint, rule("a", priority=1), rule("b"))
    answer = await endpoint.call("GET", "/v1/rules/versions")
    assert (answer.status, answer.headers["etag"]) == (200, '"3"')
    assert (answer.json["version"], answer.json["lasting"]) == (3, False)
    newest, second, first = answer.json["versions"]
    assert (newest["version"], newest["added"], newest["changed"]) == (3, ["b"], ["a"])
    assert (second["author"], second["layer"]) == ("local", "admin")
    assert second["source"] == "admin: PUT /v1/rules"
    assert second["client"].startswith("127.0.0.1:")
    assert second["created"].endswith("Z")
    assert (first["author"], first["client"], first["added"]) == ("files", "", ["from-file"])
    assert newest["sha256"] == endpoint.proxy.changes.store.snapshot.sha256
    few = (await endpoint.call("GET", "/v1/rules/versions?limit=1")).json["versions"]
    assert [one["version"] for one in few] == [3]


async def test_one_version_shows_what_it_changed(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"), rule("gone"))
    await put(endpoint, rule("a", priority=1), rule("b"))
    shown = (await endpoint.call("GET", "/v1/rules/versions/3")).json
    assert [(one["layer"], one["rule"]["name"]) for one in shown["rules"]] == [
        ("file", "from-file"),
        ("admin", "a"),
        ("admin", "b"),
    ]
    assert (shown["about"]["version"], shown["before"]) == (3, 2)
    assert shown["diff"][:3] == ["--- version 2", "+++ version 3", "@@ gone: removed @@"]
    assert '+  "priority": 1' in shown["diff"]
    assert "@@ b: added @@" in shown["diff"]
    first = (await endpoint.call("GET", "/v1/rules/versions/1")).json
    assert (first["before"], first["diff"]) == (None, [])


async def test_versions_that_are_not_kept_are_not_found(endpoint: Endpoint) -> None:
    for number in ("2", "0", "-1", "x", "9" * 40, "%20"):
        answer = await endpoint.call("GET", f"/v1/rules/versions/{number}")
        assert (answer.status, answer.kind) == (404, "unknown-version")
    answer = await endpoint.call("POST", "/v1/rules/rollback", {"version": 2})
    assert (answer.status, answer.kind) == (404, "unknown-version")
    assert answer.json["detail"] == "version 2 is not kept; those that are: 1 to 1"


async def test_a_rollback_is_a_change_like_others(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"))
    await put(endpoint, rule("b"))
    tried = await endpoint.call("POST", "/v1/rules/rollback?dry_run=true", {"version": 2})
    assert (tried.json["dry_run"], tried.json["added"], tried.json["removed"]) == (True, ["a"], ["b"])
    assert await names(endpoint) == ["from-file", "b"]
    stale = await endpoint.call("POST", "/v1/rules/rollback", {"version": 2}, if_match='"1"')
    assert (stale.status, stale.kind) == (412, "version-conflict")
    done = await endpoint.call("POST", "/v1/rules/rollback", {"version": 2}, if_match='"3"')
    assert (done.status, done.json["version"], done.headers["etag"]) == (200, 4, '"4"')
    assert await names(endpoint) == ["from-file", "a"]
    newest = (await endpoint.call("GET", "/v1/rules/versions?limit=1")).json["versions"][0]
    assert newest["source"] == "admin: POST /v1/rules/rollback to version 2"
    line = endpoint.proxy.log_lines("audit")[-1]
    assert (line["call"], line["to"], line["version_before"], line["version_after"]) == (
        "POST /v1/rules/rollback",
        "2",
        3,
        4,
    )


async def test_what_is_no_version_is_refused(endpoint: Endpoint) -> None:
    for body in ({}, {"version": 0}, {"version": "1"}, {"version": 1, "more": 2}):
        answer = await endpoint.call("POST", "/v1/rules/rollback", body)
        assert (answer.status, answer.kind) == (422, "invalid-body")
    assert (await endpoint.call("GET", "/v1/rules/rollback")).kind == "unknown-rule"


async def test_a_change_that_cannot_be_kept_is_answered_507(endpoint: Endpoint) -> None:
    class Full(History):
        lasting = True

        async def keep(self, version: object) -> str:
            return "cannot write /state/rules/0000000002.json: no space left on device"

    changes = endpoint.proxy.changes
    changes.history = Full(endpoint.proxy.worker.log)
    answer = await endpoint.call("PUT", "/v1/rules/a", rule("a"))
    assert (answer.status, answer.kind) == (507, "not-kept")
    assert answer.json["detail"].endswith("no space left on device; nothing was changed")
    assert changes.store.version == 1
    assert changes.reloads.results["admin", "failure"] == 1
