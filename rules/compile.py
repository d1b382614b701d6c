"""From rules as written to a snapshot, in one go or in slices that fit between two turns of the loop."""

import hashlib
import json
from collections.abc import Iterable, Sequence

from rules.compiled import CompiledRule, SampledFault
from rules.conditions import (
    ATTEMPT_HEADER,
    AttemptCondition,
    CertificateCondition,
    Condition,
    DnsNameCondition,
    DnsTypeCondition,
    GrpcCondition,
    GrpcStatusCondition,
    HeaderCondition,
    HostCondition,
    ListenerCondition,
    MethodCondition,
    PathCondition,
    ProtocolCondition,
    QueryCondition,
    ResponseHeaderCondition,
    SniCondition,
    SourceCondition,
    StatusCondition,
    UpstreamCondition,
)
from rules.draw import Draws
from rules.indexing import IndexBuilder
from rules.matchers import compile_text
from rules.model import Match, ResponseMatch, Rule, Sample
from rules.opening import Opening
from rules.sample import RuleState, Sampling, StickyKey
from rules.snapshot import Snapshot

WHOLE_RULE = -1  # the drawer's number of a rule's own sample; its faults have their places


def canonical(rule: Rule) -> bytes:
    """Write a rule in canonical JSON: as written, keys sorted, no spaces; its files count by their hash."""
    written = {**rule.written, "files": dict(rule.files)} if rule.files else rule.written
    return json.dumps(written, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fingerprint(rule: Rule) -> str:
    """Describe all that a rule's state depends on: match, samples, schedule, the kinds of its faults."""
    kinds = [(planned.fault.KIND, planned.sample) for planned in rule.faults]
    return repr((rule.match, rule.sample, rule.schedule, kinds))


def _request_conditions(match: Match) -> list[Condition]:
    """Compile the parts that look at the connection and the request, the cheap ones first."""
    parts: list[Condition] = []
    if match.listener:
        parts.append(ListenerCondition(match.listener))
    if match.protocol:
        parts.append(ProtocolCondition(match.protocol))
    if match.method:
        parts.append(MethodCondition(match.method))
    if match.upstream:
        parts.append(UpstreamCondition(match.upstream))
    if match.sni is not None:
        parts.append(SniCondition(compile_text(match.sni, fold=True)))
    if match.dns_name is not None:
        parts.append(DnsNameCondition(compile_text(match.dns_name, fold=True)))
    if match.dns_type:
        parts.append(DnsTypeCondition(match.dns_type))
    for which, wanted in (
        ("subject", match.certificate_subject),
        ("san", match.certificate_san),
        ("fingerprint", match.certificate_fingerprint),
    ):
        if wanted is not None:
            parts.append(CertificateCondition(which, compile_text(wanted)))
    if match.grpc_service is not None:
        parts.append(GrpcCondition(True, compile_text(match.grpc_service)))
    if match.grpc_method is not None:
        parts.append(GrpcCondition(False, compile_text(match.grpc_method)))
    if match.attempt:
        parts.append(AttemptCondition(match.attempt))
    if match.source:
        parts.append(SourceCondition(match.source))
    for name, text in match.query:
        parts.append(QueryCondition(name, compile_text(text)))
    return parts


def _response_conditions(response: ResponseMatch) -> list[Condition]:
    parts: list[Condition] = []
    if response.status:
        parts.append(StatusCondition(response.status))
    if response.grpc_status:
        parts.append(GrpcStatusCondition(response.grpc_status))
    for name, text in response.headers:
        parts.append(ResponseHeaderCondition(name, compile_text(text)))
    return parts


def _sampling(rule: str, number: int, sample: Sample, seed: str) -> Sampling:
    sticky = StickyKey(sample.sticky) if sample.sticky else None
    draws = Draws(seed, rule, number)
    return Sampling(draws, sample.percent, sticky, sample.every, sample.first, sample.max_active)


def compile_rule(rule: Rule, order: int, previous: Snapshot | None, turn: int) -> CompiledRule:
    """Compile one rule; its state comes from ``previous`` where its name and fingerprint are the same.

    ValueError or ``re2.error`` where the rule holds what the parser should have refused.
    """
    print_now = fingerprint(rule)
    before = None if previous is None else previous.by_name.get(rule.name)
    if before is not None and before.fingerprint == print_now:
        state = before.state
        since = before.since_turn if before.enabled else turn
    else:
        state = RuleState(len(rule.faults), None if rule.schedule is None else Opening(rule.schedule))
        since = turn
    sampling = _sampling(rule.name, WHOLE_RULE, rule.sample, str(rule.sample.seed))
    compiled = CompiledRule(rule, order, print_now, since, state, sampling)
    _add_conditions(compiled, rule.match)
    _add_faults(compiled, rule)
    return compiled


def _add_conditions(compiled: CompiledRule, match: Match) -> None:
    conditions = compiled.conditions
    if match.path is not None:
        compiled.path = compile_text(match.path)
        conditions.append(PathCondition(compiled.path))
    if match.host is not None:
        compiled.host = compile_text(match.host, fold=True)
        conditions.append(HostCondition(compiled.host))
    for name, text in match.headers:
        header = HeaderCondition(name, compile_text(text))
        compiled.headers.append(header)
        conditions.append(header)
    conditions.extend(_request_conditions(match))
    if match.response is not None:
        compiled.response.extend(_response_conditions(match.response))
        compiled.of_trailers = bool(match.response.grpc_status)
    compiled.of_exchange = bool(compiled.response) or any(part.of_exchange for part in conditions)


def _add_faults(compiled: CompiledRule, rule: Rule) -> None:
    for number, planned in enumerate(rule.faults):
        own = planned.sample
        # Both seeds count: a fault's draws differ from seed to seed of its rule, and may be varied alone.
        seed = f"{rule.sample.seed}/{0 if own is None else own.seed}"
        sampling = None if own is None else _sampling(rule.name, number, own, seed)
        compiled.add_fault(SampledFault(planned.fault, number, Draws(seed, rule.name, number), sampling))


def names_asked(match: Match, samples: Iterable[Sample]) -> set[bytes]:
    """Collect the request headers (lower case) that a match and samples look at."""
    names = {name.lower().encode() for name, _ in match.headers}
    if match.attempt:
        names.add(ATTEMPT_HEADER)
    for sample in samples:
        if sample.sticky:
            header = StickyKey(sample.sticky).header
            if header:
                names.add(header)
    return names


class Compilation:
    """A snapshot in the making: ``step`` until it says True, then ``result``.

    Nothing that is in force is touched: a compilation may be dropped at any point.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        previous: Snapshot | None,
        version: int,
        created: float,
        source: str,
        listeners: Sequence[str] = (),
    ) -> None:
        """Begin.  ``rules`` are in order, names unique (else ValueError).

        The index is made ready for ``listeners`` and for those that ``previous`` has been asked for.
        """
        self._rules = rules
        self._previous = previous
        self._version = version
        self._turn = version if previous is None else previous.turn + 1
        self._created = created
        self._source = source
        known = {} if previous is None else dict.fromkeys(previous.indexes)
        self._listeners = list(dict.fromkeys([*listeners, *known]))
        self._hash = hashlib.sha256(b'{"rules":[')
        self._by_name: dict[str, CompiledRule] = {}
        self._request_names: set[bytes] = set()
        self._response_names: set[bytes] = set()
        self._done = 0
        self._snapshot: Snapshot | None = None
        self._builder: IndexBuilder | None = None

    def step(self, rules: int = 50) -> bool:
        """Work on the next ``rules`` rules; True once the snapshot is ready."""
        if self._done < len(self._rules):
            end = min(self._done + rules, len(self._rules))
            for order in range(self._done, end):
                self._add(self._rules[order], order)
            self._done = end
            return False
        if self._snapshot is None:
            self._snapshot = self._assemble()
            return not self._listeners
        return self._index(self._snapshot, rules)

    def result(self) -> Snapshot:
        """Do what is left and give the snapshot."""
        while not self.step(1000):
            pass
        assert self._snapshot is not None
        return self._snapshot

    def _add(self, rule: Rule, order: int) -> None:
        if rule.name in self._by_name:
            raise ValueError(f'two rules have the name "{rule.name}"')
        self._hash.update((b"," if order else b"") + canonical(rule))
        compiled = compile_rule(rule, order, self._previous, self._turn)
        self._by_name[rule.name] = compiled
        if not rule.enabled:
            return
        samples = [rule.sample, *(planned.sample for planned in rule.faults if planned.sample is not None)]
        self._request_names |= names_asked(rule.match, samples)
        self._request_names.update(planned.fault.header for planned in rule.faults if planned.fault.header)
        if rule.match.response is not None:
            self._response_names.update(name.lower().encode() for name, _ in rule.match.response.headers)
            if rule.match.response.grpc_status:
                self._response_names.add(b"grpc-status")

    def _assemble(self) -> Snapshot:
        self._hash.update(b'],"version":1}')
        ranked = [rule for rule in self._by_name.values() if rule.enabled]
        ranked.sort(key=lambda rule: -rule.priority)  # stable: equal ones stay in order
        for rank, rule in enumerate(ranked):
            rule.rank = rank
        return Snapshot(
            self._version,
            self._hash.hexdigest(),
            self._created,
            self._source,
            ranked,
            self._by_name,
            frozenset(self._request_names),
            frozenset(self._response_names),
            self._turn,
        )

    def _index(self, snapshot: Snapshot, rules: int) -> bool:
        if not self._listeners:
            return True
        if self._builder is None:
            self._builder = IndexBuilder(self._listeners[-1], snapshot.rules)
        if self._builder.step(rules):
            snapshot.indexes[self._listeners.pop()] = self._builder.finish()
            self._builder = None
        return not self._listeners


def compile_rules(
    rules: Sequence[Rule],
    previous: Snapshot | None,
    version: int,
    created: float,
    source: str,
    listeners: Sequence[str] = (),
) -> Snapshot:
    """Compile a rule set in one go; see ``Compilation``."""
    return Compilation(rules, previous, version, created, source, listeners).result()
