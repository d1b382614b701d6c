"""duplicate: a request reaches the upstream more than once."""

from typing import ClassVar, Final

from rules.actions import Action
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.message_actions import Duplicate
from rules.params import Integer
from rules.phases import REQUEST_HEAD
from rules.records import Field, Record, Values

MOST: Final = 100  # times


class DuplicateFault(Fault):
    """The upstream gets a request so many times; the client gets one answer."""

    KIND: ClassVar[str] = "duplicate"
    PARAMS: ClassVar[Record[Values]] = Record(
        {"times": Field(Integer(2, MOST), 2, "so many times in all")},
        short="times",
        human="a number of times such as 2, or a mapping such as {times: 2}",
    )

    def __init__(self, times: int) -> None:
        super().__init__(REQUEST_HEAD)
        self.action: Duplicate = Duplicate(times)
        self.of_requests = True

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        return DuplicateFault(values["times"])

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Duplicate it."""
        return self.action
