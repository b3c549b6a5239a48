"""What every fit of one recipe shares, and the fits themselves, kept on disk.

A fit's file is named by all that it depends on, so that a run that was stopped goes on where it was, and a report
after training costs nothing. On a CPU fits run side by side, one thread each: two on two cores are faster than one
after the other on both, and the bytes do not depend on how many cores there are.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from guards.errors import InvalidInput, ModelError
from guards.learning.corpus import Corpus, load_corpus
from guards.learning.data import Labelled, read_rows
from guards.learning.examples import HeadCorpus, head_corpora, prompts_of, without
from guards.learning.fit import Fit, Fitted
from guards.learning.linear_term import with_terms
from guards.learning.network import Floats32, folded_network
from guards.learning.recipe import Fold, Recipe, load_recipe
from guards.learning.states import Ints, Progress, StateCache, States
from guards.normalize import NORMALIZER_VERSION
from guards.rewards.manifest import Kind, file_sha256
from guards.rewards.torch_model import load_encoder, upper_layers

_FORMAT = "6"  # raise when fitting changes, so that old fits are not used
_TERMS_FORMAT = "1"  # of what is done with a fit
_FITS_AT_ONCE = 8  # each holds some 1.5 GB


@dataclass(frozen=True, slots=True)
class Task:
    """One fit: without the sources of one of the recipe's folds, by its number; or with all rows, fold None."""

    fold: int | None
    seed: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run finds its things."""

    recipe: Path
    encoder_dir: Path
    cache_dir: Path


@dataclass(frozen=True)
class Workshop:
    place: Place
    recipe: Recipe
    recipe_sha256: str
    corpus: Corpus
    heads: tuple[HeadCorpus, ...]
    states: Mapping[Kind, States]
    encoder: PreTrainedModel
    device: torch.device

    @property
    def anchor(self) -> Path:
        return self.place.recipe.parent / self.recipe.anchor

    def file(self, task: Task) -> Path:
        """Where what comes of a task is kept: its fit, with the linear terms that the recipe asks for."""
        terms = {name: head.linear.model_dump() for name, head in self.recipe.heads.items() if head.linear}
        return self._named(task, _TERMS_FORMAT, json.dumps(terms, sort_keys=True)) if terms else self._fit_file(task)

    def _fit_file(self, task: Task) -> Path:
        return self._named(task)

    def _named(self, task: Task, *more: str) -> Path:
        """By all that a fit depends on: not by what the recipe is called, nor by what is done with it afterwards."""
        fold = "" if task.fold is None else self.recipe.folds[task.fold].name
        parts = [_FORMAT, torch.__version__, self.device.type, NORMALIZER_VERSION]
        recipe = self.recipe.model_dump_json(
            exclude={"name": True, "version": True, "heads": {"__all__": {"threshold": True, "linear": True}}}
        )
        parts += [recipe, fold, str(task.seed), file_sha256(self.anchor)]
        parts += [*(file.sha256 for file in self.corpus.files), *more]
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
        return self.place.cache_dir / "fits" / f"{name}.safetensors"

    def watched(self, task: Task) -> dict[str, Ints]:
        """The texts of each head that a task scores: its fold's rows and pairs, and the anchor's."""
        fold = None if task.fold is None else self.recipe.folds[task.fold]
        result = {}
        for head in self.heads:
            rows, pairs = members(head, fold) if fold else (np.empty(0, np.int64), np.empty(0, np.int64))
            result[head.name] = np.unique(
                np.concatenate([head.labelled_texts[rows], head.pair_texts[pairs].ravel(), head.anchors])
            )
        return result

    def run(self, task: Task, step: Callable[[], None]) -> None:
        """Do one task and keep what came of it, whole or not at all."""
        held_out = set() if task.fold is None else set(self.recipe.folds[task.fold].sources)
        prompts = prompts_of(self.heads, held_out)
        examples = {head.name: without(head, held_out, prompts, self.recipe.training) for head in self.heads}
        layers = upper_layers(self.encoder, self.recipe.adapter.first_layer)
        width = int(self.encoder.config.hidden_size)
        watch, file = self.watched(task), self._fit_file(task)
        if not file.exists():
            fit = Fit(self.states, layers, width, self.recipe, examples, task.seed, self.device)
            _save(fit.run(watch, step), file)
        if file != self.file(task):
            network_of = partial(folded_network, layers, self.recipe, width)
            fitted = _load(file, self.recipe.training.epochs)
            fitted = with_terms(fitted, self.recipe, network_of, self.states, examples, watch, self.device)
            _save(fitted, self.file(task))

    def result(self, task: Task) -> Fitted:
        """What a finished task left on disk."""
        return _load(self.file(task), self.recipe.training.epochs)


def members(head: HeadCorpus, fold: Fold) -> tuple[Ints, Ints]:
    """The labelled rows and the pairs of a head that a fold holds out."""
    rows = [row for row, example in enumerate(head.labelled) if example.source in fold.sources]
    pairs = [row for row, pair in enumerate(head.pairs) if pair.source in fold.sources]
    return np.array(rows, dtype=np.int64), np.array(pairs, dtype=np.int64)


def open_workshop(place: Place, progress: Progress) -> Workshop:
    """Everything read, drawn, made up and encoded. Raises InvalidInput or ModelError that says what is wrong."""
    recipe, digest = load_recipe(place.recipe)
    _check_encoder(recipe, place.encoder_dir)
    corpus = load_corpus(recipe, place.recipe.parent)
    heads, tables = head_corpora(corpus, recipe, anchor_rows(place.recipe.parent / recipe.anchor))
    _check_folds(recipe, heads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_encoder(place.encoder_dir, "eager")  # on CPUs the fused attention is slow on the way back
    encoder.to(device)  # type: ignore[arg-type]  # transformers wraps torch's method without its types
    cache = StateCache(
        place.cache_dir / "states",
        place.encoder_dir,
        recipe.encoder,
        recipe.window,
        recipe.adapter.first_layer,
        recipe.max_windows,
        device,
    )
    states: dict[Kind, States] = {}
    for kind in sorted({head.kind for head in heads}):
        states[kind] = cache.states(encoder, tables[kind].texts, partial(_under, f"{kind}s", progress))
    return Workshop(place, recipe, digest, corpus, tuple(heads), states, encoder, device)


def run_tasks(workshop: Workshop, tasks: Sequence[Task], progress: Progress) -> None:
    """Do the tasks that are not done yet; `progress` counts epochs."""
    epochs = workshop.recipe.training.epochs
    missing = [task for task in tasks if not workshop.file(task).exists()]
    total, done = epochs * len(tasks), epochs * (len(tasks) - len(missing))
    progress("training", done, total)
    workers = min(os.cpu_count() or 1, len(missing), _FITS_AT_ONCE)
    if workshop.device.type == "cpu" and workers > 1:
        context = multiprocessing.get_context("spawn")  # a forked torch hangs
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            for future in as_completed([pool.submit(_work, workshop.place, task) for task in missing]):
                future.result()
                done += epochs
                progress("training", done, total)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if workshop.device.type == "cpu" else threads)  # the same bytes as side by side
    try:
        for task in missing:

            def step() -> None:
                nonlocal done
                done += 1
                progress("training", done, total)

            workshop.run(task, step)
    finally:
        torch.set_num_threads(threads)


def anchor_rows(path: Path) -> tuple[Labelled, ...]:
    rows = read_rows(path)
    labelled = tuple(row for row in rows if isinstance(row, Labelled))
    if len(labelled) != len(rows):
        raise InvalidInput(f"{path} holds pairs; an anchor is of prompts and responses")
    return labelled


def _under(heading: str, progress: Progress, what: str, done: int, total: int) -> None:
    progress(f"{heading}: {what}", done, total)


def _work(place: Place, task: Task) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    _opened(place).run(task, lambda: None)


@lru_cache(maxsize=1)
def _opened(place: Place) -> Workshop:
    return open_workshop(place, lambda what, done, total: None)


def _check_encoder(recipe: Recipe, encoder_dir: Path) -> None:
    for name, expected in (
        ("model.safetensors", recipe.encoder.sha256),
        ("tokenizer.json", recipe.encoder.tokenizer_sha256),
    ):
        if file_sha256(encoder_dir / name) != expected:
            raise ModelError(f"{encoder_dir / name} is not of {recipe.encoder.source}; run `wardgate models pull`")


def _check_folds(recipe: Recipe, heads: Sequence[HeadCorpus]) -> None:
    named = [source for fold in recipe.folds for source in fold.sources]
    twice = {source for source in named if named.count(source) > 1}
    if twice:
        raise InvalidInput(f"several folds of the recipe hold out: {', '.join(sorted(twice))}")
    missing = set().union(*(head.sources() for head in heads)) - set(named)
    if missing:
        raise InvalidInput(f"no fold of the recipe holds out: {', '.join(sorted(missing))}")


def _save(fitted: Fitted, file: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for epoch, by_head in enumerate(fitted.watched):
        tensors |= {f"watched:{epoch}:{name}": torch.from_numpy(values) for name, values in by_head.items()}
    for epoch, by_name in enumerate(fitted.tensors):
        tensors |= {f"weights:{epoch}:{name}": tensor for name, tensor in by_name.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.partial")
    save_file(tensors, partial)
    partial.replace(file)


def _load(file: Path, epochs: int) -> Fitted:
    watched: list[dict[str, Floats32]] = [{} for _ in range(epochs)]
    weights: list[dict[str, Tensor]] = [{} for _ in range(epochs)]
    for key, tensor in load_file(file).items():
        what, epoch, name = key.split(":", maxsplit=2)
        if what == "watched":
            watched[int(epoch)][name] = tensor.numpy()
        else:
            weights[int(epoch)][name] = tensor
    return Fitted(watched, weights)
