"""What a rule that fires reserves, and when it gives it back."""

from rules.fault import ON_NEW, ON_OPEN
from rules.model import Match, ResponseMatch, Sample, Text
from rules.phases import ACCEPT, END, REQUEST_BODY, REQUEST_HEAD, RESOLVE, RESPONSE_BODY, RESPONSE_HEAD, TLS
from rules.sample import RuleState
from rules.snapshot import Plan, Snapshot
from tests.support.builders import facts, names, pause, plan, rule, snapshot, text


def state(compiled: Snapshot, name: str = "r") -> RuleState:
    return compiled.by_name[name].state


def all_act(made: Plan) -> None:
    for phase in made.phases:
        for chosen in phase or []:
            made.acted(chosen)


def waits(made: Plan) -> bool:
    return made.needs_response


def run(compiled: Snapshot, times: int, path: str = "/") -> list[bool]:
    """Run exchanges one after the other in which everything planned acts; say which had a plan."""
    fired: list[bool] = []
    for _ in range(times):
        made = plan(compiled, facts(path))
        fired.append(made is not None)
        if made is not None:
            all_act(made)
            made.release()
    return fired


def test_first_is_exact() -> None:
    compiled = snapshot(rule(sample=Sample(first=3)))
    assert run(compiled, 10) == [True] * 3 + [False] * 7
    assert (state(compiled).matches, state(compiled).fired, state(compiled).injected) == (10, 3, [3])


def test_first_counts_what_is_under_way() -> None:
    compiled = snapshot(rule(sample=Sample(first=2)))
    assert [plan(compiled, facts()) is not None for _ in range(4)] == [True, True, False, False]


def test_first_is_given_back_where_nothing_acted() -> None:
    compiled = snapshot(rule(sample=Sample(first=1)))
    for _ in range(3):
        made = plan(compiled, facts())
        assert made is not None
        made.release()
        made.release()
    assert (state(compiled).fired, state(compiled).active, state(compiled).injected) == (0, 0, [0])
    assert run(compiled, 2) == [True, False]


def test_first_stays_charged_if_one_of_the_faults_acted() -> None:
    compiled = snapshot(rule(sample=Sample(first=1), faults=[pause(), pause(RESPONSE_HEAD)]))
    made = plan(compiled, facts())
    assert made is not None
    head = made.phases[REQUEST_HEAD]
    assert head is not None
    made.acted(head[0])
    made.release()
    assert plan(compiled, facts()) is None
    assert state(compiled).injected == [1, 0]


def test_max_active_is_exact() -> None:
    compiled = snapshot(rule(sample=Sample(max_active=2)))
    one, two, three = (plan(compiled, facts()) for _ in range(3))
    assert one is not None
    assert two is not None
    assert three is None
    all_act(one)
    one.release()
    one.release()
    assert state(compiled).active == 1
    assert [plan(compiled, facts()) is not None for _ in range(2)] == [True, False]


def test_every_sees_all_matches() -> None:
    compiled = snapshot(rule(match=Match(path=text("/a")), sample=Sample(every=3)))
    for _ in range(5):
        assert plan(compiled, facts("/other")) is None
    assert run(compiled, 7, "/a") == [False, False, True, False, False, True, False]


def test_every_then_first() -> None:
    compiled = snapshot(rule(sample=Sample(every=2, first=2)))
    assert run(compiled, 8) == [False, True, False, True, False, False, False, False]


def test_acting_twice_counts_once_and_acting_after_the_end_not_at_all() -> None:
    compiled = snapshot(rule())
    made = plan(compiled, facts())
    assert made is not None
    head = made.phases[REQUEST_HEAD]
    assert head is not None
    made.acted(head[0])
    made.acted(head[0])
    assert state(compiled).injected == [1]
    made.release()
    late = plan(compiled, facts())
    assert late is not None
    late.release()
    late.acted((late.phases[REQUEST_HEAD] or [])[0])
    assert state(compiled).injected == [1]


