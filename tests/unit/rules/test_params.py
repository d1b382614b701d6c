"""Parameters: what each kind of value takes, gives and refuses, alone and in tables."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.http_params import FRAMING, GRPC_CODES, GrpcStatus, HeaderName, HeaderValue, Method
from rules.params import (
    BadValue,
    Bool,
    Choice,
    Context,
    Duration,
    Integer,
    Number,
    Param,
    Percent,
    Rate,
    Size,
    Status,
    Text,
    nearest,
    show,
    words,
)
from rules.records import Field, ListOf, MapOf, OneOf, Record, exactly_one

GOOD: list[tuple[Param[Any], object, object]] = [
    (Bool(), True, True),
    (Integer(1, 9), 9, 9),
    (Status(), 200, 200),
    (Status(), 599, 599),
    (Number(0, 1), 1, 1.0),
    (Number(0, 1, above=True), 0.5, 0.5),
    (Percent(), 0, 0),
    (Percent(), 12.5, 125_000),
    (Percent(), 0.0001, 1),
    (Percent(), 33.3333, 333_333),
    (Percent(), 100, 1_000_000),
    (Percent(), 1e-4, 1),
    (Duration(), "100ms", 0.1),
    (Duration(), "1.5s", 1.5),
    (Duration(), "10m", 600.0),
    (Duration(), "1h", 3600.0),
    (Duration(), "0.5m", 30.0),
    (Duration(), "0ms", 0.0),
    (Duration(), "0.001s", 0.001),
    (Size(), "100B", 100),
    (Size(), "64KiB", 65_536),
    (Size(), "1MB", 1_000_000),
    (Size(), "1.5KiB", 1_536),
    (Size(), "2GiB", 2 << 30),
    (Size(), "3kB", 3_000),
    (Rate(), "256KiB/s", 262_144),
    (Text(), "", ""),
    (Text("digits", r"[0-9]+"), "42", "42"),
    (words("a", "b"), "b", "b"),
    (Choice({"next": 0}), "next", 0),
    (ListOf(Integer(0, 9)), [1, 2], (1, 2)),
    (ListOf(Integer(0, 9), single=True), 3, (3,)),
    (MapOf(HeaderName(), Text()), {"X-A": "1", "b": "2"}, (("x-a", "1"), ("b", "2"))),
    (OneOf("a number or a word", Integer(0, 9), words("all")), "all", "all"),
    (HeaderName(), "X-User", "x-user"),
    (HeaderValue(), "a\tb é", "a\tb é"),
    (Method(), "PURGE", "PURGE"),
    (GrpcStatus(), "UNAVAILABLE", 14),
    (GrpcStatus(), 0, 0),
]

BAD: list[tuple[Param[Any], object, str]] = [
    (Bool(), "yes", 'expected true or false, got the string "yes"'),
    (Bool(), 1, "expected true or false, got 1"),
    (Bool(), None, "expected true or false, got nothing (null)"),
    (Integer(1, 9), 10, "expected a whole number from 1 to 9, got 10"),
    (Integer(1, 9), 0, "got 0"),
    (Integer(0, 1), True, "got true"),
    (Integer(1, 9), 5.0, "got 5.0"),
    (Integer(1, 9), "5", 'got "5"'),
    (Status(), 199, "expected an HTTP status from 200 to 599, got 199"),
    (Status(), 600, "got 600"),
    (Number(0, 1), 1.1, "expected a number from 0 to 1, got 1.1"),
    (Number(0, 1), float("nan"), "got nan"),
    (Number(0, 1), True, "got true"),
    (Number(0, 1, above=True), 0, "expected a number above 0 up to 1, got 0"),
    (Percent(), 100.1, "expected a percentage from 0 to 100, got 100.1"),
    (Percent(), -1, "got -1"),
    (Percent(), 0.00001, "a percentage goes down to 0.0001, 1e-05 is finer"),
    (Percent(), float("nan"), "got nan"),
    (Percent(), "50%", 'got "50%"'),
    (Duration(), 100, "a bare number has no unit: use ms, s, m or h"),
    (Duration(), 0, "a bare number has no unit"),
    (Duration(), 1.5, "a bare number has no unit"),
    (Duration(), "100", 'expected a duration such as 100ms, 1.5s, 10m or 1h, got "100"'),
    (Duration(), "1d", 'got "1d"'),
    (Duration(), "-1s", 'got "-1s"'),
    (Duration(), "1m30s", 'got "1m30s"'),
    (Duration(), "1٣s", "expected a duration"),
    (Duration(), "1.5ms", 'durations are whole milliseconds, "1.5ms" is finer'),
    (Duration(), "25h", 'expected a duration from 0ms to 24h, got "25h"'),
    (Duration(low=1), "999ms", 'expected a duration from 1s to 24h, got "999ms"'),
    (Duration(), True, "got true"),
    (Duration(), None, "got nothing (null)"),
    (Duration(), ["1s"], "got a list"),
    (Size(), 64, "a bare number has no unit: use B, KB, MB, GB, KiB, MiB or GiB"),
    (Size(), "64K", 'expected a size such as 100B, 64KiB or 1MB, got "64K"'),
    (Size(), "0.5B", 'expected whole bytes, "0.5B" is finer'),
    (Size(high=10), "11B", "from 0B to 10B"),
    (Rate(), 5, "use B/s, KB/s"),
    (Rate(), "5KiB", 'expected a rate such as 256KiB/s, got "5KiB"'),
    (Rate(), "0B/s", "from 1B/s"),
    (Text(), 5, "expected a string, got 5; quote it to make it a string"),
    (Text(), True, "got true; quote it"),
    (Text(low=1), "", "at least 1 characters"),
    (Text(high=3), "abcd", "at most 3 characters, got 4"),
    (Text("digits", r"[0-9]+"), "4x", 'expected digits, got "4x"'),
    (Text(), "\ud800", "half of a surrogate pair is no character"),
    (words("reset", "close"), "reste", 'expected reset or close, got "reste"; did you mean "reset"?'),
    (words("a"), ["a"], "expected a, got a list"),
    (ListOf(Integer(0, 9)), 3, "expected a list, each a whole number from 0 to 9, got 3"),
    (ListOf(Integer(0, 9), low=1), [], "got an empty list"),
    (ListOf(Integer(0, 9), single=True), None, "got nothing (null)"),
    (MapOf(HeaderName(), Text()), ["x"], "expected a mapping, got a list"),
    (OneOf("a number or a word", Integer(0, 9), words("all")), "none", "expected a number or a word"),
    (HeaderName(), "x y", '"x y" is no header name'),
    (HeaderName(), "", '"" is no header name'),
    (HeaderName(FRAMING), "Content-Length", '"content-length" cannot be set: the proxy writes it itself'),
    (HeaderValue(), "a\r\nb", "no control characters"),
    (HeaderValue(), "a\x00", "no control characters"),
    (HeaderValue(), 5, "quote it"),
    (HeaderValue(), "x" * 8193, "at most 8192"),
    (HeaderValue(), "\udfff", "surrogate"),
    (Method(), "get", 'methods are case-sensitive: write "GET", not "get"'),
    (Method(), "GE T", "expected a request method such as GET"),
    (GrpcStatus(), 17, "a number from 0 to 16"),
    (GrpcStatus(), "unavailable", 'did you mean "UNAVAILABLE"?'),
]


@pytest.mark.parametrize(("param", "written", "value"), GOOD)
def test_reads(param: Param[Any], written: object, value: object) -> None:
    read = param.parse(written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("param", "written", "words_of_it"), BAD)
def test_refuses(param: Param[Any], written: object, words_of_it: str) -> None:
    with pytest.raises(BadValue) as caught:
        param.parse(written)
    assert [t.path for t in caught.value.troubles] == [()]
    assert words_of_it in caught.value.troubles[0].message


@given(st.integers(0, 86_400_000))
def test_each_millisecond_is_read_exactly(milliseconds: int) -> None:
    assert Duration().parse(f"{milliseconds}ms") == milliseconds / 1000
    assert Duration().parse(f"{milliseconds / 1000:.3f}s") == milliseconds / 1000


@given(st.integers(0, 1_000_000))
def test_each_percentage_is_read_exactly(millionths: int) -> None:
    assert Percent().parse(millionths / 10_000) == millionths


def test_long_values_are_cut_in_messages() -> None:
    assert len(show("x" * 1000)) < 70
    assert len(show(10**300)) < 70


def test_nearest_is_empty_where_nothing_is_near() -> None:
    assert nearest("mathc", ["match", "sample"]) == "match"
    assert nearest("Match", ["match"]) == "match"
    assert nearest("zzz", ["match", "sample"]) == ""


def test_the_grpc_codes_are_seventeen_in_order() -> None:
    assert len(GRPC_CODES) == 17
    assert [GRPC_CODES.index(name) for name in ("OK", "NOT_FOUND", "UNAUTHENTICATED")] == [0, 5, 16]


TABLE: Record[dict[str, Any]] = Record(
    {
        "wait": Field(Duration()),
        "status": Field(Status(), 503),
        "tags": Field(ListOf(Integer(0, 9)), None),
        "inner": Field(Record({"on": Field(Bool(), False)}), None),
    },
    short="wait",
    later={"code": "it comes with HTTP/2"},
)


def troubles_of(param: Param[Any], written: object) -> list[tuple[tuple[str | int, ...], str, bool]]:
    with pytest.raises(BadValue) as caught:
        param.parse(written)
    return [(t.path, t.message, t.at_key) for t in caught.value.troubles]


def test_a_record_fills_in_defaults() -> None:
    read = TABLE.parse({"wait": "1s", "inner": {}})
    assert read == {"wait": 1.0, "status": 503, "tags": None, "inner": {"on": False}}


def test_a_record_has_a_short_form() -> None:
    assert TABLE.parse("2s") == {"wait": 2.0, "status": 503, "tags": None, "inner": None}
    assert troubles_of(TABLE, "2x")[0][0] == ()


def test_a_record_says_all_that_is_wrong() -> None:
    written = {"status": 99, "tags": [1, "x", 10], "inner": {"on": "no", "onn": 1}, "code": 1, "stat": 2}
    found = troubles_of(TABLE, written)
    assert [(path, at_key) for path, _, at_key in found] == [
        (("status",), False),
        (("tags", 1), False),
        (("tags", 2), False),
        (("inner", "on"), False),
        (("inner", "onn"), True),
        (("code",), True),
        (("stat",), True),
        ((), False),
    ]
    messages = [message for _, message, _ in found]
    assert messages[4:] == [
        'unknown key "onn"; did you mean "on"?',
        '"code" is not supported by this version (it comes with HTTP/2)',
        'unknown key "stat"; did you mean "status"?',
        '"wait" is missing: a duration such as 100ms, 1.5s, 10m or 1h',
    ]


def test_an_unknown_key_far_from_all_gets_the_list() -> None:
    written = {"wait": "1s", "zzz": 1}
    assert troubles_of(TABLE, written)[0][1] == 'unknown key "zzz"; known keys: inner, status, tags, wait'


def test_nothing_stands_for_an_empty_record_only_where_nothing_is_required() -> None:
    assert Record({"on": Field(Bool(), True)}).parse(None) == {"on": True}
    assert troubles_of(TABLE, None)[0][1] == "expected a mapping, got nothing (null)"


def test_names_that_read_alike_are_given_twice() -> None:
    found = troubles_of(MapOf(HeaderName(), Text()), {"X-A": "1", "x-a": "2", "b c": "3", "d": 4})
    assert [(path, at_key) for path, _, at_key in found] == [
        (("x-a",), True),
        (("b c",), True),
        (("d",), False),
    ]
    assert found[0][1] == '"x-a" is given twice'


def test_exactly_one_names_what_was_given() -> None:
    assert exactly_one({"a": None, "b": 0}, ("a", "b")) == "b"
    with pytest.raises(BadValue, match="exactly one of a, b; got none"):
        exactly_one({"a": None, "b": None}, ("a", "b"))
    with pytest.raises(BadValue, match="got a and b"):
        exactly_one({"a": 1, "b": 2}, ("a", "b"))


def test_a_list_that_is_all_wrong_is_not_read_to_its_end() -> None:
    found = troubles_of(ListOf(Integer(0, 9)), ["x"] * 5_000)
    assert len(found) == 1_001
    assert found[-1][1] == "too many mistakes: reading stopped here"


def test_no_file_is_read_unless_the_context_allows_it() -> None:
    with pytest.raises(BadValue, match="no file can be read from here"):
        Context().read_file("/etc/passwd")
