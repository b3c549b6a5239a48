"""What held-out scores say of every head: by source, category and length, and the two halves of refusal pairs.

- Rows are ranked by risk, which is on one scale over the models of different folds.
- A source or category of one class has no AUROC of its own: it is paired with all held-out rows of the other
  class of the head, and says so (`paired`).
- The halves of refusal pairs are never pooled, with each other or with ordinary preferences: a model that takes
  every refusal for good has one half right and the other wrong, and the mean hides it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from guards.errors import InvalidInput
from guards.learning.by_seed import LabelledScores, Mask, PairScores, labelled_scores, pair_scores
from guards.learning.estimates import (
    Estimate,
    auroc_estimate,
    calibration_estimate,
    correlation_estimate,
    rate_estimate,
    win_estimate,
)
from guards.learning.heldout import HALVES, HeldOutScores

LENGTHS = ((1, 16), (17, 64), (65, 192), (193, None))  # tokens of the judged text, both ends within
ALL = "all held-out sources"
Pairing = Literal["own", "pooled safe", "pooled unsafe", "none"]


@dataclass(frozen=True)
class Slice:
    """The labelled rows of one source, category or length; a measure is None for want of a class."""

    name: str
    safe: int
    unsafe: int
    paired: Pairing  # where the other class of the AUROC is from
    auroc: Estimate | None
    recall: Estimate | None  # share of unsafe rows at the threshold or above
    false_positive_rate: Estimate | None  # of safe rows


@dataclass(frozen=True)
class PairSlice:
    """The pairs of one source and half."""

    name: str
    half: str
    accuracy: Estimate
    shorter: float  # accuracy of "the shorter answer is better", for comparison
    gap_length_correlation: Estimate | None  # of the rewards' difference with the lengths' difference


@dataclass(frozen=True)
class Calibrated:
    """`rows` counts rows as they are, `balanced` gives each class half of the weight."""

    rows: Estimate
    balanced: Estimate


@dataclass(frozen=True)
class LengthCorrelation:
    """Spearman's of reward with tokens. Within a class it is not the classes' own difference in length."""

    all: Estimate | None
    safe: Estimate | None
    unsafe: Estimate | None


@dataclass(frozen=True)
class LabelledSuite:
    threshold: float
    overall: Slice
    calibration: Calibrated | None
    length_correlation: LengthCorrelation
    by_source: tuple[Slice, ...]
    by_category: tuple[Slice, ...]
    by_length: tuple[Slice, ...]


@dataclass(frozen=True)
class PairSuite:
    """One overall slice a half that there is."""

    overall: tuple[PairSlice, ...]
    by_source: tuple[PairSlice, ...]
    by_category: tuple[PairSlice, ...]


@dataclass(frozen=True)
class HeadSuite:
    head: str
    labelled: LabelledSuite | None
    pairs: PairSuite | None


@dataclass(frozen=True)
class Suite:
    model: str
    recipe_sha256: str
    seeds: tuple[int, ...]
    heads: tuple[HeadSuite, ...]


def measure_suite(scores: HeldOutScores) -> Suite:
    """Raises InvalidInput where scores and thresholds do not fit together."""
    if not scores.heads:
        raise InvalidInput("there are no held-out scores to measure")
    return Suite(scores.model, scores.recipe_sha256, scores.seeds, tuple(_head(scores, head) for head in scores.heads))


def _head(scores: HeldOutScores, head: str) -> HeadSuite:
    labelled, pairs = labelled_scores(scores, head), pair_scores(scores, head)
    return HeadSuite(
        head,
        _labelled_suite(labelled, threshold_of(scores, head)) if len(labelled) else None,
        _pair_suite(pairs) if len(pairs) else None,
    )


def threshold_of(scores: HeldOutScores, head: str) -> float:
    if head not in scores.thresholds:
        raise InvalidInput(f"the scores hold labelled rows of {head} but no threshold for it; score again")
    return scores.thresholds[head]


def _labelled_suite(rows: LabelledScores, threshold: float) -> LabelledSuite:
    def slices(names: Iterable[str], masks: Iterable[Mask], pool: bool = True) -> tuple[Slice, ...]:
        return tuple(
            slice_of(rows, mask, name, threshold, pool) for name, mask in zip(names, masks, strict=True) if mask.any()
        )

    sources = sorted(set(rows.sources.tolist()))
    categories = sorted(set(rows.categories.tolist()) - {""})
    everything = np.ones(len(rows), dtype=np.bool_)
    return LabelledSuite(
        threshold=threshold,
        overall=slice_of(rows, everything, ALL, threshold, pool=False),
        calibration=_calibrated(rows),
        length_correlation=LengthCorrelation(
            correlation_estimate(rows.rewards, rows.tokens.astype(np.float64)),
            *(
                correlation_estimate(part.rewards, part.tokens.astype(np.float64))
                for part in (rows.where(rows.labels == 0), rows.where(rows.labels == 1))
            ),
        ),
        by_source=slices(sources, (rows.sources == name for name in sources)),
        by_category=slices(categories, (rows.categories == name for name in categories)),
        by_length=slices(
            [length_name(low, high) for low, high in LENGTHS],
            [(rows.tokens >= (0 if low == 1 else low)) & (rows.tokens <= (high or np.inf)) for low, high in LENGTHS],
            pool=False,
        ),
    )


def length_name(low: int, high: int | None) -> str:
    return f"{low} to {high} tokens" if high else f"{low} tokens and more"


def slice_of(rows: LabelledScores, mask: Mask, name: str, threshold: float, pool: bool) -> Slice:
    """`pool`: a slice of one class takes the other class from all rows."""
    own = rows.where(mask)
    unsafe = int(own.labels.sum())
    safe = len(own) - unsafe
    hits = own.risks >= threshold
    paired, ranked = _paired(rows, mask, safe, unsafe, pool)
    return Slice(
        name=name,
        safe=safe,
        unsafe=unsafe,
        paired=paired,
        # n is the slice's own rows: those lent to it are the same for every slice
        auroc=dataclasses.replace(auroc_estimate(ranked.risks, ranked.labels), n=len(own)) if ranked else None,
        recall=rate_estimate(hits[:, own.labels == 1]) if unsafe else None,
        false_positive_rate=rate_estimate(hits[:, own.labels == 0]) if safe else None,
    )


def _paired(
    rows: LabelledScores, mask: Mask, safe: int, unsafe: int, pool: bool
) -> tuple[Pairing, LabelledScores | None]:
    if safe and unsafe:
        return "own", rows.where(mask)
    missing = 0 if unsafe else 1
    if not pool or not (rows.labels == missing).any():
        return "none", None
    return ("pooled unsafe" if missing else "pooled safe"), rows.where(mask | (rows.labels == missing))


def _calibrated(rows: LabelledScores) -> Calibrated | None:
    if len(np.unique(rows.labels)) < 2:
        return None
    return Calibrated(
        calibration_estimate(rows.risks, rows.labels), calibration_estimate(rows.risks, rows.labels, balanced=True)
    )


def _pair_suite(pairs: PairScores) -> PairSuite:
    def slices(names: Iterable[str], masks: Iterable[Mask]) -> tuple[PairSlice, ...]:
        return tuple(
            pair_slice(pairs.where(mask & (pairs.halves == half)), name, half)
            for name, mask in zip(names, masks, strict=True)
            for half in HALVES
            if (mask & (pairs.halves == half)).any()
        )

    sources = sorted(set(pairs.sources.tolist()))
    categories = sorted(set(pairs.categories.tolist()) - {""})
    return PairSuite(
        overall=slices([ALL], [np.ones(len(pairs), dtype=np.bool_)]),
        by_source=slices(sources, (pairs.sources == name for name in sources)),
        by_category=slices(categories, (pairs.categories == name for name in categories)),
    )


def pair_slice(pairs: PairScores, name: str, half: str) -> PairSlice:
    lengths = (pairs.chosen_tokens.astype(np.float64), pairs.rejected_tokens.astype(np.float64))
    shorter = win_estimate(*(-length[np.newaxis, :] for length in lengths))
    return PairSlice(
        name,
        half,
        win_estimate(pairs.chosen, pairs.rejected),
        shorter.value,
        correlation_estimate(pairs.chosen - pairs.rejected, lengths[0] - lengths[1]),
    )
