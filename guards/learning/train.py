"""Train a reward model from a recipe: the same recipe, data and machine give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from guards.errors import ModelError
from guards.learning.calibration import fit_platt, risks
from guards.learning.corpus import load_corpus
from guards.learning.crossfit import HeldOut, cross_fit, figure
from guards.learning.examples import HeadCorpus, balanced_weights, head_corpus, without
from guards.learning.features import FeatureCache, Progress
from guards.learning.fit import FeatureTable, fit
from guards.learning.metrics import Floats, expected_calibration_error, wilson
from guards.learning.recipe import HeadTraining, Recipe, load_recipe
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.manifest import HEADS_FILE, Figure, HeadSpec, Manifest, file_sha256, save_manifest
from guards.rewards.torch_model import RewardHead

_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class TrainedHead:
    spec: HeadSpec
    head: RewardHead


def train_reward(
    recipe_path: Path, out_dir: Path, encoder_dir: Path, progress: Progress, cache_dir: Path | None = None
) -> Manifest:
    """Write heads.safetensors and manifest.json (last) to `out_dir`; features go to `cache_dir`."""
    recipe, digest = load_recipe(recipe_path)
    _check_encoder(recipe, encoder_dir)
    corpus = load_corpus(recipe, recipe_path.parent)
    cache = FeatureCache(
        cache_dir or out_dir / "features",
        encoder_dir,
        recipe.encoder,
        recipe.window,
        recipe.pooling,
        recipe.max_windows,
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    trained = [
        _train_head(recipe.request_risk, "request_risk", head_corpus(corpus, "prompt"), cache, recipe.seed, progress),
        _train_head(
            recipe.response_reward, "response_reward", head_corpus(corpus, "exchange"), cache, recipe.seed, progress
        ),
    ]
    tensors = {
        f"{head.spec.name}.{name}": tensor.contiguous()
        for head in trained
        for name, tensor in head.head.state_dict().items()
    }
    save_file(tensors, out_dir / HEADS_FILE)
    manifest = Manifest(
        name=recipe.name,
        version=recipe.version,
        encoder=recipe.encoder,
        window=recipe.window,
        pooling=recipe.pooling,
        normalizer=NORMALIZER_VERSION,
        heads=tuple(head.spec for head in trained),
        heads_sha256=file_sha256(out_dir / HEADS_FILE),
        training=corpus.files,
        seed=recipe.seed,
        recipe_sha256=digest,
    )
    save_manifest(manifest, out_dir)
    return manifest


def _check_encoder(recipe: Recipe, encoder_dir: Path) -> None:
    for name, expected in (
        ("model.safetensors", recipe.encoder.sha256),
        ("tokenizer.json", recipe.encoder.tokenizer_sha256),
    ):
        if file_sha256(encoder_dir / name) != expected:
            raise ModelError(f"{encoder_dir / name} is not of {recipe.encoder.source}; run `wardgate models pull`")


def _train_head(
    training: HeadTraining, name: str, corpus: HeadCorpus, cache: FeatureCache, seed: int, progress: Progress
) -> TrainedHead:
    features = cache.features(corpus.texts, lambda what, done, total: progress(f"{name}: {what}", done, total))
    table = FeatureTable(features, corpus.kind)
    step = _Steps(f"{name}: training", training.epochs * (len(training.folds) + 1), progress)
    held_out = cross_fit(corpus, table, training, seed, step)
    examples = without(corpus, (), training.weights)
    fitted = fit(table, examples, training, seed, held_out.epochs, np.empty(0, np.int64), step)
    step.finish()
    return TrainedHead(_spec(name, corpus, training, held_out), fitted.head)


class _Steps:
    def __init__(self, what: str, total: int, progress: Progress) -> None:
        self._what, self._total, self._progress, self._done = what, total, progress, 0

    def __call__(self) -> None:
        self._done += 1
        self._progress(self._what, self._done, self._total)

    def finish(self) -> None:
        self._progress(self._what, self._total, self._total)


def _spec(name: str, corpus: HeadCorpus, training: HeadTraining, held_out: HeldOut) -> HeadSpec:
    weights = balanced_weights(corpus.labelled, training.weights).astype(np.float64)
    labels = corpus.labels
    calibration = fit_platt(held_out.labelled, labels, weights)
    raw = calibration.model_copy(update={"a": 1.0, "b": 0.0})
    before = expected_calibration_error(risks(raw, held_out.labelled), labels, weights)
    after = expected_calibration_error(risks(calibration, held_out.labelled), labels, weights)
    n = len(labels)
    errors = (figure("all held-out folds", "ece_raw", before, n), figure("all held-out folds", "ece", after, n))
    figures = (*held_out.figures, *errors, *_rates(risks(calibration, held_out.labelled), corpus))
    return HeadSpec(name=name, input=corpus.kind, calibration=calibration, held_out=figures)


def _rates(risk: Floats, corpus: HeadCorpus) -> list[Figure]:
    """Of every held-out source and class: how much of it each threshold would stop."""
    figures = []
    for source, label in sorted({(row.source, row.label) for row in corpus.labelled}):
        rows = [at for at, row in enumerate(corpus.labelled) if (row.source, row.label) == (source, label)]
        name = "recall" if label else "false_positive_rate"
        for threshold in _THRESHOLDS:
            rate = wilson(int((risk[rows] >= threshold).sum()), len(rows))
            figures.append(figure(source, f"{name}@{threshold}", rate, len(rows)))
    return figures
