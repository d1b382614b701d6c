"""truncate: the body ends early, and its framing says otherwise."""

from typing import ClassVar, Final

from rules.actions import Action, CutBody
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.fault_fields import direction_field
from rules.params import Size
from rules.phases import RESPONSE_BODY
from rules.records import Field, Record, Values

_CUT: Final = CutBody()


class TruncateFault(Fault):
    """The peer gets exactly so many bytes of a body, and then its end.  A shorter body ends as it does."""

    KIND: ClassVar[str] = "truncate"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "after_bytes": Field(Size(), doc="so much of the body arrives, exactly"),
            "direction": direction_field(),
        },
        short="after_bytes",
        human="a size such as 100B, or a mapping such as {after_bytes: 1KiB, direction: request}",
    )

    def __init__(self, phase: int, after_bytes: int) -> None:
        super().__init__(phase)
        self.after_bytes = after_bytes
        # Behind a request that was cut off an answer may still come.
        self.ends_exchange = phase == RESPONSE_BODY

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        return TruncateFault(values["direction"], values["after_bytes"])

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """End it."""
        return _CUT
