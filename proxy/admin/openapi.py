"""The OpenAPI 3.1 document: made from the table of routes and the types that parse and write the bodies."""

import json
from typing import Any, Final

import msgspec

from proxy import __version__
from proxy.admin import problem
from proxy.admin.problem import ProblemDocument
from proxy.admin.routes import DRY_RUN, IF_MATCH, IF_NONE_MATCH, LIMIT, PATCH, RULE, RULES, Route
from rules.parse import RuleParam
from rules.schema import rules_schema

Json = dict[str, Any]
REFERENCE: Final = "#/components/schemas/{name}"

OPTIONS: Final[dict[str, Json]] = {
    DRY_RUN: {
        "name": "dry_run",
        "in": "query",
        "description": "true: only check, change nothing",
        "schema": {"type": "boolean", "default": False},
    },
    LIMIT: {
        "name": "limit",
        "in": "query",
        "description": "How many to show at most",
        "schema": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 1000},
    },
    IF_MATCH: {
        "name": "If-Match",
        "in": "header",
        "description": "Change only if this version (an entity tag) is in force; *: only what is there",
        "schema": {"type": "string"},
    },
    IF_NONE_MATCH: {
        "name": "If-None-Match",
        "in": "header",
        "description": "Make the rule only if there is none of this name yet",
        "schema": {"const": "*"},
    },
}
NAME: Final[Json] = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
VERSION: Final[Json] = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
ERRORS: Final[dict[int, str]] = {
    400: "The call is malformed",
    401: "A token is missing or wrong",
    403: "The call comes from a page of another site",
    404: "There is no such thing",
    408: "The body came too slowly",
    409: "It cannot be done as things are",
    412: "Another version is in force, or what If-Match and If-None-Match say of its being there is not so",
    413: "The body is too large",
    415: "The body has another content type",
    417: "An expectation other than 100-continue",
    421: "The Host header names somebody else",
    422: "What was sent has mistakes; all are listed",
    429: "Too many failed authentications",
    503: "Not now",
    507: "The change could not be written to state_dir, and was not made",
}


def document(routes: tuple[Route, ...]) -> Json:
    """Describe every call."""
    types = {route.gives for route in routes if _is_type(route.gives)}
    types |= {route.body for route in routes if _is_type(route.body)} | {ProblemDocument}
    ordered = sorted(types, key=lambda kind: str(kind))
    schemas, components = msgspec.json.schema_components(ordered, ref_template=REFERENCE)
    by_type = dict(zip(ordered, schemas, strict=True))
    components = {**components, **_rule_schemas()}
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Misrule admin endpoint",
            "version": __version__,
            "summary": "Show and change what goes wrong, while it runs",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {str(status): _problem(text) for status, text in ERRORS.items()},
        },
    }


def _is_type(value: object) -> bool:
    return value is not None and not isinstance(value, str)


def _operation(route: Route, by_type: Json) -> Json:
    options = [OPTIONS[name] for name in route.options]
    for parameter in (NAME, VERSION):
        if f"{{{parameter['name']}}}" in route.path:
            options.insert(0, parameter)
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "responses": {str(route.status): _success(route, by_type), **_errors(route)},
    }
    if DRY_RUN in route.options and route.status != 200:
        operation["responses"]["200"] = _success(route, by_type)
    if options:
        operation["parameters"] = options
    if route.body is not None:
        schema = _body_schema(route.body, by_type)
        content = {kind: {"schema": schema} for kind in route.accepts}
        operation["requestBody"] = {"required": True, "content": content}
    if route.public:
        operation["security"] = [{}]
    return operation


def _success(route: Route, by_type: Json) -> Json:
    if isinstance(route.gives, str):
        return {"description": "As named", "content": {route.gives: {"schema": {"type": "string"}}}}
    success: Json = {
        "description": "Done" if route.method != "GET" else "As asked",
        "content": {"application/json": {"schema": by_type[route.gives]}},
    }
    if route.path.startswith("/v1/rules"):
        success["headers"] = {"ETag": {"description": "The version in force", "schema": {"type": "string"}}}
    return success


def _errors(route: Route) -> Json:
    statuses = {*route.errors, 403, 421} | (set() if route.public else {401, 429})
    if route.body is not None:
        statuses |= {400, 408, 413, 417}
    if route.method not in ("GET", "DELETE"):
        statuses.add(415)
    if route.options:
        statuses.add(400)
    if DRY_RUN in route.options:
        statuses.add(507)
    errors: Json = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}
    if route.path == "/readyz":
        errors["503"] = {
            **_problem(ERRORS[503]),
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    return errors


def _problem(text: str) -> Json:
    schema = {"$ref": REFERENCE.format(name=ProblemDocument.__name__)}
    return {"description": text, "content": {problem.CONTENT_TYPE: {"schema": schema}}}


def _body_schema(body: Any, by_type: Json) -> Json:
    if body == PATCH:
        return {"type": "object", "description": "A JSON merge patch (RFC 7396) of the rule as written"}
    if body in (RULE, RULES):
        return {"$ref": REFERENCE.format(name={RULE: "Rule", RULES: "Rules"}[body])}
    found: Json = by_type[body]
    return found


def _rule_schemas() -> Json:
    """Give the rule language: the set under ``Rules``, one rule under ``Rule``, shared parts beside them."""
    whole = rules_schema()
    shared = whole.pop("$defs", {})
    whole.pop("$schema", None)
    text = json.dumps({"Rules": whole, **shared}).replace('"#/$defs/', '"#/components/schemas/')
    schemas: Json = json.loads(text)
    schemas["Rule"] = RuleParam().schema()
    return schemas
