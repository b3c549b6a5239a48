"""Two runs over the same items: has anything changed? And many such questions at once.

Sources: McNemar 1947, in its exact form (binomial over the items that changed); Benjamini and Hochberg 1995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def mcnemar(rose: int, fell: int) -> float:
    """The two-sided p-value: how surprising is this split of the items that changed, if nothing did but chance?

    Exact and therefore conservative: fewer than six changes never reach 5%.
    """
    if rose < 0 or fell < 0:
        raise ValueError("counts are not below zero")
    changed = rose + fell
    if changed == 0:
        return 1.0
    least = min(rose, fell)
    logs = [
        math.lgamma(changed + 1) - math.lgamma(k + 1) - math.lgamma(changed - k + 1) - changed * math.log(2)
        for k in range(least + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(log) for log in logs))


def benjamini_hochberg(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in the order given: calling those up to q makes at most a share q of the calls false, on
    average; for independent questions, or ones that lean the same way."""
    count = len(p_values)
    adjusted = [1.0] * count
    least = 1.0
    for rank, at in sorted(enumerate(sorted(range(count), key=p_values.__getitem__), 1), reverse=True):
        least = min(least, p_values[at] * count / rank)
        adjusted[at] = least
    return tuple(adjusted)
