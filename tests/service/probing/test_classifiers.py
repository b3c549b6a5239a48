from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from guards.errors import UnknownName
from guards.probes.targets import Text
from guards.types import HeadScore
from service.config import Settings
from service.probing.classifiers import classifier_opener
from tests.guards.rewards.checkpoints import tiny_checkpoints as tiny


class Scores:
    heads: Mapping[str, str] = MappingProxyType({"request_risk": "prompt", "reply_risk": "exchange"})
    thresholds: Mapping[str, float] = MappingProxyType({"request_risk": 0.8})

    def __init__(self) -> None:
        self.asked: list[Text] = []

    def scores(self, head: str, texts: Sequence[Text]) -> tuple[HeadScore, ...]:
        self.asked += texts
        return tuple(HeadScore(head, 0.0, 0.6, 0, 0) for _ in texts)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tiny.write_bert(tmp_path / "model", ["negative", "positive"])
    model = {
        "name": "sentiment",
        "source": f"file:{folder}",
        "kind": "classifier",
        "input": "text",
        "judges": ["request"],
        "risk_labels": ["negative"],
    }
    return Settings.model_validate({"models": [model], "model_cache": tmp_path / "cache"})


def test_a_model_is_asked_for_its_labels_and_loaded_once(settings: Settings) -> None:
    opened = classifier_opener(settings, Scores())
    assert opened("sentiment").labels == ("negative", "positive")
    assert opened("sentiment") is opened("sentiment")
    assert opened("sentiment").probabilities(["a film"]).shape == (1, 2)


def test_a_head_is_decided_at_its_threshold_and_gets_the_text_on_its_own_side(settings: Settings) -> None:
    scores = Scores()
    opened = classifier_opener(settings, scores)
    assert opened("request_risk").probabilities(["a"]).argmax(axis=1) == [0]
    assert opened("reply_risk").probabilities(["a"]).argmax(axis=1) == [1]
    assert scores.asked == [Text("a"), Text("", "a")]


def test_a_name_that_is_neither_is_refused_with_what_there_is(settings: Settings) -> None:
    with pytest.raises(UnknownName, match=r"reply_risk, request_risk, sentiment"):
        classifier_opener(settings, Scores())("other")
