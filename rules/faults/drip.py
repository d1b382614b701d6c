"""drip: a body passes in small pieces."""

from typing import ClassVar, Final

from rules.actions import Action
from rules.body_actions import Drip
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import pacing_fields, pacing_phase, settle_pacing
from rules.params import Duration, Integer
from rules.records import Field, Record, Values

MOST: Final = 65_536  # bytes of a piece

_FIELDS: Final[dict[str, Field]] = {
    "bytes": Field(Integer(1, MOST), 1, "the size of a piece"),
    "every": Field(Duration(low=0.001), doc="the time from one piece to the next"),
    **pacing_fields(),
}


class DripFault(Fault):
    """The peer gets a body a few bytes at a time, the first ones at once."""

    KIND: ClassVar[str] = "drip"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS,
        short="every",
        human="a duration such as 10ms, or a mapping such as {bytes: 1, every: 10ms}",
    )

    def __init__(self, phase: int, drip: Drip) -> None:
        super().__init__(phase)
        self.drip: Drip = drip

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        fault = DripFault(pacing_phase(values), Drip(values["bytes"], values["every"]))
        settle_pacing(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Drip."""
        return self.drip
