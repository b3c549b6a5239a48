"""Fit one head on cached features: cross-entropy for labels, Bradley-Terry (1952) for pairs.

Members of the ensemble learn side by side in one wide network, each on its own loss; averaging
their rewards is the same network with one output, so serving pays for no ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from guards.learning.features import Features
from guards.learning.recipe import HeadTraining
from guards.rewards.manifest import Kind
from guards.rewards.torch_model import RewardHead, feature_width, head_features

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Rows index texts of `Features`. Weights of each kind sum to 1 (or there are none)."""

    texts: Ints  # [n]
    labels: NDArray[np.float32]  # [n], 1 = unsafe
    weights: NDArray[np.float32]  # [n]
    chosen: Ints  # [m]
    rejected: Ints  # [m]
    pair_weights: NDArray[np.float32]  # [m]


class FeatureTable:
    """Features of texts as tensors: two windows of each, the first and the last."""

    def __init__(self, features: Features, kind: Kind) -> None:
        self._prompt = torch.from_numpy(np.array(features.prompt))
        self._response = torch.from_numpy(np.array(features.response)) if kind == "exchange" else None
        self._windows = torch.from_numpy(np.stack([features.first, features.last]))
        self.kind = kind
        self.width = feature_width(self._prompt.shape[1], kind)

    def rows(self, texts: Tensor) -> Tensor:
        """[n] text numbers -> [2, n, width] in fp32."""
        windows = self._windows[:, texts]
        prompt = self._prompt[windows].float()
        response = prompt if self._response is None else self._response[windows].float()
        return head_features(prompt, response, self.kind)

    def moments(self, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of every feature, each [width]."""
        total, squares, n = torch.zeros(self.width), torch.zeros(self.width), 0
        for part in torch.split(texts, 1024):
            rows = self.rows(part).flatten(0, 1)
            total += rows.sum(0)
            squares += rows.square().sum(0)
            n += len(rows)
        mean = total / n
        return mean, (squares / n - mean.square()).clamp(min=1e-6).sqrt()


class _Members(nn.Module):
    """[.., width] -> [.., members]: one hidden layer each."""

    def __init__(self, width: int, hidden: int, members: int, dropout: float) -> None:
        super().__init__()
        self.hidden, self.members = hidden, members
        self.inner = nn.Linear(width, hidden * members)
        self.outer = nn.Parameter(torch.randn(members, hidden) / math.sqrt(hidden))
        self.offset = nn.Parameter(torch.zeros(members))
        self.drop_in, self.drop = nn.Dropout(dropout / 2), nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.drop(nn.functional.gelu(self.inner(self.drop_in(features))))
        grouped = hidden.unflatten(-1, (self.members, self.hidden))
        result: Tensor = (grouped * self.outer).sum(-1) + self.offset
        return result


@dataclass(frozen=True)
class Fitted:
    """`head` is the served network; `held_out[e]` are the rewards of the watched texts after epoch e."""

    head: RewardHead
    held_out: NDArray[np.float32]  # [epochs, watched]


def fit(
    table: FeatureTable,
    examples: Examples,
    training: HeadTraining,
    seed: int,
    epochs: int,
    watched: Ints,
    step: Callable[[], None],
) -> Fitted:
    """Deterministic on one machine and thread count; `step` is called after every epoch."""
    torch.manual_seed(seed)
    order = torch.Generator().manual_seed(seed)
    trained = np.unique(np.concatenate([examples.texts, examples.chosen, examples.rejected]))
    mean, deviation = table.moments(torch.from_numpy(trained))
    network = _Members(table.width, training.hidden, training.members, training.dropout)
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    steps = max(1, math.ceil(max(len(examples.texts), len(examples.chosen)) / training.batch))
    # the rate falls as if all the epochs of the recipe were run, so that stopping early is the same road
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.epochs * steps)
    watch = []
    for _ in range(epochs):
        network.train()
        for labelled, pairs in zip(
            _batches(len(examples.texts), steps, order), _batches(len(examples.chosen), steps, order), strict=True
        ):
            optimizer.zero_grad()
            loss = _loss(network, table, examples, labelled, pairs, mean, deviation, training.pair_weight, steps)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        network.eval()
        watch.append(_rewards(network, table, watched, mean, deviation))
        step()
    return Fitted(_folded(network, mean, deviation), np.stack(watch))


def _batches(n: int, parts: int, order: torch.Generator) -> list[Tensor]:
    return list(torch.randperm(n, generator=order).tensor_split(parts))


def _loss(
    network: _Members,
    table: FeatureTable,
    examples: Examples,
    labelled: Tensor,
    pairs: Tensor,
    mean: Tensor,
    deviation: Tensor,
    pair_weight: float,
    steps: int,
) -> Tensor:
    texts = torch.cat(
        [
            torch.from_numpy(part)[rows]
            for part, rows in ((examples.texts, labelled), (examples.chosen, pairs), (examples.rejected, pairs))
        ]
    )
    # the worst window speaks for the text, in training as in serving
    rewards = network((table.rows(texts) - mean) / deviation).amin(0)
    single, chosen, rejected = torch.split(rewards, [len(labelled), len(pairs), len(pairs)])
    signs = 1.0 - 2.0 * torch.from_numpy(examples.labels)[labelled].unsqueeze(-1)
    by_label = nn.functional.softplus(-signs * single).mean(-1) * torch.from_numpy(examples.weights)[labelled]
    by_pair = nn.functional.softplus(rejected - chosen).mean(-1) * torch.from_numpy(examples.pair_weights)[pairs]
    # members are independent: their number must not shrink each one's gradient
    return (by_label.sum() + pair_weight * by_pair.sum()) * steps * network.members


def _rewards(
    network: _Members, table: FeatureTable, texts: Ints, mean: Tensor, deviation: Tensor
) -> NDArray[np.float32]:
    parts = [np.empty(0, np.float32)]
    with torch.inference_mode():
        for rows in torch.split(torch.from_numpy(texts), 1024):
            scored = network((table.rows(rows) - mean) / deviation).mean(-1).amin(0)
            parts.append(scored.numpy())
    return np.concatenate(parts)


def _folded(network: _Members, mean: Tensor, deviation: Tensor) -> RewardHead:
    """Standardization goes into the first layer, the average over members into the second."""
    width = network.inner.in_features
    head = RewardHead(width, network.hidden * network.members)
    with torch.no_grad():
        weight = network.inner.weight / deviation
        head.inner.weight.copy_(weight)
        head.inner.bias.copy_(network.inner.bias - weight @ mean)
        head.outer.weight.copy_(network.outer.flatten().unsqueeze(0) / network.members)
        head.outer.bias.copy_(network.offset.mean().unsqueeze(0))
    return head.eval().requires_grad_(False)
