"""The reward network in torch: frozen encoder, pooling by segment, one small MLP per head.

Training caches what `PooledEncoder` gives; `RewardNetwork` is what is exported and served.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from guards.errors import ModelError
from guards.rewards.manifest import HEADS_FILE, HeadSpec, Kind, Manifest, PoolingSpec, file_sha256


def segment_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] and a 0/1 mask [B, T] -> [B, D]; zero where the mask is empty."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def segment_max(hidden: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] and a 0/1 mask [B, T] -> [B, D]; zero where the mask is empty."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    shifted = hidden * weights - 1e4 * (1.0 - weights)
    return shifted.amax(1) * weights.amax(1)


class PooledEncoder(nn.Module):
    """Token batch -> (prompt vector, response vector), each [B, len(layers) * len(kinds) * width]."""

    def __init__(self, encoder: PreTrainedModel, pooling: PoolingSpec) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.width = len(pooling.layers) * len(pooling.kinds) * int(encoder.config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> tuple[Tensor, Tensor]:
        types = segment_ids if self.pooling.token_types else torch.zeros_like(segment_ids)
        out = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=types, output_hidden_states=True
        )
        prompt_mask = attention_mask * (1 - segment_ids)
        response_mask = attention_mask * segment_ids
        states = [out.hidden_states[layer] for layer in self.pooling.layers]
        return self._pool(states, prompt_mask), self._pool(states, response_mask)

    def _pool(self, states: list[Tensor], mask: Tensor) -> Tensor:
        parts = []
        for hidden in states:
            for kind in self.pooling.kinds:
                if kind == "mean":
                    parts.append(segment_mean(hidden, mask))
                elif kind == "max":
                    parts.append(segment_max(hidden, mask))
                else:
                    parts.append(hidden[:, 0])
        return torch.cat(parts, dim=-1)


def head_features(prompt: Tensor, response: Tensor, kind: Kind) -> Tensor:
    """What a head sees: [u] of a prompt, [u, v, u * v, |u - v|] of an exchange."""
    if kind == "prompt":
        return prompt
    return torch.cat([prompt, response, prompt * response, (prompt - response).abs()], dim=-1)


def feature_width(pooled: int, kind: Kind) -> int:
    return pooled if kind == "prompt" else 4 * pooled


class RewardHead(nn.Module):
    """A one-hidden-layer MLP [B, features] -> [B]; an averaged ensemble is one wide head."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(features, hidden)
        self.outer = nn.Linear(hidden, 1)

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.outer(nn.functional.gelu(self.inner(features))).squeeze(-1)
        return result


class RewardNetwork(nn.Module):
    """Token batch -> raw rewards [B, heads], in the manifest's order, higher is better."""

    def __init__(self, pooled: PooledEncoder, specs: tuple[HeadSpec, ...], heads: nn.ModuleDict) -> None:
        super().__init__()
        self.pooled = pooled
        self.specs = specs
        self.heads = heads

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> Tensor:
        prompt, response = self.pooled(input_ids, attention_mask, segment_ids)
        rewards = [self.heads[spec.name](head_features(prompt, response, spec.input)) for spec in self.specs]
        return torch.stack(rewards, dim=-1)


def load_encoder(encoder_dir: Path, attention: str = "sdpa") -> PreTrainedModel:
    """The frozen encoder in fp32 from local files only; `attention` is sdpa or eager."""
    try:
        config = AutoConfig.from_pretrained(str(encoder_dir), local_files_only=True, trust_remote_code=False)
        weights = load_file(encoder_dir / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"no encoder in {encoder_dir}; run `wardgate models pull`") from error
    make: Callable[..., PreTrainedModel] = AutoModel.from_config  # transformers leaves it untyped
    encoder = make(config, attn_implementation=attention, add_pooling_layer=False)
    # the file carries a pooler that no head uses; anything missing would be random
    missing = encoder.load_state_dict(weights, strict=False).missing_keys
    if missing:
        raise ModelError(f"{encoder_dir} lacks weights ({missing[0]}); run `wardgate models pull`")
    frozen: nn.Module = encoder  # transformers' overrides of these are untyped
    frozen.eval().requires_grad_(False)
    return encoder


def check_encoder(manifest: Manifest, encoder_dir: Path) -> None:
    """Raise unless the weights on disk are those the heads were trained on."""
    if file_sha256(encoder_dir / "model.safetensors") != manifest.encoder.sha256:
        raise ModelError(f"{encoder_dir} is not {manifest.encoder.source}; run `wardgate models pull`")


def load_heads(manifest: Manifest, artefact_dir: Path) -> nn.ModuleDict:
    """The heads from `heads.safetensors`; tensor names are `<head>.inner.weight` and so on."""
    tensors = load_file(artefact_dir / HEADS_FILE)
    heads = nn.ModuleDict()
    for spec in manifest.heads:
        try:
            hidden, features = tensors[f"{spec.name}.inner.weight"].shape
        except KeyError as error:
            raise ModelError(f"{artefact_dir / HEADS_FILE} has no head {spec.name}") from error
        heads[spec.name] = RewardHead(features, hidden)
    try:
        heads.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(
            f"{artefact_dir / HEADS_FILE} does not fit its manifest; reinstall the reward model"
        ) from error
    return heads


def load_network(manifest: Manifest, artefact_dir: Path, encoder_dir: Path, attention: str = "sdpa") -> RewardNetwork:
    """The whole network in fp32 on the CPU, in eval mode and without gradients; digests checked."""
    check_encoder(manifest, encoder_dir)
    pooled = PooledEncoder(load_encoder(encoder_dir, attention), manifest.pooling)
    network = RewardNetwork(pooled, manifest.heads, load_heads(manifest, artefact_dir))
    network.eval().requires_grad_(False)
    return network
