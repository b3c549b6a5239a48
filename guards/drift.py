"""Whether traffic still looks like the texts a threshold was calibrated on.

Windows do not overlap (tumbling): each text counts in one window. When a window is full, each of three features
(risk, length in tokens, script) is tested for equal distribution with the reference by Pearson's X2 over bins
(1900), its p-value from random permutations of the pooled counts (Fisher 1935; (1 + exceedances) / (1 + draws),
Phipson and Smyth 2010). Such a test keeps its level exactly at any size, with empty bins and with ties. The
level of a window is split evenly over the features (Bonferroni), so

    P(any feature rejects in a window without drift) <= level,

the probability over the draw of the reference, the window and the permutations, for independent texts. Every
window spends the level anew: N windows have at most N * level false alarms on average. Windows share one
reference, so false alarms are not independent of each other: an unlucky reference has more than its share.
Texts of one conversation are not independent either, and raise the rate.

Departures. Bins are quantiles of a random fifth of the calibration texts and the reference counts are of the
others: bins chosen on the counted texts would bend the level. Drawing stops as soon as rejection is out of
reach (the decision is the same as with all draws); the p-value then is (1 + exceedances) / (1 + draws made).
PSI, sum((p - q) ln(p / q)) with half a count added to every bin, is reported because people know it; it decides
nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from guards.errors import InvalidInput
from guards.scripts import Script

FEATURES = ("risk", "length", "script")

_BINS = 10
_CHUNK = 500  # draws between looks at whether rejection is still in reach
_DRAWS_AT_LEVEL = 5  # draws that may exceed before rejection is lost; more gives power, and costs draws
_CLEAR_AFTER = 2  # windows in a row without rejection

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What is kept of one judged text: numbers, never text."""

    risk: float
    tokens: int
    script: Script


class Histogram(BaseModel):
    """Bin i holds edges[i - 1] < value <= edges[i]; the first and last are open."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    edges: tuple[float, ...]
    counts: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Histogram:
        if len(self.counts) != len(self.edges) + 1 or min(self.counts) < 0:
            raise ValueError("one count per bin, none negative")
        if any(later <= earlier for earlier, later in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError("edges must rise")
        return self

    def bin(self, value: float) -> int:
        return bisect_left(self.edges, value)


class Reference(BaseModel):
    """The calibration texts as counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: Histogram
    length: Histogram
    scripts: Mapping[Script, int]

    @property
    def counts(self) -> Mapping[str, Counts]:
        """By feature."""
        return {
            "risk": np.array(self.risk.counts),
            "length": np.array(self.length.counts),
            "script": np.array([self.scripts.get(script, 0) for script in Script]),
        }


def reference_of(texts: Sequence[TextFeatures], seed: int = 0) -> Reference:
    """Edges from a random fifth, counts from the others. Needs ten texts."""
    if len(texts) < _BINS:
        raise InvalidInput(f"a reference needs {_BINS} texts, not {len(texts)}")
    order = np.random.default_rng(seed).permutation(len(texts))
    fifth = len(texts) // 5
    first, others = [texts[row] for row in order[:fifth]], [texts[row] for row in order[fifth:]]
    return Reference(
        risk=_histogram([text.risk for text in first], [text.risk for text in others]),
        length=_histogram([text.tokens for text in first], [text.tokens for text in others]),
        scripts={
            script: sum(text.script is script for text in others)
            for script in Script
            if any(text.script is script for text in others)
        },
    )


def _histogram(first: Sequence[float], others: Sequence[float]) -> Histogram:
    """A value so common that it is several quantiles has a bin of its own."""
    quantiles = np.quantile(first, np.linspace(0, 1, _BINS + 1)[1:-1], method="inverted_cdf")
    at, times = np.unique(quantiles.astype(np.float64), return_counts=True)
    edges = tuple(np.unique(np.concatenate([at, np.nextafter(at[times > 1], -np.inf)])).tolist())
    counts = np.bincount([bisect_left(edges, value) for value in others], minlength=len(edges) + 1)
    return Histogram(edges=edges, counts=tuple(int(count) for count in counts))


class Window:
    """Counts of the texts since the last window, in the reference's bins."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._counts = {feature: np.zeros_like(counts) for feature, counts in reference.counts.items()}
        self._scripts = {script: place for place, script in enumerate(Script)}
        self.size = 0

    def add(self, text: TextFeatures) -> None:
        self._counts["risk"][self._reference.risk.bin(text.risk)] += 1
        self._counts["length"][self._reference.length.bin(text.tokens)] += 1
        self._counts["script"][self._scripts[text.script]] += 1
        self.size += 1

    @property
    def counts(self) -> Mapping[str, Counts]:
        return self._counts


@dataclass(frozen=True, slots=True)
class DriftTest:
    """One feature of one window against the reference."""

    feature: str
    psi: float
    p_value: float
    rejected: bool


def compare(
    reference: Reference, window: Window, level: float, generator: np.random.Generator
) -> tuple[DriftTest, ...]:
    """Every feature, each at its share of `level`."""
    return tuple(
        _test(feature, expected, window.counts[feature], level / len(FEATURES), generator)
        for feature, expected in reference.counts.items()
    )


def _test(feature: str, expected: Counts, seen: Counts, level: float, generator: np.random.Generator) -> DriftTest:
    p_value, rejected = permutation_test(expected, seen, level, generator)
    return DriftTest(feature, psi(expected, seen), p_value, rejected)


def permutation_test(
    expected: Counts, seen: Counts, level: float, generator: np.random.Generator
) -> tuple[float, bool]:
    """The p-value of equal distribution, and whether it is at most `level`."""
    pooled = expected + seen
    kept = pooled > 0
    pooled, size = pooled[kept], int(seen.sum())
    mean = pooled * (size / pooled.sum())
    statistic = float((((seen[kept] - mean) ** 2) / pooled).sum()) * (1 - 1e-12)  # equal tables must count as equal
    allowed = _DRAWS_AT_LEVEL - 1
    draws = math.ceil(_DRAWS_AT_LEVEL / level) - 1
    made = exceeding = 0
    while made < draws and exceeding <= allowed:
        chunk = min(_CHUNK, draws - made)
        tables = generator.multivariate_hypergeometric(pooled, size, size=chunk, method="marginals")
        exceeding += int(((((tables - mean) ** 2) / pooled).sum(axis=1) >= statistic).sum())
        made += chunk
    p_value = (1 + exceeding) / (1 + made)
    return p_value, exceeding <= allowed


def psi(expected: Counts, seen: Counts) -> float:
    """Population stability index; 0 when the shares are equal."""
    kept = (expected + seen) > 0
    p = (seen[kept] + 0.5) / (seen[kept] + 0.5).sum()
    q = (expected[kept] + 0.5) / (expected[kept] + 0.5).sum()
    return float(((p - q) * np.log(p / q)).sum())


@dataclass(frozen=True, slots=True)
class Alarm:
    """Raised by a window that rejects; cleared by two windows in a row that do not."""

    raised: bool = False
    quiet: int = 0

    def after(self, rejected: bool) -> Alarm:
        if rejected:
            return Alarm(raised=True)
        quiet = self.quiet + 1
        return Alarm(raised=self.raised and quiet < _CLEAR_AFTER, quiet=quiet)
