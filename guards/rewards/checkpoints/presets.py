"""Published checkpoints by name: a preset fills what the settings leave out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

_TABLE = Path(__file__).parent / "presets.yaml"


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Mapping[str, Any]]:
    """The keys of a CheckpointSpec, by preset."""
    table: Mapping[str, Mapping[str, Any]] = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return table


def with_preset(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given outranks the preset, key by key. Raises ValueError listing the presets."""
    if not preset:
        return dict(given)
    if preset not in presets():
        raise ValueError(f"no preset of that name; known: {', '.join(sorted(presets()))}")
    return {**presets()[preset], **given}
