"""The suite's measures as the figures of a manifest: what a model card shows without the scores."""

from __future__ import annotations

from collections.abc import Iterator

from guards.learning.estimates import Estimate
from guards.learning.suite import HeadSuite, LabelledSuite, PairSuite, Slice
from guards.rewards.manifest import Figure


def head_figures(suite: HeadSuite) -> tuple[Figure, ...]:
    """For `HeadSpec.held_out`; the source `ALL` stands for all of them.

    auroc                     own rows of both classes
    auroc_pooled              rows of one class against all held-out rows of the other; `n` counts its own
    recall@T                  share of unsafe rows at risk >= T, the default policy's threshold
    false_positive_rate@T     of safe rows
    ece, ece_balanced         of ALL: rows as they are, and each class half of the weight
    length_correlation        of ALL: Spearman's, of reward with tokens
    accuracy                  of ordinary pairs
    accuracy_safe             of refusal pairs in which an answer should win
    accuracy_unsafe           of refusal pairs in which the refusal should win
    """
    labelled = _of_labels(suite.labelled) if suite.labelled else ()
    pairs = _of_pairs(suite.pairs) if suite.pairs else ()
    return (*labelled, *pairs)


def _of_labels(suite: LabelledSuite) -> Iterator[Figure]:
    for part in (suite.overall, *suite.by_source):
        yield from _of_slice(part, suite.threshold)
        if part is suite.overall:
            if suite.calibration:
                yield _figure(part.name, "ece", suite.calibration.rows)
                yield _figure(part.name, "ece_balanced", suite.calibration.balanced)
            if suite.length_correlation.all:
                yield _figure(part.name, "length_correlation", suite.length_correlation.all)


def _of_slice(part: Slice, threshold: float) -> Iterator[Figure]:
    for metric, estimate in (
        ("auroc" if part.paired == "own" else "auroc_pooled", part.auroc),
        (f"recall@{threshold:g}", part.recall),
        (f"false_positive_rate@{threshold:g}", part.false_positive_rate),
    ):
        if estimate:
            yield _figure(part.name, metric, estimate)


def _of_pairs(suite: PairSuite) -> Iterator[Figure]:
    for pairs in (*suite.overall, *suite.by_source):
        yield _figure(pairs.name, f"accuracy_{pairs.half}" if pairs.half else "accuracy", pairs.accuracy)


def _figure(source: str, metric: str, estimate: Estimate) -> Figure:
    value, low, high = (round(part, 4) for part in (estimate.value, estimate.low, estimate.high))
    return Figure(source=source, metric=metric, value=value, low=low, high=high, n=estimate.n)
