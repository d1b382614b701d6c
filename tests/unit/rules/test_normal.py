"""The standard normal distribution against scipy's, over the whole range of a double."""

import pytest
from scipy.special import ndtr, ndtri

from rules.normal import cumulative, quantile

SHARES = [
    *(n / 2_001 for n in range(1, 2_001)),
    *(10.0**-n for n in range(1, 300, 7)),
    *(1 - 10.0**-n for n in range(1, 16)),
    0.075, 0.925, 0.07499999, 0.92500001,
]  # fmt: skip


def test_quantiles() -> None:
    for share in SHARES:
        assert quantile(share) == pytest.approx(float(ndtri(share)), rel=1e-14, abs=1e-15)


def test_cumulative() -> None:
    for step in range(-380, 90):
        assert cumulative(step / 10) == pytest.approx(float(ndtr(step / 10)), rel=1e-12)


def test_one_undoes_the_other() -> None:
    for share in SHARES:
        assert cumulative(quantile(share)) == pytest.approx(share, rel=1e-12)