def test_a_key_that_is_missing_is_counted() -> None:
    compiled = snapshot(rule(sample=Sample(sticky="header:x-user")))
    assert plan(compiled, facts()) is None
    assert plan(compiled, facts(headers={"x-user": [""]})) is None
    assert plan(compiled, facts(headers={"x-user": ["u"]})) is not None
    assert (state(compiled).keyless, state(compiled).matches) == (2, 3)


def test_the_same_key_gets_the_same_verdict_and_the_same_dice() -> None:
    compiled = snapshot(
        rule(
            sample=Sample(sticky="header:x-user", percent=300_000),
            faults=[pause(sample=Sample(percent=500_000))],
        )
    )
    seen: dict[str, set[float | None]] = {}
    for at in range(400):
        user = f"u{at % 40}"
        made = plan(compiled, facts(headers={"x-user": [user]}))
        drawn = None if made is None else (made.phases[REQUEST_HEAD] or [])[0].dice.uniform()
        seen.setdefault(user, set()).add(drawn)
    assert all(len(results) == 1 for results in seen.values())
    assert 1 <= sum(results != {None} for results in seen.values()) < 20


def test_ordinals_give_each_exchange_its_own_dice() -> None:
    compiled = snapshot(rule())
    drawn = [(plan(compiled, facts()).phases[REQUEST_HEAD] or [])[0].dice.uniform() for _ in range(5)]  # type: ignore[union-attr]
    assert len(set(drawn)) == 5


def test_a_faults_own_sample_multiplies() -> None:
    half = Sample(percent=500_000)
    compiled = snapshot(rule(sample=half, faults=[pause(), pause(REQUEST_BODY, sample=half)]))
    both = alone = 0
    for _ in range(4_000):
        made = plan(compiled, facts())
        if made is not None:
            both += made.phases[REQUEST_BODY] is not None
            alone += made.phases[REQUEST_BODY] is None
    assert abs(both - 1_000) < 3 * (4_000 * 0.25 * 0.75) ** 0.5
    assert abs(alone - 1_000) < 3 * (4_000 * 0.25 * 0.75) ** 0.5


def test_a_faults_own_counts() -> None:
    faults = [
        pause(sample=Sample(every=2)),
        pause(REQUEST_BODY, sample=Sample(first=1)),
        pause(RESPONSE_HEAD, sample=Sample(max_active=1)),
    ]
    compiled = snapshot(rule(faults=faults))
    shown: list[list[int]] = []
    open_plans: list[Plan] = []
    for _ in range(4):
        made = plan(compiled, facts())
        assert made is not None or shown
        shown.append([] if made is None else [p for p, phase in enumerate(made.phases) if phase])
        if made is not None:
            all_act(made)
            open_plans.append(made)
    assert shown == [[REQUEST_BODY, RESPONSE_HEAD], [REQUEST_HEAD], [], [REQUEST_HEAD]]
    for made in open_plans:
        made.release()
    made = plan(compiled, facts())
    assert made is not None
    assert [p for p, phase in enumerate(made.phases) if phase] == [RESPONSE_HEAD]
    assert [fault.tally.active for fault in state(compiled).faults] == [0, 0, 1]


def test_a_faults_own_key() -> None:
    compiled = snapshot(rule(faults=[pause(sample=Sample(sticky="header:x-user"))]))
    assert plan(compiled, facts()) is None
    assert state(compiled).keyless == 1
    assert state(compiled).active == 0
    assert plan(compiled, facts(headers={"x-user": ["u"]})) is not None


def test_a_faults_first_is_given_back_where_it_did_not_act() -> None:
    compiled = snapshot(rule(faults=[pause(), pause(RESPONSE_HEAD, sample=Sample(first=1))]))
    made = plan(compiled, facts())
    assert made is not None
    made.acted((made.phases[REQUEST_HEAD] or [])[0])
    made.release()
    again = plan(compiled, facts())
    assert again is not None
    assert again.phases[RESPONSE_HEAD] is not None
    all_act(again)
    again.release()
    third = plan(compiled, facts())
    assert third is not None
    assert third.phases[RESPONSE_HEAD] is None


