"""A checkpoint's forward pass in torch: fp32 on the CPU, bf16 on accelerators. Import this file only to use it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guards.errors import ModelError, ScoringError
from guards.rewards.checkpoints.network import Network
from guards.rewards.runtimes.base import FloatArray, TokenBatch


class CheckpointTorchRuntime:
    """Thread-safe: the network is read-only. `dtype` is float32, bfloat16 or float16; empty chooses by device."""

    def __init__(self, network: Network, heads: Sequence[str], device: str = "cpu", dtype: str = "") -> None:
        self.name = f"torch-{device}"
        chosen = dtype or ("float32" if device == "cpu" else "bfloat16")
        try:
            self.device = torch.device(device)
            self._network = network.to(device=self.device, dtype=getattr(torch, chosen))
        except (RuntimeError, AssertionError) as error:
            raise ModelError(f"torch cannot put the model on {device}: {error}") from error
        self._heads = tuple(heads)

    @property
    def heads(self) -> Sequence[str]:
        return self._heads

    def forward(self, batch: TokenBatch) -> FloatArray:
        """Raw rewards [batch, heads]."""
        try:
            with torch.inference_mode():
                rewards = self._network(
                    self._tensor(batch.input_ids), self._tensor(batch.attention_mask), self._tensor(batch.segment_ids)
                )
        except (RuntimeError, IndexError) as error:  # a token outside the vocabulary is an IndexError
            raise ScoringError("torch could not run the batch") from error
        return np.asarray(rewards.cpu().numpy(), dtype=np.float32)

    def _tensor(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
