"""drip: a body, or a head, passes in small pieces."""

from typing import ClassVar, Final

from rules.actions import Action
from rules.body_actions import Drip
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import ON_OPEN, Fault
from rules.fault_fields import (
    directions_field,
    on_field,
    pacing_phase,
    phase_field,
    settle_on,
    settle_pacing,
)
from rules.message_actions import DripHead
from rules.params import Duration, Integer
from rules.phases import REQUEST_HEAD, RESPONSE_BODY, RESPONSE_HEAD
from rules.records import Field, Record, Values, at

MOST: Final = 65_536  # bytes of a piece

_FIELDS: Final[dict[str, Field]] = {
    "bytes": Field(Integer(1, MOST), 1, "the size of a piece"),
    "every": Field(Duration(low=0.001), doc="the time from one piece to the next"),
    "at": phase_field((REQUEST_HEAD, RESPONSE_HEAD)),
    "direction": Field(directions_field().param, None, "the body that it acts on: response, unless given"),
    "on": on_field(),
}


class DripFault(Fault):
    """The peer gets a body (with ``at``: a head) a few bytes at a time, the first ones at once."""

    KIND: ClassVar[str] = "drip"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS,
        short="every",
        human="a duration such as 10ms, or a mapping such as {bytes: 1, every: 10ms}",
    )

    def __init__(self, phase: int, action: Action) -> None:
        super().__init__(phase)
        self.action: Action = action

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it; raises BadValue where the fields contradict each other."""
        drip = Drip(values["bytes"], values["every"])
        if values["at"] is None:
            if values["direction"] is None:
                values["direction"] = RESPONSE_BODY
            fault = DripFault(pacing_phase(values), drip)
            settle_pacing(fault, values)
            return fault
        if values["direction"] is not None:
            raise at(("direction",), "at says already whose head it is: leave direction out")
        if values["on"] == ON_OPEN:
            raise at(("on",), "a head that is under way has mostly gone: use next or new")
        fault = DripFault(values["at"], DripHead(drip))
        fault.of_requests = True
        settle_on(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Drip."""
        return self.action
