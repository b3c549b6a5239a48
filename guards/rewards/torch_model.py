"""The reward network in torch: frozen encoder, pooling by segment, one small MLP per head.

Training caches what `PooledEncoder` gives; `RewardNetwork` is what is exported and served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from guards.errors import ModelError
from guards.rewards.adapter import PREFIX, fold
from guards.rewards.manifest import HEADS_FILE, HeadSpec, Kind, Manifest, PoolingSpec, file_sha256, output_columns
from guards.rewards.pooling import PartRewards, Pooled, pool_sides


class PooledEncoder(nn.Module):
    """Token batch -> vectors of prompt and response, each [B, len(layers) * len(kinds) * width]."""

    def __init__(self, encoder: PreTrainedModel, pooling: PoolingSpec) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.width = len(pooling.layers) * len(pooling.kinds) * int(encoder.config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> Pooled:
        return self._read(attention_mask, segment_ids, input_ids=input_ids)

    def embedded(self, embeddings: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> Pooled:
        """The same from word vectors [B, T, D] in the tokens' place."""
        return self._read(attention_mask, segment_ids, inputs_embeds=embeddings)

    def _read(self, attention_mask: Tensor, segment_ids: Tensor, **tokens: Tensor) -> Pooled:
        types = segment_ids if self.pooling.token_types else torch.zeros_like(segment_ids)
        out = self.encoder(attention_mask=attention_mask, token_type_ids=types, output_hidden_states=True, **tokens)
        states = [out.hidden_states[layer] for layer in self.pooling.layers]
        return pool_sides(states, self.pooling, attention_mask, segment_ids)


def head_features(prompt: Tensor, response: Tensor, kind: Kind) -> Tensor:
    """What a head sees: [u] of a prompt, [u, v, u * v, |u - v|] of an exchange."""
    if kind == "prompt":
        return prompt
    return torch.cat([prompt, response, prompt * response, (prompt - response).abs()], dim=-1)


def feature_width(pooled: int, kind: Kind) -> int:
    return pooled if kind == "prompt" else 4 * pooled


class RewardHead(nn.Module):
    """An ensemble of one-hidden-layer networks side by side: [B, features] -> members' rewards [B, members].

    Features are brought to mean 0 and variance 1 per text first, so that no layer's scale rules.
    """

    def __init__(self, features: int, hidden: int, members: int = 1) -> None:
        super().__init__()
        self.members = members
        self.norm = nn.LayerNorm(features, elementwise_affine=False)
        self.inner = nn.Linear(features, hidden * members)
        self.outer = nn.Parameter(torch.randn(members, hidden) / math.sqrt(hidden))
        self.offset = nn.Parameter(torch.zeros(members))

    def read(self, features: Tensor) -> Tensor:
        """What the hidden layer sees."""
        result: Tensor = self.norm(features)
        return result

    def forward(self, features: Tensor, drop_in: nn.Module | None = None, drop: nn.Module | None = None) -> Tensor:
        read = self.read(features)
        hidden = nn.functional.gelu(self.inner(read if drop_in is None else drop_in(read)))
        hidden = drop(hidden) if drop is not None else hidden
        result: Tensor = (hidden.unflatten(-1, (self.members, -1)) * self.outer).sum(-1) + self.offset
        return result


def head_rewards(
    head: nn.Module, pooled: Pooled, kind: Kind, drop_in: nn.Module | None = None, drop: nn.Module | None = None
) -> Tensor:
    """Members' rewards [B, members]: the formula for learning, serving, probing and explaining alike.

    The dropouts, of features and of hidden units, are for learning; then the least of the parts is a smooth one.
    """
    return part_rewards(head, pooled, kind, drop_in, drop).worst(smooth=head.training)


def part_rewards(
    head: nn.Module, pooled: Pooled, kind: Kind, drop_in: nn.Module | None = None, drop: nn.Module | None = None
) -> PartRewards:
    """The same before the least is taken."""

    def read(features: Tensor) -> Tensor:
        result: Tensor = head(features, drop_in, drop)
        return result

    whole = read(head_features(pooled.prompt, pooled.response, kind))
    if kind != "prompt" or pooled.parts is None or pooled.present is None:
        return PartRewards(whole)
    return PartRewards(whole, read(pooled.parts), pooled.present)


