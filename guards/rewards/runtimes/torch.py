"""The forward pass in torch: fp32 on the CPU, bf16 on CUDA. Import this file only to use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guards.rewards.manifest import Manifest
from guards.rewards.runtimes.base import FloatArray, TokenBatch
from guards.rewards.torch_model import RewardNetwork, load_network


class TorchRuntime:
    """Thread-safe: the network is read-only."""

    def __init__(self, network: RewardNetwork, device: str = "cpu") -> None:
        self.name = f"torch-{device}"
        self.device = torch.device(device)
        # bf16 halves the memory traffic on a GPU; on the CPU it would not agree with onnxruntime to 1e-4
        self._dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        self.network = network.to(device=self.device, dtype=self._dtype)
        self._heads = network.columns

    @classmethod
    def load(
        cls, manifest: Manifest, artefact_dir: Path, encoder_dir: Path, device: str = "cpu", threads: int = 1
    ) -> TorchRuntime:
        """`threads` sets torch's intra-op threads, which are one number per process."""
        torch.set_num_threads(threads)
        return cls(load_network(manifest, artefact_dir, encoder_dir), device)

    @property
    def heads(self) -> Sequence[str]:
        return self._heads

    def forward(self, batch: TokenBatch) -> FloatArray:
        """Raw rewards [batch, heads]."""
        with torch.inference_mode():
            rewards = self.network(
                self._tensor(batch.input_ids), self._tensor(batch.attention_mask), self._tensor(batch.segment_ids)
            )
        return np.asarray(rewards.float().cpu().numpy(), dtype=np.float32)

    def _tensor(self, array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(self.device)
