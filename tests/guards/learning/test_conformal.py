"""The promise: at most alpha of harmless texts are blocked, in all but delta of the draws of the calibration set."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, nhypergeom

from guards.errors import InvalidInput
from guards.learning.conformal import binomial_cdf, conformal_threshold, most_allowed, needed_texts, upper_limit
from guards.rewards.isotonic import fit_isotonic

DRAWS = 2000


def at_most(draws: int, rate: float) -> int:
    """What a binomial count exceeds once in a thousand."""
    return int(binom.ppf(0.999, draws, rate))


@pytest.mark.parametrize(("n", "alpha", "delta"), [(299, 0.01, 0.05), (500, 0.02, 0.05), (1000, 0.01, 0.1)])
def test_the_true_rate_exceeds_the_target_in_no_more_draws_than_promised(n: int, alpha: float, delta: float) -> None:
    generator = np.random.default_rng(1)
    # risks are uniform, so that the true rate of a threshold is known: 1 - threshold
    rates = [1 - conformal_threshold(generator.random(n).tolist(), alpha, delta).threshold for _ in range(DRAWS)]
    assert sum(rate > alpha for rate in rates) <= at_most(DRAWS, delta)
    # and not by blocking nothing: the rate has the Beta distribution that the docstring names
    k = most_allowed(n, alpha, delta)
    assert np.mean(rates) == pytest.approx((k + 1) / (n + 1), rel=0.06)


@pytest.mark.parametrize("levels", [2, 5, 40])
def test_heavy_ties_keep_the_promise(levels: int) -> None:
    n, alpha, delta = 400, 0.02, 0.05
    generator = np.random.default_rng(levels)
    values = np.linspace(0.1, 0.9, levels)
    shares = np.array([0.5**i for i in range(levels)])
    shares /= shares.sum()
    broken = 0
    for _ in range(DRAWS):
        risks = generator.choice(values, size=n, p=shares)
        threshold = conformal_threshold(risks.tolist(), alpha, delta).threshold
        broken += float(shares[values >= threshold].sum()) > alpha
    assert broken <= at_most(DRAWS, delta)


@pytest.mark.parametrize("tied", [False, True])
def test_the_realised_rate_on_the_other_part_of_200_random_splits_keeps_the_promise(tied: bool) -> None:
    n, rest, alpha, delta, splits = 1000, 5000, 0.01, 0.05, 200
    generator = np.random.default_rng(7)
    pool = generator.beta(1, 6, size=n + rest)
    if tied:
        pool = np.round(pool, 2)
    exceeded = 0
    for _ in range(splits):
        generator.shuffle(pool)
        threshold = conformal_threshold(pool[:n].tolist(), alpha, delta).threshold
        exceeded += float(np.mean(pool[n:] >= threshold)) > alpha
    # the other part is a sample too: what its own noise adds is known exactly
    k = most_allowed(n, alpha, delta)
    expected = float(nhypergeom.sf(math.floor(alpha * rest), n + rest, rest, k + 1))
    assert expected <= delta
    assert exceeded <= at_most(splits, expected)


@given(
    n=st.integers(20, 400),
    alpha=st.floats(0.02, 0.5),
    delta=st.floats(0.01, 0.5),
    digits=st.integers(1, 4),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_a_threshold_blocks_no_more_than_was_allowed_and_its_bound_is_clopper_pearson(
    n: int, alpha: float, delta: float, digits: int, seed: int
) -> None:
    risks = np.round(np.random.default_rng(seed).random(n) * 0.9, digits).tolist()
    if n < needed_texts(alpha, delta):
        with pytest.raises(InvalidInput, match=f"{needed_texts(alpha, delta)} are needed"):
            conformal_threshold(risks, alpha, delta)
        return
    found = conformal_threshold(risks, alpha, delta)
    k = most_allowed(n, alpha, delta)
    assert found.blocked == sum(risk >= found.threshold for risk in risks) <= k
    assert found.realised <= found.bound <= alpha
    assert found.bound == pytest.approx(beta.ppf(1 - delta, k + 1, n - k), rel=1e-6)
    assert 0 < found.threshold <= 1


def test_the_threshold_is_the_least_above_the_text_that_must_pass() -> None:
    risks = [i / 1000 for i in range(1000)]
    found = conformal_threshold(risks, 0.01, 0.05)
    k = most_allowed(1000, 0.01, 0.05)
    passing = sorted(risks, reverse=True)[k]
    assert passing < found.threshold == math.nextafter(passing, 1)
    assert found.blocked == k == 4


@pytest.mark.parametrize(
    ("alpha", "delta", "needed"),
    [(0.01, 0.05, 299), (0.05, 0.05, 59), (0.001, 0.05, 2995), (0.01, 0.9, 99)],
)
def test_too_few_texts_are_refused_with_the_number_that_is_needed(alpha: float, delta: float, needed: int) -> None:
    assert needed_texts(alpha, delta) == needed
    assert conformal_threshold([0.1] * needed, alpha, delta).n == needed
    with pytest.raises(InvalidInput, match=f"{needed - 1} benign texts are too few .* {needed} are needed"):
        conformal_threshold([0.1] * (needed - 1), alpha, delta)


@pytest.mark.parametrize(("alpha", "delta"), [(0, 0.05), (1, 0.05), (-1, 0.05), (math.nan, 0.05), (0.01, 0), (0.01, 1)])
def test_a_rate_or_confidence_that_is_none_is_refused(alpha: float, delta: float) -> None:
    with pytest.raises(InvalidInput, match="must lie between 0 and 1"):
        conformal_threshold([0.1] * 500, alpha, delta)


@pytest.mark.parametrize("risk", [math.nan, math.inf, -0.1, 1.1])
def test_a_risk_that_is_none_is_refused(risk: float) -> None:
    with pytest.raises(InvalidInput, match="not a number in"):
        conformal_threshold([*[0.1] * 500, risk], 0.01, 0.05)


def test_saturated_risks_are_refused_since_no_threshold_lets_any_pass() -> None:
    with pytest.raises(InvalidInput, match="have the highest risk there is"):
        conformal_threshold([1.0] * 500, 0.01, 0.05)


def test_a_threshold_that_no_text_can_reach_is_refused() -> None:
    risks = [0.6] * 100 + [0.1] * 400
    assert conformal_threshold(risks, 0.01, 0.05).threshold == math.nextafter(0.6, 1)
    with pytest.raises(InvalidInput, match="have the highest risk there is"):
        conformal_threshold(risks, 0.01, 0.05, highest=0.6)


@given(seed=st.integers(0, 10**6), digits=st.integers(0, 3))
@settings(max_examples=50, deadline=None)
def test_a_map_fitted_on_the_very_texts_blocks_no_reward_that_the_rewards_themselves_would_pass(
    seed: int, digits: int
) -> None:
    generator = np.random.default_rng(seed)
    rewards = np.round(generator.normal(0, 2, 200), digits)
    curve = fit_isotonic(rewards.tolist(), (generator.random(200) < 1 / (1 + np.exp(rewards))).astype(int).tolist())
    passing = sorted(rewards)[most_allowed(200, 0.05, 0.05)]
    found = conformal_threshold([curve.risk(reward) for reward in rewards.tolist()], 0.05, 0.05)
    assert all(reward < passing for reward in np.linspace(-9, 9, 400) if curve.risk(reward) >= found.threshold)


def test_the_binomial_tails_are_scipys() -> None:
    for n, p in [(10, 0.3), (299, 0.01), (20_000, 0.003)]:
        for k in {0, 1, int(n * p), int(2 * n * p)}:
            assert binomial_cdf(k, n, p) == pytest.approx(binom.cdf(k, n, p), rel=1e-8)
            assert upper_limit(k, n, 0.05) == pytest.approx(beta.ppf(0.95, k + 1, n - k), rel=1e-8)
