"""Fields that several kinds of fault share: where in the exchange, how deep in the body, which leg."""

from typing import Final

from rules import phases
from rules.actions import GoAway
from rules.fault import BOTH, CLIENT, ON_NEW, ON_NEXT, ON_OPEN, UPSTREAM, Fault
from rules.http_params import Http2Code
from rules.params import Bool, Choice, Integer, Size, Text
from rules.phases import BODIES
from rules.records import Field, Record, Values, at

_BOTH_BODIES: Final = -1
# Before these there is no connection to an upstream yet, and what is kept in the pool belongs to nobody.
_NO_UPSTREAM: Final = (phases.ACCEPT, phases.TLS, phases.REQUEST_HEAD, phases.RESOLVE)


def phase_field(allowed: tuple[int, ...], default: int = -1) -> Field:
    """Make the field ``at:`` for a fault that can act in these phases."""
    names = {phases.NAMES[phase]: phase for phase in allowed}
    return Field(Choice(names), phases.NAMES[default] if default >= 0 else None, "the phase where it acts")


def direction_field() -> Field:
    """Make the field ``direction:`` of a fault that acts on one body; it gives the phase of that."""
    return Field(
        Choice({"request": phases.REQUEST_BODY, "response": phases.RESPONSE_BODY}),
        "response",
        "the body that it acts on",
    )


def directions_field() -> Field:
    """Make the field ``direction:`` of a fault that acts on one body or on both."""
    return Field(
        Choice({"request": phases.REQUEST_BODY, "response": phases.RESPONSE_BODY, "both": _BOTH_BODIES}),
        "response",
        "the body that it acts on; both: each for itself",
    )


def pacing_fields() -> dict[str, Field]:
    """Make the fields of a fault that slows bodies down, in one direction or both."""
    return {"direction": directions_field(), "on": on_field()}


def pacing_phase(values: Values) -> int:
    """Give the first phase that the pacing fields ask for."""
    phase: int = values["direction"]
    return phases.REQUEST_BODY if phase == _BOTH_BODIES else phase


def settle_pacing(fault: Fault, values: Values) -> None:
    """Give a fault that was just made what its pacing fields say."""
    settle_directions(fault, values)
    settle_on(fault, values)


def settle_directions(fault: Fault, values: Values) -> None:
    """Give a fault that was just made, and shapes bodies, what its field ``direction:`` says."""
    fault.shapes = True
    fault.both = values["direction"] == _BOTH_BODIES


def on_field() -> Field:
    """Make the field ``on:`` of a fault that acts on connections."""
    return Field(
        Choice({"next": ON_NEXT, "new": ON_NEW, "open": ON_OPEN}),
        None,
        "next: from the next exchange on, new: on new connections only, "
        "open: at once on what is open, then as new; open for rules of tcp alone, else next",
    )


def connection_fields() -> dict[str, Field]:
    """Make the fields of a fault that acts on a connection, in any phase."""
    everywhere = tuple(range(phases.COUNT))
    at_phase = phase_field(everywhere)
    at_phase.doc = "the phase where it acts: request_head, with after_bytes response_body, unless given"
    return {
        "at": at_phase,
        "after_bytes": Field(Size(), None, "so much of the body of that phase passes first, exactly"),
        "side": Field(
            Choice({"client": CLIENT, "upstream": UPSTREAM, "both": BOTH}),
            "client",
            "the leg it acts on; the other ends as a real proxy would end it",
        ),
        "on": on_field(),
    }


def phase_of(values: Values) -> int:
    """Give the phase that the connection fields ask for; raises BadValue where they contradict each other."""
    after = values["after_bytes"]
    phase: int | None = values["at"]
    if phase is None:
        phase = phases.REQUEST_HEAD if after is None else phases.RESPONSE_BODY
    if after is not None and phase not in BODIES:
        name = phases.NAMES[phase]
        raise at(("after_bytes",), f"after_bytes counts bytes of a body, and {name} has none: "
                 "use at: request_body or at: response_body")  # fmt: skip
    if values["side"] == UPSTREAM and phase in _NO_UPSTREAM:
        raise at(("side",), f"at {phases.NAMES[phase]} there is no connection to the upstream yet")
    return phase


def settle(fault: Fault, values: Values) -> None:
    """Give a fault that was just made what its connection fields say."""
    fault.after_bytes = values["after_bytes"] or 0
    fault.side = values["side"]
    settle_on(fault, values)


def settle_on(fault: Fault, values: Values) -> None:
    """Give a fault that was just made what its field ``on:`` says."""
    fault.on = ON_NEXT if values["on"] is None else values["on"]


def _goaway(values: Values) -> GoAway:
    """Make it of its fields; raises BadValue where they contradict each other."""
    last: int | None = values["last_stream_id"]
    if values["graceful"] and last is not None:
        raise at(("last_stream_id",), "a graceful GOAWAY names the last request that came: leave it out")
    return GoAway(values["code"], values["debug"].encode(), -1 if last is None else last, values["graceful"])


GOAWAY: Final[Record[GoAway]] = Record(
    {
        "code": Field(Http2Code(), "NO_ERROR", "why, as an HTTP/2 error code"),
        "debug": Field(Text(high=1024), "", "debug data: text that clients write into their logs"),
        "last_stream_id": Field(
            Integer(0, 0x7FFFFFFF), None, "requests beyond it count as not processed; else the one that fits"
        ),
        "graceful": Field(Bool(), False, "in two steps, and what is under way completes: no request is lost"),
    },
    make=_goaway,
    human="a mapping such as {code: ENHANCE_YOUR_CALM}, or {}",
)
