"""What Envoy and Istio do: overflow of what may be under way, and ejection of the hosts that fail.

A key stands for one host, and the keys of a rule for those of one cluster, with panic mode off: while a
host is ejected there is "no healthy upstream" for its calls.
"""

from math import sqrt
from typing import Final

from rules.breakers.breaker import ADMITTED, IS_OPEN, OVERFLOW, Breaker, Cluster
from rules.breakers.figures import CLOSED, MILLION, OFF, OPEN, Figures
from rules.breakers.policies import CONSECUTIVE, Policy

RETURNED: Final = "ejection_ended"
SUCCESS_RATE: Final = "success_rate"


class OutlierPolicy(Policy):
    """Ejection after failures in a row, or for a success rate far below the others'.

    It lasts the longer the more often it comes, and ends when the cluster is next looked at.
    """

    def sweep(self, c: Cluster, f: Figures, now: int) -> None:
        """Do what the looks at the cluster since the last call have done, one every ``interval``."""
        due = (now - c.swept) // f.interval
        if due <= 0:
            return
        first = c.swept + f.interval
        c.swept += due * f.interval
        for b in c.hosts.values():
            if b.state == OPEN and first - b.since >= self.ejected_for(b, f):
                self.bring_back(b, first)
        if f.minimum_hosts != OFF:
            self.compare(c, f, first)
        for b in c.hosts.values():
            b.volume = 0
            b.good = 0
            if b.state == CLOSED and b.recovered >= 0 and first - b.recovered >= f.interval:
                b.ejections = max(0, b.ejections - 1)
            if due > 1:
                self.look_again(b, f, first, due - 1)

    def ejected_for(self, b: Breaker, f: Figures) -> int:
        """Say how long an ejection lasts at least."""
        return min(f.open_for * b.ejections, f.max_open_for)

    def bring_back(self, b: Breaker, moment: int) -> None:
        """End an ejection."""
        b.turn(CLOSED, moment, RETURNED)
        b.recovered = moment

    def look_again(self, b: Breaker, f: Figures, first: int, more: int) -> None:
        """Do what ``more`` looks behind the one at ``first`` do, with no call between them."""
        well = more  # looks at a host that is not ejected
        if b.state == OPEN:
            left = max(1, b.since + self.ejected_for(b, f) - first)
            number = -(-left // f.interval)
            if number > more:
                return
            self.bring_back(b, first + number * f.interval)
            well = more - number
        if b.recovered >= 0:
            b.ejections = max(0, b.ejections - well)

    def compare(self, c: Cluster, f: Figures, moment: int) -> None:
        """Eject the hosts whose success rate is too many standard deviations below the mean of all."""
        hosts: list[Breaker] = []
        rates: list[float] = []
        for b in c.hosts.values():
            if b.state != OPEN and b.volume > 0 and b.volume >= f.request_volume:
                hosts.append(b)
                rates.append(b.good * 100.0 / b.volume)
        if not hosts or len(hosts) < f.minimum_hosts:
            return
        mean = sum(rates) / len(rates)
        variance = 0.0
        for rate in rates:
            variance += (rate - mean) * (rate - mean)
        least = mean - f.stdev_factor / 1000.0 * sqrt(variance / len(rates))
        for b, rate in zip(hosts, rates, strict=True):
            if rate < least:
                self.eject(b, f, moment, SUCCESS_RATE)

    def eject(self, b: Breaker, f: Figures, now: int, reason: str) -> None:
        """Eject a host, unless too many of the cluster would be ejected then."""
        if f.max_ejection < MILLION:
            ejected = 1
            for host in b.cluster.hosts.values():
                ejected += 1 if host.state == OPEN else 0
            if ejected * MILLION > f.max_ejection * len(b.cluster.hosts):
                return
        if f.open_for * b.ejections < f.max_open_for + f.open_for:
            b.ejections += 1
        b.turn(OPEN, now, reason)

    def admit(self, b: Breaker, f: Figures, now: int) -> int:
        self.sweep(b.cluster, f, now)
        if b.state == OPEN:
            return IS_OPEN
        if f.max_active != OFF and b.active >= f.max_active:
            return OVERFLOW
        return ADMITTED

    def ended(self, b: Breaker, f: Figures, now: int, generation: int, failed: bool, slow: bool) -> None:
        self.sweep(b.cluster, f, now)
        b.window.record(now, failed, slow)
        b.volume += 1
        if not failed:
            b.good += 1
            b.consecutive = 0
            return
        b.consecutive += 1
        if b.state == CLOSED and f.consecutive_failures and b.consecutive >= f.consecutive_failures:
            b.consecutive = 0
            self.eject(b, f, now, CONSECUTIVE)

    def dropped(self, b: Breaker, f: Figures, now: int, generation: int) -> None:
        """Count nothing: a reset by the client says nothing about the host."""
