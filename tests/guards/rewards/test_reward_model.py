from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.base import ScoreInput
from guards.errors import ModelError, ScoringError
from guards.normalize import normalize
from guards.rewards.manifest import Calibration
from guards.rewards.reward_model import RewardModel, load_reward_model
from tests.guards.rewards.tiny_model import TinyModel

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
    values = np.ones((len(encoded.sequences), 2), dtype=np.float32)
    values[3, 0] = -7.0
    score = with_onnx.combine(encoded, values)["request_risk"]
    assert score.reward == -7.0
    assert (score.start, score.end) == (encoded.sequences[3].start, encoded.sequences[3].end)
    assert text[score.start : score.end].strip()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_no_number_is_an_error_and_not_a_pass(with_onnx: RewardModel, bad: float) -> None:
    encoded = with_onnx.encode(ITEMS[1])
    with pytest.raises(ScoringError, match="request_risk"):
        with_onnx.combine(encoded, np.array([[bad, 0.0]], dtype=np.float32))


def test_rewards_of_another_batch_are_refused(with_onnx: RewardModel) -> None:
    with pytest.raises(ScoringError, match="shape"):
        with_onnx.combine(with_onnx.encode(ITEMS[1]), np.zeros((2, 2), dtype=np.float32))


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
