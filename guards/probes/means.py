"""The mean of measured values with its 95% interval, for rows whose `value` is the figure of interest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guards.probes.judging import Interval

_RESAMPLES = 4000


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """By percentile bootstrap (Efron 1979) over the values, so they should be independent. Raises ValueError without.

    Of a handful of values the interval is too narrow, and of one it is that value: say n beside it.
    """
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        raise ValueError("a mean needs at least one value")
    generator = np.random.default_rng(seed)
    draws = found[generator.integers(len(found), size=(_RESAMPLES, len(found)))].mean(axis=1)
    mean = float(found.mean())
    low, high = (float(bound) for bound in np.quantile(draws, [0.025, 0.975]))
    return Interval(mean, min(mean, low), max(mean, high))
