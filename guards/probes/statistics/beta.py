"""The beta distribution's function and tail, in logarithms, so that neither long runs nor rare ends underflow.

The continued fraction is DLMF 8.17.22, evaluated by Lentz's method as Thompson and Barnett (1986) changed it.
"""

from __future__ import annotations

import math

_TINY = 1e-300
_PRECISION = 1e-15
_MOST_STEPS = 200_000  # it takes about the square root of the larger parameter


def log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def log_tail(x: float, a: float, b: float) -> float:
    """The logarithm of the chance that a Beta(a, b) variable lies above `x`, which is over 0 and below 1."""
    if x > (a + 1) / (a + b + 2):
        return _log_lower(1 - x, b, a)
    return math.log1p(-math.exp(min(0.0, _log_lower(x, a, b))))


def lower(x: float, a: float, b: float) -> float:
    """The chance that a Beta(a, b) variable lies at or below `x`: the regularized incomplete beta function."""
    if x <= 0:
        return 0.0
    return 1.0 if x >= 1 else -math.expm1(log_tail(x, a, b))


def _log_lower(x: float, a: float, b: float) -> float:
    """Below the mean or near it, where the fraction converges fast."""
    front = a * math.log(x) + b * math.log1p(-x) - math.log(a) - log_beta(a, b)
    return front + math.log(_fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            return value
    raise ArithmeticError(f"the beta function of {a} and {b} did not converge")


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
