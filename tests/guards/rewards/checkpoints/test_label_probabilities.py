from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guards.base import ScoreInput
from guards.errors import ModelError
from guards.normalize import normalize
from guards.rewards.checkpoints.label_probabilities import LabelProbabilities
from guards.rewards.checkpoints.model import CheckpointModel, load_torch_runtime, open_checkpoint
from guards.rewards.checkpoints.spec import CheckpointSpec
from tests.guards.rewards.checkpoints import tiny_checkpoints as tiny

LABELS = ["sport", "world", "science"]
TEXTS = ["a match", "An election, far away!", "stars " * 60, ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_bert(tmp_path_factory.mktemp("news"), LABELS)


def spec(**changes: object) -> CheckpointSpec:
    given = {
        "kind": "classifier",
        "input": "text",
        "judges": ["request"],
        "risk_labels": ["world"],
        "window": tiny.POSITIONS,
        "overlap": 8,
    }
    return CheckpointSpec.model_validate(given | changes)


@pytest.mark.parametrize("side", ["request", "response"])
def test_softmax_labels_add_up_and_a_risk_label_is_the_risk_of_serving(folder: Path, side: str) -> None:
    reading = spec(judges=[side])
    found = LabelProbabilities(reading, folder).probabilities(TEXTS)
    assert found.shape == (len(TEXTS), 3)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    checkpoint = open_checkpoint("news", reading, folder)
    model = CheckpointModel(checkpoint, load_torch_runtime(checkpoint))
    short = [normalize(text) for text in TEXTS[:2]]
    items = [ScoreInput(one) if side == "request" else ScoreInput(normalize(""), one) for one in short]
    risks = [score.heads["news"].risk for score in model.score(items)]
    assert np.allclose(found[:2, 1], risks, atol=1e-5)


def test_sigmoid_labels_stand_each_for_itself(folder: Path) -> None:
    softmax, sigmoid = (
        LabelProbabilities(spec(activation=one), folder).probabilities(TEXTS[:2]) for one in ("softmax", "sigmoid")
    )
    logits = np.log(sigmoid / (1 - sigmoid))
    assert np.allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), softmax, atol=1e-5)


def test_of_no_text_there_are_no_probabilities(folder: Path) -> None:
    assert LabelProbabilities(spec(), folder).probabilities([]).shape == (0, 3)


def test_a_model_of_another_kind_has_no_labels(folder: Path) -> None:
    reading = CheckpointSpec.model_validate({"kind": "reward", "input": "text", "judges": ["request"]})
    with pytest.raises(ModelError, match="no labels"):
        LabelProbabilities(reading, folder)


def test_labels_must_be_as_many_as_outputs(folder: Path) -> None:
    with pytest.raises(ModelError, match="names 2 outputs"):
        LabelProbabilities(spec(labels=["world", "other"]), folder)
