"""The description is valid, whole, and true of what is answered."""

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.unit.proxy.admin.fake_proxy import Endpoint


@pytest.fixture
async def document(endpoint: Endpoint) -> dict[str, Any]:
    answer = await endpoint.call("GET", "/v1/openapi.json")
    assert answer.status == 200
    described: dict[str, Any] = answer.json
    return described


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    errors = list(OpenAPIV31SpecValidator(document).iter_errors())
    assert errors == []
    assert document["openapi"].startswith("3.1")


def test_every_call_is_described(document: dict[str, Any], endpoint: Endpoint) -> None:
    described = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    assert described == {(route.method, route.path) for route in endpoint.server._routes}
    names = [call["operationId"] for calls in document["paths"].values() for call in calls.values()]
    assert len(set(names)) == len(names)
    assert all(
        call["summary"].endswith(".") for calls in document["paths"].values() for call in calls.values()
    )


def check(document: dict[str, Any], schema: dict[str, Any], value: object) -> None:
    resolved = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(resolved).validate(value)


@pytest.mark.parametrize(
    ("method", "path", "call", "body"),
    [
        ("GET", "/v1/rules", "/v1/rules", None),
        ("GET", "/v1/rules/{name}", "/v1/rules/from-file", None),
        (
            "PUT",
            "/v1/rules",
            "/v1/rules",
            {"version": 1, "rules": [{"name": "a", "faults": [{"delay": "1s"}]}]},
        ),
        ("POST", "/v1/rules", "/v1/rules", {"name": "b", "faults": [{"abort": 503}], "ttl": "1h"}),
        ("PUT", "/v1/rules/{name}", "/v1/rules/c", {"name": "c", "faults": ["reset"]}),
        ("PATCH", "/v1/rules/{name}", "/v1/rules/from-file", {"priority": 1}),
        ("POST", "/v1/rules/{name}/reset", "/v1/rules/from-file/reset", None),
        ("DELETE", "/v1/rules/{name}", "/v1/rules/from-file", None),
        ("DELETE", "/v1/rules/{name}", "/v1/rules/nobody", None),
        ("PUT", "/v1/rules", "/v1/rules", {"version": 1, "rules": 5}),
        ("GET", "/v1/rules/versions", "/v1/rules/versions", None),
        ("GET", "/v1/rules/versions/{version}", "/v1/rules/versions/1", None),
        ("GET", "/v1/rules/versions/{version}", "/v1/rules/versions/7", None),
        ("POST", "/v1/rules/rollback", "/v1/rules/rollback", {"version": 1}),
        ("POST", "/v1/rules/rollback", "/v1/rules/rollback", {"version": 7}),
        ("POST", "/v1/drain", "/v1/drain", None),
        ("POST", "/v1/explain", "/v1/explain", {"host": "pay.example", "response": {"status": 200}}),
        ("POST", "/v1/explain", "/v1/explain", {"nothing": 1}),
        ("POST", "/v1/stop", "/v1/stop", None),
        ("POST", "/v1/resume", "/v1/resume", None),
        ("GET", "/v1/stats", "/v1/stats", None),
        ("GET", "/v1/config", "/v1/config", None),
        ("GET", "/v1/connections", "/v1/connections", None),
        ("GET", "/v1/connections", "/v1/connections?limit=x", None),
        ("GET", "/healthz", "/healthz", None),
        ("GET", "/readyz", "/readyz", None),
    ],
)
async def test_answers_are_as_described(
    document: dict[str, Any], endpoint: Endpoint, method: str, path: str, call: str, body: object
) -> None:
    operation = document["paths"][path][method.lower()]
    answer = await endpoint.call(method, call, body)
    described = operation["responses"][str(answer.status)]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    content = described["content"][answer.headers["content-type"].partition(";")[0]]
    check(document, content["schema"], answer.json)
    if body is not None and answer.status < 300:
        check(document, operation["requestBody"]["content"]["application/json"]["schema"], body)
