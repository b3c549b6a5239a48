"""What a checkpoint's files must be, and what its runtimes promise."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import AutoModelForSequenceClassification

from guards.base import ScoreInput
from guards.errors import ModelError, NotExportable, ScoringError
from guards.normalize import normalize
from guards.rewards.checkpoints import onnx_export
from guards.rewards.checkpoints.model import (
    CheckpointModel,
    export_graph,
    load_onnx_runtime,
    load_torch_runtime,
    open_checkpoint,
)
from guards.rewards.checkpoints.network import LastTokenNetwork, Network, SigmoidRisk, SoftmaxRisk
from guards.rewards.checkpoints.presets import presets
from guards.rewards.checkpoints.spec import CheckpointSpec
from guards.rewards.runtimes.base import TokenBatch
from tests.guards.rewards.checkpoints import tiny_checkpoints as tiny
from tests.guards.rewards.checkpoints.conftest import reading

CLASSIFIER = {"kind": "classifier", "input": "text", "judges": ["request"], "risk_labels": ["bad"]}
TEXT = ScoreInput(normalize("some text to judge"))


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A tiny toxic-bert that a test may damage."""
    shutil.copytree(folders["toxic-bert"], tmp_path / "model")
    return tmp_path / "model"


def test_a_checkpoint_of_pickles_is_refused_and_told_how_to_convert(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin only, which is a pickle.*safetensors"):
        open_checkpoint("guard", reading("toxic-bert"), copied)


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        ("model.safetensors", r"no \*\.safetensors"),
        ("tokenizer.json", "save_pretrained"),
        ("config.json", r"config\.json"),
    ],
)
def test_a_missing_file_is_named(copied: Path, file: str, complaint: str) -> None:
    (copied / file).unlink()
    with pytest.raises(ModelError, match=complaint):
        open_checkpoint("guard", reading("toxic-bert"), copied)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_named(copied: Path, file: str) -> None:
    (copied / file).write_text("{")
    with pytest.raises(ModelError, match=file):
        open_checkpoint("guard", reading("toxic-bert"), copied)


def test_weights_that_are_not_there_are_never_drawn_at_random(folders: dict[str, Path]) -> None:
    template = {"input": "template", "template": {"request": "{prompt}"}}
    spec = CheckpointSpec.model_validate({**CLASSIFIER, **template, "risk_labels": ["LABEL_1"]})
    with pytest.raises(ModelError, match="no weights for score"):
        load_torch_runtime(open_checkpoint("guard", spec, folders["shieldgemma"]))
    with pytest.raises(ModelError, match="cannot load"):
        load_torch_runtime(open_checkpoint("guard", spec, folders["granite-guardian"]))


def test_a_checkpoint_with_code_of_its_own_is_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForSequenceClassification": "code.Mine"}}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "code.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(ModelError, match="cannot load"):
        load_torch_runtime(open_checkpoint("guard", reading("toxic-bert"), copied))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"labels": ["a", "b"], "risk_labels": ["a"]}, "names 2 outputs"),
        ({"risk_labels": ["rude"]}, "no label 'rude'; it has toxic"),
        ({"activation": "softmax"}, "always 1"),
        ({"labels": list("aABcde"), "risk_labels": ["a", "A"]}, "same head"),
        ({"kind": "reward", "labels": [], "risk_labels": [], "activation": "softmax"}, "kind: classifier"),
    ],
)
def test_a_reading_that_does_not_fit_the_checkpoint_says_why(
    folders: dict[str, Path], changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint):
        open_checkpoint("guard", reading("toxic-bert", **changes), folders["toxic-bert"])


