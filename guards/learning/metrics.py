"""Measures with 95% intervals. Scores rank badness: higher means more likely unsafe; labels 1 = unsafe."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from guards.probes.statistics import ratio

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_Z = NormalDist().inv_cdf(0.975)
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Measure:
    """A value and its 95% interval."""

    value: float
    low: float
    high: float


def wilson(successes: float, n: int) -> Measure:
    """A ratio with Wilson's interval (1927); `successes` may hold halves, for ties."""
    found = ratio.wilson(successes, n)
    return Measure(found.value, found.low, found.high)


def auroc(scores: Floats, labels: Labels) -> Measure:
    """Area under the ROC curve, ties count half; DeLong's interval (1988)."""
    by_bad, by_good = placements(scores, labels)
    value = float(by_bad.mean())
    half = _Z * float(np.sqrt(delong_variance(by_bad, by_good)))
    return Measure(value, max(0.0, value - half), min(1.0, value + half))


def placements(scores: Floats, labels: Labels) -> tuple[Floats, Floats]:
    """Of every unsafe row the share of safe rows below it, and of every safe row the share of unsafe rows
    above it; ties count half. AUROC is the mean of either. By ranks, after Sun and Xu (2014)."""
    bad, good = scores[labels == 1], scores[labels == 0]
    m, n = len(bad), len(good)
    if m == 0 or n == 0:
        raise ValueError("AUROC needs both classes")
    ranks = rankdata(np.concatenate([bad, good]))
    return (ranks[:m] - rankdata(bad)) / n, 1.0 - (ranks[m:] - rankdata(good)) / m


def delong_variance(by_bad: Floats, by_good: Floats) -> float:
    """Of AUROC; a class of one row tells nothing of its spread, so it counts as the widest."""
    of_bad = by_bad.var(ddof=1) / len(by_bad) if len(by_bad) > 1 else 0.25
    of_good = by_good.var(ddof=1) / len(by_good) if len(by_good) > 1 else 0.25
    return float(of_bad + of_good)


def f1(flagged: Labels, labels: Labels, seed: int = 0) -> Measure:
    """F1 of the unsafe class, percentile bootstrap over rows."""
    generator = np.random.default_rng(seed)
    counts = np.array(
        [
            np.sum((flagged == 1) & (labels == 1)),
            np.sum((flagged == 1) & (labels == 0)),
            np.sum((flagged == 0) & (labels == 1)),
        ]
    )
    # F1 needs only these three cells and the rest: resampling rows is one multinomial draw
    n = len(labels)
    cells = np.append(counts, n - counts.sum())
    draws = generator.multinomial(n, cells / n, size=_RESAMPLES)
    low, high = np.quantile([_f1(draw) for draw in draws], [0.025, 0.975])
    value = _f1(cells)
    return Measure(value, min(value, float(low)), max(value, float(high)))


def _f1(cells: NDArray[np.int64]) -> float:
    hits, false_alarms, misses = (int(cell) for cell in cells[:3])
    if hits == 0:
        return 0.0
    return 2 * hits / (2 * hits + false_alarms + misses)


def pair_accuracy(chosen: Floats, rejected: Floats) -> Measure:
    """How often the chosen response has the higher reward; ties count half."""
    wins = float(np.sum(chosen > rejected) + 0.5 * np.sum(chosen == rejected))
    return wilson(wins, len(chosen))


def expected_calibration_error(
    risks: Floats, labels: Labels, weights: Floats, bins: int = 15, seed: int = 0
) -> Measure:
    """Weighted mean gap between risk and frequency over equal-width bins (Guo 2017), in [0, 1].

    Percentile bootstrap over rows. The estimate is biased upwards, the more so the fewer the rows.
    """
    rows = np.minimum((risks * bins).astype(np.int64), bins - 1)
    gaps = weights * (risks - labels)
    generator = np.random.default_rng(seed)
    n = len(labels)
    counts = (generator.multinomial(n, np.full(n, 1 / n)) for _ in range(_RESAMPLES))
    draws = [_mean_gap(rows, gaps * count, weights * count, bins) for count in counts]
    low, high = np.quantile(draws, [0.025, 0.975])
    value = _mean_gap(rows, gaps, weights, bins)
    return Measure(value, min(value, float(low)), max(value, float(high)))


def _mean_gap(rows: Labels, gaps: Floats, weights: Floats, bins: int) -> float:
    return float(np.abs(np.bincount(rows, weights=gaps, minlength=bins)).sum() / weights.sum())
