"""Fit the adapter and every head together: cross-entropy for labels, Bradley-Terry (1952) for pairs.

One step takes batches of several kinds of example, so that every head pulls on the shared layers throughout.
Departures from plain Bradley-Terry: a margin by source, and smoothing, which takes a share of pairs (and of labels)
to be wrong (Wang 2024, arXiv:2401.06080). Members of an ensemble share the adapter and learn side by side.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from guards.learning.network import Floats32, UpperNetwork, pooled_features, read_windows, worst_rewards
from guards.learning.recipe import HeadRecipe, Recipe
from guards.learning.sampling import Draw, batches
from guards.learning.standardised import StandardisedHead
from guards.learning.states import Ints, States
from guards.rewards.adapter import adapter_tensors, attach
from guards.rewards.manifest import Kind
from guards.rewards.pooling import Pooled
from guards.rewards.torch_model import feature_width, head_features

_LARGEST_GRADIENT = 1.0
_MEASURED = 2000  # texts by which a head's features are standardised


@dataclass(frozen=True)
class Examples:
    """What teaches one head. Rows index texts of `States`."""

    texts: Ints  # [n]
    targets: Floats32  # [n], P(unsafe): 0 or 1, or between where readers differ
    label_groups: Mapping[tuple[str, int], Sequence[int]]  # (source, label) -> rows
    chosen: Ints  # [m]
    rejected: Ints  # [m]
    margins: Floats32  # [m], in reward
    heads_only: NDArray[np.bool_]  # [m], whether a pair teaches the head and not the adapter
    pair_groups: Mapping[tuple[str, int], Sequence[int]]  # (source, number of its half) -> rows
    anchors: Ints  # texts of the fixed set, which teach nothing


class AdaptedNetwork(UpperNetwork):
    """The upper layers with an adapter beside every linear map, and heads that learn from standardised features."""

    def __init__(self, layers: nn.ModuleList, recipe: Recipe, width: int) -> None:
        own = copy.deepcopy(layers)
        attach(own, recipe.adapter)
        pooled = pooled_features(recipe, width)
        heads = {
            name: StandardisedHead(feature_width(pooled, head.input), head.hidden, recipe.training.members)
            for name, head in recipe.heads.items()
        }
        super().__init__(own, nn.ModuleDict(heads), recipe)

    def measure(self, head: str, pooled: Pooled) -> None:
        """What texts' features have in common, for the head to start from."""
        standardised: StandardisedHead = self.heads[head]  # type: ignore[assignment]
        standardised.measure(head_features(pooled.prompt, pooled.response, self.kinds[head]))

    def kept(self) -> dict[str, Tensor]:
        """The adapter and the heads as an artefact has them."""
        heads = {
            f"{name}.{part}": tensor.detach().contiguous()
            for name, head in self.heads.items()
            for part, tensor in head.kept().items()  # type: ignore[operator]
        }
        return {**heads, **adapter_tensors(self.layers)}


@dataclass(frozen=True)
class Fitted:
    """After each epoch: mean rewards of the watched texts by head, and the weights.

    Of epochs before the recipe's `first_epoch` there is neither.
    """

    watched: list[dict[str, Floats32]]
    tensors: list[dict[str, Tensor]]


@dataclass(frozen=True)
class _Job:
    """One kind of example of one head."""

    head: str
    examples: Examples
    pairs: bool
    count: int
    draw: Draw


