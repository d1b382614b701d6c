"""What Envoy and Istio do: overflow of what may be under way, and ejection of what fails in a row.

A key stands for one host of a cluster that has no other, with panic mode off: while it is ejected there is
"no healthy upstream".
"""

from typing import Final

from rules.breakers.breaker import ADMITTED, IS_OPEN, OVERFLOW, Breaker
from rules.breakers.figures import CLOSED, OFF, OPEN, Figures
from rules.breakers.policies import CONSECUTIVE, Policy

RETURNED: Final = "ejection_ended"


class OutlierPolicy(Policy):
    """Ejection after failures in a row, the longer the more often; it ends when it is next looked at."""

    def sweep(self, b: Breaker, f: Figures, now: int) -> None:
        """Do what the sweeps since the last call have done, one every ``interval``."""
        due = (now - b.swept) // f.interval
        if due <= 0:
            return
        for _ in range(min(due, self._meaningful(b, f))):
            b.swept += f.interval
            if b.state == OPEN:
                if min(f.open_for * b.ejections, f.max_open_for) <= b.swept - b.since:
                    b.turn(CLOSED, b.swept, RETURNED)
                    b.recovered = b.swept
            if b.state == CLOSED and b.recovered >= 0 and b.swept - b.recovered >= f.interval:
                if b.ejections:
                    b.ejections -= 1
        b.swept += (now - b.swept) // f.interval * f.interval

    def _meaningful(self, b: Breaker, f: Figures) -> int:
        """Say after how many sweeps at most none changes anything any more."""
        longest = max(f.max_open_for, f.open_for)
        return longest // f.interval + b.ejections + 3

    def admit(self, b: Breaker, f: Figures, now: int) -> int:
        self.sweep(b, f, now)
        if b.state == OPEN:
            return IS_OPEN
        if f.max_active != OFF and b.active >= f.max_active:
            return OVERFLOW
        return ADMITTED

    def ended(self, b: Breaker, f: Figures, now: int, generation: int, failed: bool, slow: bool) -> None:
        self.sweep(b, f, now)
        b.window.record(now, failed, slow)
        if not failed:
            b.consecutive = 0
            return
        b.consecutive += 1
        if b.state == CLOSED and f.consecutive_failures and b.consecutive >= f.consecutive_failures:
            if f.open_for * b.ejections < f.max_open_for + f.open_for:
                b.ejections += 1
            b.turn(OPEN, now, CONSECUTIVE)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Count nothing: a reset by the client says nothing about the host."""
