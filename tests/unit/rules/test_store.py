"""Layers and changes."""

from rules.model import Match, Place, Rule, Sample
from rules.snapshot import Snapshot
from rules.store import (
    ADMIN,
    ALREADY_THERE,
    FILE,
    INVALID,
    ONLY_IN_FILE,
    UNKNOWN_RULE,
    VERSION_CONFLICT,
    Change,
    Document,
    Refusal,
    Store,
    merge_patch,
)
from tests.support.builders import facts, plan, rule, text


def commit(store: Store, change: Change | Refusal | None) -> Snapshot:
    assert isinstance(change, Change), change
    done = store.commit(change)
    assert isinstance(done, Snapshot), done
    return done


def filled(*rules: Rule) -> Store:
    """A store whose file layer holds these rules."""
    store = Store(["web"])
    commit(store, store.prepare(FILE, rules, 1.0, "rules.yaml"))
    return store


def order(store: Store) -> list[str]:
    return [f"{one.name}:{one.rule.written['note']}" for one in store.snapshot.by_name.values()]


def test_the_beginning() -> None:
    store = Store()
    assert (store.version, store.snapshot.empty) == (0, True)


def test_files_come_in_order_and_admin_rules_after() -> None:
    store = Store()
    documents = [Document("b.yaml", (rule("b1"), rule("b2"))), Document("a.yaml", (rule("a1"),))]
    commit(store, store.replace_files(documents, 1.0, "rules.d"))
    commit(store, store.prepare(ADMIN, [rule("z"), rule("y")], 2.0, "admin"))
    assert [one.name for one in store.snapshot.rules] == ["b1", "b2", "a1", "z", "y"]
    assert (store.version, store.snapshot.created, store.snapshot.source) == (2, 2.0, "admin")


def test_an_admin_rule_takes_the_place_of_a_files_rule_and_uncovers_it() -> None:
    store = filled(rule("a"), rule("b", note="file"), rule("c"))
    commit(store, store.put(rule("b", note="admin"), 2.0, "admin"))
    assert order(store) == ["a:", "b:admin", "c:"]
    assert [store.layer_of(name) for name in ("a", "b", "x")] == [FILE, ADMIN, ""]
    commit(store, store.replace_files([Document("f", (rule("b", note="newer"), rule("a")))], 3.0, "f"))
    assert order(store) == ["b:admin", "a:"]
    commit(store, store.delete("b", 4.0, "admin"))
    assert order(store) == ["b:newer", "a:"]
    assert store.layer_of("b") == FILE


def test_put_keeps_the_place_within_the_admin_layer() -> None:
    store = Store()
    commit(store, store.prepare(ADMIN, [rule("x"), rule("y")], 1.0, "admin"))
    commit(store, store.put(rule("x", note="2"), 2.0, "admin"))
    commit(store, store.put(rule("z"), 3.0, "admin"))
    assert order(store) == ["x:2", "y:", "z:"]


def test_a_change_changes_nothing_before_it_is_committed() -> None:
    store = filled(rule("a"))
    before = store.snapshot, store.layers
    change = store.put(rule("b"), 2.0, "admin")
    assert isinstance(change, Change)
    assert [one.name for one in change.finish().rules] == ["a", "b"]
    assert change.snapshot is change.finish()
    assert (store.snapshot, store.layers) == before
    assert store.rule("b") is None
    assert commit(store, change) is change.snapshot
    assert store.rule("b") is not None


def test_a_change_in_slices() -> None:
    store = Store(["web"])
    change = store.prepare(FILE, [rule(f"r{at}") for at in range(120)], 1.0, "f")
    assert isinstance(change, Change)
    steps = 1
    while not change.step(50):
        steps += 1
    assert steps > 3
    assert "web" in commit(store, change).indexes


def test_adding_what_is_there() -> None:
    store = filled(rule("a"))
    commit(store, store.add(rule("a", note="cover"), 2.0, "admin"))
    refused = store.add(rule("a"), 3.0, "admin")
    assert isinstance(refused, Refusal)
    assert (refused.kind, refused.version) == (ALREADY_THERE, 2)
    assert '"a"' in refused.text


def test_deleting_what_is_not_there_or_only_in_a_file() -> None:
    store = filled(rule("a", place=Place("rules.d/a.yaml", 3, 5)))
    unknown = store.delete("b", 2.0, "admin")
    assert isinstance(unknown, Refusal)
    assert (unknown.kind, unknown.text) == (UNKNOWN_RULE, 'there is no rule "b"')
    in_file = store.delete("a", 2.0, "admin")
    assert isinstance(in_file, Refusal)
    assert in_file.kind == ONLY_IN_FILE
    assert "rules.d/a.yaml" in in_file.text
    assert '{"enabled": false}' in in_file.text


