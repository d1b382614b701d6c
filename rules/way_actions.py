"""What a fault may ask of the proxy on its way to an upstream, see ``rules.actions``."""

from typing import Final

from rules.actions import Action

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
