"""A model of `models:` as a differentiable classifier: a head of it at a threshold, or all its own labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from guards.errors import ConfigError, UnknownName
from guards.probes.gradient.classifier import PASSES, WITHHELD, TokenBatch
from guards.probes.gradient.token_batch import token_batch
from guards.probes.targets import Text
from guards.rewards.checkpoints.encoding import CheckpointEncoder
from guards.rewards.checkpoints.files import open_checkpoint_files
from guards.rewards.checkpoints.model import Checkpoint
from guards.rewards.checkpoints.network import Network, load_sequence_network


class CheckpointClassifier:
    """`to_logits` makes [B, labels] of what the network gives."""

    def __init__(
        self, network: Network, encoder: CheckpointEncoder, labels: tuple[str, ...], to_logits: torch.nn.Module
    ) -> None:
        self.labels = labels
        self.network = network
        self._encoder = encoder
        self._to_logits = to_logits
        self._matrix = _vectors(network.model.get_input_embeddings())

    @property
    def embedding_matrix(self) -> Tensor:
        return self._matrix

    def tokenize(self, texts: Sequence[Text]) -> TokenBatch:
        return token_batch(texts, self._encoder.trace, self.network.padding)

    def logits(self, embeddings: Tensor, batch: TokenBatch) -> Tensor:
        logits: Tensor = self._to_logits(self.network.embedded(embeddings, batch.mask, batch.segments))
        return logits

    @cached_property
    def mean_length(self) -> float:
        return float(self._matrix.norm(dim=-1).mean())

    @cached_property
    def _words(self) -> Mapping[str, int]:
        return self._encoder.whole_words()

    def whole_words(self) -> Mapping[str, int]:
        return self._words


def _vectors(inputs: torch.nn.Embedding) -> Tensor:
    """[vocabulary, D]; through the module where it is no plain table, since some scale their vectors."""
    if type(inputs) is torch.nn.Embedding:
        return inputs.weight.detach()
    with torch.no_grad():
        scaled: Tensor = inputs(torch.arange(inputs.weight.shape[0]))
    return scaled


class _AtThreshold(torch.nn.Module):
    """Rewards [B, heads] -> 0 and a * (turn - reward), as guards/probes/gradient/reward_head.py has it."""

    def __init__(self, column: int, slope: float, turn: float) -> None:
        super().__init__()
        self.column, self.slope, self.turn = column, slope, turn

    def forward(self, rewards: Tensor) -> Tensor:
        withheld = self.slope * (self.turn - rewards[:, self.column])
        return torch.stack([torch.zeros_like(withheld), withheld], dim=-1)


def open_checkpoint_head(checkpoint: Checkpoint, head: str, turn: float) -> CheckpointClassifier:
    """One head of any kind of checkpoint as `passes` and `withheld`. Raises ModelError, or UnknownName."""
    if head not in checkpoint.readout.heads:
        raise UnknownName("head", head, checkpoint.readout.heads)
    column = checkpoint.readout.heads.index(head)
    decision = _AtThreshold(column, checkpoint.spec.calibrated().a, turn)
    return CheckpointClassifier(checkpoint.readout.load(None), checkpoint.encoder, (PASSES, WITHHELD), decision)


def open_checkpoint_labels(checkpoint: Checkpoint, folder: Path) -> CheckpointClassifier:
    """The labels of a sequence classifier that exclude each other; raises ConfigError for other models."""
    spec = checkpoint.spec
    if spec.kind != "classifier" or spec.activation != "softmax":
        raise ConfigError(f"model '{checkpoint.name}' has no labels that exclude each other; attack a head of it")
    labels = spec.labels or open_checkpoint_files(folder).labels
    network = load_sequence_network(folder, torch.nn.Identity(), None)
    return CheckpointClassifier(network, checkpoint.encoder, labels, torch.nn.Identity())
