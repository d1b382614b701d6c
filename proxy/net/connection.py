"""What every open connection can be asked, whatever its side and protocol."""

from typing import Any

from mypy_extensions import mypyc_attr

from rules.snapshot import Snapshot


@mypyc_attr(allow_interpreted_subclasses=True)
class Connection:
    """An open connection, as the sweep, the pool and the admin endpoint see it."""

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        raise NotImplementedError

    def rules_changed(self, before: Snapshot) -> None:
        """New rules are in force: do at once what they say about what is open."""
        raise NotImplementedError

    def idle(self) -> bool:
        """Tell whether no exchange is under way here."""
        raise NotImplementedError

    def drain(self) -> bool:
        """The proxy takes nothing new: end this if it is idle.  True: it is to be waited for."""
        if self.idle():
            self.shut()
        return False

    def describe(self) -> dict[str, Any]:
        """Give a plain view of what goes on here."""
        raise NotImplementedError

    def shut(self) -> None:
        """End this connection now: it is idle and unwanted, or the proxy stops."""
        raise NotImplementedError
