"""What a fault may ask of the proxy on its way to an upstream, see ``rules.actions``."""

from typing import Final

from rules.actions import Action
from rules.limits import LimitFigures

# Why an upstream cannot be connected to.
REFUSED: Final = 0
TIMED_OUT: Final = 1
UNREACHABLE: Final = 2
RESET: Final = 3  # it takes the connection, and resets it at once


class FailToConnect(Action):
    """Show what this proxy makes of an upstream that cannot be connected to for this reason."""

    __slots__ = ("reason",)

    def __init__(self, reason: int) -> None:
        self.reason: int = reason


class Admit(Action):
    """Ask the limits that the rule keeps for a place, which the exchange or its connection has till its end.

    ``over`` is what comes of one who gets none, by what they say (``rules.limits``).  ``requests``: it counts
    as a request, and not as a connection alone.
    """

    __slots__ = ("figures", "key", "over", "requests")

    def __init__(self, figures: LimitFigures, key: bytes, over: list[Action], requests: bool) -> None:
        self.figures: LimitFigures = figures
        self.key: bytes = key
        self.over: list[Action] = over
        self.requests: bool = requests


class Say(Action):
    """Tell a client whose bytes are passed on unread these, and end its connection with FIN.

    ``of_postgres``: behind its startup message, and after its wish for encryption was declined.
    """

    __slots__ = ("data", "of_postgres")

    def __init__(self, data: bytes, of_postgres: bool = False) -> None:
        self.data: bytes = data
        self.of_postgres: bool = of_postgres
