"""Why a request matches or does not."""

from typing import Any

import pytest

from rules.explain import BEHIND_BODY, TRAILERS_ONLY, explain, percent_text
from rules.facts import Facts
from rules.fault import ON_NEW
from rules.model import Match, ResponseMatch, Sample
from rules.phases import ACCEPT, END, RESPONSE_BODY, RESPONSE_HEAD, TLS
from rules.sample import RuleState
from rules.snapshot import Snapshot
from tests.support.builders import facts, names, pause, plan, rule, snapshot, text

ERRORS = Match(response=ResponseMatch(status=((500, 599),)))


def entry(compiled: Snapshot, seen: Facts, name: str = "r") -> dict[str, Any]:
    return next(one for one in explain(compiled, seen) if one["rule"] == name)


def outcomes(compiled: Snapshot, seen: Facts) -> dict[str, str]:
    return {one["rule"]: one["outcome"] for one in explain(compiled, seen)}


def counts(state: RuleState) -> tuple[object, ...]:
    tallies = [(t.seen, t.fired, t.active) for t in [state.tally, *(fault.tally for fault in state.faults)]]
    return state.matches, state.keyless, tallies, state.injected[:], state.shadowed[:]


def test_the_part_that_fails_first_with_wanted_and_seen() -> None:
    compiled = snapshot(
        rule(match=Match(path=text("/a"), method=("POST",), headers=(("x-t", text("gold")),)))
    )
    told = entry(compiled, facts("/a", headers={"x-t": ["silver"]}))
    assert told["outcome"] == "no_match"
    assert told["failed"] == {"part": "headers.x-t", "wanted": '"gold"', "seen": '"silver"', "holds": False}
    assert [(one["part"], one["holds"]) for one in told["conditions"]] == [
        ("path", True),
        ("headers.x-t", False),
        ("method", False),
    ]


def test_a_rule_that_fires() -> None:
    told = entry(snapshot(rule(match=Match(path=text("/a")), priority=3)), facts("/a"))
    assert (told["outcome"], told["failed"], told["sample"], told["priority"]) == ("fires", None, [], 3)
    assert told["faults"] == [
        {
            "number": 0,
            "kind": "pause",
            "phase": "request_head",
            "fires": True,
            "order": 1,
            "cancelled_by": None,
            "why_not": "",
            "note": "",
        }
    ]


def test_the_parts_of_the_sample_in_words() -> None:
    sample = Sample(percent=125_000, sticky="header:x-user", every=2, first=3, max_active=4, seed=1)
    compiled = snapshot(rule(sample=sample))
    told = entry(compiled, facts(headers={"x-user": ["alice"]}))
    assert told["outcome"] == "not_sampled"
    assert told["sample"] == [
        "every 2: this would be number 1, does not fire",
        'sticky header:x-user: key "alice"',
        "percent: 12.5 %",
        "max_active: 0 of 4 under way",
        "first: 0 of 3 used",
    ]
    compiled.rules[0].state.matches = 1
    assert "sticky header:x-user: no key, does not fire" in entry(compiled, facts())["sample"]


@pytest.mark.parametrize(
    ("phase", "words"),
    [(ACCEPT, "acts on new connections"), (TLS, "acts on the handshake of new connections with TLS")],
)
def test_a_rule_that_is_about_connections(phase: int, words: str) -> None:
    told = entry(snapshot(rule(faults=[pause(phase)], sample=Sample(percent=0))), facts())
    assert (told["outcome"], [one["why_not"] for one in told["faults"]]) == ("on_connection", [words])
    mixed = entry(snapshot(rule(faults=[pause(phase), pause()])), facts())
    assert (mixed["outcome"], [one["why_not"] for one in mixed["faults"]]) == ("fires", [words, ""])


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (Sample(percent=0), "percent: 0 %, does not fire"),
        (Sample(max_active=0), "max_active: 0 of 0 under way, does not fire"),
        (Sample(first=0), "first: 0 of 0 used, does not fire"),
    ],
)
def test_what_stops_a_sample(sample: Sample, words: str) -> None:
    told = entry(snapshot(rule(sample=sample)), facts())
    assert (told["outcome"], told["sample"]) == ("not_sampled", [words])


