"""Short ways to make rules, facts and snapshots for tests."""

from collections.abc import Sequence

from rules.actions import Action, Wait
from rules.compile import compile_rules
from rules.draw import Dice
from rules.facts import HTTP1, Facts
from rules.fault import ON_NEXT, Fault
from rules.model import Match, Place, PlannedFault, Rule, Sample, Text
from rules.phases import REQUEST_HEAD
from rules.snapshot import Plan, Snapshot

PLACE = Place("test.yaml", 1, 1)
ANY_MATCH = Match()
ALWAYS = Sample()


class Pause(Fault):
    """A fault that only waits."""

    KIND = "pause"

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Wait for as many seconds as the dice say."""
        return Wait(dice.uniform())


class Finish(Pause):
    """A fault that ends the exchange."""

    KIND = "finish"

    def __init__(self, phase: int) -> None:
        super().__init__(phase)
        self.ends_exchange = True


def pause(
    phase: int = REQUEST_HEAD,
    sample: Sample | None = None,
    on: int = ON_NEXT,
    ends: bool = False,
    after: int = 0,
) -> PlannedFault:
    """Make a fault as it stands in a rule."""
    fault = Finish(phase) if ends else Pause(phase)
    fault.on = on
    fault.after_bytes = after
    return PlannedFault(fault, sample)


def text(value: str) -> Text:
    """Make the condition that a plain string stands for."""
    return Text("exact", value)


def rule(
    name: str = "r",
    match: Match = ANY_MATCH,
    sample: Sample = ALWAYS,
    faults: Sequence[PlannedFault] = (),
    *,
    enabled: bool = True,
    shadow: bool = False,
    priority: int = 0,
    final: bool = False,
    ttl: float | None = None,
    place: Place = PLACE,
    note: str = "",
) -> Rule:
    """Make a rule; without faults it pauses at the request's head."""
    return Rule(
        name,
        place,
        {"name": name, "note": note},
        tuple(faults) or (pause(),),
        enabled=enabled,
        shadow=shadow,
        priority=priority,
        final=final,
        match=match,
        sample=sample,
        ttl=ttl,
    )


def snapshot(*rules: Rule, previous: Snapshot | None = None) -> Snapshot:
    """Compile rules to the snapshot after ``previous``."""
    version = 1 if previous is None else previous.version + 1
    return compile_rules(rules, previous, version, 0.0, "test")


def facts(
    path: str = "/",
    *,
    host: str = "web.example",
    method: str = "GET",
    query: str = "",
    headers: dict[str, list[str]] | None = None,
    listener: str = "web",
    source: str = "192.0.2.1",
    protocols: int = HTTP1,
    upstream: str = "default",
) -> Facts:
    """Make the facts of one request."""
    made = Facts(listener, source, protocols)
    made.path = path.encode()
    made.host = host.encode()
    made.method = method.encode()
    made.query = query.encode()
    made.upstream = upstream
    made.headers = {
        name.encode(): [value.encode() for value in values] for name, values in (headers or {}).items()
    }
    return made


def candidates(compiled: Snapshot, seen: Facts) -> list[str]:
    """Name the candidates that the index finds."""
    found = compiled.index_for(seen.listener).candidates(seen.host, seen.path, seen.headers)
    return [] if found is None else [one.name for one in found]


def plan(compiled: Snapshot, seen: Facts, opened_turn: int | None = None) -> Plan | None:
    """Plan an exchange as the path does: candidates first."""
    found = compiled.index_for(seen.listener).candidates(seen.host, seen.path, seen.headers)
    if found is None:
        return None
    return compiled.plan(found, seen, compiled.turn if opened_turn is None else opened_turn)


def names(made: Plan | None) -> list[str]:
    """Name the rules of what is planned, phase by phase."""
    if made is None:
        return []
    return [chosen.rule.name for phase in made.phases if phase is not None for chosen in phase]
