"""What Envoy's admission control does: calls are shed by chance, the more of them fail the more.

https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/admission_control_filter
"""

from typing import Final

from rules.breakers.breaker import ADMITTED, Breaker
from rules.breakers.figures import CLOSED, MILLION, Figures
from rules.breakers.policies import Policy
from rules.breakers.windows import FollowingWindow

PROFILE: Final = "profile"
ACCURACY: Final = 10_000  # chances are compared in steps of so many


def sheds(risk: float, draw: float) -> bool:
    """Whether a call is shed at this risk; ``draw`` is a number from 0 up to and without 1."""
    return int(draw * ACCURACY) < risk * ACCURACY


class AdmissionPolicy(Policy):
    """Never open: ``Breaker.risk`` says how likely a call is shed.  What is shed is not counted."""

    def admit(self, b: Breaker, f: Figures, now: int) -> int:
        if b.state != CLOSED:  # it was another profile's
            b.turn(CLOSED, now, PROFILE)
        b.risk = 0.0
        window = b.window
        enough = True
        if isinstance(window, FollowingWindow):
            enough = self.per_second(window, now) >= f.rps_threshold  # as it was left by the last call
            if enough:
                window.touch(now)
        if enough:
            b.risk = self.risk(window.calls, window.calls - window.failures, f)
        return ADMITTED

    def per_second(self, window: FollowingWindow, now: int) -> int:
        """Give the whole calls in a second of the window, or of the time since its oldest outcome."""
        seconds = max(window.time, now - window.oldest(now)) // MILLION
        return window.calls // max(1, seconds)

    def risk(self, calls: int, good: int, f: Figures) -> float:
        """Give the chance that a call is shed: ((calls - good/threshold) / (calls + 1)) ^ (1/aggression)."""
        surplus = calls * f.sr_threshold - good * MILLION  # what is above 0 is too many failures
        if surplus <= 0:
            return 0.0
        risk = surplus / f.sr_threshold / (calls + 1)
        if f.aggression > 1.0:
            risk = float(risk ** (1.0 / f.aggression))
        return min(risk, f.max_rejection / MILLION)

    def ended(self, b: Breaker, f: Figures, now: int, generation: int, failed: bool, slow: bool) -> None:
        b.window.record(now, failed, slow)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Count nothing: no answer has come by that could be judged."""
