"""Keys: each rule stands under the most selective of them."""

import pytest

from rules.indexing import SHORTEST_LITERAL, IndexBuilder, keys_of, literal_head
from rules.model import Match, Text
from rules.phases import ACCEPT
from tests.support.builders import pause, rule, snapshot, text


@pytest.mark.parametrize(
    ("pattern", "head"),
    [
        ("^/api/v1/", "/api/v1/"),
        ("^/api/v[0-9]", "/api/v"),
        (r"^/a\.b", "/a.b"),
        (r"^/a\d", "/a"),
        ("^/ab*", "/a"),
        ("^/ab+", "/a"),
        ("^/ab?", "/a"),
        ("^/ab{0,2}", "/a"),
        ("^/ab$", "/ab"),
        ("^/a(b)c", "/a"),
        ("/api", ""),
        ("^/a|^/b", ""),
        ("^/a(b|c)", ""),
        ("(?i)^/api", ""),
        ("^(?i)/api", ""),
        ("^/é", "/"),
        ("^", ""),
        ("", ""),
        ("^*", ""),
    ],
)
def test_literal_heads(pattern: str, head: str) -> None:
    assert literal_head(pattern) == head


def key_values(match: Match) -> list[tuple[bytes, bytes]]:
    return [(key.name, key.value) for key in keys_of(match)]


@pytest.mark.parametrize(
    ("match", "values"),
    [
        (Match(), []),
        (Match(path=text("/a")), [(b"", b"/a")]),
        (Match(path=Text("prefix", "/")), []),
        (Match(path=Text("template", "/orders/{id}")), [(b"", b"/orders/")]),
        (Match(path=Text("template", "/{a}/x")), []),
        (Match(path=Text("suffix", ".js")), [(b"", b"sj.")]),
        (Match(path=Text("regex", "^/re/[0-9]")), [(b"", b"/re/")]),
        (Match(path=Text("regex", "re")), []),
        (Match(path=Text("not", negated=text("/a"))), []),
        (Match(path=Text("present", wanted=True)), []),
        (Match(host=text("A.Example")), [(b"", b"a.example")]),
        (Match(host=Text("suffix", ".Example")), [(b"", b"elpmaxe.")]),
        (Match(host=Text("prefix", "API.")), [(b"", b"api.")]),
        (Match(host=Text("regex", "^a")), []),
        (Match(headers=(("X-A", text("1")),)), [(b"x-a", b"1")]),
        (Match(headers=(("x-a", Text("regex", "1")),)), [(b"x-a", b"")]),
        (Match(headers=(("x-a", Text("present", wanted=True)),)), [(b"x-a", b"")]),
        (Match(headers=(("x-a", Text("present", wanted=False)),)), []),
        (Match(headers=(("x-a", Text("not", negated=text("1"))),)), []),
        (Match(grpc_service=text("s"), grpc_method=text("m")), [(b"", b"/s/m")]),
        (Match(grpc_service=text("s")), [(b"", b"/s/")]),
        (Match(grpc_service=text("s"), grpc_method=Text("prefix", "m")), [(b"", b"/s/")]),
        (Match(grpc_method=text("m")), []),
        (Match(method=("GET",), source=("::/0",), query=(("q", text("1")),)), []),
    ],
    ids=str,
)
def test_keys(match: Match, values: list[tuple[bytes, bytes]]) -> None:
    assert key_values(match) == values


def test_many_rules_for_one_host_stand_under_their_paths() -> None:
    rules = [rule(f"r{at}", Match(host=text("h"), path=text(f"/{at}x"))) for at in range(20)]
    index = snapshot(*rules).index_for("web")
    assert len(index.paths) == 20
    assert not index.hosts


def test_many_rules_for_one_path_stand_under_their_hosts() -> None:
    rules = [rule(f"r{at}", Match(host=text(f"h{at}"), path=text("/a"))) for at in range(20)]
    index = snapshot(*rules).index_for("web")
    assert len(index.hosts) == 20
    assert not index.paths


def test_a_tie_goes_to_the_more_telling_kind() -> None:
    index = snapshot(rule("r", Match(host=text("h"), path=text("/a")))).index_for("web")
    assert list(index.paths) == [b"/a"]
    assert not index.hosts


def test_what_is_too_short_is_no_key() -> None:
    assert SHORTEST_LITERAL == 2
    index = snapshot(rule("r", Match(path=Text("prefix", "/")))).index_for("web")
    assert [one.name for one in index.residue] == ["r"]


def test_rules_of_other_listeners_and_for_connections_are_left_out() -> None:
    compiled = snapshot(
        rule("other", Match(listener=("x",))),
        rule("both", Match(listener=("x", "web"))),
        rule("connections", faults=[pause(ACCEPT)]),
        rule("all"),
        rule("off", enabled=False),
    )
    assert [one.name for one in compiled.index_for("web").residue] == ["both", "all"]
    assert [one.name for one in compiled.index_for("x").residue] == ["other", "both", "all"]
    assert compiled.index_for("web").size == 2


def test_slices_of_any_size_give_the_same_index() -> None:
    rules = [rule(f"r{at}", Match(path=Text("regex", f"x{at}y"))) for at in range(30)]
    rules += [rule(f"h{at}", Match(host=Text("regex", f"x{at}y"))) for at in range(3)]
    rules += [rule(f"p{at}", Match(path=Text("prefix", f"/p{at}"))) for at in range(30)]
    compiled = snapshot(*rules)
    for size in (1, 7, 1000):
        builder = IndexBuilder("web", compiled.rules)
        while not builder.step(size):
            pass
        index = builder.finish()
        found = index.candidates(b"x1y", b"/p12/x7y", None)
        assert found is not None
        assert [one.name for one in found] == ["r7", "h1", "p1", "p12"]
