"""The rounds: every proxy of a workload is up, and they are measured one after the other, in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.load import (
    churn,
    client,
    floods,
    h2_client,
    h2load,
    handshakes,
    mint,
    reviews,
    rulesets,
    throttle,
    workloads,
    wrk,
)
from benchmarks.load.delays import CONTROL, Seen, control
from benchmarks.load.handshakes import Handshakes
from benchmarks.load.procs import Cores, Meter, NotReady, Reading, usage
from benchmarks.load.results import MemoryRow, Result, Round, Row, Shot, Skipped
from benchmarks.load.rulesets import RuleSet
from benchmarks.load.subjects import Subject
from benchmarks.load.subjects.base import Running
from benchmarks.load.subjects.misrule import Misrule
from benchmarks.load.upstream import GRPC, HTTP1, HTTP2, HTTPS, Upstream
from benchmarks.load.workloads import DELAYS, FLOODS, H2_STREAMS, MEMORY, MINT, THROTTLE, AnyLoad, Workload
from benchmarks.load.wrk import Load

HELD_CONNECTIONS: int = 1_000
HELD_STREAMS: int = 1_000
_LEAST_TURNS: int = 10  # of a delay: 300 requests of 100 ms, so that the latest of a hundred is not one alone
_MOST_TURNS: int = 3  # so many times the turns that are wanted, where the host disturbs some
_REFUSALS = (
    *(NotReady, client.WrongAnswer, wrk.WrkFailed, h2load.H2LoadFailed, OSError),
    *(handshakes.HandshakesFailed, mint.MintFailed),
)


@dataclass
class Entry:
    """A started proxy and what was measured of it so far."""

    subject: Subject
    rules: RuleSet
    running: Running
    rounds: list[Round] = field(default_factory=list)


@dataclass
class Bench:
    """One run: where things run, how long, against which upstreams; fills ``result``."""

    work: Path
    cores: Cores
    upstreams: Mapping[str, Upstream]  # by protocol
    subjects: Sequence[Subject]
    result: Result
    say: Callable[[str], None]
    _started: int = 0

    def workload(self, workload: Workload) -> None:
        """Measure one workload: warm each proxy up, then go round."""
        self.say(f"{workload.name}: {workload.title}")
        with ExitStack() as stack:
            entries = self._start_all(stack, workload)
            for entry in entries:
                self._fire(entry, workload.load, 1)
            for number in range(self.result.rounds):
                # Each round begins with another proxy, so none is always the first after a pause.
                turn = number % max(1, len(entries))
                for entry in entries[turn:] + entries[:turn]:
                    entry.rounds.append(self._measure(entry, workload.load))
            for entry in entries:
                self.result.rows.append(
                    Row(workload.name, entry.subject.name, entry.rules.name, entry.rounds)
                )

    def memory(self) -> None:
        """Measure resident memory: idle, and with connections held open."""
        self.say(f"{MEMORY}: idle and with {HELD_CONNECTIONS} keep-alive connections")
        self.result.memory += self._resident(
            MEMORY,
            HTTP1,
            HELD_CONNECTIONS,
            lambda port: client.held(port, rulesets.SMALL_PATH, HELD_CONNECTIONS),
        )

    def streams(self) -> None:
        """Measure resident memory: idle, and with calls of gRPC held open."""
        self.say(f"{H2_STREAMS}: idle and with {HELD_STREAMS} open streams")
        self.result.streams += self._resident(
            H2_STREAMS, GRPC, HELD_STREAMS, lambda port: h2_client.held(port, HELD_STREAMS)
        )

    def _resident(
        self, workload: str, protocol: str, count: int, hold: Callable[[int], AbstractContextManager[None]]
    ) -> list[MemoryRow]:
        """Give the memory of each proxy, idle and with what ``hold`` opens at its port."""
        rows: list[MemoryRow] = []
        for subject in self._taking_part(protocol):
            with ExitStack() as stack:
                entry = self._start(stack, subject, rulesets.TWENTY, workload, protocol)
                if entry is None or not entry.running.pid:
                    continue
                time.sleep(1)  # what a start leaves behind (compilers, caches) is given back by then
                idle = usage(entry.running.pid).rss
                try:
                    stack.enter_context(hold(entry.running.port))
                except _REFUSALS as trouble:
                    self._skip(workload, subject.name, str(trouble))
                    continue
                rows.append(MemoryRow(subject.name, count, idle, usage(entry.running.pid).rss))

        return rows

    def floods(self) -> None:
        """Measure what a good client sees of each flood."""
        seconds = self.result.seconds / 2
        self.say(f"{FLOODS}: a good client without and with each flood, {seconds:g} s each")
        for subject in self._taking_part(HTTP2):
            with ExitStack() as stack:
                entry = self._start(stack, subject, rulesets.TWENTY, FLOODS, HTTP2)
                if entry is None:
                    continue
                try:
                    running = entry.running
                    self.result.floods += floods.measure(subject.name, running.pid, running.port, seconds)
                except _REFUSALS as trouble:
                    self._skip(FLOODS, subject.name, str(trouble))

    def mint(self) -> None:
        """Measure what a good client sees while names come for which there is no certificate yet."""
        seconds, rounds = self.result.seconds, self.result.rounds
        self.say(f"{MINT}: a good client without and with {mint.RATE} handshakes/s of others")
        for subject in self._taking_part(HTTPS):
            if not isinstance(subject, Misrule):
                continue
            with ExitStack() as stack:
                entry = self._start(stack, subject, rulesets.RSA_NAMES, MINT, HTTPS)
                if entry is None:
                    continue
                try:
                    self.result.mints += mint.measure(subject.name, entry.running.port, seconds, rounds)
                except _REFUSALS as trouble:
                    self._skip(MINT, subject.name, str(trouble))

    def throttle(self, seconds: float) -> None:
        """Compare throttled rates asked for with those received, over so long; and hold a crowd."""
        self.say(f"{THROTTLE}: rates received over {seconds:g} s, and {throttle.STREAMS} streams at once")
        cores = frozenset({self.cores.proxy}), self.cores.rest
        for subject in self.subjects:
            if not isinstance(subject, Misrule):
                continue
            for protocol in throttle.PROTOCOLS:
                self._started += 1
                place = self.work / f"{self._started:03d}"
                try:
                    with throttle.staged(subject, place, *cores) as stage:
                        meter = Meter(stage.pid, self.cores.proxy)
                        crowd = throttle.measure_crowd(subject.name, stage, protocol, seconds)
                        self.result.crowds.append(replace(crowd, foreign=meter.read().foreign))
                        meter = Meter(stage.pid, self.cores.proxy)
                        rates = throttle.measure_rates(subject.name, stage, protocol, seconds)
                        foreign = meter.read().foreign
                        self.result.throttles += [replace(row, foreign=foreign) for row in rates]
                except _REFUSALS as trouble:
                    self._skip(THROTTLE, subject.name, str(trouble))

    def reviews(self) -> None:
        """Measure the injector, in rounds as proxies are."""
        workload = workloads.REVIEWS
        self.say(f"{workload.name}: {workload.title}")
        document = self.work / "review.json"
        document.write_bytes(reviews.document())
        for subject in self.subjects:
            if not isinstance(subject, Misrule):
                continue
            self._started += 1
            place = self.work / f"{self._started:03d}"
            try:
                with reviews.staged(subject, place, document, frozenset({self.cores.proxy})) as running:
                    entry = Entry(subject, rulesets.TWENTY, running)
                    self._fire(entry, workload.load, 1)
                    entry.rounds += [self._measure(entry, workload.load) for _ in range(self.result.rounds)]
            except _REFUSALS as trouble:
                self._skip(workload.name, subject.name, str(trouble))
            else:
                self.result.rows.append(Row(workload.name, subject.name, "", entry.rounds))

    def delays(self) -> None:
        """Compare delays asked for with those seen at one connection; turns are short, and pooled."""
        self.say(f"{DELAYS}: asked against seen, one connection")
        with ExitStack() as stack:
            up: dict[str, Running] = {}
            for subject in self._taking_part(HTTP1):
                entry = self._start(stack, subject, rulesets.DELAYS, DELAYS, HTTP1)
                if entry is not None:
                    up[subject.name] = entry.running
            alone, upstream = frozenset({self.cores.proxy}), self.upstreams[HTTP1]
            up[CONTROL] = stack.enter_context(control(alone, upstream.port, self.work))
            seen = [
                Seen(name, asked, running.pid, stack.enter_context(client.connect(running.port)))
                for name, running in up.items()
                for asked in rulesets.DELAYS_MS
            ]
            turns = max(_LEAST_TURNS, round(self.result.rounds * self.result.seconds))
            for _ in range(_MOST_TURNS * turns):
                for one in seen:
                    if one.subject in up and one.turns < turns and not self._take_turn(one):
                        del up[one.subject]
        self.result.delays += [one.row() for one in seen if one.subject in up]

    def _take_turn(self, one: Seen) -> bool:
        """Ask for one delay for a while; False: not all of it was answered as it should be."""
        try:
            one.take_turn(self.cores.proxy)
        except _REFUSALS as trouble:
            self._skip(DELAYS, one.subject, str(trouble))
            return False
        return True

    def _taking_part(self, protocol: str) -> list[Subject]:
        return [subject for subject in self.subjects if protocol in subject.protocols]

    def _start_all(self, stack: ExitStack, workload: Workload) -> list[Entry]:
        entries: list[Entry] = []
        for subject in self._taking_part(workload.protocol):
            if workload.ours_only and not isinstance(subject, Misrule):
                continue
            for rules in workload.rules:
                entry = self._start(stack, subject, rules, workload.name, workload.protocol)
                if entry is not None:
                    entries.append(entry)
        return entries

    def _start(
        self, stack: ExitStack, subject: Subject, rules: RuleSet, workload: str, protocol: str
    ) -> Entry | None:
        why = subject.skips(rules)
        if why:
            self.result.skipped.append(Skipped(workload, subject.name, why))
            return None
        self._started += 1
        place = self.work / f"{self._started:03d}"
        alone = frozenset({self.cores.proxy})
        try:
            running = stack.enter_context(subject.started(place, self.upstreams[protocol], rules, alone))
        except _REFUSALS as trouble:
            self._skip(workload, subject.name, str(trouble))
            return None
        return Entry(subject, rules, running)

    def _skip(self, workload: str, name: str, why: str) -> None:
        lines = [line.strip() for line in why.splitlines() if line.strip()]
        told = f"{lines[0]} {lines[-1]}" if len(lines) > 1 else why
        self.say(f"  {name} steps aside: {told}")
        self.result.skipped.append(Skipped(workload, name, told))

    def _fire(self, entry: Entry, load: AnyLoad, seconds: float) -> Shot:
        port, cores = entry.running.port, self.cores.rest
        if isinstance(load, Load):
            return wrk.fire(load, port, seconds, cores, self.work / "review.json")
        if isinstance(load, Handshakes):
            return handshakes.fire(load, port, seconds, cores)
        if load.kind == "churn":
            return churn.fire(load, port, seconds, cores, self.work)
        return h2load.fire(load, port, seconds, cores, self.work)

    def _measure(self, entry: Entry, load: AnyLoad) -> Round:
        meter = Meter(entry.running.pid, self.cores.proxy)
        shot = self._fire(entry, load, self.result.seconds)
        return round_of(shot, meter.read())


def round_of(shot: Shot, reading: Reading) -> Round:
    """Put what the load saw and what the proxy used together; no answers: no CPU per request."""
    done = max(1, shot.requests)
    return Round(
        rate=shot.rate,
        p50=shot.p50,
        p99=shot.p99,
        cpu=reading.cpu / done * 1e6 if shot.requests else 0.0,
        rss=reading.rss,
        refused=shot.refused / done,
        broken=shot.broken,
        foreign=reading.foreign,
    )
