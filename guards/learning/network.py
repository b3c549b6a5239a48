"""The encoder's upper layers and the heads on their pooled states, and what a network says of many texts.

While it learns it has an adapter beside its layers (guards/learning/fit.py); afterwards that is folded into them, as in
serving.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from guards.learning.recipe import Recipe
from guards.learning.states import Ints, States
from guards.rewards.adapter import fold
from guards.rewards.pooling import Pooled, pool_sides
from guards.rewards.torch_model import RewardHead, feature_width, head_rewards, through

Floats32 = NDArray[np.float32]

_EVALUATION_TOKENS = 8192


class UpperNetwork(nn.Module):
    """Lower states in, pooled states and rewards out."""

    def __init__(self, layers: nn.ModuleList, heads: nn.ModuleDict, recipe: Recipe) -> None:
        super().__init__()
        self.layers = layers
        self.heads = heads
        self.kinds = {name: head.input for name, head in recipe.heads.items()}
        self.members = recipe.training.members
        self._pooling = recipe.pooling
        # states after layer n of the encoder have number n; the first that is kept comes in as input
        self._below = recipe.adapter.first_layer
        self._drop_in, self._drop = (nn.Dropout(recipe.training.dropout * share) for share in (0.5, 1.0))

    def forward(self, hidden: Tensor, mask: Tensor, segments: Tensor) -> Pooled:
        """Lower states [B, T, D] -> pooled vectors."""
        with torch.autocast(hidden.device.type, dtype=torch.bfloat16):
            states = [hidden, *through(self.layers, hidden, mask)]
        kept = [states[layer - self._below].float() for layer in self._pooling.layers]
        return pool_sides(kept, self._pooling, mask, segments)

    def rewards(self, head: str, pooled: Pooled) -> Tensor:
        """Members' rewards [B, members] of one head."""
        return head_rewards(self.heads[head], pooled, self.kinds[head], self._drop_in, self._drop)


def pooled_features(recipe: Recipe, width: int) -> int:
    """How many numbers one side of a text comes to, with hidden states of `width`."""
    return width * len(recipe.pooling.layers) * len(recipe.pooling.kinds)


def folded_network(layers: nn.ModuleList, recipe: Recipe, width: int, tensors: Mapping[str, Tensor]) -> UpperNetwork:
    """A network that has learned, from what a fit keeps of it; in eval mode."""
    own = copy.deepcopy(layers)
    fold(own, recipe.adapter, tensors)
    heads = nn.ModuleDict()
    for name, head in recipe.heads.items():
        parts = {part: tensors[f"{name}.{part}"] for part in ("inner.weight", "inner.bias", "outer", "offset")}
        features = feature_width(pooled_features(recipe, width), head.input)
        members = recipe.training.members
        heads[name] = RewardHead(features, len(parts["inner.weight"]) // members, members)
        heads[name].load_state_dict(parts)
    return UpperNetwork(own, heads, recipe).to(next(own.parameters()).device).eval()


def worst_rewards(network: UpperNetwork, states: States, head: str, texts: Ints, device: torch.device) -> Floats32:
    """Members' rewards [n, members] of texts: of each text the worst window's or sentence's, as in serving."""
    windows = states.windows_of(np.unique(texts))
    scored = np.zeros((int(windows.max(initial=-1)) + 1, network.members), np.float32)
    with torch.inference_mode():
        for rows, pooled in read_windows(network, states, windows, device):
            scored[rows] = network.rewards(head, pooled).float().cpu().numpy()
    worst = [at + scored[at : at + count].mean(-1).argmin() for at, count in _runs(states, texts)]
    return scored[np.array(worst, dtype=np.int64)]


def read_windows(
    network: UpperNetwork, states: States, windows: Ints, device: torch.device
) -> Iterator[tuple[Ints, Pooled]]:
    """The windows' pooled states, in batches of similar lengths: which windows they are, and theirs."""
    by_length = windows[np.argsort(states.length[windows], kind="stable")]
    for rows in _chunks(by_length, states.length, _EVALUATION_TOKENS):
        yield rows, network(*states.batch(rows, device))


def _runs(states: States, texts: Ints) -> Iterator[tuple[int, int]]:
    """Of each text its first window and their number."""
    return zip(states.first[texts].tolist(), states.count[texts].tolist(), strict=True)


def _chunks(windows: Ints, length: Ints, tokens: int) -> list[Ints]:
    """Windows, which are sorted by length, in batches of at most `tokens` padded tokens."""
    result, at = [], 0
    while at < len(windows):
        end = at + 1
        while end < len(windows) and (end - at + 1) * length[windows[end]] <= tokens:
            end += 1
        result.append(windows[at:end])
        at = end
    return result
