from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from guards.rewards.checkpoints.model import Checkpoint, open_checkpoint
from guards.rewards.checkpoints.presets import presets, with_preset
from guards.rewards.checkpoints.spec import CheckpointSpec
from tests.guards.rewards.checkpoints import tiny_checkpoints as tiny

WRITERS: dict[str, Callable[[Path], Path]] = {
    "skywork-reward-v2-qwen3-0.6b": tiny.write_qwen3_reward,
    "openassistant-deberta-v3-large-v2": lambda folder: tiny.write_deberta(folder, ["LABEL_0"]),
    "llama-prompt-guard-2": lambda folder: tiny.write_deberta(folder, ["LABEL_0", "LABEL_1"]),
    "toxic-bert": lambda folder: tiny.write_bert(folder, tiny.TOXIC_LABELS),
    "granite-guardian": tiny.write_granite_guardian,
    "shieldgemma": tiny.write_shieldgemma,
}
SMALL = {"window": tiny.POSITIONS, "overlap": 8}  # the tiny checkpoints' own limit
# a window this small has no room for the preset's guideline
CHANGES: dict[str, dict[str, object]] = {"shieldgemma": {"template_arguments": {"guideline": "No harm."}}}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny random checkpoint of the architecture of each preset."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {preset: write(root / preset) for preset, write in WRITERS.items()}


@pytest.fixture(params=sorted(presets()))
def preset(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def reading(preset: str, **changes: object) -> CheckpointSpec:
    return CheckpointSpec.model_validate(with_preset(preset, {**SMALL, **CHANGES.get(preset, {}), **changes}))


@pytest.fixture
def checkpoint(preset: str, folders: dict[str, Path]) -> Checkpoint:
    return open_checkpoint("guard", reading(preset), folders[preset])
