"""The index: the rules that could match, whatever table they stand in."""

import random

import pytest
import re2

from rules.facts import Facts
from rules.index import PatternPool, PatternSet, PrefixTree
from rules.model import Match, Text
from tests.support.builders import candidates, facts, rule, snapshot, text


def test_nothing_could_match() -> None:
    compiled = snapshot(
        rule("path", Match(path=text("/a"))),
        rule("host", Match(host=text("h"))),
        rule("header", Match(headers=(("x-a", text("1")),))),
        rule("suffix", Match(path=Text("suffix", ".js"))),
        rule("method", Match(method=("GET",), path=Text("regex", "zzz"))),
    )
    index = compiled.index_for("web")
    assert index.candidates(b"web.example", b"/other", {b"x-b": [b"1"]}) is None
    assert index.candidates(b"web.example", b"/other", None) is None
    assert index.candidates(b"", b"", {}) is None


def test_an_empty_set_has_an_index_that_finds_nothing() -> None:
    assert snapshot().index_for("web").candidates(b"h", b"/", {}) is None


@pytest.mark.parametrize(
    ("match", "hit", "miss"),
    [
        (Match(path=text("/a")), facts("/a"), facts("/ab")),
        (Match(path=Text("prefix", "/a/")), facts("/a/b"), facts("/a")),
        (Match(path=Text("prefix", "/")), facts("/b"), facts("*")),
        (Match(path=Text("template", "/o/{x}/p")), facts("/o/1/p"), facts("/o/1/q")),
        (Match(path=Text("suffix", ".js")), facts("/a.js"), facts("/a.jsx")),
        (Match(path=Text("regex", "^/a/[0-9]+$")), facts("/a/7"), facts("/a/b")),
        (Match(path=Text("regex", "b[0-9]")), facts("/a/b7"), facts("/a/b")),
        (Match(path=Text("not", negated=text("/a"))), facts("/b"), facts("/a")),
        (Match(host=text("h")), facts(host="h"), facts(host="i")),
        (Match(host=Text("suffix", ".h")), facts(host="a.h"), facts(host="h")),
        (Match(host=Text("prefix", "a.")), facts(host="a.h"), facts(host="b.a.h")),
        (Match(host=Text("regex", "^a[0-9]")), facts(host="a1"), facts(host="ab")),
        (Match(host=Text("present", wanted=False)), facts(host=""), facts(host="h")),
        (
            Match(headers=(("x-a", text("1")),)),
            facts(headers={"x-a": ["0", "1"]}),
            facts(headers={"x-a": ["2"]}),
        ),
        (
            Match(headers=(("x-a", Text("prefix", "1")),)),
            facts(headers={"x-a": ["12"]}),
            facts(headers={"x-a": ["2"]}),
        ),
        (Match(headers=(("x-a", Text("present", wanted=True)),)), facts(headers={"x-a": [""]}), facts()),
        (Match(headers=(("x-a", Text("present", wanted=False)),)), facts(), facts(headers={"x-a": [""]})),
        (Match(headers=(("x-a", Text("not", negated=text("1"))),)), facts(), facts(headers={"x-a": ["1"]})),
        (Match(grpc_service=text("s.S")), facts("/s.S/M"), facts("/s.S2/M")),
        (Match(grpc_service=text("s.S"), grpc_method=text("M")), facts("/s.S/M"), facts("/s.S/N")),
    ],
)
def test_every_kind_of_key(match: Match, hit: Facts, miss: Facts) -> None:
    compiled = snapshot(rule("r", match))
    assert candidates(compiled, hit) == ["r"]
    assert candidates(compiled, miss) == []


def test_candidates_come_by_priority_then_order() -> None:
    compiled = snapshot(
        rule("low", Match(path=text("/a")), priority=-1),
        rule("any"),
        rule("host", Match(host=text("web.example"))),
        rule("high", Match(path=Text("prefix", "/a")), priority=9),
        rule("path", Match(path=text("/a"))),
    )
    assert candidates(compiled, facts("/a")) == ["high", "any", "host", "path", "low"]


def test_a_value_that_comes_twice_finds_its_rules_once() -> None:
    compiled = snapshot(
        rule("one", Match(headers=(("x-a", text("1")),))), rule("two", Match(headers=(("x-a", text("2")),)))
    )
    assert candidates(compiled, facts(headers={"x-a": ["1", "2", "1", "2"]})) == ["one", "two"]


def test_header_tables_are_found_from_either_side() -> None:
    rules = [rule(f"r{at}", Match(headers=((f"x-{at}", text("1")),))) for at in range(5)]
    compiled = snapshot(*rules)
    assert candidates(compiled, facts(headers={"x-3": ["1"]})) == ["r3"]  # fewer headers than tables
    many = {f"x-{at}": ["1"] for at in range(3, 20)}
    assert candidates(compiled, facts(headers=many)) == ["r3", "r4"]


def test_a_prefix_tree_finds_all_beginnings_and_no_others() -> None:
    dice = random.Random(7)
    words = {bytes(dice.choices(b"ab/", k=dice.randint(1, 6))) for _ in range(150)}
    tree = PrefixTree({word: [] for word in words})
    for _ in range(3_000):
        value = bytes(dice.choices(b"ab/", k=dice.randint(0, 9)))
        found = set()
        at = tree.find(value)
        while at >= 0:
            found.add(tree.keys[at])
            at = tree.parents[at]
        assert found == {word for word in words if value.startswith(word)}


def test_many_expressions_are_tested_in_one_pass() -> None:
    rules = [rule(f"r{at}", Match(path=Text("regex", f"/x{at}(/|$)"))) for at in range(1_200)]
    compiled = snapshot(*rules)
    index = compiled.index_for("web")
    assert index.path_patterns is not None
    assert len(index.path_patterns.sets) == 3
    assert not index.residue
    assert candidates(compiled, facts("/a/x7/x1199/b")) == ["r7", "r1199"]
    assert candidates(compiled, facts("/a/x1200")) == []


def test_an_automaton_without_room_lets_every_rule_be_asked() -> None:
    rules = snapshot(*[rule(f"r{at}", Match(path=Text("regex", f"a{at}"))) for at in range(3)]).rules
    full = PatternSet(["a0", "a1", "a2"], rules, 1 << 20)
    assert full.find(b"/a1") == [rules[1]]
    assert full.find(b"/b") == []

    class NoRoom:
        """What the library answers when its automaton ran out of memory."""

        def Match(self, value: bytes) -> None:  # noqa: N802 - the library's name
            return None

    full._set = NoRoom()
    assert full.find(b"/a1") == rules


def test_sets_that_are_too_large_are_halved_and_what_fits_none_stays_loose() -> None:
    patterns = ["a{1,900}" * 3, "b", "c"]
    rules = snapshot(*[rule(f"r{at}", Match(path=Text("regex", p))) for at, p in enumerate(patterns)]).rules
    with pytest.raises(re2.error):
        PatternSet(patterns, rules, 60_000)
    pool = PatternPool()
    pool.add(patterns, rules, 60_000)
    assert pool.loose == [rules[0]]
    assert sum(len(one.find(b"bc")) for one in pool.sets) == 2


def test_a_loose_expression_is_still_asked() -> None:
    compiled = snapshot(*[rule(f"r{at}", Match(path=Text("regex", f"x{at}"))) for at in range(3)])
    index = compiled.index_for("web")
    assert index.path_patterns is not None
    index.path_patterns.loose.extend(compiled.rules[:1])
    index.path_patterns.sets.clear()
    assert candidates(compiled, facts("/x0")) == ["r0"]
    assert candidates(compiled, facts("/x1")) == []
