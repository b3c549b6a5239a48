"""Measured quantities: a mean and a slope with their t intervals (Student 1908).

Both take values as independent and their mean as about normal; of heavy tails and few values the intervals are too
narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from guards.probes.statistics.beta import lower
from guards.probes.statistics.estimate import Estimate
from guards.probes.statistics.ratio import LEVEL

_STEPS = 200  # of bisection


def mean(values: Sequence[float], level: float = LEVEL) -> Estimate | None:
    """None for fewer than two values: one tells nothing of the spread."""
    n = len(values)
    if n < 2:
        return None
    middle = math.fsum(values) / n
    variance = math.fsum((value - middle) ** 2 for value in values) / (n - 1)
    half = student_quantile(n - 1, level) * math.sqrt(variance / n)
    return Estimate(middle, middle - half, middle + half)


def slope(xs: Sequence[float], ys: Sequence[float], level: float = LEVEL) -> Estimate | None:
    """Of the least-squares line, in units of y for one of x; None for fewer than three points, or all of one x.

    The interval takes the scatter as the same everywhere.
    """
    n = len(xs)
    if len(ys) != n:
        raise ValueError("each x has its y")
    if n < 3:
        return None
    x_mean, y_mean = math.fsum(xs) / n, math.fsum(ys) / n
    spread = math.fsum((x - x_mean) ** 2 for x in xs)
    if spread <= 0:
        return None
    value = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    left = math.fsum((y - y_mean - value * (x - x_mean)) ** 2 for x, y in zip(xs, ys, strict=True))
    half = student_quantile(n - 2, level) * math.sqrt(left / (n - 2) / spread)
    return Estimate(value, value - half, value + half)


def student_quantile(degrees: int, level: float) -> float:
    """The t that a variable with so many degrees of freedom stays within, on both sides, with chance `level`."""
    if degrees < 1 or not 0 < level < 1:
        raise ValueError("there is at least one degree of freedom, and the level lies between 0 and 1")
    # t**2 / (t**2 + degrees) is a Beta(1/2, degrees / 2) variable
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if lower(middle, 0.5, degrees / 2) < level else (low, middle)
    share = (low + high) / 2
    return math.sqrt(degrees * share / (1 - share))
