"""Train a reward model from a recipe: the same recipe, data and machine give the same bytes.

Folds tell how long to learn, how to calibrate, and what the figures are; one more network learns from everything
and is what is written, manifest last.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from guards.learning.crossfit import anchored, best_epochs, calibrate, cross_fitted, fold_tasks
from guards.learning.fit import Floats32
from guards.learning.heldout import HeldOutScores, ScoredPair, ScoredRow
from guards.learning.states import Progress, States
from guards.learning.workshop import Place, Task, anchor_rows, open_workshop, run_tasks
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.manifest import HEADS_FILE, AnchorSpec, HeadSpec, Manifest, file_sha256, save_manifest


def train_reward(recipe_path: Path, out_dir: Path, encoder_dir: Path, progress: Progress, cache_dir: Path) -> Manifest:
    """Write heads.safetensors and manifest.json (last) to `out_dir`; states and fits go to `cache_dir`."""
    place = Place(recipe_path, encoder_dir, cache_dir)
    workshop = open_workshop(place, progress)
    recipe = workshop.recipe
    final = Task(None, recipe.seed)
    run_tasks(workshop, [final, *fold_tasks(recipe, recipe.seed)], progress)
    held_out = cross_fitted(workshop, recipe.seed)
    epochs = best_epochs(workshop, held_out)
    fitted = workshop.result(final)
    tensors = _on_anchor_scale(fitted.tensors[epochs - 1], fitted.watched[epochs - 1])
    specs = []
    for head in workshop.heads:
        calibration, _ = calibrate(head, held_out[head.name], epochs, recipe)
        specs.append(
            HeadSpec(name=head.name, input=head.kind, calibration=calibration, members=recipe.training.members)
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / "manifest.json").unlink(missing_ok=True)  # nothing half new may look complete
    save_file(tensors, out_dir / HEADS_FILE)
    anchor = place.anchor
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        encoder=recipe.encoder,
        window=recipe.window,
        pooling=recipe.pooling,
        adapter=recipe.adapter,
        anchor=AnchorSpec(path=f"data/{anchor.name}", sha256=file_sha256(anchor), rows=len(anchor_rows(anchor))),
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
    workshop = open_workshop(Place(recipe_path, encoder_dir, cache_dir), progress)
    recipe = workshop.recipe
    chosen = tuple(range(recipe.seed, recipe.seed + seeds))
    run_tasks(workshop, [task for seed in chosen for task in fold_tasks(recipe, seed)], progress)
    by_seed = [cross_fitted(workshop, seed) for seed in chosen]
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


def _on_anchor_scale(tensors: dict[str, Tensor], on_anchor: dict[str, Floats32]) -> dict[str, Tensor]:
    """The anchor's scale and offset folded into every head; in half precision, which moves no reward by .01."""
    result = dict(tensors)
    for name, rewards in on_anchor.items():
        _, scale, offset = anchored(rewards, rewards)
        result[f"{name}.outer"] = tensors[f"{name}.outer"] * scale
        result[f"{name}.offset"] = tensors[f"{name}.offset"] * scale + offset
    return {name: tensor.half().contiguous() for name, tensor in result.items()}


def _tokens(states: States) -> NDArray[np.int64]:
    """[texts]: tokens of the windows that were kept, special tokens included."""
    both = states.length[states.first] + states.length[states.last]
    return np.asarray(np.where(states.first == states.last, states.length[states.first], both))
