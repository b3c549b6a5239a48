from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from guards.base import ScoreInput
from guards.errors import ModelError, ScoringError
from guards.normalize import normalize
from guards.rewards.manifest import (
    HEADS_FILE,
    AdapterSpec,
    Calibration,
    file_sha256,
    load_manifest,
    save_manifest,
)
from guards.rewards.reward_model import RewardModel, load_reward_model
from tests.guards.rewards.tiny_model import TinyModel

COLUMNS = 3  # two heads, and the spread of the one that is an ensemble
TEXTS = ["", "hi", "what is this?", "a longer text, with words. " * 3, "zz " * 60, "caf\u00e9 \u0430bc"]
ITEMS = [
    *(ScoreInput(normalize(text)) for text in TEXTS),
    *(ScoreInput(normalize("why not?"), normalize(text)) for text in TEXTS),
]


@pytest.fixture(scope="module")
def with_torch(tiny: TinyModel) -> RewardModel:
    return load_reward_model(tiny.artefact_dir, tiny.encoder_dir, "torch")


@pytest.fixture(scope="module")
def with_onnx(tiny: TinyModel, tiny_onnx: Path) -> RewardModel:
    return load_reward_model(tiny.artefact_dir, tiny.encoder_dir, "onnx", tiny_onnx)


def rewards(model: RewardModel, items: Sequence[ScoreInput], batch_tokens: int = 512) -> list[float]:
    scored = model.score(items, batch_tokens)
    return [head.reward for text in scored for head in text.heads.values()]


def test_both_runtimes_agree(with_torch: RewardModel, with_onnx: RewardModel) -> None:
    np.testing.assert_allclose(rewards(with_torch, ITEMS), rewards(with_onnx, ITEMS), atol=1e-4)


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_company_in_the_batch_does_not_change_a_score(runtime: str, request: pytest.FixtureRequest) -> None:
    model: RewardModel = request.getfixturevalue(f"with_{runtime}")
    together = rewards(model, ITEMS, batch_tokens=100_000)
    alone = [reward for item in ITEMS for reward in rewards(model, [item], batch_tokens=1)]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_threads_share_one_session(with_onnx: RewardModel) -> None:
    expected = rewards(with_onnx, ITEMS)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: rewards(with_onnx, ITEMS), range(16)):
            np.testing.assert_allclose(got, expected, atol=1e-4)


def test_only_heads_of_the_kind_answer(with_onnx: RewardModel) -> None:
    asked, answered = with_onnx.score([ITEMS[1], ITEMS[-2]])
    assert set(asked.heads) == {"request_risk"}
    assert set(answered.heads) == {"response_reward"}


def test_the_worst_window_speaks_for_the_text(with_onnx: RewardModel) -> None:
    text = "good " * 30
    encoded = with_onnx.encode(ScoreInput(normalize(text)))
    values = np.ones((len(encoded.sequences), COLUMNS), dtype=np.float32)
    values[3, 0] = -7.0
    score = with_onnx.combine(encoded, values)["request_risk"]
    assert score.reward == -7.0
    assert (score.start, score.end) == (encoded.sequences[3].start, encoded.sequences[3].end)
    assert text[score.start : score.end].strip()


def test_an_ensemble_says_how_far_its_members_are_apart(with_torch: RewardModel, with_onnx: RewardModel) -> None:
    for model in (with_torch, with_onnx):
        asked, answered = model.score([ITEMS[1], ITEMS[-2]])
        assert asked.heads["request_risk"].spread == 0.0  # a single network
        assert answered.heads["response_reward"].spread > 0.0


def test_an_adapter_changes_what_the_encoder_says(tiny: TinyModel, tmp_path: Path, with_torch: RewardModel) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(tiny.artefact_dir, plain)
    manifest, _ = load_manifest(plain)
    tensors = {k: v for k, v in load_file(plain / HEADS_FILE).items() if not k.startswith("adapter.")}
    save_file(tensors, plain / HEADS_FILE)
    save_manifest(manifest.model_copy(update={"adapter": None, "heads_sha256": file_sha256(plain / HEADS_FILE)}), plain)
    without = load_reward_model(plain, tiny.encoder_dir, "torch")
    assert not np.allclose(rewards(with_torch, ITEMS), rewards(without, ITEMS), atol=1e-3)


def test_an_adapter_for_other_layers_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny.artefact_dir, other)
    manifest, _ = load_manifest(other)
    for first in (0, 7):
        spec = AdapterSpec(rank=2, alpha=4, first_layer=first)
        save_manifest(manifest.model_copy(update={"adapter": spec}), other)
        with pytest.raises(ModelError, match="adapter"):
            load_reward_model(other, tiny.encoder_dir, "torch")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_no_number_is_an_error_and_not_a_pass(with_onnx: RewardModel, bad: float) -> None:
    encoded = with_onnx.encode(ITEMS[1])
    with pytest.raises(ScoringError, match="request_risk"):
        with_onnx.combine(encoded, np.array([[bad, 0.0, 0.0]], dtype=np.float32))


def test_rewards_of_another_batch_are_refused(with_onnx: RewardModel) -> None:
    with pytest.raises(ScoringError, match="shape"):
        with_onnx.combine(with_onnx.encode(ITEMS[1]), np.zeros((2, COLUMNS), dtype=np.float32))


@given(a=st.floats(1e-3, 10), b=st.floats(-10, 10), low=st.floats(-1e4, 1e4), step=st.floats(1e-3, 1e3))
def test_a_higher_reward_never_has_a_higher_risk(a: float, b: float, low: float, step: float) -> None:
    calibration = Calibration(method="platt", a=a, b=b, id="any")
    worse, better = calibration.risk(low), calibration.risk(low + step)
    assert 0.0 <= better <= worse <= 1.0


def test_the_graph_of_another_manifest_is_refused(tiny: TinyModel, tiny_onnx: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.artefact_dir, tmp_path / "other")
    manifest = tmp_path / "other" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": "1"', '"version": "2"'))
    with pytest.raises(ModelError, match="another manifest"):
        load_reward_model(tmp_path / "other", tiny.encoder_dir, "onnx", tiny_onnx)


def test_changed_head_weights_are_refused(tiny: TinyModel, tiny_onnx: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny.artefact_dir, tmp_path / "other")
    heads = tmp_path / "other" / "heads.safetensors"
    heads.write_bytes(heads.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match="does not match its manifest"):
        load_reward_model(tmp_path / "other", tiny.encoder_dir, "onnx", tiny_onnx)


def test_an_encoder_of_other_weights_is_refused(tiny: TinyModel, tmp_path: Path) -> None:
    shutil.copytree(tiny.encoder_dir, tmp_path / "encoder")
    weights = tmp_path / "encoder" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ModelError, match="test:tiny"):
        load_reward_model(tiny.artefact_dir, tmp_path / "encoder", "torch")


def test_a_missing_graph_says_what_to_run(tiny: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="wardgate models pull"):
        load_reward_model(tiny.artefact_dir, tiny.encoder_dir, "onnx", tmp_path / "absent.onnx")


def test_the_same_artefact_exports_to_the_same_bytes(tiny: TinyModel, tiny_onnx: Path, tmp_path: Path) -> None:
    from guards.rewards.export import export_onnx

    export_onnx(tiny.artefact_dir, tiny.encoder_dir, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == tiny_onnx.read_bytes()
