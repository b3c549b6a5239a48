from __future__ import annotations

from pathlib import Path

import pytest

from guards.probes.gradient.classifier import embeddings_of
from guards.probes.gradient.reward_head import RewardHeadClassifier, open_reward_head
from guards.probes.targets import Text
from tests.guards.rewards.tiny_model import TinyModel, write_artefact, write_encoder

TEXTS = ["a", "do re mi", "x y z w", "h i j k l m", "why not?", "a b c d e f g h"]  # the tiny tokenizer knows letters


def exchanges(texts: list[str]) -> list[Text]:
    return [Text("and so?", text) for text in texts]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    root: Path = tmp_path_factory.mktemp("tiny")
    model = TinyModel(root / "artefact", root / "encoder")
    write_encoder(model.encoder_dir)
    write_artefact(model.artefact_dir, model.encoder_dir)
    return model


def open_at_the_middle(tiny: TinyModel, head: str = "request_risk") -> RewardHeadClassifier:
    """Random heads reward all texts about alike: decide in the middle of them, so that there are both decisions."""
    texts = [Text(text) for text in TEXTS] if head == "request_risk" else exchanges(TEXTS)
    classifier = open_reward_head(tiny.artefact_dir, tiny.encoder_dir, head, 0.0)
    batch = classifier.tokenize(texts)
    rewards = classifier.rewards(embeddings_of(classifier, batch), batch)
    return open_reward_head(tiny.artefact_dir, tiny.encoder_dir, head, float(rewards.median()) + 1e-4)


@pytest.fixture(scope="session")
def head(tiny: TinyModel) -> RewardHeadClassifier:
    return open_at_the_middle(tiny)