def test_a_reset_in_between_gives_nothing_back_twice() -> None:
    compiled = snapshot(rule(sample=Sample(first=1, max_active=1), faults=[pause(sample=Sample(first=1))]))
    made = plan(compiled, facts())
    assert made is not None
    state(compiled).reset()
    assert plan(compiled, facts()) is None  # one is still under way
    made.release()
    assert (state(compiled).fired, state(compiled).active) == (0, 0)
    assert state(compiled).faults[0].tally.fired == 0
    assert run(compiled, 3) == [True, False, False]


def test_phases_hold_faults_by_priority_order_and_place() -> None:
    compiled = snapshot(
        rule("low", faults=[pause(RESPONSE_HEAD), pause(), pause()]),
        rule("high", priority=1, faults=[pause(), pause(RESPONSE_HEAD)]),
    )
    made = plan(compiled, facts())
    assert made is not None
    assert [(c.rule.name, c.number) for c in made.phases[REQUEST_HEAD] or []] == [
        ("high", 0),
        ("low", 1),
        ("low", 2),
    ]
    assert [(c.rule.name, c.number) for c in made.phases[RESPONSE_HEAD] or []] == [("high", 1), ("low", 0)]


def test_a_final_rule_ends_the_search_once_it_fires() -> None:
    compiled = snapshot(
        rule("before"),
        rule("final", match=Match(path=text("/a")), final=True, sample=Sample(every=2)),
        rule("after"),
    )
    assert names(plan(compiled, facts("/b"))) == ["before", "after"]
    assert names(plan(compiled, facts("/a"))) == ["before", "after"]
    assert names(plan(compiled, facts("/a"))) == ["before", "final"]
    assert state(compiled, "after").matches == 2


def test_a_final_rule_none_of_whose_faults_fires_lets_others_be() -> None:
    never = pause(sample=Sample(percent=0))
    compiled = snapshot(rule("final", final=True, faults=[never]), rule("after"))
    assert names(plan(compiled, facts())) == ["after"]


def test_an_ending_at_the_head_cancels_what_would_act_later() -> None:
    compiled = snapshot(
        rule("delay", faults=[pause(), pause(RESPONSE_HEAD)], sample=Sample(first=1)),
        rule("abort", faults=[pause(ends=True)]),
        rule("late", sample=Sample(first=1, max_active=1)),
    )
    made = plan(compiled, facts())
    assert names(made) == ["delay", "abort"]
    assert (state(compiled, "late").fired, state(compiled, "late").active) == (0, 0)
    assert (state(compiled, "delay").fired, state(compiled, "delay").active) == (1, 1)
    assert state(compiled, "delay").faults[1].tally.active == 0
    assert state(compiled, "late").matches == 1


def test_the_first_of_two_endings_counts() -> None:
    compiled = snapshot(
        rule("low", faults=[pause(ends=True)]), rule("high", priority=1, faults=[pause(ends=True)])
    )
    assert names(plan(compiled, facts())) == ["high"]


def test_an_ending_that_may_not_come_to_act_cancels_nothing_yet() -> None:
    compiled = snapshot(
        rule("reset", faults=[pause(RESPONSE_BODY, ends=True, after=100)]),
        rule("close", faults=[pause(RESPONSE_HEAD, ends=True)]),
        rule("end", faults=[pause(END)]),
    )
    assert names(plan(compiled, facts())) == ["close", "reset", "end"]


def test_a_plan_of_which_nothing_is_left_is_none() -> None:
    compiled = snapshot(rule("shadow", shadow=True, sample=Sample(percent=0)))
    assert plan(compiled, facts()) is None


