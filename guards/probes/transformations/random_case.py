"""Letters in upper or lower case at random.

Source: Hughes et al. 2024, "Best-of-N Jailbreaking" (arXiv:2412.03556), "random capitalization". Departure: none
but that one draw is taken, not the best of many.

Severity: twice the probability that a letter changes its case.
"""

from __future__ import annotations

import random

from guards.probes.transformations.base import Transformation


def _rewrite(text: str, rng: random.Random, severity: float) -> str:
    # at 1 every letter would change and nothing be random: half of them at the most
    return "".join(_swapped(char) if rng.random() < severity / 2 else char for char in text)


def _swapped(char: str) -> str:
    other = char.swapcase()
    return other if len(other) == 1 else char


RANDOM_CASE = Transformation("random_case", "spelling", False, True, _rewrite)
