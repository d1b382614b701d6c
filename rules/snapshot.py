"""The rule set in force, and the plan that it makes for one exchange.

A ``Snapshot`` never changes.  What lives on from exchange to exchange (ordinals, ``first``,
``max_active``) is in the rules' states, which the next snapshot takes over.
"""

from typing import Final

from rules.compiled import (
    OF_CONNECTION,
    OF_EXCHANGE,
    OF_HANDSHAKE,
    OF_LOOKUP,
    OF_OPEN,
    OF_OPEN_TUNNEL,
    OF_TUNNEL,
    CompiledRule,
)
from rules.conditions import all_hold
from rules.facts import TCP, Facts
from rules.index import Index
from rules.indexing import IndexBuilder
from rules.phases import COUNT, REQUEST_HEAD, RESPONSE_BODY, RESPONSE_HEAD
from rules.plan import Chosen, draw, rank_of_chosen


class Plan:
    """What is to be done to one exchange (or one connection), by phase."""

    __slots__ = (
        "_open",
        "_released",
        "awaits_end",
        "chosen",
        "needs_response",
        "opened_turn",
        "phases",
        "shadowed",
        "snapshot",
    )

    def __init__(self, snapshot: "Snapshot", opened_turn: int) -> None:
        self.snapshot: Snapshot = snapshot
        self.opened_turn: int = opened_turn
        self.phases: list[list[Chosen] | None] = [None] * COUNT
        self.chosen: list[Chosen] = []  # all that was drawn and is not cancelled, shadows too
        self.shadowed: list[Chosen] = []
        self.needs_response: bool = False
        self.awaits_end: bool = False
        self._open: list[CompiledRule] = []  # by rank; they look at the answer
        self._released: bool = False

    def leave_open(self, rule: CompiledRule) -> None:
        """Keep a rule whose match needs the answer's head."""
        self._open.append(rule)
        self.needs_response = True

    def settle(self, drawn: list[Chosen]) -> None:
        """Take in what was drawn, by rank and place, without what cannot come to act any more."""
        end = _certain_end(drawn)
        for chosen in drawn:
            if (end is not None and _acts_after(chosen, end)) or _ended_by_own(chosen, drawn):
                chosen.cancel()
            else:
                self._place(chosen)

    def _place(self, chosen: Chosen) -> None:
        self.chosen.append(chosen)
        if chosen.rule.shadow and chosen.fault.figures is None and chosen.fault.limit is None:
            chosen.count_shadow()
            self.shadowed.append(chosen)
            return
        self._plan_for(chosen.fault.phase, chosen)
        if chosen.fault.both:
            self._plan_for(chosen.fault.second, chosen)

    def _plan_for(self, phase: int, chosen: Chosen) -> None:
        planned = self.phases[phase]
        if planned is None:
            self.phases[phase] = [chosen]
            return
        planned.append(chosen)
        planned.sort(key=rank_of_chosen)

    def respond(self, facts: Facts, trailers_follow: bool = False) -> None:
        """Draw the rules that look at the answer, whose head the facts now hold; once for an exchange.

        ``trailers_follow``: what is in them is not known yet; who looks at that waits for ``respond_at_end``.
        """
        self.needs_response = False
        waiting = self._open
        self._open = []
        if self._released:
            return
        for rule in waiting:
            if trailers_follow and rule.of_trailers:
                self._open.append(rule)
                self.awaits_end = True
            elif self._respond(rule, facts, False):
                return

    def respond_at_end(self, facts: Facts) -> list[Chosen]:
        """Draw those that look at the trailers, which the facts now hold; gives what acts before they go out.

        Of their faults only those are left that can act now, see ``Fault.at_end``.
        """
        self.awaits_end = False
        waiting = self._open
        self._open = []
        if self._released or not waiting:
            return []
        for rule in waiting:
            if self._respond(rule, facts, True):
                break
        planned = self.phases[RESPONSE_BODY] or []
        return [chosen for chosen in planned if chosen.rule.of_trailers and chosen.pending]

    def _respond(self, rule: CompiledRule, facts: Facts, at_end: bool) -> bool:
        """Draw one rule that looks at the answer; True: it is final, and no other is looked at."""
        if not all_hold(rule.response, facts):
            return False
        drawn = draw(rule, facts, OF_EXCHANGE, self.opened_turn)
        if drawn is None:
            return False
        late: list[Chosen] = []
        for chosen in drawn:
            fault = chosen.fault
            if fault.at_end or (fault.phase >= RESPONSE_HEAD and not at_end):
                late.append(chosen)
            else:
                chosen.cancel()
        self.settle(late)
        if rule.final and not rule.shadow and late:
            self._cancel_after(rule.rank)
            return True
        return False

    def _cancel_after(self, rank: int) -> None:
        kept: list[Chosen] = []
        for chosen in self.chosen:
            if chosen.rule.rank <= rank or chosen.acted or chosen.rule.shadow:
                kept.append(chosen)
                continue
            chosen.cancel()
            self._drop_from(chosen.fault.phase, chosen)
            if chosen.fault.both:
                self._drop_from(chosen.fault.second, chosen)
        self.chosen = kept

    def _drop_from(self, phase: int, chosen: Chosen) -> None:
        planned = self.phases[phase]
        if planned is not None:
            planned.remove(chosen)
            if not planned:
                self.phases[phase] = None

    @property
    def nothing(self) -> bool:
        """Nothing is planned, and no rule is open."""
        return not self.chosen and not self.needs_response and not self.awaits_end

    def acted(self, chosen: Chosen) -> None:
        """Count an injection; what it was charged for (``first``) stays charged."""
        if not self._released:
            chosen.count_injection()

    def release(self) -> None:
        """End the exchange; idempotent.

        Gives back ``max_active``, and ``first`` where nothing of a rule acted.
        """
        if self._released:
            return
        self._released = True
        self.needs_response = False
        self.awaits_end = False
        for chosen in self.chosen:
            chosen.give_back()


