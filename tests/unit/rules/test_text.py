"""Documents: YAML 1.2 core schema, JSON by the same rules, bounds, and places of everything."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.model import Place
from rules.params import Integer
from rules.places import Broken, JsonPlaces, Spot
from rules.text import Problem, RulesError, path_text, read, read_as, read_value
from rules.yaml_reader import read_yaml

SCALARS: list[tuple[str, object]] = [
    ("true", True), ("True", True), ("TRUE", True), ("false", False), ("null", None), ("~", None),
    ("", None), ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("y", "y"), ("tRUE", "tRUE"),
    ("12:30", "12:30"), ("2026-11-21", "2026-11-21"), ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
    ("1", 1), ("-7", -7), ("+7", 7), ("010", 10), ("0o17", 15), ("0x1F", 31), ("0b11", "0b11"),
    ("1_000", "1_000"), ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-2", -0.015),
    (".inf", math.inf), ("-.INF", -math.inf), ("1.2.3", "1.2.3"), ("1e", "1e"), ("-", None), (".", "."),
    ("=", "="), ("<<", "<<"), ("100ms", "100ms"), ('"true"', "true"), ("'1'", "1"), ("!!str 1", "1"),
    ("! 1", "1"), ("!!int 7", 7), ("!!float 7", 7.0), ("!!bool true", True), ("!!null null", None),
    ("1" * 401, "1" * 401),
]  # fmt: skip


@pytest.mark.parametrize(("written", "value"), [pair for pair in SCALARS if pair[0] != "-"])
@pytest.mark.parametrize("native", [True, False], ids=["libyaml", "python"])
def test_core_schema(written: str, value: object, native: bool) -> None:
    found, _, _ = read_yaml(f"key: {written}\n".encode(), native)
    assert found == {"key": value}
    assert isinstance(found, dict)
    assert type(found["key"]) is type(value)


def test_nan_is_a_number() -> None:
    value = read(b".nan", "f").value
    assert isinstance(value, float)
    assert math.isnan(value)


def test_keys_are_the_text_that_stands_there() -> None:
    assert read(b"on: 1\n503: 2\ntrue: 3\nnull: 4\n", "f").value == {"on": 1, "503": 2, "true": 3, "null": 4}


FATAL: list[tuple[bytes, str]] = [
    (b"a: [1\nb: 2\n", "f:2:2: not YAML: while parsing a flow sequence"),
    (b"a: b: c\n", "f:1:5: not YAML: mapping values are not allowed in this context"),
    (b"\ta: 1", "f:1:1: not YAML"),
    (b"ok: 1\nx: \xff\n", "f:2:4: not UTF-8: invalid start byte"),
    ("é: 1\n".encode("utf-16"), "f:1:1: not UTF-8"),
    (b"a: 1\nb: \x01\n", "f:2:4: not YAML: control characters are not allowed"),
    (b"--- 1\n--- 2\n", "f:2:1: a second document in one file; keep one"),
    (b"a: *b\n", 'f:1:4: alias "*b" has no anchor before it that is complete'),
    (b"a: &a [*a]\n", 'f:1:8: alias "*a" has no anchor before it that is complete'),
    (b"a: !python/object:os.system 1\n", "f:1:4: tag !python/object:os.system is not supported"),
    (b"a: !!set {}\n", "f:1:4: tag tag:yaml.org,2002:set is not supported"),
    (b"a: !!int x\n", 'f:1:4: "x" is no int'),
    (b"[a]: 1\n", "f:1:1: a key must be a string"),
    (b"&k [a]: 1\n*k : 2\n", "f:1:1: a key must be a string"),
    (b"[" * 40 + b"]" * 40, "f:1:33: lists and mappings nest more than 32 deep"),
    (b"- " * 40, "f:1:65: lists and mappings nest more than 32 deep"),
]


@pytest.mark.parametrize(("data", "words"), FATAL)
def test_what_is_no_document(data: bytes, words: str) -> None:
    with pytest.raises(RulesError) as caught:
        read(data, "f")
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("native", [True, False], ids=["libyaml", "python"])
def test_columns_are_counted_in_characters(native: bool) -> None:
    text = 'version: 1\nrules:\n  - {name: "ééé\x01"}'
    with pytest.raises(Broken) as caught:
        read_yaml(text.encode(), native)
    assert (caught.value.line, caught.value.column) == (3, 16)


FORGED: list[tuple[bytes, str]] = [
    (b'"a\\nF:1:1: x"', r'f:1:1: expected a whole number from 1 to 2, got "a\nF:1:1: x"'),
    (
        '"a\\u2028\\u0085\\x1bé"'.encode(),
        r'f:1:1: expected a whole number from 1 to 2, got "a\u2028\u0085\u001bé"',
    ),
    (b"a: !!int 'x\n\n  F:1:1: x'", r'f:1:4: "x\nF:1:1: x" is no int'),
    (b"a: !x%0AF:1:1: 1", r"f:1:4: tag !x\nF:1:1: is not supported"),
]


@pytest.mark.parametrize(("data", "whole"), FORGED)
def test_a_mistake_is_one_line_whatever_it_quotes(data: bytes, whole: str) -> None:
    with pytest.raises(RulesError) as caught:
        read_as(data, "f", Integer(1, 2))
    assert str(caught.value) == whole


def test_a_path_is_one_line_whatever_its_keys() -> None:
    assert path_text(("a\n\x7f\u2028é", 1)) == r'["a\n\u007f\u2028é"][1]'


def test_thirty_two_levels_are_fine() -> None:
    text = b"[" * 32 + b"]" * 32
    assert read(text, "f").value == read_yaml(text)[0]


def test_a_tower_of_json_is_refused_at_any_height() -> None:
    for height in (33, 5_000, 200_000):
        with pytest.raises(RulesError, match="nest more than 32 deep"):
            read(b"[" * height + b"]" * height, "f.json")


def test_aliases_are_shared_and_counted_as_if_written_out() -> None:
    node = read(b"a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]\n", "f")
    assert node.value == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": [{"k": [1, 2]}] * 2}
    lines = [b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    for level in range(1, 10):
        lines.append(b"a%d: &a%d [%b]" % (level, level, b",".join([b"*a%d" % (level - 1)] * 10)))
    with pytest.raises(RulesError, match="more than 1000000 values"):
        read(b"\n".join(lines), "f")


def test_aliases_do_not_nest_deeper_than_what_is_written_out() -> None:
    lines = [b"a0: &a0 [[[[x]]]]"]
    lines += [b"a%d: &a%d [[[*a%d]]]" % (n, n, n - 1) for n in range(1, 11)]
    with pytest.raises(RulesError) as caught:
        read(b"\n".join(lines), "f")
    assert str(caught.value) == "f:11:14: lists and mappings nest more than 32 deep"


def test_too_many_aliases() -> None:
    with pytest.raises(RulesError, match="more than 10000 aliases"):
        read(b"a: &a 1\nb: [" + b"*a," * 10_001 + b"]", "f")


def test_too_large() -> None:
    with pytest.raises(RulesError, match="the limit is 16 MiB"):
        read(b" " * ((16 << 20) + 1), "f")


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"---\n", b"null"])
def test_an_empty_document_is_null(data: bytes) -> None:
    assert read(data, "f").value is None


def test_byte_order_mark_is_left_out() -> None:
    assert read(b"\xef\xbb\xbfa: 1", "f").value == {"a": 1}
    assert read(b'\xef\xbb\xbf{"a": 1}', "f").value == {"a": 1}


def problems(data: bytes) -> list[str]:
    node = read(data, "f")
    with pytest.raises(RulesError) as caught:
        node.document.check()
    return [str(problem) for problem in caught.value.problems]


def test_keys_given_twice_are_noted_in_both_languages() -> None:
    assert problems(b"a: 1\nb:\n  - {c: 1, c: 2}\na: 3\n") == [
        "f:3:12: b[0].c: this key is given twice; first in line 3",
        "f:4:1: a: this key is given twice; first in line 1",
    ]
    assert problems(b'{"a": 1,\n "b": [{"c": 1, "c": 2}],\n "\\u0061": 3}') == [
        "f:2:17: b[0].c: this key is given twice; first in line 2",
        "f:3:2: a: this key is given twice; first in line 1",
    ]


def test_a_string_that_looks_like_a_key_is_no_key() -> None:
    node = read(b'{"a": "x\\": ", "b": "\\":\\":"}', "f")
    node.document.check()
    assert node.value == {"a": 'x": ', "b": '":":'}


def test_json_with_more_than_json_is_read_as_yaml() -> None:
    assert read(b'{"a": [1, 2,], # why\n "b": on}', "f.json").value == {"a": [1, 2], "b": "on"}


def test_broken_json_is_reported_as_what_its_name_says() -> None:
    with pytest.raises(RulesError) as caught:
        read(b'{"a": 1,\n "b" 2', "f.json")
    assert str(caught.value).startswith("f.json:2:6: not JSON: ")
    with pytest.raises(RulesError, match=r"^f:.*not YAML"):
        read(b'{"a": 1,\n "b": "', "f")


DOCUMENT = """\
rules:
  - name: a
    match:
      path: /é
      headers: {x-a: "1",   x-b: [2]}
  - name: b
