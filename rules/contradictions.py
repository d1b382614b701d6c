"""What must hold between the parts of a rule: a fault acts when what its rule looks at is known.

Looks at the rule as written, so that a mistake in one part hides no contradiction between others.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rules import phases
from rules.facts import PROTOCOLS, TCP
from rules.fault import Fault
from rules.model import PlannedFault, Sample
from rules.params import Trouble

# From which phase on a part of a match is known.
_KNOWN_AT: Final = {
    "listener": phases.ACCEPT,
    "source": phases.ACCEPT,
    "sni": phases.TLS,
    "client_certificate": phases.REQUEST_HEAD,  # it is shown behind our own
    "upstream": phases.REQUEST_HEAD,
    "dns": phases.REQUEST_HEAD,  # the hosts of the upstream
    "protocol": phases.REQUEST_HEAD,
    "host": phases.REQUEST_HEAD,
    "path": phases.REQUEST_HEAD,
    "method": phases.REQUEST_HEAD,
    "query": phases.REQUEST_HEAD,
    "headers": phases.REQUEST_HEAD,
    "grpc": phases.REQUEST_HEAD,
    "attempt": phases.REQUEST_HEAD,
    "response": phases.RESPONSE_HEAD,
}
_NEEDS_GRPC: Final = (
    "grpc_status needs a match that implies gRPC: protocol: [grpc], or grpc: with a service or a method"
)


def contradictions(
    written: dict[str, Any], faults: Sequence[PlannedFault | None], sample: Sample | None
) -> Iterator[Trouble]:
    """Find the faults that act before a part of the match or the sample is known, and what needs gRPC.

    ``faults`` has None for those that could not be read; ``sample`` is None where there is none that could.
    """
    match = written.get("match")
    match = match if isinstance(match, dict) else {}
    grpc = match.get("protocol") in ("grpc", ["grpc"]) or "grpc" in match
    known = list(_known_at(match, sample))
    for number, planned in enumerate(faults):
        if planned is None:
            continue
        path = _fault_path(written["faults"][number], number)
        yield from _too_early(planned, known, path)
        yield from _not_spoken(planned.fault, match.get("protocol"), path)
        if match.get("protocol") in ("tcp", ["tcp"]):
            yield from _without_requests(planned, path)
        if planned.fault.needs_grpc and not grpc:
            yield Trouble(path, f"{_NEEDS_GRPC}; or a status beside it, for all other callers", True)
    response = match.get("response")
    if isinstance(response, dict) and "grpc_status" in response and not grpc:
        yield Trouble(("match", "response", "grpc_status"), _NEEDS_GRPC, True)


def _fault_path(entry: object, number: int) -> tuple[str | int, ...]:
    """Give the path of a fault: that of its kind's key where there is one."""
    return ("faults", number, *entry) if isinstance(entry, dict) else ("faults", number)


def _not_spoken(fault: Fault, written: object, path: tuple[str | int, ...]) -> Iterator[Trouble]:
    """Find a fault that concerns none of the protocols which the rule is for; tcp alone has its own words."""
    names = written if isinstance(written, list) else [written]
    wanted = sum({PROTOCOLS[name] for name in names if isinstance(name, str) and name in PROTOCOLS})
    if fault.protocols and wanted not in (0, TCP) and not wanted & fault.protocols:
        able = [name for name, bit in PROTOCOLS.items() if bit & fault.protocols]
        yield Trouble(
            path, f"{fault.KIND} acts on {' and '.join(able)} alone, and this rule is for none of these", True
        )


def _without_requests(planned: PlannedFault, path: tuple[str | int, ...]) -> Iterator[Trouble]:
    """Find what can never act where bytes are passed on unread."""
    fault = planned.fault
    if fault.of_requests:
        yield Trouble(path, f"{fault.KIND} is about requests, and of tcp none are read", True)
    elif fault.phase in (phases.RESPONSE_HEAD, phases.END):
        yield Trouble(
            path,
            f"tcp has no {phases.NAMES[fault.phase]}; what the upstream sends passes at response_body",
            True,
        )


def _too_early(
    planned: PlannedFault, known: list[tuple[str, int]], path: tuple[str | int, ...]
) -> Iterator[Trouble]:
    fault = planned.fault
    own = ("its own sample.sticky", _sticky_known_at(planned.sample))
    late = [
        f"{part} is known only from {phases.NAMES[phase]} on"
        for part, phase in [*known, own]
        if fault.phase < phase
    ]
    if late:
        message = f"{fault.KIND} acts at {phases.NAMES[fault.phase]}, but {' and '.join(late)}"
        yield Trouble(path, message, True)


def _known_at(match: dict[str, Any], sample: Sample | None) -> Iterator[tuple[str, int]]:
    """Give each part that the rule looks at, and the phase from which it is known."""
    tcp = match.get("protocol") in ("tcp", ["tcp"])
    for part in match:
        phase = _KNOWN_AT.get(part, phases.ACCEPT)
        if tcp and part in ("protocol", "upstream"):
            phase = phases.ACCEPT  # nothing is read before such a connection is routed
        yield f"match.{part}", phase
    yield "sample.sticky", _sticky_known_at(sample)


def _sticky_known_at(sample: Sample | None) -> int:
    if sample is None or sample.sticky in ("", "source"):
        return phases.ACCEPT
    return phases.TLS if sample.sticky == "sni" else phases.REQUEST_HEAD
