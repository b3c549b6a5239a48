"""One head of a reward network, opened up: its word vectors as input, its attention as output.

Torch's fused attention gives no attention weights, and switching a network over would change it under whoever else is
using it. So where attention is asked for, explanations have a *twin*: the same weights, not copied, under attention
that is written out. Both are read-only and their parameters have no gradients: any number of threads may explain at
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoModel

from guards.errors import UnknownName
from guards.explainers.eager import eager_twin_of
from guards.explainers.window import TokenWindow
from guards.rewards.manifest import Calibration, HeadSpec
from guards.rewards.pooling import pool_sides
from guards.rewards.scoring_model import batches_by_length
from guards.rewards.torch_model import PooledEncoder, RewardNetwork, part_rewards

Floats = NDArray[np.float64]


def eager_twin(network: RewardNetwork) -> RewardNetwork:
    """The same network with attention written out; every weight is shared, none is copied."""
    encoder = network.pooled.encoder
    twin = eager_twin_of(encoder, AutoModel.from_config, add_pooling_layer=False)
    result = RewardNetwork(PooledEncoder(twin, network.pooled.pooling), network.specs, network.heads)
    result.eval()
    return result


@dataclass(frozen=True)
class Attended:
    """`logits` [B]: of risk. `attentions`: per layer [B, heads, T, T], rows sum to 1. `states`: the pooled layers'.

    `deciding` [B, members]: the part of the text that each member of the ensemble judged worst; 0 is the whole.
    """

    logits: Tensor
    attentions: tuple[Tensor, ...]
    states: tuple[Tensor, ...]
    deciding: Tensor


class ExplainedHead:
    """What is explained is the logit of risk, `-(a * reward + b)`: positive is unsafe, and its sigmoid is the risk."""

    def __init__(self, network: RewardNetwork, twin: RewardNetwork, head: str, mask_id: int) -> None:
        """`mask_id`: the token that stands for "nothing here". Raises UnknownName for a head that is not there."""
        found = {spec.name: spec for spec in network.specs}
        if head not in found:
            raise UnknownName("head", head, tuple(found))
        self.spec: HeadSpec = found[head]
        self.mask_id = mask_id
        self._network = network
        self._encoder = network.pooled.encoder
        self._written_out = twin.pooled.encoder
        words = self._encoder.get_input_embeddings()
        assert isinstance(words, nn.Embedding)
        self._words = words
        self.device = self._words.weight.device

    @property
    def calibration(self) -> Calibration:
        return self.spec.calibration

    @property
    def layers(self) -> int:
        return int(self._encoder.config.num_hidden_layers)

    @property
    def attention_heads(self) -> int:
        return int(self._encoder.config.num_attention_heads)

    def tensors(self, window: TokenWindow) -> tuple[Tensor, Tensor, Tensor]:
        """ids, mask and segments, each [1, T]."""
        parts = (window.ids, window.mask, window.segments)
        ids, mask, segments = (torch.from_numpy(part).to(self.device).unsqueeze(0) for part in parts)
        return ids, mask, segments

    def embed(self, ids: Tensor) -> Tensor:
        """Word vectors [B, T, D], without positions."""
        vectors: Tensor = self._words(ids)
        return vectors

    def logits(self, vectors: Tensor, mask: Tensor, segments: Tensor, deciding: Tensor | None = None) -> Tensor:
        """Word vectors [B, T, D] -> [B]; differentiable. `deciding` as in `attended`."""
        return self.attended(vectors, mask, segments, attentions=False, deciding=deciding).logits

    def attended(
        self,
        vectors: Tensor,
        mask: Tensor,
        segments: Tensor,
        attentions: bool = True,
        deciding: Tensor | None = None,
    ) -> Attended:
        """With `deciding`, [B, members] or [1, members] for all, that part gives the logit, worst or not."""
        pooling = self._network.pooled.pooling
        types = segments if pooling.token_types else torch.zeros_like(segments)
        encoder = self._written_out if attentions else self._encoder
        out = encoder(
            inputs_embeds=vectors,
            attention_mask=mask,
            token_type_ids=types,
            output_hidden_states=True,
            output_attentions=attentions,
        )
        states = tuple(out.hidden_states[layer] for layer in pooling.layers)
        pooled = pool_sides(states, pooling, mask, segments)
        by_part = part_rewards(self._network.heads[self.spec.name], pooled, self.spec.input)
        chosen = by_part.deciding() if deciding is None else deciding
        logits = -(self.calibration.a * by_part.of(chosen).mean(-1) + self.calibration.b)
        return Attended(logits, tuple(out.attentions) if attentions else (), states, chosen)

    def logits_of(self, windows: Sequence[TokenWindow], at_once: int = 2048) -> Floats:
        """Every window's, [n], at least one; about `at_once` padded tokens at a time."""
        found = np.empty(len(windows))
        with torch.inference_mode():
            for rows in batches_by_length([window.ids for window in windows], at_once):
                longest = max(len(windows[row].ids) for row in rows)
                batch = [self.tensors(windows[row].padded(longest)) for row in rows]
                ids, mask, segments = (torch.cat(part) for part in zip(*batch, strict=True))
                found[rows] = self.logits(self.embed(ids), mask, segments).double().cpu().numpy()
        return found

    def logits_without(self, window: TokenWindow, hidden: Sequence[NDArray[np.bool_]], at_once: int = 2048) -> Floats:
        """The logit without some tokens, [n] x flags [T]: nothing attends to them or pools them; [n].

        What is left keeps its places. A mask token in the place of a word would be a word of its own to a network that
        was adapted without any.
        """
        ids, mask, segments = self.tensors(window)
        batch = max(1, at_once // len(window.ids))
        found = []
        with torch.inference_mode():
            words = self.embed(ids)
            for at in range(0, len(hidden), batch):
                left = mask * ~torch.from_numpy(np.stack(hidden[at : at + batch])).to(self.device)
                rows = len(left)
                found.append(self.logits(words.expand(rows, -1, -1), left, segments.expand(rows, -1)).cpu())
        return np.asarray(torch.cat(found).double().numpy()) if found else np.empty(0)
