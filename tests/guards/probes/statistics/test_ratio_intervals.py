from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from guards.probes.statistics.ratio import trials_for_none, wilson


@st.composite
def counts(draw: st.DrawFn, most: int = 5000) -> tuple[int, int]:
    trials = draw(st.integers(1, most))
    return draw(st.integers(0, trials)), trials


@given(counts(), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=200, deadline=None)
def test_wilsons_interval_is_scipys(counted: tuple[int, int], level: float) -> None:
    successes, trials = counted
    theirs = binomtest(successes, trials).proportion_ci(level, method="wilson")
    ours = wilson(successes, trials, level)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(counts())
@settings(deadline=None)
def test_the_interval_holds_the_ratio_and_mirrors_with_the_outcomes(counted: tuple[int, int]) -> None:
    successes, trials = counted
    one, other = wilson(successes, trials), wilson(trials - successes, trials)
    assert 0 <= one.low <= one.value <= one.high <= 1
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-12)


def test_no_success_claims_less_only_from_enough_trials() -> None:
    assert [trials_for_none(limit) for limit in (0.05, 0.02, 0.01)] == [73, 189, 381]
    for limit in (0.5, 0.05, 0.003):
        needed = trials_for_none(limit)
        assert wilson(0, needed).high < limit
        assert needed == 1 or wilson(0, needed - 1).high >= limit


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_counts_that_cannot_be_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="at least one trial"):
        wilson(successes, trials)
