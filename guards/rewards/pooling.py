"""Hidden states of a window to vectors: of each side as a whole, and of a prompt's parts.

A mean over a whole window says little of one sentence in it. So a prompt is also read part by part, and counts as
its worst one: multiple-instance learning (Dietterich 1997) with the minimum of rewards over instances. The states
are of one forward over the whole window, so that a part is read in its context. Departures: parts overlap and have a
fixed size, and the whole is one of them; while learning, a smooth minimum lets every part teach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from guards.rewards.manifest import PartsSpec, PoolingSpec

_SHARPNESS = 2.0  # of the smooth minimum, per unit of reward
_NEVER_WORST = 1e4


@dataclass(frozen=True, slots=True)
class Pooled:
    """Vectors [B, features] of the two sides; where a prompt is read in parts, those [B, parts, features], too.

    `present` [B, parts] is False where a shorter prompt has no such part.
    """

    prompt: Tensor
    response: Tensor
    parts: Tensor | None = None
    present: Tensor | None = None


def pool_sides(states: Sequence[Tensor], spec: PoolingSpec, mask: Tensor, segments: Tensor) -> Pooled:
    """Hidden states [B, T, D] of the spec's layers, `mask` and `segments` [B, T]: 1 on tokens, on the response's."""
    of_prompt, of_response = mask * (1 - segments), mask * segments
    prompt, response = (pool(states, spec.kinds, side) for side in (of_prompt, of_response))
    if spec.parts is None:
        return Pooled(prompt, response)
    parts = torch.cat([part_means(hidden, of_prompt, spec.parts) for hidden in states], dim=-1)
    return Pooled(prompt, response, parts, parts_present(of_prompt, spec.parts))


def segment_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] and a 0/1 mask [B, T] -> [B, D]; zero where the mask is empty."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def segment_max(hidden: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] and a 0/1 mask [B, T] -> [B, D]; zero where the mask is empty."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    shifted = hidden * weights - 1e4 * (1.0 - weights)
    return shifted.amax(1) * weights.amax(1)


def pool(states: Sequence[Tensor], kinds: Sequence[str], mask: Tensor) -> Tensor:
    """Hidden states [B, T, D] of some layers and a 0/1 mask [B, T] -> [B, layers * kinds * D]."""
    parts = []
    for hidden in states:
        for kind in kinds:
            if kind == "mean":
                parts.append(segment_mean(hidden, mask))
            elif kind == "max":
                parts.append(segment_max(hidden, mask))
            else:
                parts.append(hidden[:, 0])
    return torch.cat(parts, dim=-1)


def part_means(hidden: Tensor, mask: Tensor, spec: PartsSpec) -> Tensor:
    """[B, T, D] and a 0/1 mask [B, T] -> [B, T // stride + 1, D]; zero for a part without tokens."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    tokens = _sums(weights, spec).clamp(min=1.0)
    return _sums(hidden * weights, spec) / tokens


def parts_present(mask: Tensor, spec: PartsSpec) -> Tensor:
    """Of a 0/1 mask [B, T], which of the parts [B, T // stride + 1] count: none of a text that is one part itself."""
    tokens = _sums(mask.unsqueeze(-1).float(), spec).squeeze(-1)
    return (tokens >= spec.least) & (mask.sum(-1, keepdim=True) > spec.size)


@dataclass(frozen=True, slots=True)
class PartRewards:
    """One head's rewards of the whole [B, M] and, where it reads parts, of those [B, parts, M]; `present` as above."""

    whole: Tensor
    parts: Tensor | None = None
    present: Tensor | None = None

    def worst(self, smooth: bool = False) -> Tensor:
        """The least [B, M], or a smooth bound below it."""
        if self.parts is None:
            return self.whole
        rewards = self._counted()
        if smooth:
            return -torch.logsumexp(-_SHARPNESS * rewards, dim=1) / _SHARPNESS
        return rewards.amin(1)

    def deciding(self) -> Tensor:
        """Which of them is the least, [B, M]: 0 is the whole, from 1 on the parts."""
        return self._counted().argmin(1)

    def of(self, deciding: Tensor) -> Tensor:
        """The rewards [B, M] of these, whether or not they are the least; [1, M] chooses for every text alike."""
        rewards = self._counted()
        return rewards.gather(1, deciding.expand(len(rewards), -1).unsqueeze(1)).squeeze(1)

    def _counted(self) -> Tensor:
        """[B, 1 + parts, M]; an absent part is never the least."""
        if self.parts is None or self.present is None:
            return self.whole.unsqueeze(1)
        counted = self.parts.masked_fill(~self.present.unsqueeze(-1), _NEVER_WORST)
        return torch.cat([self.whole.unsqueeze(1), counted], dim=1)


def _sums(values: Tensor, spec: PartsSpec) -> Tensor:
    """[B, T, D] -> sums [B, T // stride + 1, D] over stretches that begin every `stride` tokens."""
    # as many zeros as a stretch is long, so that the last one is whole for any number of tokens
    padded = nn.functional.pad(values.transpose(1, 2), (0, spec.size))
    return nn.functional.avg_pool1d(padded, spec.size, spec.stride).transpose(1, 2) * spec.size