def test_answers_that_begin_alike_cannot_be_told_apart(folders: dict[str, Path]) -> None:
    with pytest.raises(ModelError, match="begin with the same token"):
        open_checkpoint("guard", reading("granite-guardian", safe_answer="Yes."), folders["granite-guardian"])


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({**CLASSIFIER, "risk_labels": []}, "needs `risk_labels`"),
        ({**CLASSIFIER, "kind": "reward"}, "only a classifier"),
        ({**CLASSIFIER, "safe_answer": "No"}, "only a generative guard"),
        ({**CLASSIFIER, "template": {"request": "{prompt}"}}, "input: template"),
        ({**CLASSIFIER, "template_arguments": {"a": 1}}, "input: chat"),
        ({**CLASSIFIER, "input": "template", "template": {"request": "hello"}}, "must have {prompt} once"),
        ({**CLASSIFIER, "input": "template", "template": {"request": "{prompt}{response}"}}, "response side only"),
        ({**CLASSIFIER, "calibration": {"a": 0}}, "greater than 0"),
        ({**CLASSIFIER, "calibration": {"a": 2, "temperature": 2}}, "not both"),
        ({**CLASSIFIER, "judges": []}, "at least 1"),
        ({"kind": "generative", "input": "chat", "judges": ["request"]}, "safe_answer"),
        (
            {"kind": "generative", "input": "text", "judges": ["request"], "safe_answer": "a", "unsafe_answer": "b"},
            "needs a question",
        ),
    ],
)
def test_a_reading_that_contradicts_itself_is_refused(document: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        CheckpointSpec.model_validate(document)


def test_every_preset_is_a_valid_reading() -> None:
    assert len(presets()) >= 6
    for keys in presets().values():
        assert CheckpointSpec.model_validate(keys).calibrated().id == "uncalibrated"


def test_the_digest_names_files_and_reading_but_not_the_calibration(copied: Path) -> None:
    def digest(**changes: object) -> str:
        return open_checkpoint("guard", reading("toxic-bert", **changes), copied).digest

    first = digest()
    assert digest(calibration={"temperature": 3.0}) == first
    assert digest(risk_labels=["threat"]) != first
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert digest() != first


def test_a_calibration_moves_the_risk_and_says_so(folders: dict[str, Path]) -> None:
    plain, moved = (
        CheckpointModel(checkpoint, load_torch_runtime(checkpoint))
        for checkpoint in (
            open_checkpoint("guard", reading("toxic-bert", calibration=calibration), folders["toxic-bert"])
            for calibration in ({}, {"a": 0.5, "b": 1.0})
        )
    )
    reward = plain.score([TEXT])[0].heads["guard"].reward
    after = moved.score([TEXT])[0].heads["guard"]
    assert after.reward == reward
    assert after.risk == pytest.approx(1 / (1 + np.exp(0.5 * reward + 1.0)))
    assert moved.identity.calibration == "platt(a=0.5,b=1)"


@settings(deadline=None)
@given(logits=st.lists(st.floats(-80, 80, width=32), min_size=4, max_size=4))
def test_the_risk_of_a_reward_is_the_classifiers_own_probability(logits: list[float]) -> None:
    given_logits = torch.tensor([logits])
    soft = SoftmaxRisk([(1, 2), (3,)], 4)(given_logits)
    expected = given_logits.double().softmax(-1)
    assert torch.sigmoid(-soft.double())[0].tolist() == pytest.approx(
        [(expected[0, 1] + expected[0, 2]).item(), expected[0, 3].item()], abs=1e-5
    )
    many = SigmoidRisk([(0, 3)], 4)(given_logits)
    assert torch.sigmoid(-many)[0, 0].item() == pytest.approx(given_logits[0, [0, 3]].sigmoid().max().item(), abs=1e-6)


def test_half_precision_rounds_the_rewards_and_keeps_their_order(folders: dict[str, Path]) -> None:
    checkpoint = open_checkpoint("guard", reading("granite-guardian"), folders["granite-guardian"])
    items = [ScoreInput(normalize(text)) for text in ("hm", "who?", "zzz", "a b c", "Not now.", "17 of 19")]
    exact, rounded = (
        np.array([text.heads["guard"].reward for text in CheckpointModel(checkpoint, runtime).score(items)])
        for runtime in (load_torch_runtime(checkpoint, dtype=dtype) for dtype in ("float32", "bfloat16"))
    )
    assert (rounded != exact).any()
    assert np.corrcoef(exact, rounded)[0, 1] > 0.9


def test_a_device_that_is_not_there_is_named(folders: dict[str, Path]) -> None:
    checkpoint = open_checkpoint("guard", reading("toxic-bert"), folders["toxic-bert"])
    with pytest.raises(ModelError, match="cannot put the model on cuda:99"):
        load_torch_runtime(checkpoint, device="cuda:99")


@pytest.mark.parametrize("pad_token_id", [0, None])
def test_a_reward_model_is_read_at_its_last_token_whatever_it_pads_with(
    tmp_path: Path, pad_token_id: int | None
) -> None:
    """Also where the text ends in the padding token, which transformers would take for padding."""
    folder = tiny.write_qwen3_reward(tmp_path / "model", pad_token_id=pad_token_id)
    checkpoint = open_checkpoint("reward", reading("skywork-reward-v2-qwen3-0.6b"), folder)
    runtime = load_torch_runtime(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(str(folder)).eval()
    rows = [[9, 8, 7, 6, 5, 4], [3, 9, 0], [7]]
    expected = []
    for row in rows:
        with torch.inference_mode():
            hidden = model.model(input_ids=torch.tensor([row])).last_hidden_state
            expected.append(model.score(hidden[0, -1]).item())
    mask = np.array([[1] * len(row) + [0] * (6 - len(row)) for row in rows])
    ids = np.array([row + [0] * (6 - len(row)) for row in rows])
    rewards = runtime.forward(TokenBatch(ids, mask, np.zeros_like(ids)))
    assert rewards[:, 0].tolist() == pytest.approx(expected, abs=1e-4)


def test_an_encoder_gets_the_padding_that_its_positions_need(tmp_path: Path) -> None:
    folder = tiny.write_roberta(tmp_path / "model", ["good", "bad"])
    spec = CheckpointSpec.model_validate({**CLASSIFIER, "window": tiny.POSITIONS})
    checkpoint = open_checkpoint("guard", spec, folder)
    export_graph(checkpoint, tmp_path / "model.onnx")
    items = [ScoreInput(normalize(text)) for text in ("short", "a much longer text " * 20)]
    rewards = []
    for runtime in (load_torch_runtime(checkpoint), load_onnx_runtime(checkpoint, tmp_path / "model.onnx")):
        model = CheckpointModel(checkpoint, runtime)
        for batch_tokens in (1, 100_000):
            rewards.append([text.heads["guard"].reward for text in model.score(items, batch_tokens)])
    for other in rewards[1:]:
        assert other == pytest.approx(rewards[0], abs=1e-4)


def test_a_graph_that_does_not_give_torchs_numbers_is_thrown_away(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forward that Python decides by the data is traced as it was once."""
    honest = LastTokenNetwork.rewards

    def data_dependent(  # type: ignore[no-untyped-def]
        self: LastTokenNetwork, tokens: dict[str, torch.Tensor], mask: torch.Tensor, segments: torch.Tensor
    ):
        rewards = honest(self, tokens, mask, segments)
        return rewards + 1 if int(tokens["input_ids"].max()) > 1 else rewards

    monkeypatch.setattr(LastTokenNetwork, "rewards", data_dependent)
    preset = "skywork-reward-v2-qwen3-0.6b"
    checkpoint = open_checkpoint("reward", reading(preset), folders[preset])
    with pytest.raises(NotExportable, match="off torch's rewards"):
        export_graph(checkpoint, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_the_exporter_trips_over_is_no_traceback(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(network: Network, path: Path) -> None:
        raise RuntimeError("no such operator\nand much more")

    monkeypatch.setattr(onnx_export, "trace", unsupported)
    checkpoint = open_checkpoint("guard", reading("toxic-bert"), folders["toxic-bert"])
    with pytest.raises(NotExportable, match=r"BertForSequenceClassification cannot be exported.*no such operator$"):
        export_graph(checkpoint, tmp_path / "model.onnx")


def test_the_graph_of_another_checkpoint_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = open_checkpoint("guard", reading("toxic-bert"), folders["toxic-bert"])
    export_graph(checkpoint, tmp_path / "model.onnx")
    other = open_checkpoint("guard", reading("toxic-bert", risk_labels=["threat"]), folders["toxic-bert"])
    with pytest.raises(ModelError, match="another model"):
        load_onnx_runtime(other, tmp_path / "model.onnx")


def test_tokens_that_the_model_does_not_have_are_a_scoring_error(folders: dict[str, Path]) -> None:
    checkpoint = open_checkpoint("guard", reading("toxic-bert"), folders["toxic-bert"])
    ids = np.full((1, 4), 10_000)
    with pytest.raises(ScoringError, match="could not run"):
        load_torch_runtime(checkpoint).forward(TokenBatch(ids, np.ones_like(ids), np.zeros_like(ids)))


@pytest.mark.parametrize("preset", ["toxic-bert", "skywork-reward-v2-qwen3-0.6b"])
def test_serving_a_graph_needs_neither_torch_nor_transformers(
    folders: dict[str, Path], tmp_path: Path, preset: str
) -> None:
    export_graph(open_checkpoint("guard", reading(preset), folders[preset]), tmp_path / "model.onnx")
    program = f"""
import sys
sys.modules.update(torch=None, transformers=None, onnx=None)
from pathlib import Path
from guards.base import ScoreInput
from guards.normalize import normalize
from guards.rewards.checkpoints.model import CheckpointModel, load_onnx_runtime, open_checkpoint
from guards.rewards.checkpoints.spec import CheckpointSpec
spec = CheckpointSpec.model_validate_json({reading(preset).model_dump_json()!r})
checkpoint = open_checkpoint("guard", spec, Path({str(folders[preset])!r}))
model = CheckpointModel(checkpoint, load_onnx_runtime(checkpoint, Path({str(tmp_path / "model.onnx")!r})))
print(model.score([ScoreInput(normalize("hi"), normalize("there"))])[0].heads["guard"].risk)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) <= 1
