"""Envoy's clusters and its admission control once more, as plainly as can be: nothing is added up beforehand.

Written from Envoy's documentation, and knowing nothing of ``rules.breakers`` but its figures.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from rules.breakers.figures import MILLION, OFF, Figures


@dataclass
class Host:
    """A host: how its calls ended and when, and its ejections."""

    outcomes: list[tuple[int, bool]] = field(default_factory=list)
    ejected_at: int | None = None
    back_at: int | None = None
    multiplier: int = 0
    row: int = 0


@dataclass
class ClusterModel:
    """Hosts that are compared with each other every interval; all that happened is kept."""

    figures: Figures
    now: int
    hosts: dict[bytes, Host] = field(default_factory=dict)
    ticks: int = 0
    close: bool = False  # a host was as good as on the edge: whoever rounds may say either

    def __post_init__(self) -> None:
        self.born = self.now

    def at(self, now: int) -> None:
        """Let the time pass, tick by tick."""
        self.now = now
        interval = self.figures.interval
        while self.born + (self.ticks + 1) * interval <= now:
            self.ticks += 1
            self.tick(self.born + self.ticks * interval)

    def tick(self, moment: int) -> None:
        figures = self.figures
        for host in self.hosts.values():
            if host.ejected_at is not None:
                lasts = min(figures.open_for * host.multiplier, figures.max_open_for)
                if moment - host.ejected_at >= lasts:
                    host.ejected_at, host.back_at, host.row = None, moment, 0
        if figures.minimum_hosts != OFF:
            self.compare(moment)
        for host in self.hosts.values():
            if host.ejected_at is None and host.back_at is not None:
                if moment - host.back_at >= figures.interval:
                    host.multiplier = max(0, host.multiplier - 1)

    def compare(self, moment: int) -> None:
        """Eject whose success rate is below the mean by more than allowed: squares, so nothing is rounded."""
        rates: list[tuple[Host, Fraction]] = []
        for host in self.hosts.values():
            own = [good for at, good in host.outcomes if moment - self.figures.interval <= at < moment]
            if host.ejected_at is None and own and len(own) >= self.figures.request_volume:
                rates.append((host, Fraction(sum(own), len(own))))
        if not rates or len(rates) < self.figures.minimum_hosts:
            return
        mean = sum((rate for _, rate in rates), Fraction(0)) / len(rates)
        variance = sum(((rate - mean) ** 2 for _, rate in rates), Fraction(0)) / len(rates)
        allowed = Fraction(self.figures.stdev_factor, 1000) ** 2 * variance
        for host, rate in rates:
            below = mean - rate
            self.close |= abs(below * abs(below) - allowed) < Fraction(1, 10**12) and allowed > 0
            if below > 0 and below**2 > allowed:
                self.eject(host, moment)

    def eject(self, host: Host, now: int) -> None:
        figures = self.figures
        out = sum(other.ejected_at is not None for other in self.hosts.values())
        if Fraction(out + 1, len(self.hosts)) > Fraction(figures.max_ejection, MILLION):
            return
        if figures.open_for * host.multiplier < figures.max_open_for + figures.open_for:
            host.multiplier += 1
        host.ejected_at, host.row = now, 0

    def ask(self, name: bytes, now: int) -> bool:
        host = self.hosts.pop(name, None) or Host()  # a host is there before it is asked for
        self.hosts[name] = host  # the one that was asked for longest ago is looked at first
        self.at(now)
        return host.ejected_at is None

    def end(self, name: bytes, good: bool) -> None:
        host = self.hosts[name]
        host.outcomes.append((self.now, good))
        host.row = 0 if good else host.row + 1
        limit = self.figures.consecutive_failures
        if host.ejected_at is None and limit and host.row >= limit:
            host.row = 0
            self.eject(host, self.now)


@dataclass
class AdmissionModel:
    """All calls that were let through and have ended, and the moments at which parts of the window began."""

    figures: Figures
    outcomes: list[tuple[int, bool]] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)

    def part(self, now: int) -> None:
        length = self.figures.window_time // self.figures.window_buckets
        self.parts = [began for began in self.parts if now - began < self.figures.window_time]
        if not self.parts or now - self.parts[-1] >= length:
            self.parts.append(now)

    def counted(self) -> list[bool]:
        return [good for at, good in self.outcomes if self.parts and at >= self.parts[0]]

    def risk(self, now: int) -> float:
        """Give the chance that a call which asks now is shed."""
        figures = self.figures
        seconds = max(figures.window_time, now - self.parts[0] if self.parts else 0) // MILLION
        if len(self.counted()) // max(1, seconds) < figures.rps_threshold:
            return 0.0
        self.part(now)
        counted = self.counted()
        threshold = Fraction(figures.sr_threshold, MILLION)
        chance = (len(counted) - sum(counted) / threshold) / (len(counted) + 1)
        share: float = max(0.0, float(chance)) ** (1 / max(1.0, figures.aggression))
        return min(share, figures.max_rejection / MILLION)

    def end(self, now: int, good: bool) -> None:
        self.part(now)
        self.outcomes.append((now, good))
