"""What probes try, as YAML beside this file or in a file of the user's: templates, questions, pairs of answers."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from guards.errors import ConfigError
from guards.policy import Name, describe

_FOLDER = Path(__file__).parent
S = TypeVar("S", bound="Shape")


class Shape(BaseModel):
    """What a file of material must look like."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MaterialConfig(BaseModel):
    """The settings of a probe whose material can be exchanged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    file: Path | None = None  # YAML of your own in place of ours; relative to the suite's folder

    @field_validator("file")
    @classmethod
    def _beside_the_suite(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        folder = (info.context or {}).get("folder")
        return folder / file if file is not None and folder is not None else file


def read_material(own: Path | None, ours: str, shape: type[S]) -> S:
    """The file `own`, or the one named `ours` that ships with us. Raises ConfigError naming file, key and mend."""
    path = own or _FOLDER / f"{ours}.yaml"
    try:
        return shape.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe(error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
