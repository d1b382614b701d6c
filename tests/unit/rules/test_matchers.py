"""Conditions on one string."""

import pytest
import re2

from rules.matchers import Matcher, Regex, compile_text, describe
from rules.model import Text

BIG = "(?:" + "|".join(f"word{at}[a-z]{{50}}" for at in range(400)) + ")"

CASES: list[tuple[Text, list[bytes | None], list[bytes | None]]] = [
    (Text("exact", "a"), [b"a"], [b"A", b"ab", b"", None]),
    (Text("exact", ""), [b""], [b"a", None]),
    (Text("exact", "é"), ["é".encode()], [b"\xe9", None]),
    (Text("prefix", "/api/"), [b"/api/", b"/api/x"], [b"/api", b"x/api/", None]),
    (Text("suffix", ".example"), [b".example", b"a.example"], [b"example", b".example.", None]),
    (Text("regex", "b+c"), [b"bc", b"abbbcd"], [b"b", b"", None]),
    (Text("regex", "^a$"), [b"a"], [b"ab", b"a\n", None]),
    (Text("regex", ""), [b"", b"x"], [None]),
    (Text("regex", "(?i)curl"), [b"CURL/8"], [b"crl", None]),
    (Text("regex", "x$"), [b"\xff\xfex"], [b"\xff", None]),
    (Text("regex", BIG), [b"word7" + b"q" * 50], [b"word7" + b"q" * 49, None]),
    (
        Text("template", "/orders/{id}/pay"),
        [b"/orders/1/pay", b"/orders/a%2Fb/pay"],
        [b"/orders//pay", b"/orders/1/2/pay", b"/orders/1/pay/", b"/orders/1", b"", None],
    ),
    (Text("template", "/{a}/{b}"), [b"/x/y"], [b"/x", b"/x/", b"/x/y/z", None]),
    (Text("template", "/fixed"), [b"/fixed"], [b"/other", None]),
    (Text("template", "/{}/x"), [b"/{}/x"], [b"/a/x"]),  # no name, no template
    (Text("present", wanted=True), [b"", b"x"], [None]),
    (Text("present", wanted=False), [None], [b"", b"x"]),
    (Text("not", negated=Text("exact", "a")), [b"b", b"", None], [b"a"]),
    (Text("not", negated=Text("regex", "a")), [b"b", None], [b"cat"]),
    (Text("not", negated=Text("present", wanted=True)), [None], [b""]),
    (Text("not", negated=Text("not", negated=Text("prefix", "a"))), [b"ab"], [b"b", None]),
]


@pytest.mark.parametrize(("condition", "holds", "fails"), CASES, ids=lambda case: str(case)[:50])
def test_every_kind(condition: Text, holds: list[bytes | None], fails: list[bytes | None]) -> None:
    matcher = compile_text(condition)
    assert [value for value in holds + fails if matcher.test(value)] == holds


def test_a_repeated_name_holds_if_any_value_does() -> None:
    matcher = compile_text(Text("exact", "gold"))
    assert matcher.any([b"silver", b"gold"])
    assert not matcher.any([b"silver", b"bronze"])
    assert not matcher.any([])
    assert not matcher.any(None)


def test_not_holds_if_no_value_does() -> None:
    matcher = compile_text(Text("not", negated=Text("exact", "true")))
    assert matcher.any(None)
    assert matcher.any([])
    assert matcher.any([b"false", b"no"])
    assert not matcher.any([b"false", b"true"])


def test_absence_of_a_repeated_name() -> None:
    absent, present = (compile_text(Text("present", wanted=wanted)) for wanted in (False, True))
    assert absent.any(None)
    assert absent.any([])
    assert not absent.any([b""])
    assert present.any([b""])
    assert not present.any([])


def test_folding_lowers_what_is_compared_with_but_no_expression() -> None:
    assert compile_text(Text("exact", "Pay.Example"), fold=True).test(b"pay.example")
    assert compile_text(Text("prefix", "PAY"), fold=True).test(b"pay.example")
    assert compile_text(Text("not", negated=Text("suffix", "EXAMPLE")), fold=True).test(b"pay.test")
    assert not compile_text(Text("not", negated=Text("suffix", "EXAMPLE")), fold=True).test(b"pay.example")
    assert compile_text(Text("regex", r"^\S+$"), fold=True).test(b"pay.example")
    assert not compile_text(Text("exact", "Pay")).test(b"pay")


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Text("exact", "a"), '"a"'),
        (Text("prefix", "/a"), 'prefix "/a"'),
        (Text("present", wanted=True), "present"),
        (Text("present", wanted=False), "absent"),
        (Text("not", negated=Text("suffix", "x")), 'not suffix "x"'),
    ],
)
def test_words(condition: Text, words: str) -> None:
    assert describe(condition) == words
    assert compile_text(condition).wanted == words


def test_a_broken_expression_is_an_error() -> None:
    with pytest.raises(re2.error):
        Regex("(", "")


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="sounds_like"):
        compile_text(Text("sounds_like", "x"))


def test_a_bare_matcher_cannot_tell() -> None:
    with pytest.raises(NotImplementedError):
        Matcher("x").test(b"x")
