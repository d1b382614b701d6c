"""throttle: a body passes at a rate."""

from typing import ClassVar, Final

from rules.actions import Action
from rules.body_actions import Throttle
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import pacing_fields, pacing_phase, settle_pacing
from rules.params import Choice, Rate, Size
from rules.records import Field, Record, Values

_FIELDS: Final[dict[str, Field]] = {
    "rate": Field(Rate(), doc="so much in a second"),
    "burst": Field(Size(), None, "so much may run ahead, at first and after a pause: nothing, unless given"),
    "scope": Field(
        Choice({"exchange": False, "rule": True}),
        "exchange",
        "exchange: each has the rate for itself; rule: all exchanges of the rule have it together",
    ),
    **pacing_fields(),
}


class ThrottleFault(Fault):
    """The peer gets a body at a rate, in small pieces."""

    KIND: ClassVar[str] = "throttle"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS,
        short="rate",
        human="a rate such as 64KiB/s, or a mapping such as {rate: 64KiB/s, direction: both}",
    )

    def __init__(self, phase: int, throttle: Throttle) -> None:
        super().__init__(phase)
        self.throttle: Throttle = throttle

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        throttle = Throttle(float(values["rate"]), float(values["burst"] or 0), values["scope"])
        fault = ThrottleFault(pacing_phase(values), throttle)
        settle_pacing(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Throttle."""
        return self.throttle
