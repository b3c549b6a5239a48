"""A threshold on risk with a bound on how much harmless text it blocks.

Promise. n texts are drawn independently from harmless traffic, and later texts from the same traffic
(exchangeable with them). Blocking where `risk >= threshold` then has P(false-block rate <= alpha) >= 1 - delta,
the probability over the draw of the n texts. It says nothing about harmful texts.

Which order statistic. Let s(1) >= s(2) >= ... be the risks, largest first. Blocking where `risk > s(k + 1)` has
a false-block rate that is Beta(k + 1, n - k) for continuous risks (Wilks 1941, one-sided tolerance limits), so
that P(rate > alpha) = P(Binomial(n, alpha) <= k). We take the largest k for which that is at most delta. It
depends on n, alpha and delta alone and never on the risks, so nothing is selected. The same k makes Clopper and
Pearson's (1934) upper limit for k of n at most alpha; that limit is `bound`. It is the training-conditional
guarantee of inductive conformal prediction (Vovk 2012), and stronger than conformal risk control (Angelopoulos
2022), whose n >= 1/alpha - 1 bounds the rate only on average over draws.

Ties. With ties P(risk > s(k + 1)) is stochastically no larger than with continuous risks (write risk = Q(U), U
uniform: then risk > s(k + 1) implies U > U(k + 1)), so the promise holds and the threshold is stricter on
itself than it need be. Since `>=` blocks, the threshold is the next floating-point number above s(k + 1).

Any non-increasing map from reward to risk keeps the promise, even one fitted on these very texts: a risk above
that of the text at rank k + 1 needs a reward below that text's, and ranks of rewards do not depend on the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from guards.errors import InvalidInput

_HALVINGS = 100  # of the interval that holds the upper limit: to the last bit


@dataclass(frozen=True, slots=True)
class ConformalThreshold:
    """`threshold` is a risk in (0, 1]; rates are shares of harmless texts in [0, 1]."""

    threshold: float
    n: int
    alpha: float
    delta: float
    bound: float  # upper confidence bound of the false-block rate at the threshold; at most alpha
    blocked: int  # calibration texts at or above the threshold

    @property
    def realised(self) -> float:
        return self.blocked / self.n


def needed_texts(alpha: float, delta: float) -> int:
    """The smallest n for which any threshold keeps the promise."""
    _check_levels(alpha, delta)
    n = max(1, math.ceil(1 / alpha - 1), math.floor(math.log(delta) / math.log1p(-alpha)))
    while binomial_cdf(0, n, alpha) > delta:
        n += 1
    return n


def require_enough(n: int, alpha: float, delta: float) -> None:
    """Raises InvalidInput when no threshold keeps the promise with `n` texts."""
    needed = needed_texts(alpha, delta)
    if n < needed:
        raise InvalidInput(
            f"{n} benign texts are too few for a block rate of {alpha:g} at confidence {1 - delta:g};"
            f" {needed} are needed"
        )


def conformal_threshold(risks: Sequence[float], alpha: float, delta: float, highest: float = 1.0) -> ConformalThreshold:
    """The smallest threshold that keeps the promise.

    `highest` is the highest risk that any text can have. Raises InvalidInput when there are too few texts, or
    when only a threshold above `highest` would keep it: a guard that never acts keeps every promise.
    """
    n = len(risks)
    require_enough(n, alpha, delta)
    if not all(0.0 <= risk <= 1.0 for risk in risks):  # NaN is neither
        raise InvalidInput("a risk of a benign text is not a number in [0, 1]; check the reward model")
    k = most_allowed(n, alpha, delta)
    passing = sorted(risks, reverse=True)[k]
    if passing >= highest:
        raise InvalidInput(
            f"more than {k} of {n} benign texts have the highest risk there is, so no threshold tells them from harmful"
            " ones; use another head, or another labelled file or none"
        )
    threshold = math.nextafter(passing, math.inf)
    return ConformalThreshold(
        threshold=threshold,
        n=n,
        alpha=alpha,
        delta=delta,
        bound=min(alpha, upper_limit(k, n, delta)),
        blocked=sum(risk >= threshold for risk in risks),
    )


def most_allowed(n: int, alpha: float, delta: float) -> int:
    """The largest k with P(Binomial(n, alpha) <= k) <= delta; -1 when there is none."""
    k, below = -1, 0.0
    while k < n - 1 and (below := below + _mass(k + 1, n, alpha)) <= delta:
        k += 1
    return k


def binomial_cdf(k: int, n: int, p: float) -> float:
    """P(Binomial(n, p) <= k), to about nine digits."""
    return min(1.0, math.fsum(_mass(i, n, p) for i in range(k + 1)))


def upper_limit(k: int, n: int, delta: float) -> float:
    """Clopper and Pearson's upper limit of a rate with k of n seen, at confidence 1 - delta."""
    if k >= n:
        return 1.0
    low, high = k / n, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if binomial_cdf(k, n, middle) > delta else (low, middle)
    return high


def _mass(k: int, n: int, p: float) -> float:
    if p in (0.0, 1.0):
        return float(k == n * p)
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(choose + k * math.log(p) + (n - k) * math.log1p(-p))


def _check_levels(alpha: float, delta: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InvalidInput("the target block rate must lie between 0 and 1, such as 0.01")
    if not 0.0 < delta < 1.0:
        raise InvalidInput("the confidence must lie between 0 and 1, such as 0.95")
