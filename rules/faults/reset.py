"""reset: the connection ends with a true RST, a stream of HTTP/2 with RST_STREAM."""

from typing import ClassVar, Final

from rules.actions import Action, Reset
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import connection_fields, phase_of, settle
from rules.http_params import Http2Code
from rules.params import Choice
from rules.records import Field, Record, Values

_FIELDS: Final = connection_fields()
_FIELDS["code"] = Field(Http2Code(), "CANCEL", "HTTP/2: the error code of RST_STREAM")
_FIELDS["scope"] = Field(
    Choice({"stream": False, "connection": True}),
    "stream",
    "HTTP/2: this stream alone, or its connection with all that is on it, by a true RST",
)


class ResetFault(Fault):
    """The peer sees ECONNRESET (HTTP/2: RST_STREAM): at once, or after exactly so many bytes of a body."""

    KIND: ClassVar[str] = "reset"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS,
        human="a mapping such as {after_bytes: 1KiB}, or {}",
    )

    def __init__(self, phase: int, reset: Reset) -> None:
        super().__init__(phase)
        self.reset: Reset = reset
        self.ends_exchange = True

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        fault = ResetFault(phase_of(values), Reset(values["code"], values["scope"]))
        settle(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Reset."""
        return self.reset
