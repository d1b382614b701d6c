"""What reset, close and stall have in common, asked of each of them by its own tests."""

from rules import phases
from rules.fault import BOTH, CLIENT, ON_NEW, ON_NEXT, ON_OPEN, UPSTREAM
from tests.faults.cases import read

Placed = tuple[int, int, int, int]


def placed(kind: str, fields: str) -> Placed:
    """Read a fault and tell where it acts: phase, bytes before it, side, and on which connections."""
    fault = read(f"{{{kind}: {fields}}}")
    return fault.phase, fault.after_bytes, fault.side, fault.on


PLACES: list[tuple[str, Placed]] = [
    ("{}", (phases.REQUEST_HEAD, 0, CLIENT, ON_NEXT)),
    ("{after_bytes: 1KiB}", (phases.RESPONSE_BODY, 1024, CLIENT, ON_NEXT)),
    ("{after_bytes: 0B}", (phases.RESPONSE_BODY, 0, CLIENT, ON_NEXT)),
    ("{after_bytes: 7B, at: request_body}", (phases.REQUEST_BODY, 7, CLIENT, ON_NEXT)),
    ("{at: connect, side: upstream, on: next}", (phases.CONNECT, 0, UPSTREAM, ON_NEXT)),
    ("{at: response_body, side: both, on: new}", (phases.RESPONSE_BODY, 0, BOTH, ON_NEW)),
    ("{on: open}", (phases.REQUEST_HEAD, 0, CLIENT, ON_OPEN)),
    *(
        (f"{{at: {name}}}", (number, 0, CLIENT, ON_NEXT))
        for number, name in enumerate(phases.NAMES)
    ),
]  # fmt: skip
