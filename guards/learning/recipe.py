"""The training recipe: one YAML file that, with the data it names, fixes the trained bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from guards.errors import ConfigError
from guards.rewards.manifest import EncoderSpec, PoolingSpec, WindowSpec


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(_Part):
    """One file of rows. `cap`: at most this many rows of each source, drawn with the seed."""

    path: str  # relative to the recipe
    licence: str
    cap: int = Field(default=1000, ge=1)
    caps: dict[str, int] = {}  # by source, instead of `cap`
    exclude: tuple[str, ...] = ()  # sources that are left out


class Made(_Part):
    """How many made-up rows (guards/learning/contrast.py)."""

    prompts_per_family: int = Field(default=60, ge=0)
    everyday: int = Field(default=150, ge=0)
    harmful_requests: int = Field(default=120, ge=0)
    pairs_per_source: int = Field(default=150, ge=0)
    in_company_per_source: int = Field(default=0, ge=0)  # of each source and label: again, among ordinary sentences


COMPANY = "+company"  # after a source's name: its prompts again, among ordinary sentences


class Fold(_Part):
    """Sources that are held out together, so that a fold has both classes; each with its prompts in company."""

    name: str
    sources: tuple[str, ...]

    @field_validator("sources")
    @classmethod
    def _with_company(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        return (*sources, *(source + COMPANY for source in sources))


class HeadTraining(_Part):
    """One head: `folds` by source, the network, and how long it learns."""

    folds: tuple[Fold, ...] = Field(min_length=2)
    weights: dict[str, float] = {}  # of a source in the loss; 1 where it is not named
    hidden: int = Field(default=48, ge=1)  # per member
    members: int = Field(default=4, ge=1)  # averaged into one wide network
    dropout: float = Field(default=0.3, ge=0, lt=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    epochs: int = Field(default=40, ge=1)  # at most; the held-out folds choose when to stop
    batch: int = Field(default=512, ge=1)
    pair_weight: float = Field(default=1.0, ge=0)  # Bradley-Terry against cross-entropy


class Recipe(_Part):
    name: str
    version: str
    seed: int
    encoder: EncoderSpec
    window: WindowSpec
    pooling: PoolingSpec
    max_windows: int = Field(default=2, ge=1)  # of a training text
    files: tuple[DataFile, ...] = Field(min_length=1)
    made: Made = Made()
    request_risk: HeadTraining
    response_reward: HeadTraining


def load_recipe(path: Path) -> tuple[Recipe, str]:
    """The recipe and its sha256. Raises ConfigError that says what is wrong."""
    try:
        raw = path.read_bytes()
        return Recipe.model_validate(yaml.safe_load(raw)), hashlib.sha256(raw).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path} is not a training recipe: {error}") from error
