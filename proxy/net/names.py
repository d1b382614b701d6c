"""What a dialler may ask about names; who answers is given to it."""

from collections.abc import Awaitable

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Names:
    """Finds the addresses of hosts, in the order in which they are to be tried (RFC 6724)."""

    def known(self, host: str) -> list[str] | None:
        """Give the addresses that are known and fresh; None: they must be looked up."""
        raise NotImplementedError

    def look_up(self, host: str, patience: float) -> Awaitable[list[str]]:
        """Find the addresses within so many seconds.

        Raises socket.gaierror, whose one argument is the kind of a failure of ``proxy.errors``.
        """
        raise NotImplementedError


class Told(Names):
    """These addresses and no others, whatever the host: what a rule says."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses: list[str] = addresses

    def known(self, host: str) -> list[str] | None:
        """Give them."""
        return self.addresses
