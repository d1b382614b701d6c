"""connect: the upstream cannot be connected to, as this proxy tells its clients."""

from typing import ClassVar

from rules.actions import (
    Action,
)
from rules.draw import Dice
from rules.facts import Facts
from rules.fault import Fault
from rules.params import Choice
from rules.phases import CONNECT
from rules.records import Field, Record, Values
from rules.way_actions import (
    REFUSED,
    RESET,
    TIMED_OUT,
    UNREACHABLE,
    FailToConnect,
)


class ConnectFault(Fault):
    """The client gets what it gets where the upstream really is so; the upstream is not touched."""

    KIND: ClassVar[str] = "connect"
    PARAMS: ClassVar[Record[Values]] = Record(
        {
            "failure": Field(
                Choice(
                    {"refused": REFUSED, "timeout": TIMED_OUT, "unreachable": UNREACHABLE, "reset": RESET}
                ),
                doc="why no connection is made; reset: it is made, and reset at once",
            ),
        },
        short="failure",
        human="refused, timeout, unreachable or reset",
    )

    def __init__(self, action: FailToConnect) -> None:
        super().__init__(CONNECT)
        self.action: FailToConnect = action
        self.ends_exchange = True

    @classmethod
    def build(cls, values: Values) -> Fault:
        """Make it."""
        return ConnectFault(FailToConnect(values["failure"]))

    def decide(self, facts: Facts, dice: Dice) -> Action:
        """Fail."""
        return self.action
