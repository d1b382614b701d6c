"""Where the tour plays: the proxy's addresses, the rules file, and the ways to change and to look."""

import os
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.cli.demo.client import Client
from proxy.cli.exits import Failed
from proxy.cli.remote import Admin

IN_FORCE: Final = 5.0  # seconds; a file's change is in force within one, so five is a failure
POLL: Final = 0.01


class Interrupted(Exception):
    """The person at the terminal has seen enough."""


@dataclass
class Stage:
    """The tour's surroundings; ``stopping`` is set when the tour shall end early."""

    proxy: str
    admin: str
    rules: str  # path of the rules file
    log: str  # path of the proxy's log
    stopping: threading.Event = field(default_factory=threading.Event)

    def client(self, timeout: float = 10.0) -> Client:
        """Open a client of the proxy."""
        if self.stopping.is_set():
            raise Interrupted
        return Client(self.proxy, timeout)

    def write(self, text: str) -> float:
        """Replace the rules file in one step, as editors do; gives the moment (perf_counter)."""
        aside = f"{self.rules}.new"
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text)
        moment = time.perf_counter()
        os.replace(aside, self.rules)
        return moment

    def put_in_force(self, text: str) -> int:
        """Write the rules file and wait until the proxy runs it; gives the new version."""
        before = self.running()["version"]
        self.write(text)
        return self.wait_after(int(before))

    def wait_after(self, version: int) -> int:
        """Wait until a later version than this one is in force; gives its number."""
        deadline = time.perf_counter() + IN_FORCE
        while time.perf_counter() < deadline:
            now = int(self.running()["version"])
            if now > version:
                return now
            if self.stopping.wait(POLL):
                raise Interrupted
        raise Failed(f"the change of {self.rules} was not in force after {IN_FORCE:.0f} s")

    def running(self) -> Any:
        """Ask the admin endpoint for the rules in force."""
        return Admin(self.admin).call("GET", "/v1/rules").value

    def metrics(self) -> str:
        """Read /metrics as Prometheus would."""
        return str(Admin(self.admin).call("GET", "/metrics").value)
