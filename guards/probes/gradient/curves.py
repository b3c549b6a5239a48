"""One number for a curve of accuracy over epsilon, given as points in any order."""

from __future__ import annotations

from collections.abc import Iterable

from guards.probes.statistics.curve import area, halving_strength

Point = tuple[float, float]  # (relative epsilon, adversarial accuracy)


def eps50(curve: Iterable[Point]) -> float | None:
    """The relative epsilon at which accuracy has fallen to half of what it is at the least epsilon.

    Linear between points, the first crossing counts. None when it never falls so far, when there is no accuracy to
    lose, or when there are fewer than two points.
    """
    points = sorted(curve)
    return halving_strength(*zip(*points, strict=True)) if len(points) > 1 else None


def area_under(curve: Iterable[Point]) -> float | None:
    """Mean accuracy in [0, 1] over the epsilons between the least and the greatest, by the trapezoid rule.

    None with fewer than two different epsilons. Areas compare only over the same range.
    """
    points = sorted(curve)
    if len(points) < 2 or points[0][0] == points[-1][0]:
        return None
    return area(*zip(*points, strict=True))
