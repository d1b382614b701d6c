"""Rules over the endpoint: shown, replaced, changed one by one, guarded, explained."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from rules.parse import parse_rules
from rules.store import Document
from tests.unit.proxy.admin.fake_proxy import DELAY, FILE_RULES, Endpoint, names, put, rule

YAML = b"""version: 1
rules:
  - name: a
    faults: [{abort: 503}]
"""


# The whole set


async def test_the_set_is_shown_with_its_counts(endpoint: Endpoint) -> None:
    compiled = endpoint.proxy.changes.store.snapshot.by_name["from-file"]
    compiled.state.matches = 7
    compiled.state.injected[0] = 3
    answer = await endpoint.call("GET", "/v1/rules")
    assert (answer.status, answer.headers["etag"]) == (200, '"1"')
    shown = answer.json
    snapshot = endpoint.proxy.changes.store.snapshot
    assert (shown["version"], shown["sha256"], shown["source"]) == (1, snapshot.sha256, "files")
    assert shown["stopped"] is False
    assert shown["reload"] == {"ok": True, "time": None, "problems": []}
    assert shown["rules"] == [
        {
            "name": "from-file",
            "layer": "file",
            "source": "rules.yaml:3",
            "enabled": True,
            "mode": "inject",
            "rule": {"name": "from-file", "match": {"host": "pay.example"}, "faults": [{"delay": "100ms"}]},
            "counts": {
                "matches": 7,
                "keyless": 0,
                "fired": 0,
                "active": 0,
                "injected": 3,
                "shadowed": 0,
                "faults": [{"fault": "delay", "phase": "request_head", "injected": 3, "shadowed": 0}],
            },
        }
    ]


@pytest.mark.parametrize(
    "kind", ["application/yaml", "application/x-yaml", "application/json", "Application/YAML; charset=utf-8"]
)
async def test_put_takes_yaml_and_json(endpoint: Endpoint, kind: str) -> None:
    body = YAML if "yaml" in kind.lower() else json.dumps({"version": 1, "rules": [rule("a")]}).encode()
    answer = await endpoint.call("PUT", "/v1/rules", body, content_type=kind)
    assert answer.status == 200
    changed = answer.json
    assert changed == {
        "version": 2,
        "sha256": endpoint.proxy.changes.store.snapshot.sha256,
        "dry_run": False,
        "added": ["a"],
        "changed": [],
        "removed": [],
    }
    assert answer.headers["etag"] == '"2"'
    assert await names(endpoint) == {"from-file": "file", "a": "admin"}
    assert endpoint.proxy.installed[-1] is endpoint.proxy.changes.store.snapshot


async def test_put_replaces_the_admin_layer_as_a_whole(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"), rule("b"))
    changed = (await put(endpoint, rule("b", priority=1), rule("c"))).json
    assert (changed["added"], changed["changed"], changed["removed"]) == (["c"], ["b"], ["a"])
    await put(endpoint)
    assert await names(endpoint) == {"from-file": "file"}


async def test_a_dry_run_only_checks(endpoint: Endpoint) -> None:
    answer = await endpoint.call("PUT", "/v1/rules?dry_run=true", YAML, content_type="application/yaml")
    assert (answer.status, answer.json["dry_run"], answer.json["version"]) == (200, True, 1)
    assert answer.json["added"] == ["a"]
    answer = await endpoint.call(
        "PUT", "/v1/rules?dry_run=true", b"rules: [}", content_type="application/yaml"
    )
    assert answer.status == 422
    assert await names(endpoint) == {"from-file": "file"}
    assert endpoint.proxy.log_lines("audit") == []
    assert endpoint.proxy.changes.reloads.results["admin", "failure"] == 0
    assert (await endpoint.call("PUT", "/v1/rules?dry_run=maybe", {})).kind == "invalid-parameter"


async def test_a_mistyped_parameter_changes_nothing(endpoint: Endpoint) -> None:
    body = {"version": 1, "rules": [{"name": "new", "faults": [{"abort": 503}]}]}
    twice = ["dry_run=false&dry_run=true", "dry_run=true&dry_run=true"]
    for typed in ["dryrun=true", "dry_run=true&Dry-Run=true", *twice, "limit=5"]:
        answer = await endpoint.call("PUT", f"/v1/rules?{typed}", body)
        assert (answer.status, answer.kind) == (400, "invalid-parameter"), typed
    assert 'no query parameter "limit"; it takes dry_run' in answer.json["detail"]
    answer = await endpoint.call("DELETE", "/v1/rules/from-file?dryrun=true")
    assert (answer.status, answer.json["detail"].endswith('did you mean "dry_run"?')) == (400, True)
    assert (await endpoint.call("GET", "/v1/stats?limt=5")).kind == "invalid-parameter"
    assert (await endpoint.call("GET", "/healthz?probe=1")).status == 200
    assert await names(endpoint) == {"from-file": "file"}


async def test_mistakes_come_with_their_places_and_change_nothing(endpoint: Endpoint) -> None:
    bad = b"version: 1\nrules:\n  - name: A\n    faults: [{delay: 5}]\n    mach: {}\n"
    answer = await endpoint.call("PUT", "/v1/rules", bad, content_type="application/yaml")
    assert (answer.status, answer.kind) == (422, "invalid-rules")
    found = [(error["line"], error["path"]) for error in answer.json["errors"]]
    assert found == [(3, "rules[0].name"), (4, "rules[0].faults[0].delay"), (5, "rules[0].mach")]
    assert answer.json["errors"][2]["text"].startswith("body:5:5: rules[0].mach: ")
    assert all(error["column"] > 0 and error["message"] for error in answer.json["errors"])
    assert endpoint.proxy.changes.store.version == 1
    assert endpoint.proxy.changes.reloads.results["admin", "failure"] == 1


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"version":1}', b"\xff\xfe", b'{"version":1,"rules":[],"x":1}', b"5", b"null"]
)
async def test_what_is_no_document_is_refused(endpoint: Endpoint, body: bytes) -> None:
    answer = await endpoint.call("PUT", "/v1/rules", body)
    assert (answer.status, answer.kind) == (422, "invalid-rules")
    assert endpoint.proxy.changes.store.version == 1


async def test_alias_bombs_and_deep_nesting_are_refused(endpoint: Endpoint) -> None:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (name, name, b",".join([b"*%c" % (name - 1)] * 10))
        for name in range(ord("b"), ord("k"))
    )
    deep = b"[" * 50_000
    for body in (bomb, deep, b'{"a":' * 20_000):
        for kind in ("application/yaml", "application/json"):
            assert (await endpoint.call("PUT", "/v1/rules", body, content_type=kind)).status == 422


async def test_the_same_name_twice_is_refused(endpoint: Endpoint) -> None:
    answer = await put(endpoint, rule("a"), rule("a"))
    assert (answer.status, answer.kind) == (422, "invalid-rules")


async def test_an_empty_body_is_no_set_of_rules(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"))
    assert (await endpoint.call("PUT", "/v1/rules", b"")).kind == "no-body"
    assert (await endpoint.call("PUT", "/v1/rules")).kind == "no-body"
    assert "a" in await names(endpoint)


async def test_a_large_set_is_read_elsewhere(endpoint: Endpoint) -> None:
    rules = [rule(f"r{n}", description="x" * 100, match={"host": f"h{n}.example"}) for n in range(600)]
    assert len(json.dumps(rules)) > 64 << 10
    assert (await put(endpoint, *rules)).json["version"] == 2
    assert len(await names(endpoint)) == 601
    answer = await put(endpoint, *rules, {"name": "BAD", "faults": []})
    assert answer.json["errors"][0]["path"].startswith("rules[600].")


# One rule


async def test_one_rule_is_shown(endpoint: Endpoint) -> None:
    answer = await endpoint.call("GET", "/v1/rules/from-file")
    assert (answer.json["name"], answer.headers["etag"]) == ("from-file", '"1"')
    assert (await endpoint.call("GET", "/v1/rules/nobody")).kind == "unknown-rule"


async def test_a_rule_is_added(endpoint: Endpoint) -> None:
    answer = await endpoint.call("POST", "/v1/rules", rule("a"))
    assert (answer.status, answer.headers["location"]) == (201, "/v1/rules/a")
    assert (await endpoint.call("POST", "/v1/rules", rule("a"))).kind == "already-there"
    assert (await endpoint.call("POST", "/v1/rules", rule("from-file"))).kind == "already-there"
    answer = await endpoint.call("POST", "/v1/rules?dry_run=true", rule("b"))
    assert (answer.status, "location" in answer.headers) == (200, False)
    assert await names(endpoint) == {"from-file": "file", "a": "admin"}


async def test_a_rule_is_put_and_deleted(endpoint: Endpoint) -> None:
    assert (await endpoint.call("PUT", "/v1/rules/a", {"faults": DELAY})).json["added"] == ["a"]
    yaml = b"faults: [{abort: 503}]\n"
    changed = await endpoint.call("PUT", "/v1/rules/a", yaml, content_type="application/yaml")
    assert changed.json["changed"] == ["a"]
    assert (await endpoint.call("DELETE", "/v1/rules/a")).json["removed"] == ["a"]
    assert (await endpoint.call("DELETE", "/v1/rules/a")).kind == "unknown-rule"


async def test_a_path_without_a_name_is_none(endpoint: Endpoint) -> None:
    for method, path in (("PUT", "/v1/rules/"), ("PATCH", "/v1/rules/"), ("POST", "/v1/rules//reset")):
        assert (await endpoint.call(method, path, rule("a"))).kind == "no-such-call"
    assert await names(endpoint) == {"from-file": "file"}


async def test_the_name_in_the_path_is_the_name(endpoint: Endpoint) -> None:
    answer = await endpoint.call("PUT", "/v1/rules/a", rule("b"))
    assert (answer.status, answer.json["errors"][0]["path"]) == (422, "name")
    assert (await endpoint.call("PUT", "/v1/rules/BAD", {"faults": DELAY})).status == 422
    assert (await endpoint.call("PATCH", "/v1/rules/from-file", {"name": "b"})).status == 422


async def test_an_admin_rule_covers_a_file_rule_and_uncovers_it(endpoint: Endpoint) -> None:
    assert (await endpoint.call("DELETE", "/v1/rules/from-file")).kind == "only-in-file"
    await endpoint.call("PUT", "/v1/rules/from-file", {"faults": [{"abort": 500}]})
    shown = (await endpoint.call("GET", "/v1/rules/from-file")).json
    assert (shown["layer"], shown["covers"], shown["rule"]["faults"]) == ("admin", True, [{"abort": 500}])
    await endpoint.call("DELETE", "/v1/rules/from-file")
    shown = (await endpoint.call("GET", "/v1/rules/from-file")).json
    assert (shown["layer"], shown["rule"]["faults"]) == ("file", [{"delay": "100ms"}])


async def test_a_patch_of_a_file_rule_makes_an_admin_copy(endpoint: Endpoint) -> None:
    patch = {"enabled": False, "match": {"host": None, "method": "POST"}}
    answer = await endpoint.call(
        "PATCH", "/v1/rules/from-file", patch, content_type="application/merge-patch+json"
    )
    assert answer.json["changed"] == ["from-file"]
    shown = (await endpoint.call("GET", "/v1/rules/from-file")).json
    assert (shown["layer"], shown["enabled"]) == ("admin", False)
    assert shown["rule"]["match"] == {"method": "POST"}
    assert (await endpoint.call("PATCH", "/v1/rules/nobody", {})).kind == "unknown-rule"
    answer = await endpoint.call("PATCH", "/v1/rules/from-file", {"faults": [{"delay": 5}]})
    assert (answer.kind, answer.json["errors"][0]["path"]) == ("invalid-rules", "faults[0].delay")
    assert (await endpoint.call("PATCH", "/v1/rules/from-file", [1])).kind == "invalid-body"
    assert (await endpoint.call("PATCH", "/v1/rules/from-file", b"{")).kind == "invalid-json"


async def test_no_file_is_read_for_a_caller(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "body.txt").write_text("secret")
    named = [{"abort": {"status": 503, "body": {"file": "body.txt"}}}]
    document = FILE_RULES + b"  - {name: filed, faults: [{abort: {status: 503, body: {file: body.txt}}}]}\n"
    path = tmp_path / "rules.yaml"
    path.write_bytes(document)
    loaded = Document(str(path), tuple(parse_rules(document, str(path))))
    await endpoint.proxy.changes.make("file", lambda store, now: store.replace_files([loaded], now, "files"))
    for method, where, body in (
        ("PUT", "/v1/rules/x", {"faults": named}),
        ("POST", "/v1/rules", {"name": "x", "faults": named}),
        ("PUT", "/v1/rules", {"version": 1, "rules": [{"name": "x", "faults": named}]}),
        ("PATCH", "/v1/rules/filed", {"faults": named}),
    ):
        answer = await endpoint.call(method, where, body)
        assert answer.kind == "invalid-rules"
        assert "cannot name a file" in answer.json["errors"][0]["message"]
    assert (await endpoint.call("PATCH", "/v1/rules/filed", {"enabled": False})).status == 200


async def test_a_rule_with_a_ttl_says_when_it_ends(endpoint: Endpoint) -> None:
    await endpoint.call("PUT", "/v1/rules/a", {"faults": DELAY, "ttl": "1h"})
    shown = (await endpoint.call("GET", "/v1/rules/a")).json
    assert shown["expires"] > time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 3500))


async def test_a_rule_that_ends_by_itself_is_gone(endpoint: Endpoint) -> None:
    feed = endpoint.proxy.worker.log.events.subscribe()
    await endpoint.call("PUT", "/v1/rules/a", {"faults": DELAY, "ttl": "1ms"})
    async with asyncio.timeout(5):
        while (await feed.next())[1] != "rules_expired":
            pass
    assert await names(endpoint) == {"from-file": "file"}


async def test_the_state_of_a_rule_begins_anew(endpoint: Endpoint) -> None:
    state = endpoint.proxy.changes.store.snapshot.by_name["from-file"].state
    state.matches = 9
    answer = await endpoint.call("POST", "/v1/rules/from-file/reset")
    assert answer.json == {"name": "from-file", "version": 1}
    assert state.matches == 0
    assert (await endpoint.call("POST", "/v1/rules/nobody/reset")).kind == "unknown-rule"


async def test_each_change_leaves_one_audit_line(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"))
    await endpoint.call("PUT", "/v1/rules/b", rule("b"))
    await endpoint.call("PATCH", "/v1/rules/b", {"priority": 2})
    await endpoint.call("DELETE", "/v1/rules/b")
    await endpoint.call("POST", "/v1/rules/a/reset")
    await endpoint.call("POST", "/v1/stop")
    await endpoint.call("DELETE", "/v1/rules/b")
    await endpoint.call("GET", "/v1/rules")
    lines = endpoint.proxy.log_lines("audit")
    assert [(line["call"], line["version_before"], line["version_after"]) for line in lines] == [
        ("PUT /v1/rules", 1, 2),
        ("PUT /v1/rules/b", 2, 3),
        ("PATCH /v1/rules/b", 3, 4),
        ("DELETE /v1/rules/b", 4, 5),
        ("POST /v1/rules/a/reset", 5, 5),
        ("POST /v1/stop", 5, 5),
    ]
    assert all(line["who"] == "local" and line["client"].startswith("127.0.0.1:") for line in lines)


async def test_fifty_changes_a_second_are_easy(endpoint: Endpoint) -> None:
    rules = [
        rule(
            f"rule-{n}",
            match={
                "host": f"h{n}.example",
                "path": {"prefix": f"/api/{n}"},
                "headers": {"x-tier": {"regex": "^g"}},
            },
            sample={"percent": 12.5},
        )
        for n in range(20)
    ]
    cpu = time.process_time()
    count = 50
    for number in range(count):
        rules[0]["priority"] = number
        assert (await put(endpoint, *rules)).status == 200
    spent = (time.process_time() - cpu) / count
    print(f"PUT of 20 rules: {spent * 1000:.1f} ms of CPU each, client and connection included")
    assert endpoint.proxy.changes.store.version == count + 1
    assert spent < 0.02
