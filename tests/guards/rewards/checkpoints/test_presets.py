"""Every preset gives the numbers that transformers gives for the same text, with its own tokenizer and forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from guards.base import ScoreInput
from guards.normalize import normalize
from guards.rewards.checkpoints.model import (
    Checkpoint,
    CheckpointModel,
    export_graph,
    load_onnx_runtime,
    load_torch_runtime,
    open_checkpoint,
)
from guards.rewards.checkpoints.presets import presets
from guards.types import HeadScore
from tests.guards.rewards.checkpoints.conftest import CHANGES, reading

PROMPT, ANSWER = "how do I do it?", "like so: no."
ASKED = ScoreInput(normalize(PROMPT))
ANSWERED = ScoreInput(normalize(PROMPT), normalize(ANSWER))


class Reference:
    """Transformers itself, one text at a time."""

    def __init__(self, folder: Path, causal: bool = False) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
        load = (AutoModelForCausalLM if causal else AutoModelForSequenceClassification).from_pretrained
        self.model: Any = load(str(folder)).eval()

    def logits(self, *texts: str) -> np.ndarray:
        with torch.inference_mode():
            batch = self.tokenizer(*texts, return_tensors="pt")
            batch = {name: value for name, value in batch.items() if self._takes(name)}
            return self.model(**batch).logits[0].numpy()

    def chat_logits(self, *texts: str, generation_prompt: bool = False, **arguments: object) -> np.ndarray:
        roles = ("user", "assistant")
        messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
        ids = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=generation_prompt, return_tensors="pt", return_dict=False, **arguments
        )
        with torch.inference_mode():
            return self.model(input_ids=ids).logits[0].numpy()

    def risk_of_answer(self, *texts: str, **arguments: object) -> float:
        last = self.chat_logits(*texts, generation_prompt=True, **arguments)[-1]
        yes, no = (np.exp(float(last[self.tokenizer.convert_tokens_to_ids(word)])) for word in ("Yes", "No"))
        return float(yes / (yes + no))

    def _takes(self, name: str) -> bool:
        return name != "token_type_ids" or getattr(self.model.config, "type_vocab_size", 0) > 1


def scored(checkpoint: Checkpoint, item: ScoreInput) -> dict[str, HeadScore]:
    (text,) = CheckpointModel(checkpoint, load_torch_runtime(checkpoint)).score([item])
    return dict(text.heads)


def opened(preset: str, folders: dict[str, Path], **changes: object) -> Checkpoint:
    return open_checkpoint("guard", reading(preset, **changes), folders[preset])


def test_a_chat_reward_model_scores_the_exchange_in_its_own_template(folders: dict[str, Path]) -> None:
    preset = "skywork-reward-v2-qwen3-0.6b"
    expected = Reference(folders[preset]).chat_logits(PROMPT, ANSWER).item()
    assert scored(opened(preset, folders), ANSWERED)["guard"].reward == pytest.approx(expected, abs=1e-4)


def test_a_pair_reward_model_scores_question_and_answer(folders: dict[str, Path]) -> None:
    preset = "openassistant-deberta-v3-large-v2"
    expected = Reference(folders[preset]).logits(PROMPT, ANSWER).item()
    assert scored(opened(preset, folders), ANSWERED)["guard"].reward == pytest.approx(expected, abs=1e-4)


def test_a_softmax_classifiers_risk_is_the_probability_of_its_risk_label(folders: dict[str, Path]) -> None:
    preset = "llama-prompt-guard-2"
    logits = torch.from_numpy(Reference(folders[preset]).logits(PROMPT))
    heads = scored(opened(preset, folders), ASKED)
    assert set(heads) == {"guard"}
    assert heads["guard"].risk == pytest.approx(logits.softmax(-1)[1].item(), abs=1e-5)


def test_a_multi_label_classifier_has_a_head_for_each_risk_label_and_the_worst_for_all(
    folders: dict[str, Path],
) -> None:
    preset = "toxic-bert"
    probabilities = torch.from_numpy(Reference(folders[preset]).logits(ANSWER)).sigmoid()
    risks = {head: score.risk for head, score in scored(opened(preset, folders), ANSWERED).items()}
    expected = {f"guard.{label}": probabilities[row].item() for row, label in enumerate(reading(preset).labels)}
    assert risks == pytest.approx({"guard": probabilities.max().item(), **expected}, abs=1e-5)


def test_chosen_risk_labels_leave_the_others_out(folders: dict[str, Path]) -> None:
    checkpoint = opened("toxic-bert", folders, risk_labels=["threat"])
    probabilities = torch.from_numpy(Reference(folders["toxic-bert"]).logits(PROMPT)).sigmoid()
    heads = scored(checkpoint, ASKED)
    assert set(heads) == {"guard"}
    assert heads["guard"].risk == pytest.approx(probabilities[3].item(), abs=1e-5)


@pytest.mark.parametrize("item", [ASKED, ANSWERED], ids=["request", "response"])
@pytest.mark.parametrize("preset", ["granite-guardian", "shieldgemma"])
def test_a_generative_guards_risk_is_its_first_answer_token(
    folders: dict[str, Path], preset: str, item: ScoreInput
) -> None:
    texts = [PROMPT] if item.response is None else [PROMPT, ANSWER]
    arguments = {**presets()[preset], **CHANGES.get(preset, {})}["template_arguments"]
    expected = Reference(folders[preset], causal=True).risk_of_answer(*texts, **arguments)
    assert scored(opened(preset, folders), item)["guard"].risk == pytest.approx(expected, abs=1e-5)


def test_every_preset_exports_to_onnx_and_serves_alike(checkpoint: Checkpoint, tmp_path: Path) -> None:
    export_graph(checkpoint, tmp_path / "model.onnx")
    with_onnx = CheckpointModel(checkpoint, load_onnx_runtime(checkpoint, tmp_path / "model.onnx"))
    with_torch = CheckpointModel(checkpoint, load_torch_runtime(checkpoint))
    texts = ["", "hi", "what is this? " * 20]
    items = [*(ScoreInput(normalize(t)) for t in texts), *(ScoreInput(normalize("why?"), normalize(t)) for t in texts)]
    ours, theirs = with_onnx.score(items), with_torch.score(items)
    assert any(text.heads for text in ours)
    for one, other in zip(ours, theirs, strict=True):
        assert {head: score.reward for head, score in one.heads.items()} == pytest.approx(
            {head: score.reward for head, score in other.heads.items()}, abs=1e-4
        )


def test_company_in_the_batch_does_not_change_a_score(checkpoint: Checkpoint) -> None:
    model = CheckpointModel(checkpoint, load_torch_runtime(checkpoint))
    texts = ["hi", "a longer text, with words.", "zz " * 40]
    items = [*(ScoreInput(normalize(t)) for t in texts), *(ScoreInput(normalize("why?"), normalize(t)) for t in texts)]
    together = model.score(items, batch_tokens=100_000)
    alone = [text for item in items for text in model.score([item], batch_tokens=1)]
    for one, other in zip(together, alone, strict=True):
        assert {head: score.reward for head, score in one.heads.items()} == pytest.approx(
            {head: score.reward for head, score in other.heads.items()}, abs=1e-4
        )


def test_a_preset_judges_the_sides_it_says_and_no_other(checkpoint: Checkpoint) -> None:
    model = CheckpointModel(checkpoint, load_torch_runtime(checkpoint))
    asked, answered = model.score([ASKED, ANSWERED])
    sides = {side for side, text in (("request", asked), ("response", answered)) if text.heads}
    assert sides == checkpoint.spec.judges
    assert all(text.coverage.windows == 0 for text in (asked, answered) if not text.heads)


def test_nobody_is_told_that_a_preset_is_calibrated(checkpoint: Checkpoint) -> None:
    identity = CheckpointModel(checkpoint, load_torch_runtime(checkpoint)).identity
    assert identity.calibration == "uncalibrated"
    assert len(identity.digest) == 64
