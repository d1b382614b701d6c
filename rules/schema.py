"""JSON Schema 2020-12 of documents, for editors: made from the tables that also read them.

A schema takes every document that the parser takes.  It cannot say all that the parser checks (whether a
pattern is RE2, whether a fault acts before its match is known): the parser has the last word.
"""

import json
from typing import Any, Final

from rules.params import Param, Schema
from rules.parse import DOCUMENT

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_WORTH_SHARING: Final = 300  # characters of a subschema, from which on a reference is the shorter way


def rules_schema() -> Schema:
    """Give the schema of rule files."""
    return document_schema(DOCUMENT, "Misrule rules", "What goes wrong, when and how often.")


def document_schema(param: Param[Any], title: str, description: str) -> Schema:
    """Give the schema of a document that ``param`` reads; what it would say twice is under ``$defs``."""
    schema: Schema = param.schema()
    counts: dict[str, int] = {}
    _count(schema, counts)
    shared = {text: "" for text, times in counts.items() if times > 1 and len(text) >= _WORTH_SHARING}
    for number, text in enumerate(shared, 1):
        shared[text] = f"part{number}"
    definitions = {name: _share_below(json.loads(text), shared) for text, name in shared.items()}
    head = {"$schema": DIALECT, "title": title, "description": description}
    return {**head, **_share_below(schema, shared), **({"$defs": definitions} if definitions else {})}


def _bare(schema: Schema) -> Schema:
    """Leave out what a place adds to a schema: its words and its default."""
    return {key: item for key, item in schema.items() if key not in ("description", "default")}


def _subschemas(schema: Schema) -> list[Schema]:
    found: list[Schema] = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    found += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    return found


def _count(schema: Schema, counts: dict[str, int]) -> None:
    for below in _subschemas(schema):
        text = json.dumps(_bare(below))
        counts[text] = counts.get(text, 0) + 1
        if counts[text] == 1:
            _count(below, counts)


def _share(schema: Schema, shared: dict[str, str]) -> Schema:
    """Put a reference where the schema is a shared one, beside it the words and the default of this place."""
    name = shared.get(json.dumps(_bare(schema)))
    if name is None:
        return _share_below(schema, shared)
    own = {key: item for key, item in schema.items() if key in ("description", "default")}
    return {"$ref": f"#/$defs/{name}", **own}


def _share_below(schema: Schema, shared: dict[str, str]) -> Schema:
    result = dict(schema)
    if "properties" in schema:
        result["properties"] = {key: _share(item, shared) for key, item in schema["properties"].items()}
    if "anyOf" in schema:
        result["anyOf"] = [_share(item, shared) for item in schema["anyOf"]]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            result[key] = _share(schema[key], shared)
    return result
