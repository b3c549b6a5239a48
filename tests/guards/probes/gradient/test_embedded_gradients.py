"""Gradient probes on the embedded request head; a few short prompts, since one step costs some milliseconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from guards.base import ScoreInput
from guards.normalize import normalize
from guards.probes.gradient.classifier import DifferentiableClassifier, embeddings_of
from guards.probes.gradient.grid import Attack, Curve, Grid, attacked
from guards.probes.gradient.hotflip import FlipLimits, hotflip
from guards.probes.gradient.perturbation import Norm
from guards.probes.prompts.prompts import Prompt, Prompts
from guards.probes.targets import Targets, Text
from guards.rewards.reward_model import EMBEDDED_DIR, load_reward_model
from service.config import Settings
from service.models import ModelCache
from service.probing.targets import ProbedService
from tests.e2e.running import scoring_settings

pytestmark = pytest.mark.models

EPSILONS = (0.0, 0.02, 0.1)
HARMFUL = Prompts(set="harmful", sources=("advbench", "catqa"), count=10)
BENIGN = Prompts(set="benign", sources=("clinc150",), count=6)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return scoring_settings()


@pytest.fixture(scope="module")
def targets(settings: Settings) -> Iterator[Targets]:
    service = ProbedService(settings)
    yield service.targets()
    service.close()


@pytest.fixture(scope="module")
def head(targets: Targets) -> DifferentiableClassifier:
    assert targets.gradients is not None
    opened = targets.gradients("request_risk")
    assert targets.gradients("request_risk") is opened
    return opened


@pytest.fixture(scope="module")
def prompts() -> Sequence[Prompt]:
    return [*HARMFUL.load(7), *BENIGN.load(7)]


@pytest.fixture(scope="module")
def curves(head: DifferentiableClassifier, prompts: Sequence[Prompt]) -> Mapping[tuple[Attack, Norm], list[Curve]]:
    attacks: tuple[Attack, ...] = ("fgsm", "pgd", "random_direction")
    norms: tuple[Norm, ...] = ("l2", "linf")
    return {
        (attack, norm): [
            attacked(head, Text(prompt.text), prompt.label, Grid(attack, norm, EPSILONS), prompt.item)
            for prompt in prompts
        ]
        for attack in attacks
        for norm in norms
    }


def accuracy(curves: Sequence[Curve], place: int) -> float:
    return sum(curve.right[place] for curve in curves) / len(curves)


def test_it_decides_as_the_serving_model_in_torch(
    head: DifferentiableClassifier, settings: Settings, targets: Targets, prompts: Sequence[Prompt]
) -> None:
    folder: Path = ModelCache(settings.model_cache).path(settings.scoring.encoder)
    serving = load_reward_model(EMBEDDED_DIR, folder, "torch")
    scored = serving.score([ScoreInput(normalize(prompt.text)) for prompt in prompts])
    risks = [one.heads["request_risk"].risk for one in scored]
    assert targets.scores is not None
    threshold = targets.scores.thresholds["request_risk"]
    batch = head.tokenize([Text(prompt.text) for prompt in prompts])
    logits = head.logits(embeddings_of(head, batch), batch)
    assert logits.argmax(-1).tolist() == [int(risk >= threshold) for risk in risks]
    shift = torch.logit(torch.tensor(threshold))
    torch.testing.assert_close(logits[:, 1] + shift, torch.logit(torch.tensor(risks)), atol=1e-3, rtol=1e-3)


def test_no_epsilon_gives_exactly_the_clean_accuracy(curves: Mapping[tuple[Attack, Norm], list[Curve]]) -> None:
    for found in curves.values():
        assert [curve.right[0] for curve in found] == [curve.clean for curve in found]
    assert 0 < accuracy(curves["fgsm", "l2"], 0) <= 1


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_pgd_breaks_no_less_than_fgsm_and_fgsm_no_less_than_chance(
    curves: Mapping[tuple[Attack, Norm], list[Curve]], norm: Norm
) -> None:
    for place in range(len(EPSILONS)):
        by_pgd, by_fgsm, by_chance = (
            accuracy(curves[attack, norm], place) for attack in ("pgd", "fgsm", "random_direction")
        )
        assert by_pgd <= by_fgsm <= by_chance
    assert accuracy(curves["pgd", norm], -1) < accuracy(curves["random_direction", norm], -1)


def test_accuracy_falls_as_epsilon_grows(curves: Mapping[tuple[Attack, Norm], list[Curve]]) -> None:
    for (attack, _), found in curves.items():
        if attack != "random_direction":
            worst = [sum(curve.worst_so_far[place] for curve in found) for place in range(len(EPSILONS))]
            assert worst == sorted(worst, reverse=True)
            raw = [sum(curve.right[place] for curve in found) for place in range(len(EPSILONS))]
            assert all(later <= earlier + 1 for earlier, later in pairwise(raw))


def test_a_few_words_turn_some_decision(head: DifferentiableClassifier, prompts: Sequence[Prompt]) -> None:
    flips = [hotflip(head, Text(prompt.text), prompt.label, FlipLimits()) for prompt in prompts if prompt.label]
    assert any(flip.clean and not flip.right for flip in flips)
    for flip in flips:
        assert flip.replaced <= 3
        assert flip.queries <= 1 + 3 * (1 + FlipLimits().tries)
