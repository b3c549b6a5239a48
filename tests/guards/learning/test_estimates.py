from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from guards.learning.estimates import (
    auroc_estimate,
    calibration_estimate,
    correlation_estimate,
    mass_bins,
    rate_estimate,
    win_estimate,
)
from guards.learning.metrics import auroc, wilson

GENERATOR = np.random.default_rng(3)
LABELS = GENERATOR.integers(0, 2, 300)
RISKS = np.clip(0.5 + 0.2 * (LABELS - 0.5) + 0.2 * GENERATOR.normal(size=(3, 300)), 0, 1)


def test_the_auroc_of_seeds_is_the_mean_of_theirs_with_the_lowest_and_highest() -> None:
    by_seed = [roc_auc_score(LABELS, one) for one in RISKS]
    estimate = auroc_estimate(RISKS, LABELS)
    assert estimate.value == pytest.approx(np.mean(by_seed))
    assert (estimate.least, estimate.most) == pytest.approx((min(by_seed), max(by_seed)))
    assert estimate.n == 300


def test_one_seed_has_delongs_interval() -> None:
    estimate, measure = auroc_estimate(RISKS[:1], LABELS), auroc(RISKS[0], LABELS)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((measure.value, measure.low, measure.high))


def test_the_same_scores_of_more_seeds_do_not_make_the_interval_narrower() -> None:
    one, many = auroc_estimate(RISKS[:1], LABELS), auroc_estimate(np.repeat(RISKS[:1], 9, axis=0), LABELS)
    assert (many.low, many.high) == pytest.approx((one.low, one.high))
    hits = RISKS > 0.5
    assert rate_estimate(np.repeat(hits[:1], 9, axis=0)).low == pytest.approx(rate_estimate(hits[:1]).low)


def test_the_aurocs_interval_agrees_with_resampling_rows_with_all_their_seeds() -> None:
    estimate = auroc_estimate(RISKS, LABELS)
    draws = []
    for rows in GENERATOR.integers(0, 300, (400, 300)):
        draws.append(np.mean([roc_auc_score(LABELS[rows], one[rows]) for one in RISKS]))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert estimate.low == pytest.approx(low, abs=0.015)
    assert estimate.high == pytest.approx(high, abs=0.015)


def test_a_perfect_auroc_of_few_rows_is_not_called_certain() -> None:
    estimate = auroc_estimate(np.array([[0.1, 0.2, 0.8, 0.9]]), np.array([0, 0, 1, 1]))
    assert estimate.value == estimate.high == 1.0
    assert estimate.low < 0.5


def test_a_rate_over_seeds_is_wilsons_for_the_rows_averages() -> None:
    hits = np.array([[True, True, False, False], [True, False, False, False]])
    estimate, expected = rate_estimate(hits), wilson(1.5, 4)
    assert (estimate.value, estimate.low, estimate.high) == (expected.value, expected.low, expected.high)
    assert (estimate.least, estimate.most, estimate.n) == (0.25, 0.5, 4)


def test_a_tied_pair_is_half_a_win_for_every_seed() -> None:
    estimate = win_estimate(np.array([[1.0, 2.0], [0.0, 2.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert estimate.value == pytest.approx((0.75 + 0.5) / 2)


def test_the_calibration_error_is_the_one_computed_by_hand() -> None:
    # two bins of ten: risks .2 with 4 unsafe of 10, risks .8 with 8 of 10
    risks = np.array([[0.2] * 10 + [0.8] * 10])
    labels = np.array([1] * 4 + [0] * 6 + [1] * 8 + [0] * 2)
    assert calibration_estimate(risks, labels).value == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)


def test_balanced_weights_undo_the_share_of_unsafe_rows() -> None:
    """Risks that hold at even odds, over rows of which one in ten is unsafe."""
    labels = np.array([1] * 2000 + [0] * 18_000)
    signal = GENERATOR.normal(size=20_000) + 1.5 * labels
    risks = 1 / (1 + np.exp(-(1.5 * signal - 1.5**2 / 2)))[np.newaxis]
    assert calibration_estimate(risks, labels, balanced=True).value < 0.02
    assert calibration_estimate(risks, labels).value > 0.1


@settings(deadline=None)
@given(
    risks=st.lists(st.floats(0, 1), min_size=1, max_size=200),
    weight=st.floats(0.1, 10),
)
def test_equal_risks_share_a_bin_and_bins_follow_the_risks(risks: list[float], weight: float) -> None:
    values = np.array(risks)
    bins = mass_bins(values, np.full(len(values), weight))
    order = np.argsort(values, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < 15
    for risk in set(risks):
        assert len(set(bins[values == risk].tolist())) == 1


def test_bins_hold_about_as_many_rows_each() -> None:
    counts = np.bincount(mass_bins(GENERATOR.beta(0.3, 3, 1500), np.ones(1500)))
    assert len(counts) == 15
    assert counts.min() >= 99
    assert counts.max() <= 101


def test_the_correlation_is_spearmans_and_lies_in_its_interval() -> None:
    tokens = GENERATOR.geometric(0.02, 300).astype(np.float64)
    rewards = -np.log(tokens) + GENERATOR.normal(size=(2, 300))
    estimate = correlation_estimate(rewards, tokens)
    assert estimate is not None
    assert estimate.value == pytest.approx(np.mean([spearmanr(one, tokens).statistic for one in rewards]))
    assert -1 < estimate.low < estimate.value < estimate.high < 0


@pytest.mark.parametrize("tokens", [np.ones(50), np.arange(5.0)])
def test_without_spread_or_rows_there_is_no_correlation(tokens: np.ndarray) -> None:
    assert correlation_estimate(np.arange(float(len(tokens)))[np.newaxis], tokens) is None


@settings(deadline=None)
@given(st.data())
def test_every_interval_holds_its_value_and_stays_in_range(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 40))
    seeds = data.draw(st.integers(1, 3))
    generator = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    risks = np.round(generator.random((seeds, n)), data.draw(st.integers(0, 3)))
    labels = np.append([0, 1], generator.integers(0, 2, n - 2))
    for estimate in (auroc_estimate(risks, labels), rate_estimate(risks > 0.5)):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.least <= estimate.value + 1e-12
        assert estimate.value <= estimate.most + 1e-12
