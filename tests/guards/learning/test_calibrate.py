"""From files to a calibration, on a tiny real model."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guards.base import ScoreInput
from guards.errors import InvalidInput, UnknownName
from guards.learning.calibrate import CalibrationTask, calibrate_files
from guards.normalize import NORMALIZER_VERSION, normalize
from guards.rewards.calibrated import load_calibration, save_calibration
from guards.rewards.reward_model import RewardModel, load_reward_model
from tests.guards.rewards.tiny_model import write_artefact, write_encoder

TASK = CalibrationTask("shop", "default", "risk", "request_risk", alpha=0.05, delta=0.05, valid_days=30)
RESPONSES = CalibrationTask("shop", "default", "risk", "response_reward", alpha=0.05, delta=0.05, valid_days=30)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RewardModel:
    folder = tmp_path_factory.mktemp("tiny")
    write_encoder(folder / "encoder")
    write_artefact(folder / "artefact", folder / "encoder")
    return load_reward_model(folder / "artefact", folder / "encoder", "torch")


def write(path: Path, rows: Iterable[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(n: int) -> list[str]:
    chooser = random.Random(0)
    return [" ".join(chooser.choices(["ant", "bee", "cat", "dog", "elk", "fox"], k=5)) for _ in range(n)]


def prompts(path: Path, n: int = 120) -> Path:
    return write(path / "benign.jsonl", ({"prompt": text} for text in texts(n)))


def test_the_artefact_says_what_was_measured_and_reads_back_the_same(model: RewardModel, tmp_path: Path) -> None:
    file = prompts(tmp_path)
    report = calibrate_files(model, TASK, file, now=NOW)
    one = report.calibration
    risks = [
        scores.heads["request_risk"].risk
        for scores in model.score([ScoreInput(normalize(text)) for text in texts(120)])
    ]
    assert (one.name, one.policy, one.guard, one.head) == ("shop", "default", "risk", "request_risk")
    assert (one.n, one.alpha, one.delta) == (120, 0.05, 0.05)
    assert one.realised == sum(risk >= one.threshold for risk in risks) / 120 <= one.bound <= 0.05
    assert (one.reward_model, one.normalizer) == (model.identity.digest, NORMALIZER_VERSION)
    assert one.benign_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (one.created, one.expires) == (NOW, NOW + timedelta(days=30))
    assert (one.risk_map, one.calibration_error, report.remapped) == (None, None, None)
    assert report.distinct == len(set(texts(120)))
    assert load_calibration(save_calibration(one, tmp_path / "out")) == one


def test_the_artefact_holds_no_text(model: RewardModel, tmp_path: Path) -> None:
    path = save_calibration(calibrate_files(model, TASK, prompts(tmp_path)).calibration, tmp_path / "out")
    assert not any(word in path.read_text() for word in texts(1)[0].split())


def test_responses_are_calibrated_for_a_head_that_judges_responses(model: RewardModel, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "tell me"}]
    file = write(tmp_path / "benign.jsonl", ({"messages": turns, "response": text, "label": 0} for text in texts(80)))
    assert calibrate_files(model, RESPONSES, file).calibration.n == 80
    with pytest.raises(InvalidInput, match=r'every row of .* must be \{"prompt"\}'):
        calibrate_files(model, TASK, file)
    with pytest.raises(InvalidInput, match=r'must be \{"messages", "response"\}'):
        calibrate_files(model, RESPONSES, prompts(tmp_path))


def test_labelled_rows_choose_a_risk_map_that_the_threshold_is_about(model: RewardModel, tmp_path: Path) -> None:
    scored = model.score([ScoreInput(normalize(text)) for text in texts(400)])
    rewards = [scores.heads["request_risk"].reward for scores in scored]
    middle, wide, chance = sorted(rewards)[200], max(rewards) - min(rewards), random.Random(1)
    rows = (
        # by chance, the more so the lower the reward: a map that were certain would give every text the same risk
        {"prompt": text, "label": int(chance.random() < 1 / (1 + math.exp((reward - middle) / wide * 5)))}
        | {"source": f"s{row % 4}"}
        for row, (text, reward) in enumerate(zip(texts(400), rewards, strict=True))
    )
    labelled = write(tmp_path / "labelled.jsonl", rows)
    report = calibrate_files(model, TASK, prompts(tmp_path), labelled, NOW)
    one, remapped = report.calibration, report.remapped
    assert remapped is not None
    assert remapped.method != "head"
    assert remapped.log_loss[remapped.method] < remapped.log_loss["head"]
    assert remapped.ece_after.value < remapped.ece_before.value
    assert (one.risk_map, one.calibration_error) == (remapped.risk_map, remapped.ece_after)
    assert one.calibration_error is not None
    assert one.calibration_error.n == 400
    benign = [scores.heads["request_risk"] for scores in scored[:120]]
    assert one.realised == sum(one.risk(score) >= one.threshold for score in benign) / 120 <= 0.05
    assert load_calibration(save_calibration(one, tmp_path / "out")) == one


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"prompt": "ant"}] * 58, "58 benign texts are too few .* 59 are needed"),
        ([{"prompt": "ant", "label": 1}] + [{"prompt": "bee"}] * 80, "holds 1 rows labelled unsafe"),
        ([{"messages": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c"}], "preference pairs"),
        ([{"words": "ant"}], ":1: needs"),
    ],
)
def test_a_benign_file_that_will_not_do_is_refused(
    model: RewardModel, tmp_path: Path, rows: list[dict[str, object]], fault: str
) -> None:
    with pytest.raises(InvalidInput, match=fault):
        calibrate_files(model, TASK, write(tmp_path / "benign.jsonl", rows))


def test_labelled_rows_need_labels(model: RewardModel, tmp_path: Path) -> None:
    file = prompts(tmp_path)
    with pytest.raises(InvalidInput, match='"label" must be 0, 1 or a number between'):
        calibrate_files(model, TASK, file, labelled=file)


def test_a_head_that_is_not_there_is_named(model: RewardModel, tmp_path: Path) -> None:
    task = CalibrationTask("shop", "default", "risk", "nothing", 0.05, 0.05, 30)
    with pytest.raises(UnknownName, match="request_risk"):
        calibrate_files(model, task, prompts(tmp_path))
