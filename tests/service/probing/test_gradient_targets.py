"""Which classifier a probe gets by a name, of a service as it is configured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guards.errors import ConfigError, UnknownName
from guards.probes.gradient.classifier import embeddings_of
from guards.probes.targets import Targets, Text
from service.probing.targets import ProbedService
from tests.e2e.running import scoring_settings
from tests.fakes import write_policy
from tests.guards.rewards.checkpoints import tiny_checkpoints
from tests.guards.rewards.tiny_model import CALIBRATION, write_artefact, write_encoder

POLICY = """
name: default
version: "1"
request:
  - kind: reward
    name: lenient
    head: request_risk
    thresholds: {block: 0.9}
  - kind: reward
    name: strict
    head: request_risk
    thresholds: {block: 0.7, flag: 0.2}
  - kind: reward
    name: toxic
    head: spans
    thresholds: {flag: 0.5}
"""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    root: Path = tmp_path_factory.mktemp("service")
    write_encoder(root / "encoder")
    write_artefact(root / "artefact", root / "encoder")
    labels = tiny_checkpoints.write_roberta(root / "roberta", ["good", "bad", "worse"])
    (root / "policies").mkdir()
    write_policy(root / "policies", POLICY)
    spans = {
        "name": "spans",
        "source": f"file:{labels}",
        "kind": "classifier",
        "input": "text",
        "judges": ["request"],
        "risk_labels": ["bad", "worse"],
        "runtime": "torch",
        "window": tiny_checkpoints.POSITIONS,
    }
    scoring = {"artefact": root / "artefact", "encoder": f"file:{root / 'encoder'}", "runtime": "torch"}
    policies = {"directory": root / "policies"}
    service = ProbedService(scoring_settings(scoring=scoring, policies=policies, models=[spans]))
    yield service.targets()
    service.close()


def reward_at_no_log_odds(targets: Targets, name: str) -> float:
    """Where the logits of a head of the tiny model cross."""
    assert targets.gradients is not None
    assert targets.scores is not None
    classifier = targets.gradients(name)
    batch = classifier.tokenize([Text("do re mi")])
    logits = classifier.logits(embeddings_of(classifier, batch), batch)[0]
    reward = targets.scores.scores("request_risk", [Text("do re mi")])[0].reward
    return float(logits[1] - logits[0]) / CALIBRATION.a + reward


def test_a_head_is_decided_where_the_strictest_guard_withholds(targets: Targets) -> None:
    turn = reward_at_no_log_odds(targets, "request_risk")
    assert CALIBRATION.risk(turn) == pytest.approx(0.7, abs=1e-4)


def test_another_threshold_is_named_with_the_head(targets: Targets) -> None:
    turn = reward_at_no_log_odds(targets, "request_risk@0.25")
    assert CALIBRATION.risk(turn) == pytest.approx(0.25, abs=1e-4)


def test_a_further_model_is_a_head_or_all_its_labels(targets: Targets) -> None:
    assert targets.gradients is not None
    assert targets.gradients("spans@0.5").labels == ("passes", "withheld")
    assert targets.gradients("spans.worse@0.5").labels == ("passes", "withheld")
    assert targets.gradients("spans:labels").labels == ("good", "bad", "worse")


def test_each_is_loaded_once(targets: Targets) -> None:
    assert targets.gradients is not None
    assert targets.gradients("request_risk") is targets.gradients("request_risk")


def test_where_nothing_is_withheld_there_is_no_decision_to_attack(targets: Targets) -> None:
    assert targets.gradients is not None
    with pytest.raises(ConfigError, match=r"'spans@0\.5'"):
        targets.gradients("spans")
    with pytest.raises(ConfigError, match="over 0 and up to 1"):
        targets.gradients("spans@high")


def test_an_unknown_name_is_answered_with_those_there_are(targets: Targets) -> None:
    assert targets.gradients is not None
    with pytest.raises(UnknownName, match=r"request_risk.*spans:labels"):
        targets.gradients("nothing")
