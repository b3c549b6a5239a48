from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import beta, binom

from guards.probes.statistics.anytime import confidence_sequence, log_evidence
from guards.probes.statistics.beta import log_tail, lower
from guards.probes.statistics.ratio import wilson

counted = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
limits = st.sampled_from([0.01, 0.05, 0.3, 0.9])


@given(st.floats(1e-4, 1 - 1e-4), st.floats(0.5, 2000), st.floats(0.5, 2000))
@settings(max_examples=200, deadline=None)
def test_the_beta_function_is_scipys(x: float, a: float, b: float) -> None:
    assert lower(x, a, b) == pytest.approx(beta.cdf(x, a, b), abs=1e-9)
    theirs = float(beta.logsf(x, a, b))
    if theirs > -600:  # below, scipy's own underflows
        assert log_tail(x, a, b) == pytest.approx(theirs, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("successes", "trials", "limit"), [(3, 20, 0.05), (0, 30, 0.1), (9, 9, 0.5), (4, 200, 0.05)])
def test_the_evidence_is_the_mixture_of_likelihood_ratios(successes: int, trials: int, limit: float) -> None:
    def bet(ratio: float) -> float:
        gain = (ratio / limit) ** successes * ((1 - ratio) / (1 - limit)) ** (trials - successes)
        return float(gain * beta.pdf(ratio, 0.5, 0.5))

    whole, _ = integrate.quad(bet, limit, 1, limit=500, epsabs=1e-12)
    assert math.exp(log_evidence(successes, trials, limit)) == pytest.approx(whole / beta.sf(limit, 0.5, 0.5), rel=1e-5)


@given(st.integers(0, 60), limits, st.floats(1e-6, 1))  # scipy overflows at the least floats
@settings(max_examples=100, deadline=None)
def test_under_the_hypothesis_the_evidence_is_worth_one_at_most_on_average(n: int, limit: float, share: float) -> None:
    ratio = limit * share
    values = np.exp([log_evidence(successes, n, limit) for successes in range(n + 1)])
    assert float(binom.pmf(np.arange(n + 1), n, ratio) @ values) <= 1 + 1e-9


@given(st.integers(0, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), limits)
@settings(deadline=None)
def test_the_next_trial_is_a_fair_bet_at_the_limit(counts: tuple[int, int], limit: float) -> None:
    successes, trials = counts
    now = log_evidence(successes, trials, limit)
    hit = math.exp(log_evidence(successes + 1, trials + 1, limit) - now)
    miss = math.exp(log_evidence(successes, trials + 1, limit) - now)
    assert limit * hit + (1 - limit) * miss == pytest.approx(1, rel=1e-7)


@given(counted, limits)
@settings(deadline=None)
def test_a_success_speaks_against_the_limit_and_a_failure_for_it(counts: tuple[int, int], limit: float) -> None:
    successes, trials = counts
    now = log_evidence(successes, trials, limit)
    assert log_evidence(successes + 1, trials + 1, limit) > now > log_evidence(successes, trials + 1, limit)


def test_nothing_tried_says_nothing() -> None:
    assert log_evidence(0, 0, 0.05) == pytest.approx(0)


@given(counted.filter(lambda counts: counts[1] > 0))
@settings(deadline=None)
def test_a_sequence_that_may_be_watched_is_wider_than_an_interval_that_may_not(counts: tuple[int, int]) -> None:
    successes, trials = counts
    watched, fixed = confidence_sequence(successes, trials), wilson(successes, trials)
    assert 0 <= watched.low <= watched.value <= watched.high <= 1
    assert watched.low <= fixed.low + 0.02
    assert watched.high >= fixed.high - 0.02
    assert watched.high - watched.low > fixed.high - fixed.low


def test_watching_it_after_every_trial_raises_few_false_alarms_where_wilson_raises_many() -> None:
    generator = np.random.default_rng(0)
    runs = np.cumsum(generator.random((2000, 500)) < 0.05, axis=1)
    evidence = np.array([_fewest(n, lambda s, n: log_evidence(s, n, 0.05) >= math.log(20)) for n in range(1, 501)])
    peeking = np.array([_fewest(n, lambda s, n: wilson(s, n).low > 0.05) for n in range(1, 501)])
    assert (runs >= evidence).any(axis=1).mean() < 0.05
    assert (runs >= peeking).any(axis=1).mean() > 0.10


def _fewest(n: int, reached: Callable[[int, int], bool]) -> int:
    return next((s for s in range(n + 1) if reached(s, n)), n + 1)


def test_it_stays_finite_over_very_long_runs() -> None:
    assert log_evidence(60_000, 1_000_000, 0.05) > 500
    assert -20 < log_evidence(40_000, 1_000_000, 0.05) < -5
    found = confidence_sequence(50_000, 1_000_000)
    assert 0.048 < found.low < 0.05 < found.high < 0.052


@pytest.mark.parametrize(("successes", "trials", "limit"), [(3, 2, 0.05), (-1, 2, 0.05), (1, 2, 0.0), (1, 2, 1.0)])
def test_what_cannot_be_is_refused(successes: int, trials: int, limit: float) -> None:
    with pytest.raises(ValueError, match=r"successes|hypothesis"):
        log_evidence(successes, trials, limit)
