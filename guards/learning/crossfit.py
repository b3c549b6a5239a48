"""Cross-fitting by source: every row is judged by a network that saw nothing of its source.

Each fit is kept on disk under a name that says all it depends on, so that a run that was stopped goes on where it
was, and a report after training costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from guards.errors import InvalidInput
from guards.learning.calibration import fit_platt, risks
from guards.learning.corpus import Corpus
from guards.learning.examples import HeadCorpus, balanced_weights, group_weights, without
from guards.learning.fit import Fit
from guards.learning.metrics import Floats
from guards.learning.recipe import Fold, Recipe
from guards.learning.states import Ints, States
from guards.rewards.manifest import Calibration, Kind
from guards.rewards.torch_model import upper_layers
from transformers import PreTrainedModel

ANCHOR_DEVIATION = 2.0  # of rewards on the anchor texts, whose mean is 0: logits of a usual size

_FORMAT = "1"  # raise when fitting changes, so that old fits are not used


@dataclass(frozen=True)
class Workshop:
    """What every fit of one run shares."""

    recipe: Recipe
    recipe_sha256: str
    corpus: Corpus
    heads: tuple[HeadCorpus, ...]
    states: Mapping[Kind, States]
    encoder: PreTrainedModel
    device: torch.device
    fits_dir: Path

    def fit(self, held_out: Sequence[str], seed: int) -> Fit:
        """A fresh network on all rows but those of some sources."""
        margins = self.recipe.training.margins
        examples = {head.name: without(head, set(held_out), margins) for head in self.heads}
        layers = upper_layers(self.encoder, self.recipe.adapter.first_layer)
        width = int(self.encoder.config.hidden_size)
        return Fit(self.states, layers, width, self.recipe, examples, seed, self.device)


@dataclass(frozen=True)
class HeldOut:
    """Anchored rewards of one head's rows by the networks of their folds, after every epoch.

    `labelled` [epochs, labelled]; `pairs` [epochs, pairs, 2]: chosen, rejected; `fold_of` [labelled]: a row's fold.
    """

    labelled: Floats
    pairs: Floats
    fold_of: Ints


def cross_fit(workshop: Workshop, seed: int, step: Callable[[], None]) -> dict[str, HeldOut]:
    """One fit a fold, each for all the recipe's epochs; by head. `step` is called after every epoch."""
    recipe = workshop.recipe
    _check_folds(workshop)
    result = {head.name: _empty(head, recipe.training.epochs) for head in workshop.heads}
    for number, fold in enumerate(recipe.folds):
        members = {head.name: _members(head, fold) for head in workshop.heads}
        rewards = _fold_rewards(workshop, fold, seed, members, step)
        for head in workshop.heads:
            rows, pair_rows = members[head.name]
            by_text = rewards[head.name]  # [epochs, texts], NaN where not watched
            result[head.name].labelled[:, rows] = by_text[:, head.labelled_texts[rows]]
            result[head.name].pairs[:, pair_rows] = by_text[:, head.pair_texts[pair_rows]]
            result[head.name].fold_of[rows] = number
    return result


def best_epochs(workshop: Workshop, held_out: Mapping[str, HeldOut]) -> int:
    """After how many epochs the training loss of held-out rows, summed over heads, is smallest."""
    losses = sum(_losses(head, held_out[head.name], workshop.recipe) for head in workshop.heads)
    return int(np.argmin(losses)) + 1


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


def anchored(rewards: Floats, on_anchor: Floats) -> tuple[Floats, float, float]:
    """Rewards scaled so that those `on_anchor` have mean 0 and deviation 2; with (scale, offset) that does it."""
    scale = ANCHOR_DEVIATION / max(float(on_anchor.std()), 1e-6)
    offset = -float(on_anchor.mean()) * scale
    return rewards * scale + offset, scale, offset


def _fold_rewards(
    workshop: Workshop,
    fold: Fold,
    seed: int,
    members: Mapping[str, tuple[Ints, Ints]],
    step: Callable[[], None],
) -> dict[str, NDArray[np.float32]]:
    """Anchored rewards [epochs, texts] of every head's held-out texts; from disk if this fit was done before."""
    epochs = workshop.recipe.training.epochs
    watch = {head.name: _watched(head, *members[head.name]) for head in workshop.heads}
    file = workshop.fits_dir / f"{_key(workshop, fold, seed)}.npz"
    if file.exists():
        with np.load(file) as kept:
            watched = [{name: kept[f"{epoch}:{name}"] for name in watch} for epoch in range(epochs)]
        for _ in range(epochs):
            step()
    else:
        watched = workshop.fit(fold.sources, seed).run(epochs, watch, step).watched
        _keep(file, {f"{epoch}:{name}": values for epoch, by in enumerate(watched) for name, values in by.items()})
    result = {}
    for head in workshop.heads:
        texts = watch[head.name]
        on_anchor = np.isin(texts, head.anchors)
        by_text = np.full((epochs, int(texts.max()) + 1), np.nan, dtype=np.float32)
        for epoch in range(epochs):
            values = watched[epoch][head.name]
            by_text[epoch, texts] = anchored(values, values[on_anchor])[0]
        result[head.name] = by_text
    return result


def _watched(head: HeadCorpus, rows: Ints, pair_rows: Ints) -> Ints:
    parts = [head.labelled_texts[rows], head.pair_texts[pair_rows].ravel(), head.anchors]
    return np.unique(np.concatenate(parts))


def _keep(file: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    with partial.open("wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)
    partial.replace(file)


def _key(workshop: Workshop, fold: Fold, seed: int) -> str:
    digest = hashlib.sha256()
    parts = [_FORMAT, torch.__version__, workshop.device.type, str(torch.get_num_threads()), workshop.recipe_sha256]
    parts += [file.sha256 for file in workshop.corpus.files]
    for part in (*parts, fold.name, str(seed)):
        digest.update(part.encode() + b"\n")
    return digest.hexdigest()[:32]


def _check_folds(workshop: Workshop) -> None:
    folds = workshop.recipe.folds
    named = [source for fold in folds for source in fold.sources]
    twice = {source for source in named if named.count(source) > 1}
    if twice:
        raise InvalidInput(f"several folds of the recipe hold out: {', '.join(sorted(twice))}")
    missing = set().union(*(head.sources() for head in workshop.heads)) - set(named)
    if missing:
        raise InvalidInput(f"no fold of the recipe holds out: {', '.join(sorted(missing))}")


def _empty(head: HeadCorpus, epochs: int) -> HeldOut:
    labelled, pairs = np.zeros((epochs, len(head.labelled))), np.zeros((epochs, len(head.pairs), 2))
    return HeldOut(labelled, pairs, np.zeros(len(head.labelled), np.int64))


def _members(head: HeadCorpus, fold: Fold) -> tuple[Ints, Ints]:
    rows = [row for row, example in enumerate(head.labelled) if example.source in fold.sources]
    pairs = [row for row, pair in enumerate(head.pairs) if pair.source in fold.sources]
    return np.array(rows, dtype=np.int64), np.array(pairs, dtype=np.int64)


def _losses(head: HeadCorpus, held_out: HeldOut, recipe: Recipe) -> Floats:
    """[epochs]. One scale and offset are left to calibration, so rewards are compared after dividing by their spread."""
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
