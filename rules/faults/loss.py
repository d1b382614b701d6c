"""loss: a body passes as over a network that loses segments."""

from typing import ClassVar, Final

from rules.actions import Action
from rules.body_actions import Lose
from rules.draw import MILLION, Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import pacing_fields, pacing_phase, settle_pacing
from rules.params import Duration, Number, Percent
from rules.records import Field, Record, Values

_FIELDS: Final[dict[str, Field]] = {
    "percent": Field(Percent(), doc="of the segments are lost"),
    "correlation": Field(Number(0, 1), 0, "of each loss with the one before; as many are lost in all"),
    "rto": Field(Duration(low=0.001), "200ms", "so long until a lost segment is sent again"),
    "backoff": Field(Number(1, 10), 2, "so many times as long for each time that it is lost again"),
    **pacing_fields(),
}


class LossFault(Fault):
    """The peer waits now and then: for a segment that was lost, and for all that is behind it."""

    KIND: ClassVar[str] = "loss"
    PARAMS: ClassVar[Record[Values]] = Record(
        _FIELDS,
        short="percent",
        human="a percentage such as 5, or a mapping such as {percent: 5, rto: 200ms}",
    )

    def __init__(self, phase: int, lose: Lose) -> None:
        super().__init__(phase)
        self.lose: Lose = lose

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        share: int = values["percent"]
        lose = Lose(share / MILLION, values["correlation"], values["rto"], values["backoff"])
        fault = LossFault(pacing_phase(values), lose)
        settle_pacing(fault, values)
        return fault

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Lose segments; which ones is drawn as they pass."""
        return self.lose