def _certain_end(drawn: list[Chosen]) -> Chosen | None:
    """Find what certainly ends the exchange before anything that acts after it.

    That is known for the phases that every exchange (or connection) goes through as soon as there is a
    plan: an ending at the request's head or earlier.  Later endings may not come to act (no connection is
    made, a body is too short): what follows them is cancelled when they act, by whoever performs them.
    """
    end: Chosen | None = None
    for chosen in drawn:
        fault = chosen.fault
        if chosen.rule.shadow or not fault.ends_exchange or fault.after_bytes or fault.phase > REQUEST_HEAD:
            continue
        if end is None or _acts_after(end, chosen):
            end = chosen
    return end


def _acts_after(chosen: Chosen, other: Chosen) -> bool:
    """Order by phase, then rank, then place in the rule."""
    if chosen.fault.phase != other.fault.phase:
        return chosen.fault.phase > other.fault.phase
    if chosen.rule.rank != other.rule.rank:
        return chosen.rule.rank > other.rule.rank
    return chosen.number > other.number


def _ended_by_own(shadow: Chosen, drawn: list[Chosen]) -> bool:
    """Say whether, of a shadow rule, another fault would have ended the exchange before this one."""
    if not shadow.rule.shadow:
        return False
    for chosen in drawn:
        if chosen.rule is shadow.rule and chosen.fault.ends_exchange and not chosen.fault.after_bytes:
            if _acts_after(shadow, chosen):
                return True
    return False