class RewardNetwork(nn.Module):
    """Token batch -> `Manifest.columns` [B, columns]: rewards (higher is better), then spreads of ensembles."""

    def __init__(self, pooled: PooledEncoder, specs: tuple[HeadSpec, ...], heads: nn.ModuleDict) -> None:
        super().__init__()
        self.pooled = pooled
        self.specs = specs
        self.heads = heads
        self.columns = output_columns(specs)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> Tensor:
        pooled = self.pooled(input_ids, attention_mask, segment_ids)
        members = [head_rewards(self.heads[spec.name], pooled, spec.input) for spec in self.specs]
        rewards = [head.mean(-1) for head in members]
        spreads = [head.std(-1, unbiased=False) for head in members if head.shape[-1] > 1]
        return torch.stack([*rewards, *spreads], dim=-1)


def load_encoder(encoder_dir: Path, attention: str = "sdpa") -> PreTrainedModel:
    """The frozen encoder in fp32 from local files only; `attention` is sdpa or eager."""
    try:
        # a mask for every pair of tokens would be a third of a training step
        config = AutoConfig.from_pretrained(
            str(encoder_dir), local_files_only=True, trust_remote_code=False, attention_probs_dropout_prob=0.0
        )
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


def load_heads(manifest: Manifest, tensors: Mapping[str, Tensor], file: Path) -> nn.ModuleDict:
    """The heads from the artefact's tensors, named `<head>.inner.weight` and so on."""
    heads = nn.ModuleDict()
    for spec in manifest.heads:
        try:
            width, features = tensors[f"{spec.name}.inner.weight"].shape
        except KeyError as error:
            raise ModelError(f"{file} has no head {spec.name}") from error
        heads[spec.name] = RewardHead(features, width // spec.members, spec.members)
    try:
        heads.load_state_dict({name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)})
    except RuntimeError as error:
        raise ModelError(f"{file} does not fit its manifest; reinstall the reward model") from error
    return heads


def upper_layers(encoder: PreTrainedModel, first: int) -> nn.ModuleList:
    """The encoder's layers from `first` up, shared with the encoder."""
    layers: nn.ModuleList = encoder.get_submodule("encoder.layer")  # type: ignore[assignment]
    if first >= len(layers):
        raise ModelError(f"the encoder has {len(layers)} layers, and the adapter begins at layer {first}")
    return nn.ModuleList(layers[first:])


def lower_states(encoder: PreTrainedModel, ids: Tensor, mask: Tensor, layers: int) -> Tensor:
    """Hidden states [B, T, D] after the lowest `layers` layers."""
    hidden: Tensor = encoder.get_submodule("embeddings")(input_ids=ids)
    return through(upper_layers(encoder, 0)[:layers], hidden, mask)[-1] if layers else hidden


def through(layers: nn.ModuleList, hidden: Tensor, mask: Tensor) -> list[Tensor]:
    """Hidden states [B, T, D] after each of some of the encoder's layers; `mask` [B, T] is 0 on padding."""
    bias = torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(mask == 0, torch.finfo(torch.float16).min)
    states = []
    for layer in layers:
        hidden = layer(hidden, bias[:, None, None, :])
        states.append(hidden)
    return states


def load_network(manifest: Manifest, artefact_dir: Path, encoder_dir: Path, attention: str = "sdpa") -> RewardNetwork:
    """The whole network in fp32 on the CPU, in eval mode and without gradients; digests checked."""
    check_encoder(manifest, encoder_dir)
    file = artefact_dir / HEADS_FILE
    tensors = {name: tensor.float() for name, tensor in load_file(file).items()}  # kept in half precision
    encoder = load_encoder(encoder_dir, attention)
    if manifest.adapter:
        fold(upper_layers(encoder, manifest.adapter.first_layer), manifest.adapter, tensors)
    pooled = PooledEncoder(encoder, manifest.pooling)
    network = RewardNetwork(pooled, manifest.heads, load_heads(manifest, tensors, file))
    network.eval().requires_grad_(False)
    return network