"""


def test_places_of_values_and_keys() -> None:
    document = read(DOCUMENT.encode(), "f").document
    assert document.locate(("rules", 0, "match", "path")) == Place("f", 4, 13)
    assert document.locate(("rules", 0, "match", "path"), at_key=True) == Place("f", 4, 7)
    assert document.locate(("rules", 0, "match", "headers", "x-b", 0)) == Place("f", 5, 35)
    assert document.locate(("rules", 1)) == Place("f", 6, 5)
    assert document.locate(("rules", 0, "sample", "percent")) == Place("f", 2, 5)  # as near as can be
    assert document.locate(("rules", 9)) == Place("f", 2, 3)


def spots(spot: Spot) -> object:
    if spot.items is not None:
        return spot.line, spot.column, [spots(item) for item in spot.items]
    if spot.keys is not None:
        return spot.line, spot.column, {key: (a, b, spots(c)) for key, (a, b, c) in spot.keys.items()}
    return spot.line, spot.column


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("aé\"\\/\n😀 :,{}[]'#", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('ab:"\\é ', max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(PLAIN, st.sampled_from([None, 0, 2]))
def test_places_in_json_are_where_a_naive_reading_finds_them(value: object, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    places = JsonPlaces(text)
    spot = places.read()
    assert places.twice == []
    lines = text.split("\n")

    def check(value: object, spot: Spot) -> None:
        rest = "\n".join([lines[spot.line - 1][spot.column - 1 :], *lines[spot.line :]])
        found, _ = json.JSONDecoder().raw_decode(rest)
        assert found == value
        if isinstance(value, list):
            for item, below in zip(value, spot.items or [], strict=True):
                check(item, below)
        if isinstance(value, dict):
            assert spot.keys is not None
            for key, item in value.items():
                line, column, below = spot.keys[key]
                assert lines[line - 1][column - 1] == '"'
                check(item, below)

    check(value, spot)


@given(PLAIN)
def test_json_and_yaml_read_alike(value: object) -> None:
    # A string alone is read as YAML, which writes in one escape what JSON makes two of: it gets none.
    text = json.dumps(value, ensure_ascii=not isinstance(value, str)).encode()
    node = read(text, "f")
    node.document.check()
    assert node.value == value
    if b"\\ud8" not in text:  # YAML writes what JSON makes two escapes of as one
        assert read_yaml(text)[0] == value


@given(PLAIN)
def test_both_yaml_parsers_give_the_same(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False).encode()
    native, plain = read_yaml(text, True), read_yaml(text, False)
    assert native[0] == plain[0] == value
    assert spots(native[1]) == spots(plain[1])


def test_both_yaml_parsers_say_the_same_of_aliases() -> None:
    text = b"# c\na: &x\n  - {k: v}\nb: *x\nc: |\n  text\nd: 'q'\n"
    native, plain = read_yaml(text, True), read_yaml(text, False)
    assert native[0] == plain[0]
    assert spots(native[1]) == spots(plain[1])


def test_walking_a_document_notes_every_mistake_in_order() -> None:
    node = read(b"b: x\na: [1, x]\nlimts: 1\n", "f")
    parts = node.mapping({"a", "b", "limits"})
    assert sorted(parts) == ["a", "b"]
    assert [item.get(Integer(0, 9), -1) for item in parts["a"].sequence()] == [1, -1]
    assert parts["b"].mapping() == {}
    assert parts["b"].sequence() == []
    parts["a"].problem("too odd", at_key=True)
    assert parts["a"].place == Place("f", 2, 4)
    assert parts["a"].key_place == Place("f", 2, 1)
    with pytest.raises(RulesError) as caught:
        node.document.check()
    assert str(caught.value).split("\n") == [
        'f:1:4: b: expected a mapping, got "x"',
        'f:1:4: b: expected a list, got "x"',
        "f:2:1: a: too odd",
        'f:2:8: a[1]: expected a whole number from 0 to 9, got "x"',
        'f:3:1: limts: unknown key "limts"; did you mean "limits"?',
    ]


def test_read_as_gives_the_value_or_all_problems() -> None:
    assert read_as(b"7", "f", Integer(0, 9)) == 7
    with pytest.raises(RulesError, match="f:1:1: expected a whole number"):
        read_as(b"x", "f", Integer(0, 9))


def test_a_plain_value_has_a_source_but_no_lines() -> None:
    node = read_value({"a": "x"}, "admin")
    node.mapping()["a"].get(Integer(0, 9), 0)
    with pytest.raises(RulesError, match=r"^admin: a: expected a whole number"):
        node.document.check()


def test_paths_are_written_as_people_read_them() -> None:
    assert path_text(("rules", 3, "match", "x-a")) == "rules[3].match.x-a"
    assert path_text(("a", "x y", 0, "é")) == 'a["x y"][0]["é"]'
    assert path_text(()) == ""
    assert str(Problem(Place("f"), "", "bad")) == "f: bad"


@given(st.binary(max_size=200) | st.text("-:[]{}&*!|>'\"%#?, \nab1~\t", max_size=80).map(str.encode))
def test_any_bytes_are_a_document_or_an_error_with_a_place(data: bytes) -> None:
    try:
        node = read(data, "f")
        node.document.check()
    except RulesError as error:
        found = error.problems
    else:
        return
    assert found
    for problem in found:
        assert problem.place.line >= 1
        assert problem.message
