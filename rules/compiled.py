"""One rule, compiled: what it looks at, what it samples, what it does, and its state."""

from typing import Final

from rules.conditions import Condition, HeaderCondition
from rules.draw import Draws
from rules.fault import ON_NEXT, ON_OPEN, Fault
from rules.matchers import Matcher
from rules.model import Rule
from rules.phases import ACCEPT, TLS
from rules.sample import RuleState, Sampling


class SampledFault:
    """One fault of a rule: its place (from 0), its own sampling if any, its draws."""

    __slots__ = ("draws", "fault", "number", "on", "sampling")

    def __init__(self, fault: Fault, number: int, draws: Draws, sampling: Sampling | None) -> None:
        self.fault: Fault = fault
        self.number: int = number
        self.draws: Draws = draws
        self.sampling: Sampling | None = sampling
        self.on: int = fault.on


# Which of a rule's faults a draw is about.
OF_EXCHANGE: Final = 0
OF_CONNECTION: Final = 1
OF_HANDSHAKE: Final = 2
OF_OPEN: Final = 3
OF_LOOKUP: Final = 4
OF_TUNNEL: Final = 5  # those of bodies, on a tunnel that may be older than the rule: see eligible
OF_OPEN_TUNNEL: Final = 6  # those of OF_OPEN that OF_TUNNEL has not


class CompiledRule:
    """A rule ready to be asked; immutable but for its state, which the snapshots share."""

    __slots__ = (
        "conditions",
        "connection",
        "enabled",
        "exchange",
        "final",
        "fingerprint",
        "handshake",
        "headers",
        "host",
        "lookup",
        "name",
        "of_exchange",
        "of_trailers",
        "open",
        "order",
        "path",
        "priority",
        "proof",
        "rank",
        "response",
        "rule",
        "sampling",
        "selective",
        "shadow",
        "since_turn",
        "state",
    )

    def __init__(
        self,
        rule: Rule,
        order: int,
        fingerprint: str,
        since_turn: int,
        state: RuleState,
        sampling: Sampling,
    ) -> None:
        self.rule: Rule = rule
        self.name: str = rule.name
        self.priority: int = rule.priority
        self.order: int = order  # the place in the merged layers
        self.rank: int = 0  # the place by priority, then order; set once the whole set is known
        self.enabled: bool = rule.enabled
        self.shadow: bool = rule.shadow
        self.final: bool = rule.final
        self.proof: bool = rule.proof
        self.fingerprint: str = fingerprint  # of what the state depends on
        self.since_turn: int = since_turn  # of the snapshot with which the rule came into force
        self.state: RuleState = state
        self.conditions: list[Condition] = []
        self.response: list[Condition] = []  # what can only be known when the answer's head is there
        self.of_trailers: bool = False  # of that, something is in the trailers where there are any
        self.of_exchange: bool = False  # some condition looks at a request
        self.sampling: Sampling = sampling
        # The same conditions once more, as the index asks them before there are facts.
        self.host: Matcher | None = None
        self.path: Matcher | None = None
        self.headers: list[HeaderCondition] = []
        # The faults by what a draw may be about.
        self.exchange: list[SampledFault] = []
        self.connection: list[SampledFault] = []  # those of accept
        self.handshake: list[SampledFault] = []  # those of tls
        self.open: list[SampledFault] = []
        self.lookup: list[SampledFault] = []  # those that act on what the DNS listener is asked, too
        self.selective: bool = False  # some fault does not act on whatever connection there is

    def add_fault(self, fault: SampledFault) -> None:
        """Add the next fault of the rule."""
        if fault.fault.phase == ACCEPT:
            self.connection.append(fault)
        elif fault.fault.phase == TLS:
            self.handshake.append(fault)
        else:
            self.exchange.append(fault)
        if fault.fault.of_lookups:
            self.lookup.append(fault)
        if fault.on == ON_OPEN:
            self.open.append(fault)
        if fault.on != ON_NEXT:
            self.selective = True

    def since(self) -> int:
        """Give the turn with which it came into force, or its schedule let it act: the later one."""
        return max(self.since_turn, self.state.turn)

    def same_as(self, other: "CompiledRule") -> bool:
        """Whether this is the rule of another snapshot, in force since and with not a word changed."""
        return (
            self.state is other.state
            and self.enabled == other.enabled
            and self.since_turn == other.since_turn
            and self.rule.written == other.rule.written
            and self.rule.files == other.rule.files
        )

    def may_match(self, host: bytes, path: bytes, headers: dict[bytes, list[bytes]] | None) -> bool:
        """Ask only what needs no facts: host, path and headers."""
        if self.path is not None and not self.path.test(path or None):
            return False
        if self.host is not None and not self.host.test(host or None):
            return False
        for header in self.headers:
            if not header.matcher.any(None if headers is None else headers.get(header.name)):
                return False
        return True
