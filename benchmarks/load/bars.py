"""The bars of ``performance.md``: printed with what was measured, never asserted in tests."""

from dataclasses import dataclass

from benchmarks.load import rulesets, workloads
from benchmarks.load.results import Result
from benchmarks.load.subjects import COMPILED, INTERPRETED

OK = "ok"
MISS = "MISS"
UNKNOWN = "not measured"

# HTTP/2 on both sides: workload, title, bar and aim against nghttpx compiled, bar against Envoy interpreted.
_HTTP2 = (
    (workloads.H2_SAME, "HTTP/2 same request, CPU", 1.2, 0.7, 0.9),
    (workloads.H2_DISTINCT, "HTTP/2 distinct paths, CPU", 1.2, 0.7, 0.9),
    (workloads.H2_CHURN, "HTTP/2 churn, CPU", 1.2, 0.9, 1.3),
    (workloads.H2_GRPC, "gRPC unary echo, CPU", 1.0, 0.4, 0.9),
)


@dataclass(frozen=True)
class Verdict:
    """One bar: what it is about, what was measured, what had to be reached, and the aim beyond."""

    title: str
    build: str
    measured: float | None
    limit: float
    unit: str
    aim: str = ""

    @property
    def word(self) -> str:
        """Say ok, MISS or not measured."""
        if self.measured is None:
            return UNKNOWN
        return OK if self.measured <= self.limit else MISS


def _ratio(
    result: Result, workload: str, figure: str, ours: str, peer: str, rules: tuple[str, str] = ("", "")
) -> float | None:
    """Give our figure over a peer's (or over our own with other rules) in one workload."""
    mine, other = result.row(workload, ours, rules[0]), result.row(workload, peer, rules[1])
    if mine is None or other is None or not other.middle(figure):
        return None
    return mine.middle(figure) / other.middle(figure) or None  # 0: nothing was answered


def _against_peers(result: Result, build: str) -> list[Verdict]:
    tls = workloads.TLS_32.name
    small, large, one = workloads.SMALL_32.name, workloads.LARGE.name, workloads.SMALL_1.name
    if build == COMPILED:
        to_nginx = _ratio(result, small, "cpu", build, "nginx")
        aim = "≤ 1.0 x nginx" + ("" if to_nginx is None else f" ({to_nginx:.2f})")
        return [
            _verdict(result, "small GET, 32 connections, CPU", small, "cpu", build, "HAProxy", 1.3, aim),
            _verdict(result, "64 KiB response, CPU", large, "cpu", build, "HAProxy", 1.2, "≤ 0.8 x HAProxy"),
            _verdict(result, "small GET over TLS, CPU", tls, "cpu", build, "HAProxy", 1.4, "≤ 1.1 x HAProxy"),
            _verdict(result, "p50 at one connection", one, "p50", build, "HAProxy", 1.3, "≤ 1.0 x HAProxy"),
        ]
    return [
        _verdict(result, "small GET, 32 connections, CPU", small, "cpu", build, "Envoy", 0.6),
        _verdict(result, "64 KiB response, CPU", large, "cpu", build, "Envoy", 1.0),
        _verdict(result, "small GET over TLS, CPU", tls, "cpu", build, "Envoy", 0.75),
        _verdict(result, "p50 at one connection", one, "p50", build, "HAProxy", 1.5),
    ]


def _verdict(
    result: Result, title: str, workload: str, figure: str, build: str, peer: str, limit: float, aim: str = ""
) -> Verdict:
    return Verdict(title, build, _ratio(result, workload, figure, build, peer), limit, f"x {peer}", aim)


def _http2(result: Result, build: str) -> list[Verdict]:
    """Give the bars of HTTP/2 on both sides."""
    made: list[Verdict] = []
    for workload, title, compiled, aim, interpreted in _HTTP2:
        if build == COMPILED:
            told = f"≤ {aim} x nghttpx"
            made.append(_verdict(result, title, workload.name, "cpu", build, "nghttpx", compiled, told))
        else:
            made.append(_verdict(result, title, workload.name, "cpu", build, "Envoy", interpreted))
    rows = [row for row in result.streams if row.subject == build]
    above = (rows[0].held - rows[0].idle) / 2**20 if rows else None
    return [*made, Verdict("RSS of 1,000 open streams, above idle", build, above, 30.0, "MiB")]


def _many_rules(result: Result, build: str) -> Verdict:
    names = (rulesets.TEN_THOUSAND.name, rulesets.TEN.name)
    measured = _ratio(result, workloads.MANY_RULES.name, "cpu", build, build, names)
    return Verdict("10,000 rules, none matches, CPU", build, measured, 1.2, "x 10 rules", "≤ 1.05")


def _delays(result: Result, build: str) -> list[Verdict]:
    rows = [row for row in result.delays if row.subject == build]
    late = max((row.p99_ms for row in rows), default=None)
    early = float(sum(row.early for row in rows)) if rows else None
    return [
        Verdict("injected delay, late at p99", build, late, 2.0, "ms", "≤ 0.5 ms"),
        Verdict("injected delay, answers too early", build, early, 0.0, "answers"),
    ]


def _memory(result: Result, build: str) -> list[Verdict]:
    rows = [row for row in result.memory if row.subject == build]
    idle = rows[0].idle / 2**20 if rows else None
    held = rows[0].held / 2**20 if rows else None
    return [
        Verdict("RSS idle", build, idle, 60.0, "MiB", "≤ 40 MiB"),
        Verdict("RSS with 1,000 keep-alive connections", build, held, 80.0, "MiB", "≤ 55 MiB"),
    ]


def _throttle(result: Result, build: str) -> list[Verdict]:
    rows = [row for row in result.throttles if row.subject == build]
    off = max((abs(row.seen / row.asked - 1) * 100 for row in rows), default=None)
    each = max(
        ((row.held - row.idle) / row.streams / 1024 for row in result.crowds if row.subject == build),
        default=None,
    )
    return [
        Verdict("throttled rate, off by", build, off, 2.0, "%"),
        Verdict("RSS of a throttled stream, of 1,000", build, each, 256.0, "KiB"),
    ]


def _reviews(result: Result, build: str) -> list[Verdict]:
    row = result.row(workloads.REVIEWS.name, build)
    cpu = row.middle("cpu") or None if row is not None else None
    return [Verdict("admission review, CPU", build, cpu, 2000.0, "µs", "500 a second on one core")]


def verdicts(result: Result) -> list[Verdict]:
    """Give every bar for both builds."""
    made: list[Verdict] = []
    for build in (COMPILED, INTERPRETED):
        made += _against_peers(result, build)
        made.append(_many_rules(result, build))
        made += _delays(result, build)
        made += _memory(result, build)
        made += _http2(result, build)
        made += _throttle(result, build)
        made += _reviews(result, build)
    return made
