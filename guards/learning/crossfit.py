"""Cross-fitting by source: every row is judged by a head that saw nothing of its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.errors import InvalidInput
from guards.learning.examples import HeadCorpus, balanced_weights, group_weights, without
from guards.learning.fit import FeatureTable, fit
from guards.learning.metrics import Floats, Measure, auroc, pair_accuracy
from guards.learning.recipe import Fold, HeadTraining
from guards.rewards.manifest import Figure


@dataclass(frozen=True)
class HeldOut:
    """Rewards of every labelled row and pair by the head of its fold, at the chosen epoch."""

    epochs: int
    labelled: Floats  # [labelled]
    chosen: Floats  # [pairs]
    rejected: Floats  # [pairs]
    figures: tuple[Figure, ...]


def cross_fit(
    corpus: HeadCorpus, table: FeatureTable, training: HeadTraining, seed: int, step: Callable[[], None]
) -> HeldOut:
    """One fit per fold; the epoch with the smallest held-out loss over all folds is chosen."""
    missing = corpus.sources() - {source for fold in training.folds for source in fold.sources}
    if missing:
        raise InvalidInput(f"no fold of the recipe holds out: {', '.join(sorted(missing))}")
    rewards = np.zeros((training.epochs, len(corpus.texts)), dtype=np.float32)
    # one text may stand in rows of two folds, so rewards are kept by fold
    labelled = np.zeros((training.epochs, len(corpus.labelled)))
    pairs = np.zeros((training.epochs, len(corpus.pairs), 2))
    for fold in training.folds:
        rows, pair_rows = _members(corpus, fold)
        watched = np.unique(np.concatenate([corpus.labelled_texts[rows], corpus.pair_texts[pair_rows].ravel()]))
        examples = without(corpus, set(fold.sources), training.weights)
        rewards[:, watched] = fit(table, examples, training, seed, training.epochs, watched, step).held_out
        labelled[:, rows] = rewards[:, corpus.labelled_texts[rows]]
        pairs[:, pair_rows] = rewards[:, corpus.pair_texts[pair_rows]]
    best = int(_losses(corpus, training, labelled, pairs).argmin())
    chosen, rejected = pairs[best, :, 0], pairs[best, :, 1]
    figures = tuple(
        figure for fold in training.folds for figure in _figures(corpus, fold, labelled[best], chosen, rejected)
    )
    return HeldOut(best + 1, labelled[best], chosen, rejected, figures)


def _members(corpus: HeadCorpus, fold: Fold) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = [row for row, example in enumerate(corpus.labelled) if example.source in fold.sources]
    pairs = [row for row, pair in enumerate(corpus.pairs) if pair.source in fold.sources]
    return np.array(rows, dtype=np.int64), np.array(pairs, dtype=np.int64)


def _losses(corpus: HeadCorpus, training: HeadTraining, labelled: Floats, pairs: Floats) -> Floats:
    """[epochs]: the training loss on held-out rewards. One scale and offset per epoch are left to
    calibration, so rewards are compared after dividing by their spread."""
    weights = balanced_weights(corpus.labelled, training.weights)
    signs = 1.0 - 2.0 * corpus.labels
    spread = labelled.std(axis=1, keepdims=True) + 1e-6
    scaled = labelled / spread
    loss = (np.logaddexp(0.0, -signs * scaled) * weights).sum(axis=1)
    if len(corpus.pairs) == 0:
        return np.asarray(loss)
    pair_weights = group_weights([pair.source for pair in corpus.pairs], training.weights)
    gaps = (pairs[:, :, 1] - pairs[:, :, 0]) / spread
    return np.asarray(loss + training.pair_weight * (np.logaddexp(0.0, gaps) * pair_weights).sum(axis=1))


def _figures(corpus: HeadCorpus, fold: Fold, rewards: Floats, chosen: Floats, rejected: Floats) -> list[Figure]:
    """AUROC of the fold where it has both classes, and the accuracy of each source of pairs."""
    rows, pair_rows = _members(corpus, fold)
    result = []
    labels = corpus.labels[rows]
    if len(np.unique(labels)) == 2:
        result.append(figure(fold.name, "auroc", auroc(-rewards[rows], labels), len(rows)))
    for source in sorted({corpus.pairs[row].source for row in pair_rows}):
        members = [row for row in pair_rows if corpus.pairs[row].source == source]
        result.append(figure(source, "accuracy", pair_accuracy(chosen[members], rejected[members]), len(members)))
    return result


def figure(source: str, metric: str, measure: Measure, n: int) -> Figure:
    value, low, high = (round(part, 4) for part in (measure.value, measure.low, measure.high))
    return Figure(source=source, metric=metric, value=value, low=low, high=high, n=n)
