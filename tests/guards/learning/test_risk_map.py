from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from guards.errors import InvalidInput
from guards.learning.risk_map import HEAD, _folds, choose_risk_map, log_loss

N = 1500


def made(seed: int, bend: float = 1.0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Rewards whose true risk is expit(-bend * reward), from ten sources."""
    generator = np.random.default_rng(seed)
    rewards = generator.normal(0, 2, N)
    labels = (generator.random(N) < expit(-bend * rewards)).astype(np.int64)
    return rewards, labels, [f"source-{row % 10}" for row in range(N)]


def test_a_head_that_is_right_is_left_alone() -> None:
    rewards, labels, sources = made(1)
    choice = choose_risk_map(rewards, expit(-rewards), labels, sources)
    assert (choice.method, choice.risk_map) == (HEAD, None)
    assert choice.ece_after == choice.ece_before
    assert choice.grouped


def test_an_over_confident_head_gets_a_temperature_and_a_smaller_calibration_error() -> None:
    rewards, labels, sources = made(2, bend=0.25)
    choice = choose_risk_map(rewards, expit(-8 * rewards), labels, sources)
    assert choice.method in ("temperature", "platt")
    assert choice.risk_map is not None
    assert choice.risk_map.risk(2.0) == pytest.approx(expit(-0.5), abs=0.05)
    assert choice.ece_after.high < choice.ece_before.low
    assert choice.log_loss[choice.method] == min(choice.log_loss.values())


def test_a_crooked_head_gets_an_isotonic_map() -> None:
    generator = np.random.default_rng(3)
    rewards = generator.normal(0, 2, N)
    risk = np.where(rewards < -1, 0.9, np.where(rewards < 2, 0.5, 0.02))
    labels = (generator.random(N) < risk).astype(np.int64)
    choice = choose_risk_map(rewards, expit(-rewards), labels, [f"s{row % 7}" for row in range(N)])
    assert choice.method == "isotonic"


def test_a_source_is_never_on_both_sides_of_a_fold() -> None:
    sources = [f"s{row % 13}" for row in range(500)]
    folds = _folds(sources, seed=0)
    assert len(set(folds)) == 5
    assert all(len({folds[row] for row in range(500) if sources[row] == source}) == 1 for source in set(sources))
    assert np.bincount(folds).min() > 60
    assert (folds == _folds(sources, seed=0)).all()


def test_rows_of_one_source_are_dealt_out_and_the_choice_says_so() -> None:
    rewards, labels, _ = made(4)
    assert not choose_risk_map(rewards, expit(-rewards), labels, ["one"] * N).grouped


def test_a_class_that_one_source_alone_brings_is_refused() -> None:
    rewards, _, _ = made(5)
    labels = np.array([int(row % 3 == 0) for row in range(N)])
    with pytest.raises(InvalidInput, match="each from two sources"):
        choose_risk_map(
            rewards, expit(-rewards), labels, ["bad" if label else f"s{i % 4}" for i, label in enumerate(labels)]
        )


def test_log_loss_charges_a_certain_mistake_much_and_not_everything() -> None:
    assert log_loss(np.array([0.5, 0.5]), np.array([0, 1])) == pytest.approx(np.log(2))
    assert 20 < log_loss(np.array([1.0]), np.array([0])) < 30
