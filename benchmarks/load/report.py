"""Tables for people."""

from collections.abc import Iterable, Sequence

from benchmarks.load import bars
from benchmarks.load.floods import NEVER
from benchmarks.load.h2_floods import FLOODS
from benchmarks.load.results import MemoryRow, Result, Row, ThrottleRow
from benchmarks.load.subjects import COMPILED, INTERPRETED
from benchmarks.load.workloads import REVIEWS, WORKLOADS, Workload

FOREIGN_LIMIT: float = 0.05  # above this share of the proxy's core a figure is marked
DASH = "-"
STAR = "*"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Set a table in plain text: the first ``left`` columns to the left, figures to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    out: list[str] = []
    for line in lines:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        out.append("  ".join(cells).rstrip())
    out.insert(1, "  ".join(DASH * width for width in widths))
    return "\n".join(out)


def ratio(ours: float | None, theirs: float) -> str:
    """Give ours over theirs; a dash where one of them is not there."""
    return f"{ours / theirs:.2f}" if ours and theirs else DASH


def workload_table(result: Result, workload: Workload) -> str:
    """Give one workload's table; empty when it was not run."""
    rows = [row for row in result.rows if row.workload == workload.name]
    if not rows:
        return ""
    if len(workload.rules) > 1:
        head, last = ["x fewer rules"], [[_to_first(row, rows)] for row in rows]
    else:
        head = ["compiled ÷ it", "interpreted ÷ it"]
        last = [[_to_build(row, rows, build) for build in (COMPILED, INTERPRETED)] for row in rows]
    several = len(workload.rules) > 1
    lines = [_figures(row, several) + more for row, more in zip(rows, last, strict=True)]
    head = [
        "",
        f"{workload.unit}s/s",
        "p50 µs",
        "p99 µs",
        f"CPU µs/{workload.unit}",
        "RSS MiB",
        "refused",
        *head,
    ]
    skipped = [f"{one.subject}: {one.why}" for one in result.skipped if one.workload == workload.name]
    aside = f"\naside: {'; '.join(skipped)}" if skipped else ""
    return f"{workload.title}\n{table(head, lines)}{aside}"


def _to_first(row: Row, rows: Sequence[Row]) -> str:
    first = next(one for one in rows if one.subject == row.subject)
    return ratio(row.middle("cpu"), first.middle("cpu"))


def _to_build(row: Row, rows: Sequence[Row], build: str) -> str:
    ours = next((one.middle("cpu") for one in rows if one.subject == build), None)
    return ratio(ours, row.middle("cpu"))


def _figures(row: Row, with_rules: bool) -> list[str]:
    cpu, rss, refused = row.middle("cpu"), row.middle("rss"), row.middle("refused")
    disturbed = STAR if row.middle("foreign") > FOREIGN_LIMIT else ""
    broken = sum(one.broken for one in row.rounds)
    return [
        f"{row.subject}, {row.rules}" if with_rules else row.subject,
        f"{row.middle('rate'):,.0f}",
        *(f"{row.middle(name):,.0f}" if row.middle(name) else DASH for name in ("p50", "p99")),
        f"{cpu:,.1f}{disturbed}" if cpu else DASH,
        f"{rss / 2**20:.1f}" if rss else DASH,
        (f"{refused:.2%}" if refused else DASH) + (f" +{broken} broken" if broken else ""),
    ]


def memory_table(rows: Sequence[MemoryRow], what: str) -> str:
    """Give the table of resident memory, idle and with ``what`` held; empty when it was not measured."""
    if not rows:
        return ""
    lines = [
        [row.subject, *(f"{one / 2**20:.1f}" for one in (row.idle, row.held, row.held - row.idle))]
        for row in rows
    ]
    return f"resident memory, MiB\n{table(['', 'idle', f'{rows[0].connections:,} {what}', 'above'], lines)}"


def delay_table(result: Result) -> str:
    """Give the table of delays asked against seen; empty when it was not measured."""
    if not result.delays:
        return ""
    lines = [
        [
            row.subject,
            f"{row.asked_ms:g}",
            str(row.count),
            f"{row.least_ms:.3f}",
            f"{row.p50_ms:.3f}",
            f"{row.p99_ms:.3f}{STAR if row.foreign > FOREIGN_LIMIT else ''}",
            str(row.early),
            f"{row.stolen_turns} of {row.turns + row.stolen_turns}",
            f"{row.all_p99_ms:.3f}",
        ]
        for row in result.delays
    ]
    head = ["", "asked ms", "requests", "late min ms", "late p50 ms", "late p99 ms", "early"]
    head += ["turns left out", "p99 with them"]
    return (
        "injected delay, asked against seen by one connection (less turns in which the host took a core)\n"
        f"{table(head, lines)}"
    )