class Fit:
    """One run: deterministic on one machine, device and number of threads."""

    def __init__(
        self,
        states: Mapping[Kind, States],
        layers: nn.ModuleList,
        width: int,
        recipe: Recipe,
        examples: Mapping[str, Examples],
        seed: int,
        device: torch.device,
    ) -> None:
        torch.manual_seed(seed)
        self._states = states
        self._recipe = recipe
        self._device = device
        self._order = random.Random(seed)  # noqa: S311 - sampling, not secrecy
        self.network = AdaptedNetwork(layers, recipe, width).to(device)
        for name in recipe.heads:
            self._measure(name, examples[name], seed)
        self._jobs = [
            job for name, head in recipe.heads.items() for job in self._jobs_of(name, head, examples[name], seed)
        ]

    def run(self, watch: Mapping[str, Ints], step: Callable[[], None]) -> Fitted:
        """Learn for all the recipe's epochs; `watch` has texts of each head to score after each; then `step`."""
        optimizer = self._optimizer()
        schedule: torch.optim.lr_scheduler.LambdaLR | None = None
        watched, tensors = [], []
        for epoch in range(self._recipe.training.epochs):
            plan = self._plan()
            schedule = schedule or self._schedule(optimizer, len(plan) * self._recipe.training.epochs)
            self.network.train()
            for batch in plan:
                optimizer.zero_grad()
                for job, rows in batch:
                    torch.autograd.backward(self._loss(job, rows))
                nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
            late = epoch + 1 >= self._recipe.training.first_epoch
            watched.append({head: self.score(head, texts).mean(-1) for head, texts in watch.items()} if late else {})
            tensors.append({name: part.cpu().clone() for name, part in self.network.kept().items()} if late else {})
            step()
        return Fitted(watched, tensors)

    def score(self, head: str, texts: Ints) -> Floats32:
        """Members' rewards [n, members] of texts, as in serving."""
        self.network.eval()
        return worst_rewards(self.network, self._states[self.network.kinds[head]], head, texts, self._device)

    def _measure(self, head: str, examples: Examples, seed: int) -> None:
        """On the network as it is before it learns."""
        self.network.eval()
        texts = np.unique(np.concatenate([examples.texts, examples.chosen, examples.rejected]))
        chosen = sorted(random.Random(f"{seed}:{head}").sample(texts.tolist(), min(_MEASURED, len(texts))))  # noqa: S311
        states = self._states[self.network.kinds[head]]
        windows = states.first[np.array(chosen, dtype=np.int64)]
        with torch.no_grad():  # tensors of inference mode cannot be learned with
            sides = [pooled for _, pooled in read_windows(self.network, states, windows, self._device)]
            prompt, response = (torch.cat([getattr(side, name) for side in sides]) for name in ("prompt", "response"))
            self.network.measure(head, Pooled(prompt, response))

    def _jobs_of(self, name: str, head: HeadRecipe, examples: Examples, seed: int) -> list[_Job]:
        weights = self._recipe.weights
        jobs = []
        halves = dict(enumerate((head.shares.ordinary, head.shares.safe, head.shares.unsafe)))  # as HALVES are numbered
        for pairs, count, groups, shares in (
            (False, head.labels, examples.label_groups, {}),
            (True, head.pairs, examples.pair_groups, halves),
        ):
            if count and groups:
                generator = random.Random(f"{seed}:{name}:{pairs}")  # noqa: S311
                jobs.append(_Job(name, examples, pairs, count, Draw(groups, weights, generator, shares)))
        return jobs

    def _plan(self) -> list[list[tuple[_Job, list[int]]]]:
        """An epoch's steps: each has batches of several jobs."""
        queue = [(job, rows) for job in self._jobs for rows in self._batches(job)]
        self._order.shuffle(queue)
        together = self._recipe.training.batches_a_step
        return [queue[at : at + together] for at in range(0, len(queue), together)]

    def _batches(self, job: _Job) -> list[list[int]]:
        rows = job.draw.epoch(job.count)
        return batches(rows, lambda row: self._tokens(job, row), self._recipe.training.batch_tokens, self._order)

    def _tokens(self, job: _Job, row: int) -> int:
        states, examples = self._states[self.network.kinds[job.head]], job.examples
        if not job.pairs:
            return int(states.length[states.first[examples.texts[row]]])
        texts = (examples.chosen[row], examples.rejected[row])
        return 2 * max(int(states.length[states.first[text]]) for text in texts)

    def _loss(self, job: _Job, rows: list[int]) -> Tensor:
        """The mean over a batch, which is as long as its texts are short: so it is weighed by its rows."""
        examples = job.examples
        smoothing = self._recipe.training.smoothing
        if job.pairs:
            still = np.tile(examples.heads_only[rows], 2)
            rewards = self._first_windows(job, np.concatenate([examples.chosen[rows], examples.rejected[rows]]), still)
            chosen, rejected = rewards[: len(rows)], rewards[len(rows) :]
            margins = torch.from_numpy(examples.margins[rows]).to(self._device).unsqueeze(-1)
            good = chosen - rejected - margins
            bad = torch.zeros_like(margins)
        else:
            good = self._first_windows(job, examples.texts[rows])
            bad = torch.from_numpy(examples.targets[rows]).to(self._device).unsqueeze(-1)
        bad = smoothing + (1 - 2 * smoothing) * bad
        loss = (1 - bad) * nn.functional.softplus(-good) + bad * nn.functional.softplus(good)
        usual = self._recipe.training.batch_tokens / 64
        return loss.mean(-1).sum() / usual

    def _first_windows(self, job: _Job, texts: Ints, still: NDArray[np.bool_] | None = None) -> Tensor:
        """Rewards [n, members]; of texts that are `still` no gradient reaches the adapter."""
        states = self._states[self.network.kinds[job.head]]
        pooled: Pooled = self.network(*states.batch(states.first[texts], self._device))
        if still is not None and still.any():
            pooled = _without_gradient(pooled, torch.from_numpy(still).to(self._device))
        return self.network.rewards(job.head, pooled)

    def _optimizer(self) -> torch.optim.Optimizer:
        training = self._recipe.training
        adapter = [parameter for parameter in self.network.layers.parameters() if parameter.requires_grad]
        groups = [
            {"params": adapter, "lr": training.learning_rate},
            {"params": list(self.network.heads.parameters()), "lr": training.head_learning_rate},
        ]
        return torch.optim.AdamW(groups, weight_decay=training.weight_decay)

    def _schedule(self, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
        warm = max(1, round(steps * self._recipe.training.warm_up))

        def rate(at: int) -> float:
            if at < warm:
                return (at + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (at - warm) / max(1, steps - warm))))

        return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def _without_gradient(pooled: Pooled, rows: Tensor) -> Pooled:
    """The same, but no gradient goes through the vectors of some rows, those that are True in [B]."""

    def cut(vectors: Tensor) -> Tensor:
        return torch.where(rows.view(-1, *[1] * (vectors.ndim - 1)), vectors.detach(), vectors)

    parts = None if pooled.parts is None else cut(pooled.parts)
    return Pooled(cut(pooled.prompt), cut(pooled.response), parts, pooled.present)
