"""close: the connection ends with a clean FIN before the message is complete."""

from typing import ClassVar, Final

from rules.actions import Action, Close, GoAway
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import CLIENT, Fault
from rules.fault_fields import GOAWAY, connection_fields, phase_of, settle
from rules.params import Bool
from rules.phases import ACCEPT, NAMES, TLS
from rules.records import Field, Record, Values, at

_FIELDS: Final = connection_fields()
_FIELDS["goaway"] = Field(
    GOAWAY, None, "HTTP/2: what GOAWAY says; without it NO_ERROR, and that this request was not processed"
)
_FIELDS["close_notify"] = Field(
    Bool(), True, "TLS: false leaves out the alert that announces the end, as if somebody had cut it off"
)


class CloseFault(Fault):
    """The peer sees an early end: at once, or after exactly so many bytes of a body.

    HTTP/2 has a GOAWAY before it; a graceful one ends nothing that is under way.
    """

    KIND: ClassVar[str] = "close"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS,
        human="a mapping such as {after_bytes: 1KiB}, or {}",
    )

    def __init__(self, phase: int, goaway: GoAway | None, close_notify: bool) -> None:
        super().__init__(phase)
        graceful = goaway is not None and goaway.graceful
        self.end: Action = goaway if goaway is not None and graceful else Close(goaway, close_notify)
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
        if not values["close_notify"]:
            _check_close_notify(values, phase)
        fault = CloseFault(phase, values["goaway"], values["close_notify"])
        settle(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """End the connection, at once or when what is under way is done."""
        return self.end


def _check_close_notify(values: Values, phase: int) -> None:
    """Raise BadValue where there is no close_notify that could be left out."""
    if phase in (ACCEPT, TLS):
        raise at(("close_notify",), f"at {NAMES[phase]} there is no TLS yet whose end could be announced")
    if values["goaway"] is not None and values["goaway"].graceful:
        raise at(("close_notify",), "a graceful end is announced: leave out close_notify, or graceful")