class Snapshot:
    """One immutable rule set: its number, the SHA-256 of its canonical form, its time and source."""

    def __init__(
        self,
        version: int,
        sha256: str,
        created: float,
        source: str,
        rules: list[CompiledRule],
        by_name: dict[str, CompiledRule],
        request_names: frozenset[bytes],
        response_names: frozenset[bytes],
        turn: int,
    ) -> None:
        """Take the compiled rules: ``rules`` the enabled ones by rank, ``by_name`` all."""
        self.version: int = version
        # Counts the changes of what is in force: rule sets, and the edges of the windows of schedules.
        self.turn: int = turn
        self.sha256: str = sha256
        self.created: float = created  # unix time
        self.source: str = source
        self.rules: list[CompiledRule] = rules
        self.by_name: dict[str, CompiledRule] = by_name
        self.request_names: frozenset[bytes] = request_names
        self.response_names: frozenset[bytes] = response_names
        self.empty: bool = not rules
        self.indexes: dict[str, Index] = {}
        self._connection_rules: list[CompiledRule] = [rule for rule in rules if rule.connection]
        self._handshake_rules: list[CompiledRule] = [rule for rule in rules if rule.handshake]
        self._lookup_rules: list[CompiledRule] = [
            rule for rule in rules if rule.lookup and not rule.of_exchange
        ]
        self._open_rules: list[CompiledRule] = [rule for rule in rules if rule.open]
        self.scheduled: list[CompiledRule] = [rule for rule in rules if rule.state.opening is not None]

    def turned(self) -> "Snapshot":
        """Give the same set as the next turn: the schedule of a rule has begun, or ceased, to let it act."""
        made = Snapshot(
            self.version,
            self.sha256,
            self.created,
            self.source,
            self.rules,
            self.by_name,
            self.request_names,
            self.response_names,
            self.turn + 1,
        )
        made.indexes = self.indexes
        return made

    def come_after(self, turn: int) -> None:
        """Take the turn after this one: others have come since this set was begun to be made."""
        for rule in self.by_name.values():
            if rule.since_turn == self.turn:
                rule.since_turn = turn + 1
        self.turn = turn + 1

    def index_for(self, listener: str) -> Index:
        """Give the index of a listener's rules; made at its first use unless it was made ready before."""
        index = self.indexes.get(listener)
        if index is None:
            index = IndexBuilder(listener, self.rules).finish()
            self.indexes[listener] = index
        return index

    def in_force(self, name: str) -> bool:
        """Say whether an enabled rule of this name acts now: if not, what it still holds must be released."""
        rule = self.by_name.get(name)
        return rule is not None and rule.enabled and rule.state.awake

    def plan(self, candidates: list[CompiledRule], facts: Facts, opened_turn: int) -> Plan | None:
        """Plan an exchange: match in full, draw, charge.  None if nothing is to be done.

        ``opened_turn`` is the turn of the snapshot that was in force when the connection was opened.
        """
        return self._plan(candidates, facts, OF_EXCHANGE, opened_turn)

    def plan_connection(self, facts: Facts, opened_turn: int) -> Plan | None:
        """Plan a new connection: only faults of the phase accept."""
        if not self._connection_rules:
            return None
        return self._plan(self._connection_rules, facts, OF_CONNECTION, opened_turn)

    def plan_handshake(self, facts: Facts, opened_turn: int) -> Plan | None:
        """Plan a handshake over TLS whose ClientHello has come: only faults of the phase tls."""
        if not self._handshake_rules:
            return None
        return self._plan(self._handshake_rules, facts, OF_HANDSHAKE, opened_turn)

    def plan_lookup(self, facts: Facts) -> Plan | None:
        """Plan what a look-up by a client meets; rules that look at requests do not match."""
        if not self._lookup_rules:
            return None
        return self._plan(self._lookup_rules, facts, OF_LOOKUP, self.turn)

    def plan_tunnel(self, rules: list[CompiledRule], facts: Facts, opened_turn: int) -> Plan | None:
        """Plan a tunnel anew: only faults on its bytes, those with ``on: open`` as if it were opened now."""
        return self._plan(rules, facts, OF_TUNNEL, opened_turn)

    def plan_open(
        self, facts: Facts, opened_turn: int, previous: "Snapshot", tunnel: bool = False
    ) -> Plan | None:
        """Plan for a connection that is open while this snapshot comes after ``previous``.

        One draw of each rule that came into force in between and has faults with ``on: open``.  Where no
        request is under way (no method), rules that look at requests do not match; of TCP there is none.
        ``tunnel``: faults on bytes are left to ``plan_tunnel``.
        """
        underway = bool(facts.method) or facts.protocols & TCP != 0
        fresh: list[CompiledRule] = []
        for rule in self._open_rules:
            if rule.since() > previous.turn and opened_turn < rule.since():
                if (underway or not rule.of_exchange) and not rule.response:
                    fresh.append(rule)
        group = OF_OPEN_TUNNEL if tunnel else OF_OPEN
        return self._plan(fresh, facts, group, opened_turn) if fresh else None

    def _plan(self, rules: list[CompiledRule], facts: Facts, group: int, opened_turn: int) -> Plan | None:
        plan: Plan | None = None
        drawn: list[Chosen] = _NOTHING
        for rule in rules:
            if not all_hold(rule.conditions, facts):
                continue
            if rule.response:
                if plan is None:
                    plan = Plan(self, opened_turn)
                plan.leave_open(rule)
                continue
            chosen = draw(rule, facts, group, opened_turn)
            if chosen is None:
                continue
            drawn = drawn + chosen
            if rule.final and not rule.shadow:
                break
        if drawn:
            if plan is None:
                plan = Plan(self, opened_turn)
            plan.settle(drawn)
        return None if plan is None or plan.nothing else plan


_NOTHING: Final[list[Chosen]] = []
