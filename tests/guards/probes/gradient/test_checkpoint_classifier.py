"""Models of `models:` seen by gradient probes are those that serve."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guards.base import ScoreInput
from guards.errors import ConfigError, UnknownName
from guards.normalize import normalize
from guards.probes.gradient.checkpoint import open_checkpoint_head, open_checkpoint_labels
from guards.probes.gradient.classifier import embeddings_of
from guards.probes.gradient.perturbation import slope
from guards.probes.targets import Text
from guards.rewards.checkpoints.model import Checkpoint, CheckpointModel, load_torch_runtime, open_checkpoint
from guards.rewards.checkpoints.presets import with_preset
from guards.rewards.checkpoints.spec import CheckpointSpec
from tests.guards.rewards.checkpoints import tiny_checkpoints as tiny

TEXTS = ["do re mi", "a", "Why not?", "what is this about, then"]
PAIR = {"kind": "classifier", "input": "text", "judges": ["request"], "risk_labels": ["bad", "worse"]}
GENERATIVE = {
    "kind": "generative",
    "input": "template",
    "judges": ["request"],
    "safe_answer": "safe",
    "unsafe_answer": "unsafe",
    "template": {"request": "<|begin_of_text|>User: {prompt}<|eot_id|>"},
}


def opened(folder: Path, reading: dict[str, object], preset: str = "") -> Checkpoint:
    given = {"window": tiny.POSITIONS, "overlap": 8, **reading}
    return open_checkpoint("guard", CheckpointSpec.model_validate(with_preset(preset, given)), folder)


@pytest.fixture(scope="module", params=["bert", "roberta", "deberta", "qwen3", "llama"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp(request.param)
    match request.param:
        case "bert":
            return opened(tiny.write_bert(folder, tiny.TOXIC_LABELS), {}, "toxic-bert")
        case "roberta":
            return opened(tiny.write_roberta(folder, ["good", "bad", "worse"]), dict(PAIR))
        case "deberta":
            return opened(tiny.write_deberta(folder, ["LABEL_0", "LABEL_1"]), {}, "llama-prompt-guard-2")
        case "qwen3":
            return opened(tiny.write_qwen3_reward(folder), {"judges": ["response"]}, "skywork-reward-v2-qwen3-0.6b")
        case _:
            return opened(tiny.write_llama_guard(folder), dict(GENERATIVE))


def texts_for(checkpoint: Checkpoint) -> list[Text]:
    return [Text("and so?", text) if "response" in checkpoint.spec.judges else Text(text) for text in TEXTS]


def test_its_log_odds_are_the_serving_models(checkpoint: Checkpoint) -> None:
    serving = CheckpointModel(checkpoint, load_torch_runtime(checkpoint))
    texts = texts_for(checkpoint)
    items = [
        ScoreInput(normalize(text.prompt), None if text.response is None else normalize(text.response))
        for text in texts
    ]
    scored = serving.score(items)
    for head in checkpoint.readout.heads:
        rewards = [one.heads[head].reward for one in scored]
        turn = sorted(rewards)[1] + 1e-3  # two texts are withheld
        classifier = open_checkpoint_head(checkpoint, head, turn)
        batch = classifier.tokenize(texts)
        logits = classifier.logits(embeddings_of(classifier, batch), batch)
        expected = [checkpoint.spec.calibrated().a * (turn - reward) for reward in rewards]
        torch.testing.assert_close(logits[:, 1] - logits[:, 0], torch.tensor(expected), atol=1e-4, rtol=1e-4)
        assert logits.argmax(-1).tolist() == [int(reward <= turn) for reward in rewards]


def test_only_the_texts_own_tokens_have_a_gradient_and_company_does_not_matter(checkpoint: Checkpoint) -> None:
    classifier = open_checkpoint_head(checkpoint, checkpoint.readout.heads[0], 0.0)
    texts = texts_for(checkpoint)
    together = classifier.tokenize(texts)
    gold = torch.zeros(len(texts), dtype=torch.long)
    gradient = slope(classifier, embeddings_of(classifier, together), together, gold).gradient
    for row, text in enumerate(texts):
        alone = classifier.tokenize([text])
        own = slope(classifier, embeddings_of(classifier, alone), alone, gold[:1]).gradient[0]
        scale = float(own.abs().max())
        assert scale > 0
        torch.testing.assert_close(gradient[row, : own.shape[0]], own, atol=scale * 1e-3, rtol=1e-2)
        assert not gradient[row][~together.attackable[row]].any()


def test_the_attackable_tokens_are_the_judged_text(checkpoint: Checkpoint) -> None:
    classifier = open_checkpoint_head(checkpoint, checkpoint.readout.heads[0], 0.0)
    batch = classifier.tokenize(texts_for(checkpoint))
    for row, text in enumerate(TEXTS):
        spans = batch.spans[row]
        assert len(spans) == int(batch.attackable[row].sum())
        assert spans == tuple(sorted(spans))
        covered = {place for start, end in spans for place in range(start, end)}
        assert {place for place, letter in enumerate(text) if letter != " "} <= covered


def test_labels_that_exclude_each_other_are_a_classifier_of_their_own(tmp_path: Path) -> None:
    folder = tiny.write_roberta(tmp_path, ["good", "bad", "worse"])
    checkpoint = opened(folder, dict(PAIR))
    classifier = open_checkpoint_labels(checkpoint, folder)
    assert classifier.labels == ("good", "bad", "worse")
    batch = classifier.tokenize([Text(text) for text in TEXTS])
    logits = classifier.logits(embeddings_of(classifier, batch), batch)
    assert logits.shape == (len(TEXTS), 3)
    at_half = open_checkpoint_head(checkpoint, "guard", 0.0)
    both = at_half.logits(embeddings_of(at_half, batch), batch)
    risk = logits.softmax(-1)[:, 1:].sum(-1)
    torch.testing.assert_close(both.softmax(-1)[:, 1], risk, atol=1e-5, rtol=1e-4)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_bert(tmp_path, tiny.TOXIC_LABELS)
    checkpoint = opened(folder, {}, "toxic-bert")
    with pytest.raises(ConfigError, match="exclude each other"):
        open_checkpoint_labels(checkpoint, folder)
    with pytest.raises(UnknownName, match="guard"):
        open_checkpoint_head(checkpoint, "other", 0.0)
