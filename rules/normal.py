"""The standard normal distribution: its quantiles and its cumulative distribution."""

from math import erfc, log, sqrt
from typing import Final

_SQRT2: Final = 1.4142135623730951


def cumulative(z: float) -> float:
    """Give the probability of a standard normal value of at most ``z``."""
    return 0.5 * erfc(-z / _SQRT2)


def quantile(p: float) -> float:
    """Give the standard normal value that ``p`` (0 < p < 1) of all values stay below.

    Wichura's algorithm AS 241, PPND16 (Applied Statistics 37, 1988): 16 digits.
    """
    q = p - 0.5
    if -0.425 <= q <= 0.425:
        return q * _middle(0.180625 - q * q)
    r = sqrt(-log(p if q < 0.0 else 1.0 - p))
    z = _shoulder(r - 1.6) if r <= 5.0 else _tail(r - 5.0)
    return -z if q < 0.0 else z


def _middle(r: float) -> float:
    top = 2509.0809287301226727 * r + 33430.575583588128105
    top = (top * r + 67265.770927008700853) * r + 45921.953931549871457
    top = (top * r + 13731.693765509461125) * r + 1971.5909503065514427
    top = (top * r + 133.14166789178437745) * r + 3.387132872796366608
    low = 5226.495278852545925 * r + 28729.085735721942674
    low = (low * r + 39307.89580009271061) * r + 21213.794301586595867
    low = (low * r + 5394.1960214247511077) * r + 687.1870074920579083
    return top / ((low * r + 42.313330701600911252) * r + 1.0)


def _shoulder(r: float) -> float:
    top = 7.7454501427834140764e-4 * r + 0.0227238449892691845833
    top = (top * r + 0.24178072517745061177) * r + 1.27045825245236838258
    top = (top * r + 3.64784832476320460504) * r + 5.7694972214606914055
    top = (top * r + 4.6303378461565452959) * r + 1.42343711074968357734
    low = 1.05075007164441684324e-9 * r + 5.475938084995344946e-4
    low = (low * r + 0.0151986665636164571966) * r + 0.14810397642748007459
    low = (low * r + 0.68976733498510000455) * r + 1.6763848301838038494
    return top / ((low * r + 2.05319162663775882187) * r + 1.0)


def _tail(r: float) -> float:
    top = 2.01033439929228813265e-7 * r + 2.71155556874348757815e-5
    top = (top * r + 0.0012426609473880784386) * r + 0.026532189526576123093
    top = (top * r + 0.29656057182850489123) * r + 1.7848265399172913358
    top = (top * r + 5.4637849111641143699) * r + 6.6579046435011037772
    low = 2.04426310338993978564e-15 * r + 1.4215117583164458887e-7
    low = (low * r + 1.8463183175100546818e-5) * r + 7.868691311456132591e-4
    low = (low * r + 0.0148753612908506148525) * r + 0.13692988092273580531
    return top / ((low * r + 0.59983220655588793769) * r + 1.0)
