"""From rules as written to a snapshot."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
import re2

from rules.compile import Compilation, canonical, compile_rules, fingerprint
from rules.model import Match, PlannedFault, Rule, Sample, Text
from rules.phases import RESPONSE_HEAD
from tests.support.builders import Finish, Pause, candidates, facts, pause, plan, rule, snapshot, text


def test_the_hash_is_that_of_the_canonical_json() -> None:
    first = replace(rule("b"), written={"name": "b", "match": {"path": "/é", "host": "h"}})
    second = replace(rule("a"), written={"name": "a"})
    compiled = snapshot(first, second)
    whole = {"version": 1, "rules": [first.written, second.written]}
    text_form = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert compiled.sha256 == hashlib.sha256(text_form.encode()).hexdigest()


def test_the_hash_depends_on_what_is_written_and_on_nothing_else() -> None:
    one = replace(rule(), written={"name": "r", "b": 1, "a": 2})
    turned = replace(rule(), written={"a": 2, "b": 1, "name": "r"})
    other = replace(rule(), written={"name": "r", "b": 1, "a": 3})
    assert canonical(one) == canonical(turned)
    assert snapshot(one).sha256 == snapshot(turned, previous=snapshot()).sha256
    assert snapshot(one).sha256 != snapshot(other).sha256
    assert snapshot(rule("a"), rule("b")).sha256 != snapshot(rule("b"), rule("a")).sha256
    with_file, changed = (replace(one, files=(("body.json", digest),)) for digest in ("aa", "bb"))
    assert len({canonical(one), canonical(with_file), canonical(changed)}) == 3


MATCH = Match(path=text("/a"))


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (rule("r", MATCH, note="changed"), True),
        (rule("r", MATCH, priority=7, final=True), True),
        (rule("r", MATCH, enabled=False), True),
        (rule("r", MATCH, faults=[pause(RESPONSE_HEAD)]), True),  # the same kind with another figure
        (rule("r", Match(path=text("/b"))), False),
        (rule("r", MATCH, Sample(percent=1)), False),
        (rule("r", MATCH, faults=[pause(sample=Sample(percent=1))]), False),
        (rule("r", MATCH, faults=[pause(ends=True)]), False),
        (rule("r", MATCH, faults=[pause(), pause()]), False),
        (rule("s", MATCH), False),
    ],
    ids=[
        "text",
        "priority",
        "disabled",
        "figures",
        "match",
        "sample",
        "fault's sample",
        "kind",
        "faults",
        "name",
    ],
)
def test_state_is_kept_while_name_match_samples_and_kinds_are(after: Rule, kept: bool) -> None:
    before = snapshot(rule("r", MATCH))
    plan(before, facts("/a"))
    later = snapshot(after, previous=before)
    state = later.by_name[after.name].state
    assert (state is before.by_name["r"].state) is kept
    assert state.matches == int(kept)


def test_a_rule_that_was_away_starts_anew() -> None:
    before = snapshot(rule())
    plan(before, facts())
    again = snapshot(rule(), previous=snapshot(previous=before))
    assert again.by_name["r"].state.matches == 0


def test_the_version_with_which_a_rule_came_into_force() -> None:
    def since(*sets: Sequence[Rule]) -> int:
        compiled = snapshot()
        for rules in sets:
            compiled = snapshot(*rules, previous=compiled)
        return compiled.by_name["r"].since_turn

    assert since([rule()], [rule(note="x")], [rule(priority=3)]) == 2
    assert since([rule()], [rule(sample=Sample(percent=5))]) == 3
    assert since([rule()], [rule(enabled=False)], [rule()]) == 4
    assert since([rule()], [], [rule()]) == 4


def test_fingerprints_tell_kinds_apart() -> None:
    pausing = replace(rule(), faults=(PlannedFault(Pause(2)),))
    finishing = replace(rule(), faults=(PlannedFault(Finish(2)),))
    assert fingerprint(pausing) != fingerprint(finishing)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match='"twice"'):
        snapshot(rule("twice"), rule("twice"))


@pytest.mark.parametrize(
    "match", [Match(path=Text("regex", "(")), Match(source=("10.0.0.0/99",)), Match(host=Text("like", "x"))]
)
def test_what_the_parser_should_have_refused(match: Match) -> None:
    with pytest.raises((ValueError, re2.error)):
        snapshot(rule(match=match))


def test_slices_of_any_size_give_the_same_set() -> None:
    rules = [rule(f"r{at}", Match(path=Text("prefix", f"/{at % 7}/"))) for at in range(100)]
    whole = compile_rules(rules, None, 1, 5.0, "test", ["web"])
    for size in (1, 33, 1000):
        parts = Compilation(rules, None, 1, 5.0, "test", ["web"])
        steps = 1
        while not parts.step(size):
            steps += 1
        compiled = parts.result()
        assert steps >= 100 / size
        assert (compiled.sha256, compiled.version, compiled.created) == (whole.sha256, 1, 5.0)
        assert compiled.source == "test"
        assert candidates(compiled, facts("/3/x")) == candidates(whole, facts("/3/x"))
        assert parts.result() is compiled


def test_the_indexes_in_use_are_made_ready() -> None:
    before = snapshot(rule())
    before.index_for("web")
    parts = Compilation([rule()], before, 2, 0.0, "test", ["admin"])
    assert set(parts.result().indexes) == {"web", "admin"}


def test_a_compilation_that_is_dropped_leaves_no_trace() -> None:
    before = snapshot(rule(), rule("other"))
    plan(before, facts())
    counts = [(one.state.matches, one.state.active) for one in before.rules]
    parts = Compilation([rule(enabled=False), rule("other", MATCH)], before, 2, 0.0, "dry run")
    parts.result()
    assert [(one.state.matches, one.state.active) for one in before.rules] == counts
    assert [one.rank for one in before.rules] == [0, 1]
    assert before.in_force("r")
