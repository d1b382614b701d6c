"""What the admin endpoint needs of the proxy: ``proxy.app.App`` has it all, tests bring their own."""

from typing import Any, Protocol

from proxy.changes import Changes
from proxy.config import Config
from proxy.logs import Log
from proxy.metrics.cells import WorkerCells
from rules.store import Refusal


class InForce(Protocol):
    """The rules as the path sees them."""

    @property
    def stopped(self) -> bool:
        """The red button is pressed."""


class WorkerView(Protocol):
    """What one event loop owns."""

    @property
    def cells(self) -> WorkerCells:
        """Its counters."""

    @property
    def live(self) -> InForce:
        """Its rules."""

    @property
    def log(self) -> Log:
        """Its log, with the events in it."""

    @property
    def draining(self) -> bool:
        """No new connections are taken."""


class Proxy(Protocol):
    """The whole proxy."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def worker(self) -> WorkerView:
        """The one worker."""

    @property
    def changes(self) -> Changes:
        """The door for changes of the rules; it has the store."""

    @property
    def started(self) -> float:
        """When it started, unix time."""

    @property
    def listening(self) -> bool:
        """All listeners accept connections, and the first rules were read."""

    @property
    def addresses(self) -> dict[str, str]:
        """What listens where, as bound; the endpoint adds "admin" and "health"."""

    def reset_rule(self, name: str) -> Refusal | None:
        """Start a rule's state anew, its schedule included."""

    def stop_faults(self) -> None:
        """Inject nothing from now on, and let go of what is held."""

    def resume_faults(self) -> None:
        """Inject again."""

    def drain(self) -> float:
        """Begin to end; gives the seconds after which it has, whatever is under way."""

    def tell_revocation(self, method: str, path: str, body: bytes) -> Any:
        """Answer who asks the local authority: status, content_type, body, allow; None for other paths."""

    def connections(self) -> list[dict[str, Any]]:
        """What is open, as plain values."""