def test_a_shadow_is_counted_and_changes_nothing_for_others() -> None:
    compiled = snapshot(
        rule("shadow", shadow=True, final=True, faults=[pause(ends=True), pause(RESPONSE_HEAD)]),
        rule("real"),
    )
    made = plan(compiled, facts())
    assert made is not None
    assert names(made) == ["real"]
    assert [(c.rule.name, c.number) for c in made.shadowed] == [
        ("shadow", 0)
    ]  # it would have ended its own second
    assert state(compiled, "shadow").shadowed == [1, 0]
    assert state(compiled, "shadow").injected == [0, 0]
    made.release()
    assert state(compiled, "shadow").active == 0


def test_a_shadow_alone_gives_a_plan_and_keeps_its_first() -> None:
    compiled = snapshot(rule(shadow=True, sample=Sample(first=1)))
    made = plan(compiled, facts())
    assert made is not None
    assert made.phases == [None] * len(made.phases)
    made.release()
    assert plan(compiled, facts()) is None
    assert state(compiled).shadowed == [1]


def test_a_shadow_that_a_real_ending_comes_before_is_not_counted() -> None:
    compiled = snapshot(rule("abort", faults=[pause(ends=True)]), rule("shadow", shadow=True))
    made = plan(compiled, facts())
    assert made is not None
    assert made.shadowed == []
    assert (state(compiled, "shadow").shadowed, state(compiled, "shadow").fired) == ([0], 0)


ERRORS = Match(response=ResponseMatch(status=((500, 599),)))


def test_a_rule_that_looks_at_the_answer_waits_for_it() -> None:
    compiled = snapshot(rule("answer", match=ERRORS, faults=[pause(RESPONSE_HEAD)]), rule("now"))
    seen = facts()
    made = plan(compiled, seen)
    assert made is not None
    assert waits(made)
    assert names(made) == ["now"]
    assert state(compiled, "answer").matches == 0
    seen.response_status = 503
    made.respond(seen)
    assert not waits(made)
    assert names(made) == ["now", "answer"]
    made.respond(seen)
    assert state(compiled, "answer").matches == 1
    all_act(made)
    made.release()
    assert (state(compiled, "answer").injected, state(compiled, "answer").active) == ([1], 0)


def test_an_answer_that_does_not_match_leaves_the_rule_uncounted() -> None:
    compiled = snapshot(rule(match=ERRORS, faults=[pause(RESPONSE_HEAD)]))
    seen = facts()
    made = plan(compiled, seen)
    assert made is not None
    seen.response_status = 200
    made.respond(seen)
    assert names(made) == []
    assert made.nothing
    assert state(compiled).matches == 0


def test_no_answer_at_all() -> None:
    compiled = snapshot(rule(match=ERRORS, faults=[pause(RESPONSE_HEAD)]))
    seen = facts()
    made = plan(compiled, seen)
    assert made is not None
    made.release()
    assert not waits(made)
    seen.response_status = 503
    made.respond(seen)
    assert names(made) == []
    assert (state(compiled).fired, state(compiled).active) == (0, 0)


def test_a_final_rule_at_the_answer_cancels_later_ones_that_have_not_acted() -> None:
    compiled = snapshot(
        rule("before", faults=[pause(RESPONSE_BODY)]),
        rule("final", match=ERRORS, final=True, faults=[pause(RESPONSE_HEAD)]),
        rule("acted", faults=[pause(), pause(RESPONSE_BODY)], sample=Sample(first=1)),
        rule("waiting", faults=[pause(RESPONSE_HEAD)], sample=Sample(first=1)),
        rule("open", match=ERRORS, faults=[pause(RESPONSE_HEAD)]),
    )
    seen = facts()
    made = plan(compiled, seen)
    assert made is not None
    head = made.phases[REQUEST_HEAD]
    assert head is not None
    made.acted(head[0])
    waiting = (made.phases[RESPONSE_HEAD] or [])[0]
    seen.response_status = 500
    made.respond(seen)
    assert names(made) == ["acted", "final", "before"]
    assert waiting.cancelled
    made.acted(waiting)
    assert state(compiled, "waiting").injected == [0]
    assert (state(compiled, "waiting").fired, state(compiled, "waiting").active) == (0, 0)
    assert (state(compiled, "acted").fired, state(compiled, "acted").active) == (1, 1)
    assert state(compiled, "open").matches == 0
    made.release()
    assert [one.state.active for one in compiled.rules] == [0] * 5


