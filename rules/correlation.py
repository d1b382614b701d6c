"""Uniform numbers that are tied to those before them."""

from math import sqrt
from typing import Final

from rules.normal import cumulative, quantile

# A correlated draw may round to 0 or 1, where quantiles are infinite: the outermost floats stand in.
_LOWEST: Final = 1e-300
_HIGHEST: Final = 1.0 - 2.0**-53


class Correlated:
    """A Gaussian copula over an AR(1) process: neighbours are alike, and each number alone stays uniform."""

    def __init__(self, correlation: float) -> None:
        self.correlation: float = correlation  # 0 to 1
        self.fresh: float = sqrt(1.0 - correlation * correlation)

    def tie(self, u: float, memory: list[float]) -> float:
        """Give a uniform number tied to the one before, whose normal score is what ``memory`` holds."""
        if self.correlation == 0.0:
            return u
        z = quantile(u)
        if memory:
            z = self.correlation * memory[0] + self.fresh * z
            memory[0] = z
        else:
            memory.append(z)
        return min(max(cumulative(z), _LOWEST), _HIGHEST)
