"""Train a reward model from a recipe: the same recipe, data and machine give the same bytes.

Folds are fitted first: they tell how long to learn, how to calibrate, and what the figures are. Then one network
learns from everything. It is written manifest last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from guards.errors import InvalidInput, ModelError
from guards.learning.corpus import load_corpus
from guards.learning.crossfit import HeldOut, Workshop, anchored, best_epochs, calibrate, cross_fit
from guards.learning.data import Labelled, read_rows
from guards.learning.examples import head_corpora
from guards.learning.heldout import HeldOutScores, ScoredPair, ScoredRow
from guards.learning.recipe import Recipe, load_recipe
from guards.learning.states import Progress, StateCache, States
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.manifest import HEADS_FILE, AnchorSpec, HeadSpec, Manifest, file_sha256, save_manifest
from guards.rewards.torch_model import load_encoder


def train_reward(recipe_path: Path, out_dir: Path, encoder_dir: Path, progress: Progress, cache_dir: Path) -> Manifest:
    """Write heads.safetensors and manifest.json (last) to `out_dir`; states and fits go to `cache_dir`."""
    workshop = _open(recipe_path, encoder_dir, cache_dir, progress)
    recipe = workshop.recipe
    step = _Steps("training", recipe.training.epochs * (len(recipe.folds) + 1), progress)
    held_out = cross_fit(workshop, recipe.seed, step)
    epochs = best_epochs(workshop, held_out)
    fitted = workshop.fit((), recipe.seed).run(epochs, {head.name: head.anchors for head in workshop.heads}, step)
    step.finish()
    tensors = _on_anchor_scale(fitted.tensors, fitted.watched[-1])
    specs = []
    for head in workshop.heads:
        calibration, _ = calibrate(head, held_out[head.name], epochs, recipe)
        specs.append(
            HeadSpec(name=head.name, input=head.kind, calibration=calibration, members=recipe.training.members)
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "manifest.json").unlink(missing_ok=True)  # nothing half new may look complete
    save_file(tensors, out_dir / HEADS_FILE)
    anchor = recipe_path.parent / recipe.anchor
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        encoder=recipe.encoder,
        window=recipe.window,
        pooling=recipe.pooling,
        adapter=recipe.adapter,
        anchor=AnchorSpec(path=f"data/{anchor.name}", sha256=file_sha256(anchor), rows=len(_anchor_rows(anchor))),
        normalizer=NORMALIZER_VERSION,
        heads=tuple(specs),
        heads_sha256=file_sha256(out_dir / HEADS_FILE),
        training=workshop.corpus.files,
        seed=recipe.seed,
        recipe_sha256=workshop.recipe_sha256,
    )
    save_manifest(manifest, out_dir)
    return manifest


def held_out_scores(
    recipe_path: Path, encoder_dir: Path, cache_dir: Path, seeds: int, progress: Progress
) -> HeldOutScores:
    """Every row and pair scored by networks that never saw its source, for `seeds` seeds from the recipe's on.

    The number of epochs is the one that the first seed's folds choose, as in `train_reward`; each seed has its own
    calibration, and a row's risk is by that of the other folds.
    """
    workshop = _open(recipe_path, encoder_dir, cache_dir, progress)
    recipe = workshop.recipe
    chosen = tuple(range(recipe.seed, recipe.seed + seeds))
    step = _Steps("leaving sources out", recipe.training.epochs * len(recipe.folds) * seeds, progress)
    by_seed = [cross_fit(workshop, seed, step) for seed in chosen]
    step.finish()
    epochs = best_epochs(workshop, by_seed[0])
    rows: list[ScoredRow] = []
    pairs: list[ScoredPair] = []
    for seed, held_out in zip(chosen, by_seed, strict=True):
        for head in workshop.heads:
            own = held_out[head.name]
            _, risk = calibrate(head, own, epochs, recipe)
            tokens = _tokens(workshop.states[head.kind])
            rows += [
                ScoredRow(
                    head.name, row.source, row.category, row.label, int(tokens[text]), float(reward), float(p), seed
                )
                for row, text, reward, p in zip(
                    head.labelled, head.labelled_texts, own.labelled[epochs - 1], risk, strict=True
                )
            ]
            pairs += [
                ScoredPair(
                    head.name,
                    pair.source,
                    pair.category,
                    pair.half,
                    float(rewards[0]),
                    float(rewards[1]),
                    int(tokens[texts[0]]),
                    int(tokens[texts[1]]),
                    seed,
                )
                for pair, texts, rewards in zip(head.pairs, head.pair_texts, own.pairs[epochs - 1], strict=True)
            ]
    return HeldOutScores(
        rows=tuple(rows),
        pairs=tuple(pairs),
        thresholds={name: head.threshold for name, head in recipe.heads.items()},
        seeds=chosen,
        model=f"{recipe.name} {recipe.version}",
        recipe_sha256=workshop.recipe_sha256,
    )


def _open(recipe_path: Path, encoder_dir: Path, cache_dir: Path, progress: Progress) -> Workshop:
    recipe, digest = load_recipe(recipe_path)
    _check_encoder(recipe, encoder_dir)
    corpus = load_corpus(recipe, recipe_path.parent)
    heads, tables = head_corpora(corpus, recipe, _anchor_rows(recipe_path.parent / recipe.anchor))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_encoder(encoder_dir).to(device)
    cache = StateCache(
        cache_dir / "states",
        encoder_dir,
        recipe.encoder,
        recipe.window,
        recipe.adapter.first_layer,
        recipe.max_windows,
        device,
    )
    states = {}
    for kind in sorted({head.kind for head in heads}):
        what = f"{kind}s: "
        states[kind] = cache.states(
            encoder, tables[kind].texts, lambda name, done, total, what=what: progress(what + name, done, total)
        )
    return Workshop(recipe, digest, corpus, tuple(heads), states, encoder, device, cache_dir / "fits")


def _anchor_rows(path: Path) -> Sequence[Labelled]:
    rows = read_rows(path)
    labelled = [row for row in rows if isinstance(row, Labelled)]
    if len(labelled) != len(rows):
        raise InvalidInput(f"{path} holds pairs; an anchor is of prompts and responses")
    return labelled


def _check_encoder(recipe: Recipe, encoder_dir: Path) -> None:
    for name, expected in (
        ("model.safetensors", recipe.encoder.sha256),
        ("tokenizer.json", recipe.encoder.tokenizer_sha256),
    ):
        if file_sha256(encoder_dir / name) != expected:
            raise ModelError(f"{encoder_dir / name} is not of {recipe.encoder.source}; run `wardgate models pull`")


def _on_anchor_scale(tensors: dict[str, Tensor], on_anchor: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The anchor's scale and offset folded into every head; in half precision, which moves no reward by .01."""
    result = dict(tensors)
    for name, rewards in on_anchor.items():
        _, scale, offset = anchored(rewards, rewards)
        result[f"{name}.outer"] = tensors[f"{name}.outer"] * scale
        result[f"{name}.offset"] = tensors[f"{name}.offset"] * scale + offset
    return {name: tensor.half().contiguous() for name, tensor in result.items()}


def _tokens(states: States) -> np.ndarray:
    """[texts]: tokens of the windows that were kept, special tokens included."""
    both = states.length[states.first] + states.length[states.last]
    return np.where(states.first == states.last, states.length[states.first], both)


class _Steps:
    def __init__(self, what: str, total: int, progress: Progress) -> None:
        self._what, self._total, self._progress, self._done = what, total, progress, 0

    def __call__(self) -> None:
        self._done += 1
        self._progress(self._what, self._done, self._total)

    def finish(self) -> None:
        self._progress(self._what, self._total, self._total)
