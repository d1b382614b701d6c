"""corrupt: bits of a body are flipped."""

from typing import ClassVar, Final

from rules.actions import Action
from rules.body_actions import Flip
from rules.draw import MILLION, Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import directions_field, pacing_phase, settle_directions
from rules.params import Integer, Percent
from rules.records import Field, Record, Values, exactly_one

MOST: Final = 1000  # flips

_KINDS: Final = ("percent_of_bytes", "flips")


class CorruptFault(Fault):
    """The peer gets a body of the right length and framing, with wrong bits in it."""

    KIND: ClassVar[str] = "corrupt"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "percent_of_bytes": Field(Percent(), None, "in so many of the bytes one bit is flipped"),
            "flips": Field(Integer(1, MOST), None, "so many bits are flipped, each in another byte"),
            "direction": directions_field(),
        },
        human="a mapping such as {flips: 3} or {percent_of_bytes: 0.1}",
    )

    def __init__(self, phase: int, flip: Flip) -> None:
        super().__init__(phase)
        self.flip: Flip = flip

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        exactly_one(values, _KINDS)
        share: int = values["percent_of_bytes"] or 0
        fault = CorruptFault(pacing_phase(values), Flip(share / MILLION, values["flips"] or 0))
        settle_directions(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Flip bits; which ones is drawn as they pass."""
        return self.flip
