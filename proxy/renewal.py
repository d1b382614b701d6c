"""What a change of rules does to an exchange that is under way, and to the tunnels that outlive it."""

from typing import Final

from proxy.exchange import Exchange, Passing
from proxy.path import end, request_body, response_body, response_head
from proxy.path.request_head import Intake
from proxy.performer import Then
from rules.compiled import CompiledRule
from rules.done import Done
from rules.facts import Facts
from rules.phases import BODIES
from rules.plan import Chosen
from rules.snapshot import Plan, Snapshot


class _FlowBoth(Then):
    """Let both directions of an exchange flow on after a fault that came while it was open."""

    def carry_on(self, ex: Exchange) -> None:
        if ex.passing is not None:  # it has begun meanwhile, and took over what held it
            ex.passing.flow_on()
            return
        ex.body_held -= 1
        ex.response_held -= 1
        response_head.go_on(ex)
        ex.client.go_on_reading()
        if ex.upstream is not None:
            ex.upstream.go_on_reading()


_FLOW_BOTH: Final = _FlowBoth()


def strike(ex: Exchange, plan: Plan, facts: Facts) -> None:
    """Carry out faults with ``on: open`` on an exchange that is under way."""
    late = ex.late_plans
    if late is None:
        ex.late_plans = [plan]
    else:
        late.append(plan)
    if ex.facts is None:
        ex.facts = facts
    end.log_shadows(ex, plan, 0)
    if ex.passing is not None:  # what shapes its bytes is in its own plan
        ex.passing.strike(plan, at_once(plan))
        return
    if not ex.opaque:
        request_body.shape_open(ex, plan)
        response_body.shape_open(ex, plan)
    ex.body_held += 1
    ex.response_held += 1
    end.perform_some(ex, plan, at_once(plan), _FLOW_BOTH)


def replan(ex: Exchange, passing: Passing, intake: Intake, snapshot: Snapshot) -> None:
    """Give a tunnel a new plan: of what the rules say about bodies, for its head has passed."""
    old = ex.plan
    if old is not None:
        passing.done.note(old)
    passing.done.forget_changed(snapshot)
    if old is not None:
        passing.done.release(old)  # what it had reserved is there for the new one
    head = ex.head
    candidates = snapshot.index_for(intake.listener.name).candidates(head.host, head.path, head.fields)
    plan: Plan | None = None
    if candidates is not None:
        facts = intake.facts(ex)
        ex.facts = facts
        rules = [rule for rule in candidates if _of_bodies(rule, passing.done)]
        plan = snapshot.plan_tunnel(rules, facts, intake.opened_turn)
    if plan is not None:
        if plan.needs_response and ex.response is not None and ex.facts is not None:
            response_head.learn(ex.facts, ex.response)
            plan.respond(ex.facts)
        for chosen in all_of(plan):
            if chosen.fault.phase not in BODIES or passing.done.has(chosen.rule, chosen.number):
                chosen.cancel()
        end.log_shadows(ex, plan, 0)
    passing.plan_anew(plan)


def _of_bodies(rule: CompiledRule, done: Done) -> bool:
    """Tell whether a rule has something to say about a tunnel that is open, and has not said it there."""
    for sampled in rule.exchange:
        if sampled.fault.phase in BODIES and not done.has(rule, sampled.number):
            return True
    return False


def all_of(plan: Plan) -> list[Chosen]:
    """Give everything that is planned, phase by phase."""
    found: list[Chosen] = []
    for chosen in plan.phases:
        if chosen is not None:
            found.extend(chosen)
    return found


def at_once(plan: Plan) -> list[Chosen]:
    """Give everything that is planned but for what shapes bodies."""
    return [chosen for chosen in all_of(plan) if not chosen.fault.shapes]
