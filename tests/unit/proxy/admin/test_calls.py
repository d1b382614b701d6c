"""Preconditions, so that no update is lost; and bodies that say two things at once."""

import asyncio

import pytest

from tests.unit.proxy.admin.fake_proxy import DELAY, Endpoint, names, put, rule


@pytest.mark.parametrize("tag", ['"1"', "*", '"7", "1"', 'W/"7", "1"'])
async def test_the_version_that_was_seen_may_be_changed(endpoint: Endpoint, tag: str) -> None:
    assert (await put(endpoint, rule("a"), if_match=tag)).status == 200


@pytest.mark.parametrize(
    "tag",
    [
        '"0"',
        '"2"',
        'W/"1"',
        "1",
        '"x"',
        '"7", "8"',
        '""',
        '"01"',
        '"\u0661"',
        pytest.param(f'"{"1" * 5000}"', id="long"),
    ],
)
async def test_another_version_is_not_changed(endpoint: Endpoint, tag: str) -> None:
    calls = [
        ("PUT", "/v1/rules", {"version": 1, "rules": []}),
        ("POST", "/v1/rules", rule("b")),
        ("PUT", "/v1/rules/b", rule("b")),
        ("PATCH", "/v1/rules/from-file", {"priority": 1}),
        ("POST", "/v1/rules/from-file/reset", None),
    ]
    for method, path, body in calls:
        answer = await endpoint.call(method, path, body, if_match=tag)
        assert (answer.status, answer.kind, answer.json["version"]) == (412, "version-conflict", 1)
        assert answer.headers["etag"] == '"1"'
    assert endpoint.proxy.changes.store.version == 1


async def test_delete_is_guarded_too(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"))
    assert (await endpoint.call("DELETE", "/v1/rules/a", if_match='"1"')).status == 412
    assert (await endpoint.call("DELETE", "/v1/rules/a", if_match='"2"')).status == 200


async def test_a_tag_of_very_many_digits_is_no_version(endpoint: Endpoint) -> None:
    await put(endpoint, rule("a"))
    answer = await endpoint.call("DELETE", "/v1/rules/a", if_match=f'"{"1" * 5000}"')
    assert (answer.status, answer.kind) == (412, "version-conflict")


async def test_only_what_is_there_is_changed(endpoint: Endpoint) -> None:
    answer = await endpoint.call("PUT", "/v1/rules/new", {"faults": DELAY}, if_match="*")
    assert (answer.status, answer.kind, answer.headers["etag"]) == (412, "precondition-failed", '"1"')
    assert await names(endpoint) == {"from-file": "file"}
    assert (await endpoint.call("DELETE", "/v1/rules/new", if_match="*")).kind == "unknown-rule"
    assert (await endpoint.call("PUT", "/v1/rules/from-file", {"faults": DELAY}, if_match="*")).status == 200


async def test_only_what_is_not_there_is_made(endpoint: Endpoint) -> None:
    new = {"if_none_match": "*"}
    for method, path, body in (
        ("PUT", "/v1/rules/from-file", {"faults": DELAY}),
        ("PATCH", "/v1/rules/from-file", {"priority": 1}),
        ("POST", "/v1/rules/from-file/reset", None),
        ("PUT", "/v1/rules", {"version": 1, "rules": []}),
    ):
        answer = await endpoint.call(method, path, body, **new)
        assert (answer.status, answer.kind, answer.headers["etag"]) == (412, "precondition-failed", '"1"')
    answers = await asyncio.gather(
        *(endpoint.call("PUT", "/v1/rules/a", {"faults": DELAY}, **new) for _ in range(3))
    )
    assert sorted(answer.status for answer in answers) == [200, 412, 412]
    assert endpoint.proxy.changes.store.version == 2


@pytest.mark.parametrize(
    "condition", [{"if_match": ""}, {"if_match": " "}, {"if_none_match": ""}, {"if_none_match": '"1"'}]
)
async def test_a_condition_that_says_nothing_changes_nothing(
    endpoint: Endpoint, condition: dict[str, str]
) -> None:
    for method, path, body in (
        ("PUT", "/v1/rules/from-file", {"faults": DELAY}),
        ("PUT", "/v1/rules", {"version": 1, "rules": []}),
        ("POST", "/v1/rules/from-file/reset", None),
    ):
        answer = await endpoint.call(method, path, body, **condition)
        assert (answer.status, answer.kind) == (400, "invalid-header")
    assert endpoint.proxy.changes.store.version == 1


async def test_of_two_writers_one_wins(endpoint: Endpoint) -> None:
    answers = await asyncio.gather(*(put(endpoint, rule(f"r{n}"), if_match='"1"') for n in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]


@pytest.mark.parametrize(
    ("method", "path", "body", "key"),
    [
        ("PATCH", "/v1/rules/from-file", b'{"priority": 1,\n "priority": 2}', "priority"),
        ("PATCH", "/v1/rules/from-file", b'{"match": {},\n "match": {"host": "a"}}', "match"),
        ("POST", "/v1/rules/rollback", b'{"version": 7,\n "version": 1}', "version"),
        ("POST", "/v1/explain", b'{"path": "/a",\n "path": "/b"}', "path"),
    ],
)
async def test_a_key_given_twice_is_refused(
    endpoint: Endpoint, method: str, path: str, body: bytes, key: str
) -> None:
    answer = await endpoint.call(method, path, body)
    assert (answer.status, answer.kind) == (422, "invalid-body")
    (error,) = answer.json["errors"]
    assert (error["path"], error["line"], error["source"]) == (key, 2, "body")
    assert answer.json["detail"] == error["text"]
    assert endpoint.proxy.changes.store.version == 1
