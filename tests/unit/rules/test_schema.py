"""The JSON Schema takes what the parser takes, and refuses what a schema can see."""

import json
from typing import Any

import jsonschema
import pytest

from rules.faults import FAULTS
from rules.params import Duration
from rules.records import Field, Record, Values
from rules.schema import DIALECT, document_schema, rules_schema
from rules.text import read
from tests.unit.rules.examples import INVALID, VALID, document

SCHEMA = rules_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def complaints(data: bytes) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(read(data, "f").value)]


def test_it_is_a_schema_of_its_dialect() -> None:
    assert SCHEMA["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("rule", VALID)
def test_it_takes_what_the_parser_takes(rule: str) -> None:
    assert complaints(document(rule)) == []


@pytest.mark.parametrize("rule", [rule for rule, _, _, seen in INVALID if seen])
def test_it_refuses_what_it_can_see(rule: str) -> None:
    assert complaints(document(rule)) != []


@pytest.mark.parametrize("rule", [rule for rule, _, _, seen in INVALID if not seen])
def test_the_rest_is_for_the_parser(rule: str) -> None:
    """Kept so that the examples say truly which mistakes an editor shows."""
    assert complaints(document(rule)) == []


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"rules: []", b"version: 2\nrules: []", b"version: 1\nrules: {}"]
)
def test_it_refuses_other_documents(data: bytes) -> None:
    assert complaints(data) != []


def test_every_field_of_every_fault_is_in_it() -> None:
    def keys(schema: object) -> set[str]:
        found: set[str] = set()
        if isinstance(schema, dict):
            found |= set(schema.get("properties", {}))
            for item in schema.values():
                found |= keys(item)
        if isinstance(schema, list):
            for item in schema:
                found |= keys(item)
        return found

    everywhere = keys(SCHEMA)
    for kind, fault in FAULTS.items():
        assert {kind, "sample", *fault.PARAMS.fields} <= everywhere


def test_defaults_and_words_reach_the_editor() -> None:
    rule: dict[str, Any] = SCHEMA["properties"]["rules"]["items"]["properties"]
    assert rule["enabled"] == {
        "type": "boolean",
        "default": True,
        "description": "false: as if it were not there",
    }


def test_what_is_said_twice_is_shared_without_losing_its_words() -> None:
    names = ("head", "idle", "drain")
    inner: Record[Values] = Record({name: Field(Duration(), None, f"the {name} time") for name in names})
    outer: Record[Values] = Record({"a": Field(inner, doc="first"), "b": Field(inner, None, "second")})
    schema = document_schema(outer, "Title", "Words.")
    assert schema["properties"]["a"] == {"$ref": "#/$defs/part1", "description": "first"}
    assert schema["properties"]["b"] == {"$ref": "#/$defs/part1", "description": "second"}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid({"a": {"head": "1s"}, "b": None})
    assert not validator.is_valid({"b": {"head": 1}})
