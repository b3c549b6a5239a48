"""A tiny reward model of this family, built here: no download and no real weights needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel

from guards.normalize import NORMALIZER_VERSION
from guards.rewards.adapter import adapter_tensors, attach
from guards.rewards.manifest import (
    HEADS_FILE,
    AdapterSpec,
    Calibration,
    EncoderSpec,
    HeadSpec,
    Kind,
    Manifest,
    PoolingSpec,
    WindowSpec,
    file_sha256,
    save_manifest,
)
from guards.rewards.torch_model import RewardHead, feature_width, load_encoder, upper_layers

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-[]"
WIDTH = 32
WINDOW = WindowSpec(size=12, overlap=3, context=5)
ADAPTER = AdapterSpec(rank=2, alpha=4, first_layer=1)
POOLING = PoolingSpec(layers=(2, 1), kinds=("mean", "max", "first"), token_types=True)
KINDS: Mapping[str, Kind] = {"request_risk": "prompt", "response_reward": "exchange"}
MEMBERS: Mapping[Kind, int] = {"prompt": 1, "exchange": 3}
CALIBRATION = Calibration(method="platt", a=2.0, b=-0.5, id="tiny")


@dataclass(frozen=True)
class TinyModel:
    artefact_dir: Path
    encoder_dir: Path


def write_tokenizer(path: Path) -> None:
    """Single letters as word pieces, with the truncation and padding that the real file asks for."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS, *("##" + letter for letter in LETTERS), "[MASK]"]
    pieces = WordPiece({token: row for row, token in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(path))


def write_encoder(encoder_dir: Path) -> None:
    encoder_dir.mkdir(parents=True)
    write_tokenizer(encoder_dir / "tokenizer.json")
    config = BertConfig(
        vocab_size=5 + 2 * len(LETTERS),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        architectures=["BertModel"],
    )
    torch.manual_seed(0)
    encoder = BertModel(config, add_pooling_layer=False)
    save_file(encoder.state_dict(), encoder_dir / "model.safetensors")
    (encoder_dir / "config.json").write_text(json.dumps(config.to_dict()))


def write_artefact(
    artefact_dir: Path,
    encoder_dir: Path,
    version: str = "1",
    seed: int = 1,
    calibration: Calibration = CALIBRATION,
    kinds: Mapping[str, Kind] = KINDS,
    pooling: PoolingSpec = POOLING,
    window: WindowSpec = WINDOW,
) -> str:
    """Heads of random weights; gives the digest."""
    artefact_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    pooled = len(pooling.layers) * len(pooling.kinds) * WIDTH
    heads = {name: RewardHead(feature_width(pooled, kind), 8, MEMBERS[kind]) for name, kind in kinds.items()}
    tensors = {f"{name}.{key}": value for name, head in heads.items() for key, value in head.state_dict().items()}
    layers = upper_layers(load_encoder(encoder_dir), ADAPTER.first_layer)
    attach(layers, ADAPTER)
    for name, tensor in adapter_tensors(layers).items():
        tensors[name] = torch.randn_like(tensor) * 0.1  # a fresh adapter changes nothing
    save_file(tensors, artefact_dir / HEADS_FILE)
    manifest = Manifest(
        name="tiny",
        version=version,
        encoder=EncoderSpec(
            source="test:tiny",
            sha256=file_sha256(encoder_dir / "model.safetensors"),
            tokenizer_sha256=file_sha256(encoder_dir / "tokenizer.json"),
        ),
        window=window,
        pooling=pooling,
        adapter=ADAPTER,
        normalizer=NORMALIZER_VERSION,
        heads=tuple(
            HeadSpec(name=name, input=kind, calibration=calibration, members=MEMBERS[kind])
            for name, kind in kinds.items()
        ),
        heads_sha256=file_sha256(artefact_dir / HEADS_FILE),
    )
    return save_manifest(manifest, artefact_dir)