NOT_FOUND = Match(response=ResponseMatch(grpc_status=(5,)))


def test_a_rule_that_looks_at_trailers_waits_for_them() -> None:
    late = [pause(RESPONSE_HEAD), pause(RESPONSE_BODY, after=9), pause(RESPONSE_BODY), pause(END)]
    compiled = snapshot(rule("status", match=NOT_FOUND, faults=late), rule("head", match=ERRORS))
    seen = facts()
    made = plan(compiled, seen)
    assert made is not None
    seen.response_status = 200
    made.respond(seen, True)
    assert (made.awaits_end, made.nothing, names(made)) == (True, False, [])
    assert state(compiled, "status").matches == 0
    seen.grpc_status = 5
    (body,) = made.respond_at_end(seen)
    assert (body.number, made.awaits_end) == (2, False)
    assert [[one.number for one in phase or []] for phase in made.phases[RESPONSE_HEAD:]] == [[], [2], [3]]
    assert made.respond_at_end(seen) == []
    made.release()
    assert (state(compiled, "status").matches, state(compiled, "status").active) == (1, 0)


def test_trailers_that_do_not_match_or_come_too_late() -> None:
    compiled = snapshot(rule(match=NOT_FOUND, faults=[pause(END)]))
    for status, released in ((0, False), (-1, False), (5, True)):
        seen = facts()
        made = plan(compiled, seen)
        assert made is not None
        made.respond(seen, True)
        seen.grpc_status = status
        if released:
            made.release()
        assert made.respond_at_end(seen) == []
        assert names(made) == []
    assert state(compiled).matches == 0


def test_a_final_rule_at_the_trailers() -> None:
    compiled = snapshot(
        rule("final", match=NOT_FOUND, final=True, faults=[pause(END)]),
        rule("open", match=NOT_FOUND, faults=[pause(END)]),
        rule("waiting", faults=[pause(END)]),
    )
    seen = facts()
    made = plan(compiled, seen)
    assert made is not None
    made.respond(seen, True)
    seen.grpc_status = 5
    made.respond_at_end(seen)
    assert names(made) == ["final"]
    assert state(compiled, "open").matches == 0


def test_a_final_shadow_at_the_answer_cancels_nothing() -> None:
    compiled = snapshot(
        rule("shadow", match=ERRORS, final=True, shadow=True, faults=[pause(RESPONSE_HEAD)]),
        rule("real", faults=[pause(RESPONSE_HEAD)]),
    )
    seen = facts()
    made = plan(compiled, seen)
    assert made is not None
    seen.response_status = 500
    made.respond(seen)
    assert names(made) == ["real"]
    assert state(compiled, "shadow").shadowed == [1]


def test_look_ups_of_clients_have_plans_of_their_own() -> None:
    lookup = pause(RESOLVE)
    lookup.fault.of_lookups = True
    compiled = snapshot(
        rule("both", faults=[pause(RESOLVE), lookup], match=Match(dns_name=text("a"))),
        rule("exchanges", faults=[pause(RESOLVE)]),
        rule("requests", faults=[lookup], match=Match(upstream=("app",))),
    )
    asked = facts(listener="dns", source="")
    asked.names = [b"a"]
    made = compiled.plan_lookup(asked)
    assert made is not None
    assert [(chosen.rule.name, chosen.number) for chosen in made.chosen] == [("both", 1)]
    asked.names = [b"b"]
    assert compiled.plan_lookup(asked) is None
    assert snapshot(rule(faults=[pause(RESOLVE)])).plan_lookup(asked) is None


