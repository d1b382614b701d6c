"""close: the connection ends with a clean FIN before the message is complete."""

from typing import ClassVar, Final

from rules.actions import Action, Close, GoAway
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import CLIENT, Fault
from rules.fault_fields import GOAWAY, connection_fields, phase_of, settle
from rules.phases import ACCEPT, NAMES, TLS
from rules.records import Field, Record, Values, at

_FIELDS: Final = connection_fields()
_FIELDS["goaway"] = Field(
    GOAWAY, None, "HTTP/2: what GOAWAY says; without it NO_ERROR, and that this request was not processed"
)


class CloseFault(Fault):
    """The peer sees an early end: at once, or after exactly so many bytes of a body.

    HTTP/2 has a GOAWAY before it; a graceful one ends nothing that is under way.
    """

    KIND: ClassVar[str] = "close"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS,
        later={"close_notify": "it comes with TLS"},
        human="a mapping such as {after_bytes: 1KiB}, or {}",
    )

    def __init__(self, phase: int, goaway: GoAway | None) -> None:
        super().__init__(phase)
        graceful = goaway is not None and goaway.graceful
        self.end: Action = goaway if goaway is not None and graceful else Close(goaway)
        self.ends_exchange = not graceful

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        phase = phase_of(values)
        if values["goaway"] is not None:
            if values["side"] != CLIENT:
                raise at(("goaway",), "GOAWAY goes to clients: it needs side: client")
            if phase in (ACCEPT, TLS):
                raise at(("goaway",), f"at {NAMES[phase]} nobody knows yet whether this is HTTP/2")
        fault = CloseFault(phase, values["goaway"])
        settle(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """End the connection, at once or when what is under way is done."""
        return self.end
