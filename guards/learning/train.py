"""Train a reward model from a recipe: the same recipe, data and machine give the same bytes.

Folds tell how long to learn, how to calibrate, and what the figures are; one more network learns from everything
and is what is written, manifest last.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from guards.learning.crossfit import HeldOut, anchored, best_epochs, calibrate, cross_fitted, fold_tasks
from guards.learning.examples import HeadCorpus
from guards.learning.figures import head_figures
from guards.learning.heldout import HeldOutScores, ScoredPair, ScoredRow
from guards.learning.network import Floats32
from guards.learning.recipe import Recipe, in_figures
from guards.learning.states import Ints, Progress
from guards.learning.suite import measure_suite
from guards.learning.workshop import Place, Task, Workshop, anchor_rows, open_workshop, run_tasks
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.manifest import (
    HEADS_FILE,
    MANIFEST_FILE,
    AnchorSpec,
    HeadSpec,
    Manifest,
    file_sha256,
    save_manifest,
)


def train_reward(
    recipe_path: Path, out_dir: Path, encoder_dir: Path, cache_dir: Path, seeds: int, progress: Progress
) -> Manifest:
    """Write heads.safetensors and manifest.json (last) to `out_dir`; states and fits go to `cache_dir`.

    The network and its calibration are those of the recipe's seed; the manifest's figures are over `seeds` seeds.
    """
    workshop = open_workshop(Place(recipe_path, encoder_dir, cache_dir), progress)
    recipe = workshop.recipe
    final = Task(None, recipe.seed)
    run_tasks(workshop, [final, *_fold_tasks(recipe, seeds)], progress)
    held_out = cross_fitted(workshop, recipe.seed)
    epochs = best_epochs(workshop, held_out)
    fitted = workshop.result(final)
    tensors = _on_anchor_scale(fitted.tensors[epochs - 1], fitted.watched[epochs - 1])
    figures = {suite.head: head_figures(suite) for suite in measure_suite(_scores(workshop, seeds)).heads}
    specs = tuple(
        HeadSpec(
            name=head.name,
            input=head.kind,
            calibration=calibrate(head, held_out[head.name], epochs, recipe)[0],
            members=recipe.training.members,
            held_out=figures[head.name],
        )
        for head in workshop.heads
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / MANIFEST_FILE).unlink(missing_ok=True)  # nothing half new may look complete
    save_file(tensors, out_dir / HEADS_FILE)
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        encoder=recipe.encoder,
        window=recipe.window,
        pooling=recipe.pooling,
        adapter=recipe.adapter,
        anchor=_anchor_spec(workshop.anchor),
        normalizer=NORMALIZER_VERSION,
        heads=specs,
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
    run_tasks(workshop, _fold_tasks(workshop.recipe, seeds), progress)
    return _scores(workshop, seeds)


def _fold_tasks(recipe: Recipe, seeds: int) -> list[Task]:
    return [task for seed in _seeds(recipe, seeds) for task in fold_tasks(recipe, seed)]


def _seeds(recipe: Recipe, seeds: int) -> tuple[int, ...]:
    return tuple(range(recipe.seed, recipe.seed + seeds))


def _scores(workshop: Workshop, seeds: int) -> HeldOutScores:
    """Of finished tasks."""
    recipe = workshop.recipe
    by_seed = {seed: cross_fitted(workshop, seed) for seed in _seeds(recipe, seeds)}
    epochs = best_epochs(workshop, by_seed[recipe.seed])
    tokens = {kind: states.tokens for kind, states in workshop.states.items()}
    rows: list[ScoredRow] = []
    pairs: list[ScoredPair] = []
    for seed, held_out in by_seed.items():
        for head in workshop.heads:
            rows += _rows(head, held_out[head.name], epochs, recipe, tokens[head.kind], seed)
            pairs += _pairs(head, held_out[head.name], epochs, tokens[head.kind], seed)
    return HeldOutScores(
        rows=tuple(rows),
        pairs=tuple(pairs),
        thresholds={name: head.threshold for name, head in recipe.heads.items()},
        seeds=tuple(by_seed),
        model=f"{recipe.name} {recipe.version}",
        recipe_sha256=workshop.recipe_sha256,
    )


def _rows(head: HeadCorpus, own: HeldOut, epochs: int, recipe: Recipe, tokens: Ints, seed: int) -> list[ScoredRow]:
    _, risk = calibrate(head, own, epochs, recipe)
    rewards = own.labelled[epochs - 1]
    return [
        ScoredRow(
            head.name, in_figures(row.source), row.category, row.label, int(tokens[text]), float(reward), float(p), seed
        )
        for row, text, reward, p in zip(head.labelled, head.labelled_texts, rewards, risk, strict=True)
        if row.clear
    ]


def _pairs(head: HeadCorpus, own: HeldOut, epochs: int, tokens: Ints, seed: int) -> list[ScoredPair]:
    rewards, lengths = own.pairs[epochs - 1].tolist(), tokens[head.pair_texts].tolist()
    return [
        ScoredPair(head.name, in_figures(pair.source), pair.category, pair.half, better, worse, m, n, seed)
        for pair, (better, worse), (m, n) in zip(head.pairs, rewards, lengths, strict=True)
    ]


def _anchor_spec(path: Path) -> AnchorSpec:
    return AnchorSpec(path=f"data/{path.name}", sha256=file_sha256(path), rows=len(anchor_rows(path)))


def _on_anchor_scale(tensors: dict[str, Tensor], on_anchor: dict[str, Floats32]) -> dict[str, Tensor]:
    """The anchor's scale and offset folded into every head; in half precision, which moves no reward by .01."""
    result = dict(tensors)
    for name, rewards in on_anchor.items():
        _, scale, offset = anchored(rewards, rewards)
        result[f"{name}.outer"] = tensors[f"{name}.outer"] * scale
        result[f"{name}.offset"] = tensors[f"{name}.offset"] * scale + offset
    return {name: tensor.half().contiguous() for name, tensor in result.items()}
