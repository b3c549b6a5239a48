from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, roc_auc_score

from guards.learning.calibration import fit_platt, risks
from guards.learning.metrics import auroc, expected_calibration_error, f1, pair_accuracy, wilson

GENERATOR = np.random.default_rng(5)
LABELS = GENERATOR.integers(0, 2, 400)
SCORES = np.round(LABELS + GENERATOR.normal(size=400), 1)


@given(n=st.integers(1, 500), data=st.data())
def test_the_ratio_interval_is_wilsons(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    measure = wilson(k, n)
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert (measure.low, measure.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_auroc_agrees_with_scikit_learn_also_with_ties() -> None:
    assert auroc(SCORES, LABELS).value == pytest.approx(roc_auc_score(LABELS, SCORES))


def test_delongs_interval_agrees_with_the_bootstrap() -> None:
    measure = auroc(SCORES, LABELS)
    rows = GENERATOR.integers(0, 400, (1000, 400))
    low, high = np.quantile([roc_auc_score(LABELS[row], SCORES[row]) for row in rows], [0.025, 0.975])
    assert measure.low == pytest.approx(low, abs=0.01)
    assert measure.high == pytest.approx(high, abs=0.01)


def test_f1_agrees_with_scikit_learn_and_lies_in_its_interval() -> None:
    flagged = (SCORES > 0.5).astype(np.int64)
    measure = f1(flagged, LABELS)
    assert measure.value == pytest.approx(f1_score(LABELS, flagged))
    assert measure.low < measure.value < measure.high


def test_a_tied_pair_is_half_a_win() -> None:
    assert pair_accuracy(np.array([1.0, 2.0]), np.array([1.0, 0.0])).value == 0.75


def test_platt_scaling_finds_the_curve_that_made_the_labels() -> None:
    rewards = GENERATOR.normal(size=20_000) * 3
    truth = 1 / (1 + np.exp(0.7 * rewards - 0.4))
    labels = (GENERATOR.random(20_000) < truth).astype(np.int64)
    weights = np.ones(20_000)
    calibration = fit_platt(rewards, labels, weights)
    assert calibration.a == pytest.approx(0.7, abs=0.05)
    assert calibration.b == pytest.approx(-0.4, abs=0.05)
    assert expected_calibration_error(risks(calibration, rewards), labels, weights).value < 0.02


def test_platt_scaling_never_turns_the_order_around() -> None:
    rewards = np.array([1.0, 2.0, -1.0, -2.0] * 10)
    labels = np.array([1, 1, 0, 0] * 10)
    assert fit_platt(rewards, labels, np.ones(40)).a > 0
