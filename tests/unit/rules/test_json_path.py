"""Places in JSON texts, and values that are put there: nothing else of the text changes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.json_path import NotJson, Step, read_path, replace

PATHS: list[tuple[str, list[Step]]] = [
    ("$", []),
    ("$.a.b", ["a", "b"]),
    ("$.a-b._1", ["a-b", "_1"]),
    ("$.é", ["é"]),
    ("$[0][-1]", [0, -1]),
    ("$['a b'][\"c'd\"]", ["a b", "c'd"]),
    ("$['it\\'s \"so\"']", ['it\'s "so"']),
    ('$["\\u00e9\\n"]', ["é\n"]),
    ("$.*[*]", [None, None]),
]


@pytest.mark.parametrize(("text", "steps"), PATHS)
def test_paths(text: str, steps: list[Step]) -> None:
    assert read_path(text) == steps


@pytest.mark.parametrize(
    "text", ["", "a", ".a", "$a", "$.", "$..a", "$[", "$[01]", "$[a]", "$.1", "$['a]", '$["\\x"]']
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_path(text)


TEXT = ' { "a" : [ 1.10 , {"b":"\\u00e9]}"} ,[]], "c": {}, "a":[7] } '
CHANGES: list[tuple[str, str | None]] = [
    ("$.a[0]", ' { "a" : [ X , {"b":"\\u00e9]}"} ,[]], "c": {}, "a":[X] } '),
    ("$.a[-1]", ' { "a" : [ 1.10 , {"b":"\\u00e9]}"} ,X], "c": {}, "a":[X] } '),
    ("$.a[1].b", ' { "a" : [ 1.10 , {"b":X} ,[]], "c": {}, "a":[7] } '),
    ("$.c", ' { "a" : [ 1.10 , {"b":"\\u00e9]}"} ,[]], "c": X, "a":[7] } '),
    ("$.*", ' { "a" : X, "c": X, "a":X } '),
    ("$", " X "),
    ("$.c.d", None),
    ("$.a.b", None),
    ("$.a[9]", None),
    ("$.a[-9]", None),
    ("$[0]", None),
]


@pytest.mark.parametrize(("path", "wanted"), CHANGES)
def test_changes(path: str, wanted: str | None) -> None:
    assert replace(TEXT, read_path(path), "X", 1000) == wanted


@pytest.mark.parametrize(
    "text", ["", "{", "a", "{'a': 1}", '{"a": NaN}', "[1,]", "[" * 100_000, "1 2", '"\t"']
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(NotJson):
        replace(text, [], "1", 1_000_000)


def test_a_byte_order_mark_stays() -> None:
    assert replace('\ufeff{"a": 1}', ["a"], "2", 100) == '\ufeff{"a": 2}'


def test_it_is_bounded() -> None:
    with pytest.raises(OverflowError):
        replace(json.dumps([0] * 1000), [None], "9" * 1000, 100_000)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def places(value: object) -> list[list[Step]]:
    """Give the steps to each value in a value."""
    found: list[list[Step]] = [[]]
    if isinstance(value, dict):
        found += [[key, *rest] for key, inner in value.items() for rest in places(inner)]
    elif isinstance(value, list):
        found += [[at, *rest] for at, inner in enumerate(value) for rest in places(inner)]
    return found


def put(value: object, steps: list[Step], new: object) -> object:
    """The same by taking the value apart: the reference."""
    if not steps:
        return new
    step = steps[0]
    if isinstance(value, dict):
        return {key: put(inner, steps[1:], new) if key == step else inner for key, inner in value.items()}
    assert isinstance(value, list)
    return [put(inner, steps[1:], new) if at == step else inner for at, inner in enumerate(value)]


@given(VALUES, st.data(), VALUES, st.sampled_from([None, 1]))
def test_as_if_it_were_taken_apart(
    value: object, data: st.DataObject, new: object, indent: int | None
) -> None:
    steps = data.draw(st.sampled_from(places(value)))
    text = json.dumps(value, indent=indent)
    made = replace(text, steps, json.dumps(new), 1_000_000)
    assert made is not None
    assert json.loads(made) == put(value, steps, new)
