"""What a row of checks means: the state of one address.

    unknown    -- any check -->                          healthy or unhealthy, as it says
    healthy    -- unhealthy_after failures in a row -->  unhealthy
    unhealthy  -- healthy_after passes in a row -->      healthy;  one is enough if it never was before

So an address that is dead at the start is out at once, and one that starts later than the proxy is in at
once: thresholds are against flapping, of which there is no sign yet.
"""

from typing import Final

UNKNOWN: Final = "unknown"
HEALTHY: Final = "healthy"
UNHEALTHY: Final = "unhealthy"


class Tally:
    """The state of one address, and the row of checks that speak against it."""

    def __init__(self, healthy_after: int, unhealthy_after: int) -> None:
        self.state = UNKNOWN
        self._needed = {HEALTHY: healthy_after, UNHEALTHY: unhealthy_after}
        self._against = 0  # checks in a row
        self._was_healthy = False

    def add(self, well: bool) -> bool:
        """Take in a check; True: the state is another one now."""
        said = HEALTHY if well else UNHEALTHY
        if said == self.state:
            self._against = 0
            return False
        self._against += 1
        first = self.state == UNKNOWN or (well and not self._was_healthy)
        if not first and self._against < self._needed[said]:
            return False
        self.state = said
        self._against = 0
        self._was_healthy = self._was_healthy or well
        return True