def test_explaining_charges_nothing_and_foretells_what_comes() -> None:
    compiled = snapshot(
        rule("a", sample=Sample(percent=500_000, every=2)),
        rule("b", sample=Sample(sticky="header:x-user", percent=400_000), final=True),
        rule("c", faults=[pause(sample=Sample(percent=300_000)), pause(RESPONSE_HEAD)]),
        rule("d", shadow=True, sample=Sample(first=5)),
    )
    for at in range(200):
        seen = facts(headers={"x-user": [f"u{at}"]} if at % 3 else None)
        before = [counts(one.state) for one in compiled.rules]
        told = explain(compiled, seen)
        assert [counts(one.state) for one in compiled.rules] == before
        made = plan(compiled, seen)
        promised = [
            (fault["order"], one["rule"])
            for one in told
            for fault in one["faults"]
            if fault["order"] is not None
        ]
        assert [name for _, name in sorted(promised)] == names(made)
        shadowed = [
            one["rule"] for one in told for fault in one["faults"] if fault["fires"] and not fault["order"]
        ]
        assert shadowed == [chosen.rule.name for chosen in (made.shadowed if made else [])]
        if made is not None:
            made.release()


def test_the_order_and_what_is_cancelled() -> None:
    compiled = snapshot(
        rule("slow", faults=[pause(RESPONSE_BODY), pause()]),
        rule("abort", faults=[pause(ends=True)]),
        rule("late"),
        rule("first", priority=1),
    )
    told = {
        (one["rule"], fault["number"]): (fault["order"], fault["cancelled_by"])
        for one in explain(compiled, facts())
        for fault in one["faults"]
    }
    assert told == {
        ("first", 0): (1, None),
        ("slow", 1): (2, None),
        ("abort", 0): (3, None),
        ("late", 0): (None, "abort"),
        ("slow", 0): (None, "abort"),
    }


def test_an_ending_after_so_many_bytes_cancels_nothing_for_certain() -> None:
    compiled = snapshot(
        rule("cut", faults=[pause(RESPONSE_HEAD, ends=True, after=9)]), rule("z", faults=[pause(8)])
    )
    assert [fault["order"] for one in explain(compiled, facts()) for fault in one["faults"]] == [1, 2]


def test_final_disabled_shadow_and_rules_that_wait() -> None:
    compiled = snapshot(
        rule("off", enabled=False),
        rule("shadow", shadow=True, final=True),
        rule("waits", ERRORS, faults=[pause(RESPONSE_HEAD)]),
        rule("final", final=True),
        rule("after"),
    )
    assert outcomes(compiled, facts()) == {
        "shadow": "shadow",
        "waits": "needs_response",
        "final": "fires",
        "after": "passed_over",
        "off": "disabled",
    }
    assert entry(compiled, facts(), "after")["passed_over_by"] == "final"


def test_with_the_answer_known() -> None:
    compiled = snapshot(rule(match=ERRORS, faults=[pause(RESPONSE_HEAD), pause()]))
    seen = facts()
    seen.response_status = 503
    told = entry(compiled, seen)
    assert told["outcome"] == "fires"
    assert told["faults"][0]["fires"]
    assert "before the answer" in told["faults"][1]["why_not"]
    seen.response_status = 200
    assert entry(compiled, seen)["failed"]["part"] == "response.status"


def test_what_looks_at_trailers_says_when_it_acts() -> None:
    match = Match(response=ResponseMatch(grpc_status=(5,)))
    faults = [pause(RESPONSE_HEAD), pause(RESPONSE_BODY, after=9), pause(RESPONSE_BODY), pause(END)]
    compiled = snapshot(rule(match=match, faults=faults))
    seen = facts()
    for status in (0, 200):
        seen.response_status, seen.grpc_status = status, 5
        told = entry(compiled, seen)
        assert told["outcome"] == ("fires" if status else "needs_response")
        assert [fault["note"] for fault in told["faults"]] == [TRAILERS_ONLY, TRAILERS_ONLY, BEHIND_BODY, ""]


def test_faults_that_are_not_for_this_exchange() -> None:
    before = snapshot()
    compiled = snapshot(rule(faults=[pause(ACCEPT), pause(on=ON_NEW), pause()]), previous=before)
    told = explain(compiled, facts(), opened_turn=before.version)[0]["faults"]
    assert [fault["fires"] for fault in told] == [False, False, True]
    assert "new connections" in told[0]["why_not"]
    assert "came into force" in told[1]["why_not"]


def test_a_faults_own_sample_is_told() -> None:
    compiled = snapshot(rule(faults=[pause(sample=Sample(percent=0)), pause()]))
    told = entry(compiled, facts())["faults"]
    assert told[0]["sample"] == ["percent: 0 %, does not fire"]
    assert "own sample" in told[0]["why_not"]
    assert told[1]["order"] == 1


@pytest.mark.parametrize(
    ("millionths", "words"), [(125_000, "12.5 %"), (1, "0.0001 %"), (1_000_000, "100 %")]
)
def test_percentages(millionths: int, words: str) -> None:
    assert percent_text(millionths) == words
