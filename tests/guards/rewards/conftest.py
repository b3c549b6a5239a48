from __future__ import annotations

from pathlib import Path

import pytest

from guards.rewards.export import export_onnx
from tests.guards.rewards.tiny_model import TinyModel, write_artefact, write_encoder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    root = tmp_path_factory.mktemp("tiny")
    model = TinyModel(root / "artefact", root / "encoder")
    write_encoder(model.encoder_dir)
    write_artefact(model.artefact_dir, model.encoder_dir)
    return model


@pytest.fixture(scope="session")
def tiny_onnx(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_onnx(tiny.artefact_dir, tiny.encoder_dir, out)
    return out
