"""Measures over several seeds, with 95% intervals whose unit is the row.

Every seed is a model of its own, and one of them is served: so a value is the mean of the seeds' values, never the
value of their averaged scores, which would flatter. `least` and `most` are the seeds' extremes. A row that
several seeds score is still one row: what it contributes is averaged over the seeds before any spread is taken.

- AUROC: DeLong (1988) over placements averaged by row. The mean of correlated AUROCs has exactly this variance.
  Where every placement is the same (0 or 1), the interval is Wilson's for the smaller class.
- Rates: Wilson (1927) for the mean of the rows' averages: conservative, since an average varies less than one draw.
- Calibration error: equal-mass bins (Nixon 2019, arXiv:1904.01685); bootstrap of rows with all their seeds. The
  measure is biased upwards and its resamples twice so: the lower end is the reflected one, the upper the percentile.
- Rank correlation: Spearman, Fisher's z with the error of Bonett and Wright (2000); conservative over seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from guards.learning.metrics import Floats, Labels, delong_variance, placements, wilson

_Z = NormalDist().inv_cdf(0.975)
_RESAMPLES = 500
_BINS = 15
_ROWS_A_BIN = 10  # fewer rows than this a bin say more about chance than about calibration
_FEWEST_FOR_CORRELATION = 10


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95% interval over `n` rows, and the extremes over seeds."""

    value: float
    low: float
    high: float
    n: int
    least: float
    most: float


def auroc_estimate(risks: Floats, labels: Labels) -> Estimate:
    """`risks` [seeds, rows]; both classes are needed."""
    placed = [placements(one, labels) for one in risks]
    by_bad = np.mean([bad for bad, _ in placed], axis=0)
    by_good = np.mean([good for _, good in placed], axis=0)
    values = [float(bad.mean()) for bad, _ in placed]
    value = float(np.mean(values))
    half = _Z * math.sqrt(delong_variance(by_bad, by_good))
    low, high = value - half, value + half
    if half == 0.0:
        smaller = min(len(by_bad), len(by_good))
        certain = wilson(value * smaller, smaller)
        low, high = certain.low, certain.high
    return _estimate(value, low, high, len(labels), values)


def rate_estimate(hits: NDArray[np.bool_] | Floats) -> Estimate:
    """`hits` [seeds, rows], each in [0, 1]: a hit, a miss, or half a win."""
    n = hits.shape[1]
    measure = wilson(float(hits.mean(axis=0).sum()), n)
    return _estimate(measure.value, measure.low, measure.high, n, [float(one.mean()) for one in hits])


def win_estimate(chosen: Floats, rejected: Floats) -> Estimate:
    """How often the chosen answer has the higher reward, [seeds, pairs]; ties count half."""
    return rate_estimate((chosen > rejected) + 0.5 * (chosen == rejected))


def calibration_estimate(risks: Floats, labels: Labels, balanced: bool = False, seed: int = 0) -> Estimate:
    """Expected calibration error of `risks` [seeds, rows], in [0, 1].

    `balanced` gives each class half of the weight, as a calibration to even odds has it; otherwise rows are equal.
    """
    weights = _weights(labels, balanced)
    bins = [mass_bins(one, weights) for one in risks]
    gaps = weights * (risks - labels)
    n = len(labels)
    generator = np.random.default_rng(seed)

    def error(counts: NDArray[np.int64] | float) -> list[float]:
        total = float((weights * counts).sum())
        return [
            float(np.abs(np.bincount(row_bins, weights=gap * counts)).sum()) / total
            for row_bins, gap in zip(bins, gaps, strict=True)
        ]

    values = error(1.0)
    value = float(np.mean(values))
    draws = [np.mean(error(np.bincount(generator.integers(0, n, n), minlength=n))) for _ in range(_RESAMPLES)]
    upper = float(np.quantile(draws, 0.975))
    return _estimate(value, 2 * value - upper, upper, n, values)


def _weights(labels: Labels, balanced: bool) -> Floats:
    if not balanced:
        return np.full(len(labels), 1 / len(labels))
    counts = np.bincount(labels, minlength=2)
    return np.asarray(0.5 / counts[labels])


def mass_bins(risks: Floats, weights: Floats) -> NDArray[np.int64]:
    """The bin of every row: about the same weight in each, and equal risks in one bin."""
    bins = max(1, min(_BINS, len(risks) // _ROWS_A_BIN))
    distinct, which = np.unique(risks, return_inverse=True)
    mass = np.bincount(which, weights=weights, minlength=len(distinct))
    middle = (np.cumsum(mass) - mass / 2) / weights.sum()
    return np.asarray(np.minimum((middle * bins).astype(np.int64), bins - 1)[which])


def correlation_estimate(left: Floats, right: Floats) -> Estimate | None:
    """Spearman's, of `left` [seeds, rows] with `right` [rows]; None for too few rows or for no spread."""
    n = len(right)
    if n < _FEWEST_FOR_CORRELATION or np.ptp(right) == 0 or bool((np.ptp(left, axis=1) == 0).any()):
        return None
    ranks = rankdata(right)
    values = [float(np.corrcoef(rankdata(one), ranks)[0, 1]) for one in left]
    value = float(np.mean(values))
    if abs(value) > 1 - 1e-12:
        return _estimate(value, value, value, n, values)
    middle = math.atanh(value)
    half = _Z * math.sqrt((1 + value**2 / 2) / (n - 3))
    return _estimate(value, math.tanh(middle - half), math.tanh(middle + half), n, values, lowest=-1.0)


def _estimate(value: float, low: float, high: float, n: int, by_seed: list[float], lowest: float = 0.0) -> Estimate:
    """Ends within the measure's range, and the value between them."""
    return Estimate(value, min(value, max(lowest, low)), max(value, min(1.0, high)), n, min(by_seed), max(by_seed))
