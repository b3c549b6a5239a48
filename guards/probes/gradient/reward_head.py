"""A head of the reward model as a differentiable classifier of two labels, in fp32 on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guards.errors import ConfigError, UnknownName
from guards.probes.gradient.classifier import PASSES, WITHHELD, TokenBatch
from guards.probes.gradient.token_batch import token_batch
from guards.probes.targets import Text
from guards.rewards.encoding import TextEncoder
from guards.rewards.manifest import HeadSpec, load_manifest
from guards.rewards.torch_model import RewardNetwork, head_rewards, load_network


class RewardHeadClassifier:
    """`turn`: the reward at which the decision turns; texts up to it are withheld.

    The logits are 0 for `passes` and a * (turn - reward) for `withheld`, with the slope a of the head's calibration,
    so that they differ by the log-odds of its risk, shifted to be zero at the threshold. The reward is the mean of
    the ensemble; a policy's `when_uncertain` is not modelled.
    """

    labels = (PASSES, WITHHELD)

    def __init__(self, network: RewardNetwork, encoder: TextEncoder, spec: HeadSpec, turn: float) -> None:
        self.network = network
        self._encoder = encoder
        self._spec = spec
        self.turn = turn

    @property
    def embedding_matrix(self) -> Tensor:
        encoder: Any = self.network.pooled.encoder
        matrix: Tensor = encoder.get_input_embeddings().weight.detach()
        return matrix

    @cached_property
    def mean_length(self) -> float:
        return float(self.embedding_matrix.norm(dim=-1).mean())

    @cached_property
    def _padding(self) -> int:
        return int(self.network.pooled.encoder.config.pad_token_id or 0)

    def tokenize(self, texts: Sequence[Text]) -> TokenBatch:
        """Raises ConfigError unless each text is of the kind that the head reads."""
        if any((text.response is None) != (self._spec.input == "prompt") for text in texts):
            mend = "leave out" if self._spec.input == "prompt" else "set"
            raise ConfigError(f"head '{self._spec.name}' reads a text of kind {self._spec.input}; {mend} `answers_to`")
        return token_batch(texts, self._encoder.trace, self._padding)

    def rewards(self, embeddings: Tensor, batch: TokenBatch) -> Tensor:
        """[B], as the runtimes give them."""
        pooled = self.network.pooled.embedded(embeddings, batch.mask, batch.segments)
        return head_rewards(self.network.heads[self._spec.name], pooled, self._spec.input).mean(-1)

    def logits(self, embeddings: Tensor, batch: TokenBatch) -> Tensor:
        withheld = self._spec.calibration.a * (self.turn - self.rewards(embeddings, batch))
        return torch.stack([torch.zeros_like(withheld), withheld], dim=-1)

    @cached_property
    def _words(self) -> Mapping[str, int]:
        return self._encoder.whole_words()

    def whole_words(self) -> Mapping[str, int]:
        return self._words


def open_reward_head(artefact_dir: Path, encoder_dir: Path, head: str, turn: float) -> RewardHeadClassifier:
    """Raises ModelError when the files are not what the manifest says, UnknownName for a head that is not there."""
    manifest, _ = load_manifest(artefact_dir)
    spec = next((spec for spec in manifest.heads if spec.name == head), None)
    if spec is None:
        raise UnknownName("head", head, manifest.head_names)
    network = load_network(manifest, artefact_dir, encoder_dir)
    encoder = TextEncoder.from_file(encoder_dir / "tokenizer.json", manifest.window)
    return RewardHeadClassifier(network, encoder, spec, turn)