def test_the_version_that_the_asker_saw() -> None:
    store = filled(rule("a"))
    commit(store, store.put(rule("b"), 2.0, "admin", expected=1))
    for refused in (
        store.put(rule("c"), 3.0, "admin", expected=1),
        store.add(rule("c"), 3.0, "admin", expected=1),
        store.delete("b", 3.0, "admin", expected=1),
        store.prepare(ADMIN, [], 3.0, "admin", expected=1),
        store.prepare(FILE, [], 3.0, "file", expected=1),
    ):
        assert isinstance(refused, Refusal)
        assert (refused.kind, refused.version) == (VERSION_CONFLICT, 2)
        assert refused.text == "version 1 was expected, version 2 is in force"


def test_of_two_changes_made_at_once_the_second_is_refused() -> None:
    store = filled(rule("a"))
    first, second = (store.put(rule(name), 2.0, "admin") for name in ("b", "c"))
    commit(store, first)
    assert isinstance(second, Change)
    refused = store.commit(second)
    assert isinstance(refused, Refusal)
    assert refused.kind == VERSION_CONFLICT
    assert "version 1 was expected, version 2 is in force" in refused.text
    assert order(store) == ["a:", "b:"]
    assert isinstance(first, Change)
    assert isinstance(store.commit(first), Refusal)  # nor the same one twice


def test_a_name_twice_in_one_layer_is_refused_with_both_places() -> None:
    twice = [
        rule("a", place=Place("x.yaml", 2, 3)),
        rule("a", place=Place("y.yaml", 7, 1)),
        rule("b"),
        rule("b"),
    ]
    store = Store()
    refused = store.replace_files(
        [Document("x.yaml", (twice[0],)), Document("y.yaml", tuple(twice[1:]))], 1.0, "files"
    )
    assert isinstance(refused, Refusal)
    assert refused.kind == INVALID
    assert refused.text.splitlines() == [
        'y.yaml:7:1: rule "a" has the name of another one: x.yaml:2:3: rule "a"',
        'test.yaml:1:1: rule "b" has the name of another one: test.yaml:1:1: rule "b"',
    ]
    api = [rule("c", place=Place("admin")), rule("c", place=Place("admin"))]
    refused = store.prepare(ADMIN, api, 1.0, "admin")
    assert isinstance(refused, Refusal)
    assert refused.text == 'admin: rule "c" has the name of another one: admin: rule "c"'
    assert store.version == 0


def test_rules_that_end_by_themselves() -> None:
    store = filled(rule("a", note="file"))
    assert store.next_expiry() == 0.0
    assert store.expire(1e12) is None
    commit(store, store.put(rule("a", note="brief", ttl=60.0), 100.0, "admin"))
    commit(store, store.put(rule("b", ttl=10.0), 100.0, "admin"))
    commit(store, store.put(rule("c"), 100.0, "admin"))
    assert (store.next_expiry(), store.ends("a"), store.ends("c"), store.ends("x")) == (
        110.0,
        160.0,
        0.0,
        0.0,
    )
    assert store.expire(109.9) is None
    assert commit(store, store.expire(110.0)).source == "ttl"
    assert order(store) == ["a:brief", "c:"]
    commit(store, store.expire(500.0))
    assert order(store) == ["a:file", "c:"]
    commit(store, store.put(rule("c", ttl=5.0), 600.0, "admin"))
    commit(store, store.prepare(ADMIN, [rule("c", ttl=5.0)], 603.0, "admin"))
    assert store.ends("c") == 608.0  # made again, it begins again


def test_a_file_cannot_give_a_time_to_live() -> None:
    refused = Store().prepare(FILE, [rule("a", ttl=1.0)], 1.0, "f")
    assert isinstance(refused, Refusal)
    assert refused.kind == INVALID
    assert 'rule "a": ttl' in refused.text


def test_state_is_kept_from_change_to_change_and_reset_by_name() -> None:
    store = filled(rule("a", Match(path=text("/a")), Sample(first=1)))
    assert plan(store.snapshot, facts("/a")) is not None
    commit(store, store.put(rule("b"), 2.0, "admin"))
    assert store.snapshot.by_name["a"].state.matches == 1
    assert store.reset("a") is None
    assert store.snapshot.by_name["a"].state.matches == 0
    assert store.version == 2
    refused = store.reset("x")
    assert refused is not None
    assert refused.kind == UNKNOWN_RULE


def test_a_disabled_rule_keeps_its_state() -> None:
    store = filled(rule("a", sample=Sample(first=1)))
    made = plan(store.snapshot, facts())
    assert made is not None
    commit(store, store.put(rule("a", sample=Sample(first=1), enabled=False), 2.0, "admin"))
    assert not store.snapshot.in_force("a")
    commit(store, store.delete("a", 3.0, "admin"))
    assert plan(store.snapshot, facts()) is None


def test_merge_patch() -> None:
    # The examples of RFC 7396, appendix A.
    cases = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]
    for target, patch, expected in cases:
        assert merge_patch(target, patch) == expected
    target = {"a": {"b": 1}}
    merge_patch(target, {"a": {"b": 2}})
    assert target == {"a": {"b": 1}}