def flood_table(result: Result) -> str:
    """Give the table of floods; empty when they were not measured."""
    if not result.floods:
        return ""
    lines = [
        [
            row.flood,
            row.subject,
            f"{row.p50:,.0f}",
            f"{row.p99:,.0f}",
            f"{row.flooded_p50:,.0f}",
            f"{row.flooded_p99:,.0f}",
            ratio(row.flooded_p99, row.p99),
            str(row.failed or DASH),
            "not" if row.ended_after >= NEVER else f"{row.ended_after:,.0f}",
            str(row.connections),
            f"{row.grown / 2**20:.1f}",
        ]
        for row in sorted(result.floods, key=lambda row: _order(row.flood))
    ]
    head = [
        "",
        "",
        "p50 µs",
        "p99 µs",
        "flooded p50",
        "p99",
        "p99 x",
        "failed",
        "ended after",
        "times",
        "MiB",
    ]
    return f"HTTP/2 floods, as another client sees them\n{table(head, lines, left=2)}"


def mint_table(result: Result) -> str:
    """Give the table of minting; empty when it was not measured."""
    if not result.mints:
        return ""
    lines = [
        [
            row.subject,
            row.kind,
            row.names,
            f"{row.asked:,}",
            *(f"{one:,.0f}" for one in (row.p50, row.p99, row.maximum)),
            f"{row.handshakes:,}" if row.handshakes else DASH,
            f"{row.rate:.0f}" if row.handshakes else DASH,
            f"{row.waited:,.0f}" if row.handshakes else DASH,
            str(row.failed or DASH),
        ]
        for row in result.mints
    ]
    told = ["", "key", "names", "requests", "p50 µs", "p99 µs", "max µs"]
    head = [*told, "handshakes", "per s", "p50 µs", "failed"]
    return f"minting, as another client sees it\n{table(head, lines, left=3)}"


def throttle_table(result: Result) -> str:
    """Give the tables of throttled rates, one stream and a crowd; empty when they were not measured."""
    if not result.throttles and not result.crowds:
        return ""
    lines = [
        [row.subject, row.protocol, f"{row.asked / 1024:,.0f}", f"{row.seen / 1024:,.2f}", _off(row)]
        for row in result.throttles
    ]
    rates = table(["", "protocol", "asked KiB/s", "received", "off by"], lines, left=2)
    crowd = [
        [
            row.subject,
            row.protocol,
            f"{row.streams:,}",
            f"{row.asked / 1024:,.0f}",
            *(f"{one / 1024:,.3f}" for one in (row.least, row.middle)),
            f"{row.most / 1024:,.3f}{STAR if row.foreign > FOREIGN_LIMIT else ''}",
            *(f"{one / 2**20:.1f}" for one in (row.idle, row.held)),
            f"{(row.held - row.idle) / row.streams / 1024:.1f}",
        ]
        for row in result.crowds
    ]
    told = [
        "",
        "protocol",
        "streams",
        "asked KiB/s",
        "least",
        "median",
        "most",
        "idle MiB",
        "held",
        "KiB each",
    ]
    return f"throttled rates, as receivers see them\n{rates}\n\n{table(told, crowd, left=2)}"


def _off(row: ThrottleRow) -> str:
    return f"{row.seen / row.asked - 1:+.2%}{STAR if row.foreign > FOREIGN_LIMIT else ''}"


def _order(flood: str) -> int:
    return [one.name for one in FLOODS].index(flood)


def bars_table(result: Result) -> str:
    """Give the bars with what was measured."""
    lines = [
        [
            one.title,
            one.build.removeprefix("misrule "),
            DASH if one.measured is None else f"{one.measured:.2f}",
            f"≤ {one.limit:g} {one.unit}",
            one.aim or DASH,
            one.word,
        ]
        for one in bars.verdicts(result)
    ]
    return f"bars\n{table(['', 'build', 'measured', 'bar', 'aim', ''], lines, left=2)}"


def header(result: Result) -> str:
    """Say where the figures come from."""
    machine = result.machine
    lines = [
        f"{result.started}  commit {result.commit}  {machine.cores} cores of {machine.processor}, "
        f"{machine.memory_mib} MiB, Linux {machine.kernel}, Python {machine.python}",
        f"medians of {result.rounds} interleaved rounds of {result.seconds:g} s",
    ]
    lines += [f"{name}: {version}" for name, version in result.versions.items() if version]
    return "\n".join(lines)


def noise(result: Result) -> str:
    """Say when the machine was not quiet; empty when it was."""
    shares = [row.middle("foreign") for row in result.rows]
    shares += [row.foreign for rows in (result.delays, result.throttles, result.crowds) for row in rows]
    disturbed = sum(1 for share in shares if share > FOREIGN_LIMIT)
    if not disturbed:
        return ""
    return (
        f"{STAR} others used over {FOREIGN_LIMIT:.0%} of the proxy's core in {disturbed} of {len(shares)} "
        "measurements: the machine was not quiet"
    )


def whole(result: Result) -> str:
    """Give the whole report."""
    parts = [header(result)]
    parts += [workload_table(result, workload) for workload in (*WORKLOADS, REVIEWS)]
    parts += [
        memory_table(result.memory, "keep-alive connections"),
        memory_table(result.streams, "open streams"),
    ]
    parts += [
        delay_table(result),
        flood_table(result),
        mint_table(result),
        throttle_table(result),
        bars_table(result),
        noise(result),
    ]
    return "\n\n".join(part for part in parts if part)
