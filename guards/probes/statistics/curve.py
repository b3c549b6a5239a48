"""Robustness curves: accuracy over the strength of an attack."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def area(strengths: Sequence[float], accuracies: Sequence[float]) -> float:
    """The mean height of the curve over its strengths (trapezoids), so that 1 is an attack that never works.

    Raises ValueError for strengths that do not rise, or fewer than two: comparisons of areas over other strengths
    mean nothing.
    """
    _check(strengths, accuracies)
    pieces = [
        (right - left) * (before + after) / 2
        for left, right, before, after in zip(
            strengths[:-1], strengths[1:], accuracies[:-1], accuracies[1:], strict=True
        )
    ]
    return sum(pieces) / (strengths[-1] - strengths[0])


def halving_strength(strengths: Sequence[float], accuracies: Sequence[float]) -> float | None:
    """The strength at which accuracy first falls to half of what it is at the least (eps50), by straight lines
    between the points; None when it never does."""
    _check(strengths, accuracies)
    goal = accuracies[0] / 2
    if goal == 0:
        return None  # nothing was right to begin with
    for at in range(1, len(strengths)):
        before, after = accuracies[at - 1], accuracies[at]
        if after <= goal:
            share = (before - goal) / (before - after)
            return strengths[at - 1] + share * (strengths[at] - strengths[at - 1])
    return None


def _check(strengths: Sequence[float], accuracies: Sequence[float]) -> None:
    if len(strengths) != len(accuracies) or len(strengths) < 2:
        raise ValueError("a curve has at least two strengths, each with its accuracy")
    if any(right <= left for left, right in itertools.pairwise(strengths)):
        raise ValueError("the strengths of a curve rise")
