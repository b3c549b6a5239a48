"""Ratios of a number of trials that was fixed beforehand: Wilson's interval (1927).

Who looks at a ratio again and again, and stops when it pleases, wants guards.probes.statistics.anytime.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from guards.probes.statistics.estimate import Estimate

LEVEL = 0.95


def wilson(successes: float, trials: int, level: float = LEVEL) -> Estimate:
    """`successes` may hold halves, for ties. Raises ValueError without a trial: then nothing is known but [0, 1]."""
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError("a ratio needs at least one trial, and no more successes than trials")
    z = _z(level)
    p = successes / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def trials_for_none(limit: float, level: float = LEVEL) -> int:
    """How many trials without a single success it takes until Wilson's upper bound lies below `limit`.

    At 95%: 73 for 5%, 189 for 2%, 381 for 1%.
    """
    if not 0 < limit < 1:
        raise ValueError("the limit lies between 0 and 1")
    z = _z(level)
    return math.floor(z**2 * (1 - limit) / limit) + 1


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError("the level lies between 0 and 1")
    return NormalDist().inv_cdf(0.5 + level / 2)