def test_connections_have_plans_of_their_own() -> None:
    compiled = snapshot(
        rule("refuse", faults=[pause(ACCEPT), pause()], match=Match(source=("192.0.2.0/24",))),
        rule("handshake", faults=[pause(TLS)], match=Match(listener=("other",))),
    )
    made = compiled.plan_connection(facts(), 1)
    assert made is not None
    assert [phase is not None for phase in made.phases[:3]] == [True, False, False]
    assert compiled.plan_connection(facts(source="198.51.100.1"), 1) is None
    other = facts(listener="other", source="")
    assert compiled.plan_connection(other, 1) is None
    assert names(compiled.plan_handshake(other, 1)) == ["handshake"]
    assert compiled.plan_handshake(facts(), 1) is None
    assert (state(compiled, "refuse").matches, state(compiled, "handshake").matches) == (1, 1)
    assert names(plan(compiled, facts())) == ["refuse"]
    assert snapshot(rule()).plan_connection(facts(), 1) is None
    assert snapshot(rule()).plan_handshake(facts(), 1) is None


def test_a_handshake_is_matched_and_sampled_by_the_name_that_the_client_asked_for() -> None:
    suffix = Match(sni=Text("suffix", ".example"))
    compiled = snapshot(rule(match=suffix, sample=Sample(sticky="sni", percent=500_000), faults=[pause(TLS)]))

    def hit(sni: bytes) -> bool:
        met = facts()
        met.sni = sni
        return compiled.plan_handshake(met, 1) is not None

    sent = [b"%d.example" % number for number in range(200)]
    verdicts = [hit(sni) for sni in sent]
    assert 60 < sum(verdicts) < 140
    assert [hit(sni.upper()) for sni in sent] == verdicts
    assert not any(hit(b"%d.test" % number) for number in range(20))
    assert compiled.plan_handshake(facts(), 1) is None
    assert (state(compiled).matches, state(compiled).keyless) == (400, 0)


def test_on_new_spares_connections_that_were_open() -> None:
    before = snapshot()
    compiled = snapshot(rule(faults=[pause(on=ON_NEW), pause(RESPONSE_HEAD)]), previous=before)
    old = plan(compiled, facts(), opened_turn=before.version)
    assert old is not None
    assert [p for p, phase in enumerate(old.phases) if phase] == [RESPONSE_HEAD]
    new = plan(compiled, facts(), opened_turn=compiled.version)
    assert new is not None
    assert [p for p, phase in enumerate(new.phases) if phase] == [REQUEST_HEAD, RESPONSE_HEAD]


def test_a_rule_that_is_not_for_this_connection_does_not_count_a_match() -> None:
    before = snapshot()
    compiled = snapshot(rule(faults=[pause(on=ON_NEW)]), previous=before)
    assert plan(compiled, facts(), opened_turn=before.version) is None
    assert state(compiled).matches == 0


def test_on_open_draws_once_for_what_is_open_and_then_only_for_new() -> None:
    before = snapshot(rule("old", faults=[pause(on=ON_OPEN)]))
    compiled = snapshot(
        rule("old", faults=[pause(on=ON_OPEN)]),
        rule("fresh", faults=[pause(on=ON_OPEN), pause(RESPONSE_HEAD)]),
        rule("request", faults=[pause(on=ON_OPEN)], match=Match(path=text("/a"))),
        rule("answer", faults=[pause(RESPONSE_HEAD, on=ON_OPEN)], match=ERRORS),
        previous=before,
    )
    idle = facts("", method="", host="")
    made = compiled.plan_open(idle, before.version, before)
    assert made is not None
    assert [(c.rule.name, c.number) for phase in made.phases for c in phase or []] == [("fresh", 0)]
    assert names(compiled.plan_open(facts("/a"), before.version, before)) == ["fresh", "request"]
    assert compiled.plan_open(idle, compiled.version, before) is None  # opened after it came into force
    assert names(plan(compiled, facts(), opened_turn=before.version)) == [
        "old",
        "fresh",
    ]  # its second fault only
    assert names(plan(compiled, facts(), opened_turn=compiled.version)) == ["old", "fresh", "fresh"]
    later = snapshot(*[one.rule for one in compiled.rules], previous=compiled)
    assert later.plan_open(idle, before.version, compiled) is None
