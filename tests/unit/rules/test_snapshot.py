"""A snapshot: what it says of itself."""

from rules.model import Match, ResponseMatch, Sample, Text
from tests.support.builders import candidates, facts, names, pause, plan, rule, snapshot, text


def test_rules_by_priority_then_order_and_all_by_name() -> None:
    compiled = snapshot(rule("a"), rule("b", priority=5), rule("off", enabled=False), rule("c", priority=5))
    assert [(one.name, one.rank, one.order) for one in compiled.rules] == [
        ("b", 0, 1),
        ("c", 1, 3),
        ("a", 2, 0),
    ]
    assert list(compiled.by_name) == ["a", "b", "off", "c"]
    assert [compiled.in_force(name) for name in ("a", "off", "gone")] == [True, False, False]


def test_empty() -> None:
    assert snapshot().empty
    assert snapshot(rule(enabled=False)).empty
    assert not snapshot(rule()).empty


def test_the_names_that_rules_look_at() -> None:
    compiled = snapshot(
        rule("a", Match(headers=(("X-A", text("1")),), attempt=(1,)), Sample(sticky="header:X-User")),
        rule("b", sample=Sample(sticky="source"), faults=[pause(sample=Sample(sticky="cookie:c"))]),
        rule("c", Match(response=ResponseMatch(headers=(("X-B", Text("present")),), grpc_status=(1,)))),
        rule("off", Match(headers=(("x-off", text("1")),)), enabled=False),
    )
    assert compiled.request_names == {b"x-a", b"x-envoy-attempt-count", b"x-user", b"cookie"}
    assert compiled.response_names == {b"x-b", b"grpc-status"}
    assert snapshot(rule()).request_names == frozenset()


def test_the_index_of_a_listener_is_made_once() -> None:
    compiled = snapshot(rule())
    assert compiled.index_for("web") is compiled.index_for("web")
    assert compiled.index_for("web") is not compiled.index_for("other")


def test_candidates_are_matched_in_full() -> None:
    compiled = snapshot(
        rule("post", Match(path=text("/a"), method=("POST",))), rule("get", Match(path=text("/a")))
    )
    assert candidates(compiled, facts("/a")) == ["post", "get"]
    assert names(plan(compiled, facts("/a"))) == ["get"]
    assert [one.state.matches for one in compiled.rules] == [0, 1]
    made = plan(compiled, facts("/a"))
    assert made is not None
    assert made.snapshot is compiled
