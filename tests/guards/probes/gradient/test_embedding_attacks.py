from __future__ import annotations

import pytest
import torch
from torch import Tensor

from guards.probes.gradient.classifier import TokenBatch, embeddings_of
from guards.probes.gradient.fgsm import fgsm
from guards.probes.gradient.grid import Attack, Curve, Grid, attacked
from guards.probes.gradient.perturbation import Norm, margins, projected, radii, steepest
from guards.probes.gradient.pgd import pgd, random_start
from guards.probes.gradient.random_direction import random_direction
from guards.probes.gradient.reward_head import RewardHeadClassifier
from guards.probes.targets import Text
from tests.guards.probes.gradient.conftest import TEXTS

NORMS: tuple[Norm, ...] = ("l2", "linf")
ATTACKS: tuple[Attack, ...] = ("fgsm", "pgd", "random_direction")
EPSILONS = (0.0, 0.01, 0.1, 0.5, 2.0)


def perturbation(
    head: RewardHeadClassifier, texts: list[str], attack: Attack, norm: Norm, epsilon: float
) -> tuple[TokenBatch, Tensor]:
    """With the decision of each text as its right label."""
    batch = head.tokenize([Text(text) for text in texts])
    gold = head.logits(embeddings_of(head, batch), batch).argmax(-1)
    epsilons = torch.full((len(texts),), epsilon)
    if attack == "fgsm":
        return batch, fgsm(head, batch, gold, norm, epsilons)
    if attack == "pgd":
        return batch, pgd(head, batch, gold, norm, epsilons)
    return batch, random_direction(head, batch, norm, epsilons, [TEXTS.index(text) for text in texts])


def sizes(delta: Tensor, norm: Norm) -> Tensor:
    return delta.norm(dim=-1) if norm == "l2" else delta.abs().amax(-1)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_token_moves_further_than_epsilon_and_special_tokens_and_padding_stay(
    head: RewardHeadClassifier, attack: Attack, norm: Norm
) -> None:
    for epsilon in EPSILONS:
        batch, delta = perturbation(head, TEXTS, attack, norm, epsilon)
        radius = float(radii(head, norm, torch.tensor([epsilon])))
        assert float(sizes(delta, norm).max()) <= radius * (1 + 1e-5)
        assert not delta[~batch.attackable].any()
        assert epsilon == 0 or bool(sizes(delta, norm)[batch.attackable].gt(0).all()) or attack == "pgd"


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_text_is_attacked_alike_alone_and_in_company(head: RewardHeadClassifier, attack: Attack, norm: Norm) -> None:
    _, together = perturbation(head, TEXTS, attack, norm, 0.3)
    for row, text in enumerate(TEXTS):
        _, alone = perturbation(head, [text], attack, norm, 0.3)
        length = alone.shape[1]
        torch.testing.assert_close(together[row, :length], alone[0], atol=2e-4, rtol=2e-3)
        assert not together[row, length:].any()


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_never_does_less_harm_than_fgsm(head: RewardHeadClassifier, norm: Norm) -> None:
    for epsilon in EPSILONS:
        batch, once = perturbation(head, TEXTS, "fgsm", norm, epsilon)
        _, often = perturbation(head, TEXTS, "pgd", norm, epsilon)
        vectors = embeddings_of(head, batch)
        gold = head.logits(vectors, batch).argmax(-1)
        by_fgsm, by_pgd = (margins(head.logits(vectors + delta, batch), gold) for delta in (once, often))
        assert bool((by_pgd >= by_fgsm - 1e-6).all())


@pytest.mark.parametrize("norm", NORMS)
def test_the_gradients_direction_does_more_harm_than_a_random_one(head: RewardHeadClassifier, norm: Norm) -> None:
    batch, aimed = perturbation(head, TEXTS, "fgsm", norm, 0.05)
    _, control = perturbation(head, TEXTS, "random_direction", norm, 0.05)
    vectors = embeddings_of(head, batch)
    gold = head.logits(vectors, batch).argmax(-1)
    by_aim, by_chance = (margins(head.logits(vectors + delta, batch), gold) for delta in (aimed, control))
    assert bool((by_aim > by_chance).all())


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_same_seed_gives_the_same_curve_and_another_one_another_direction(
    head: RewardHeadClassifier, attack: Attack
) -> None:
    grid = Grid(attack, "l2", (0.0, 0.001, 0.01), random_start=True)
    batch = head.tokenize([Text("do re mi")])
    gold = int(head.logits(embeddings_of(head, batch), batch).argmax())
    once, again, other = (attacked(head, Text("do re mi"), gold, grid, seed) for seed in ("a", "a", "b"))
    assert once == again
    if attack == "fgsm":  # draws nothing
        assert once == other
    if attack == "random_direction":  # of PGD the worst point may be the one that FGSM found
        assert once != other


@pytest.mark.parametrize("norm", NORMS)
def test_no_epsilon_is_no_change(head: RewardHeadClassifier, norm: Norm) -> None:
    for text in TEXTS:
        for attack in ATTACKS:
            for gold in (0, 1):
                curve = attacked(head, Text(text), gold, Grid(attack, norm, EPSILONS), "7")
                assert curve.right[0] == curve.clean


def test_the_worst_so_far_never_recovers() -> None:
    curve = Curve(clean=True, right=(True, True, False, True, False), log_odds=(1.0, 1.0, -1.0, 1.0, -1.0))
    assert curve.worst_so_far == (True, True, False, False, False)


def test_what_is_wrong_before_stays_wrong(head: RewardHeadClassifier) -> None:
    for text in TEXTS:
        for gold in (0, 1):
            curve = attacked(head, Text(text), gold, Grid("pgd", "l2", EPSILONS), "7")
            if not curve.clean:
                assert not any(curve.right)


@pytest.mark.parametrize("norm", NORMS)
def test_a_random_start_lies_inside_the_ball(norm: Norm) -> None:
    edge = steepest(torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1)), norm) * 0.7
    start = random_start(edge, norm, [1, 2, 3])
    assert float(sizes(start, norm).max()) <= 0.7 * (1 + 1e-6)
    assert float(sizes(start, norm).min()) > 0


@pytest.mark.parametrize("norm", NORMS)
def test_projection_changes_only_what_is_outside_and_keeps_its_direction(norm: Norm) -> None:
    delta = torch.tensor([[[0.3, 0.4], [3.0, 4.0]]])
    inside, outside = projected(delta, norm, torch.tensor([[[1.0]]]))[0]
    torch.testing.assert_close(inside, delta[0, 0])
    torch.testing.assert_close(outside, torch.tensor([0.6, 0.8] if norm == "l2" else [1.0, 1.0]))


@pytest.mark.parametrize("norm", NORMS)
def test_a_vanished_gradient_gives_no_step(norm: Norm) -> None:
    assert not steepest(torch.zeros(1, 2, 4), norm).any()
    assert steepest(torch.full((1, 1, 4), 1e-30), norm).norm() == pytest.approx(1.0 if norm == "l2" else 2.0)
