"""Cross-fitting by source: every row is judged by a network that learned from no row of its source.

Nor from a reply to a prompt of its source, under whatever name and for whatever head: the heads share an adapter.
What is made of a source's prompts is held out with that source (guards/learning/recipe.py), and what else is to the
same prompts is hidden from the fold (guards/learning/examples.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guards.learning.calibration import fit_platt, risks
from guards.learning.examples import HeadCorpus, balanced_weights, group_weights
from guards.learning.metrics import Floats
from guards.learning.network import Floats32
from guards.learning.recipe import Recipe
from guards.learning.states import Ints
from guards.learning.workshop import Task, Workshop, members
from guards.rewards.manifest import Calibration

ANCHOR_DEVIATION = 2.0  # of rewards on the anchor texts, whose mean is 0: logits of a usual size


@dataclass(frozen=True)
class HeldOut:
    """Anchored rewards of one head's rows by the networks of their folds, after every epoch.

    `labelled` [epochs, labelled]; `pairs` [epochs, pairs, 2]: chosen, rejected; `fold_of` [labelled]: a row's fold.
    """

    labelled: Floats
    pairs: Floats
    fold_of: Ints


def fold_tasks(recipe: Recipe, seed: int) -> list[Task]:
    return [Task(fold, seed) for fold in range(len(recipe.folds))]


def cross_fitted(workshop: Workshop, seed: int) -> dict[str, HeldOut]:
    """What the finished fold tasks of one seed say of every row, by head."""
    recipe = workshop.recipe
    result = {head.name: _empty(head, recipe.training.epochs) for head in workshop.heads}
    for task in fold_tasks(recipe, seed):
        assert task.fold is not None
        rewards = _anchored_by_text(workshop, task)
        for head in workshop.heads:
            rows, pair_rows = members(head, recipe.folds[task.fold])
            by_text = rewards[head.name]
            result[head.name].labelled[:, rows] = by_text[:, head.labelled_texts[rows]]
            result[head.name].pairs[:, pair_rows] = by_text[:, head.pair_texts[pair_rows]]
            result[head.name].fold_of[rows] = task.fold
    return result


def best_epochs(workshop: Workshop, held_out: Mapping[str, HeldOut]) -> int:
    """After how many epochs the training loss of held-out rows, summed over heads, is smallest."""
    before = workshop.recipe.training.first_epoch - 1  # these were not scored
    late = {name: HeldOut(own.labelled[before:], own.pairs[before:], own.fold_of) for name, own in held_out.items()}
    losses = np.sum([_losses(head, late[head.name], workshop.recipe) for head in workshop.heads], axis=0)
    return int(np.argmin(losses)) + 1 + before


def calibrate(head: HeadCorpus, held_out: HeldOut, epochs: int, recipe: Recipe) -> tuple[Calibration, Floats]:
    """The head's calibration on all held-out rows; and every labelled row's risk, by the other folds' calibration.

    A head that learns from pairs alone takes the rejected answers for unsafe.
    """
    if not head.labelled:
        flat = held_out.pairs[epochs - 1].ravel()
        labels = np.tile([0, 1], len(head.pairs)).astype(np.int64)
        weights = np.repeat(group_weights([pair.source for pair in head.pairs], recipe.weights), 2)
        return fit_platt(flat, labels, weights), np.empty(0)
    rewards, labels = held_out.labelled[epochs - 1], head.labels
    weights = balanced_weights(head.labelled, recipe.weights)
    risk = np.zeros(len(labels))
    for fold in np.unique(held_out.fold_of):
        own = held_out.fold_of == fold
        risk[own] = risks(fit_platt(rewards[~own], labels[~own], weights[~own]), rewards[own])
    return fit_platt(rewards, labels, weights), risk


def anchored(rewards: Floats32, on_anchor: Floats32) -> tuple[Floats32, float, float]:
    """Rewards scaled so that those `on_anchor` have mean 0 and deviation 2; with (scale, offset) that does it."""
    scale = ANCHOR_DEVIATION / max(float(on_anchor.std()), 1e-6)
    offset = -float(on_anchor.mean()) * scale
    return np.asarray(rewards * scale + offset, dtype=np.float32), scale, offset


def _anchored_by_text(workshop: Workshop, task: Task) -> dict[str, NDArray[np.float32]]:
    """Anchored rewards [epochs, texts] of every head; NaN for texts that the task did not watch."""
    fitted, watch = workshop.result(task), workshop.watched(task)
    result = {}
    for head in workshop.heads:
        texts = watch[head.name]
        on_anchor = np.isin(texts, head.anchors)
        by_text = np.full((len(fitted.watched), int(texts.max()) + 1), np.nan, dtype=np.float32)
        for epoch, by_head in enumerate(fitted.watched):
            if not by_head:  # before the first epoch that may be chosen
                continue
            values = by_head[head.name]
            by_text[epoch, texts] = anchored(values, values[on_anchor])[0]
        result[head.name] = by_text
    return result


def _empty(head: HeadCorpus, epochs: int) -> HeldOut:
    labelled, pairs = np.zeros((epochs, len(head.labelled))), np.zeros((epochs, len(head.pairs), 2))
    return HeldOut(labelled, pairs, np.zeros(len(head.labelled), np.int64))


def _losses(head: HeadCorpus, held_out: HeldOut, recipe: Recipe) -> Floats:
    """[epochs]. One scale and offset are left to calibration, so rewards are divided by their spread first."""
    result = np.zeros(len(held_out.labelled))
    if head.labelled:
        weights = balanced_weights(head.labelled, recipe.weights)
        signs = 1.0 - 2.0 * head.labels
        spread = held_out.labelled.std(axis=1, keepdims=True) + 1e-6
        result += (np.logaddexp(0.0, -signs * held_out.labelled / spread) * weights).sum(axis=1)
    if head.pairs:
        weights = group_weights([pair.source for pair in head.pairs], recipe.weights)
        spread = held_out.pairs.std(axis=(1, 2))[:, None] + 1e-6
        gaps = (held_out.pairs[:, :, 1] - held_out.pairs[:, :, 0]) / spread
        result += (np.logaddexp(0.0, gaps) * weights).sum(axis=1)
    return np.asarray(result)
