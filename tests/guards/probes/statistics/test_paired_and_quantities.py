from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guards.probes.statistics.curve import area, halving_strength
from guards.probes.statistics.paired import benjamini_hochberg, mcnemar
from guards.probes.statistics.quantity import mean, slope, student_quantile

values = st.lists(st.floats(-100, 100), min_size=3, max_size=40)


@given(st.integers(0, 300), st.integers(0, 300))
@settings(max_examples=200, deadline=None)
def test_mcnemar_is_the_exact_binomial_test_of_the_changes(rose: int, fell: int) -> None:
    theirs = stats.binomtest(rose, rose + fell).pvalue if rose + fell else 1.0
    assert mcnemar(rose, fell) == pytest.approx(theirs, rel=1e-9, abs=1e-14)


def test_fewer_than_six_changes_are_never_sure() -> None:
    assert mcnemar(5, 0) > 0.05 > mcnemar(6, 0)


@given(st.lists(st.floats(0, 1), max_size=60))
@settings(max_examples=200, deadline=None)
def test_adjusted_p_values_are_scipys(p_values: list[float]) -> None:
    theirs = stats.false_discovery_control(p_values) if p_values else []
    assert benjamini_hochberg(p_values) == pytest.approx(list(theirs), abs=1e-12)


@given(values, st.sampled_from([0.9, 0.95]))
@settings(deadline=None)
def test_the_mean_has_students_interval(found: list[float], level: float) -> None:
    ours = mean(found, level)
    assert ours is not None
    half = stats.t.ppf(0.5 + level / 2, len(found) - 1) * stats.sem(found)
    assert (ours.low, ours.high) == pytest.approx((np.mean(found) - half, np.mean(found) + half), abs=1e-6)


def test_one_value_tells_nothing_of_the_spread() -> None:
    assert mean([3.0]) is None
    assert slope([1.0, 2.0], [1.0, 2.0]) is None
    assert slope([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None


@given(st.integers(3, 40), st.integers(0, 2**32))
@settings(deadline=None)
def test_the_slope_is_scipys(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    xs, ys = generator.normal(size=n).tolist(), generator.normal(size=n).tolist()
    theirs = stats.linregress(xs, ys)
    ours = slope(xs, ys)
    assert ours is not None
    assert ours.value == pytest.approx(theirs.slope, abs=1e-9)
    assert ours.high - ours.value == pytest.approx(stats.t.ppf(0.975, n - 2) * theirs.stderr, rel=1e-7)


@pytest.mark.parametrize("degrees", [1, 2, 7, 100, 10_000])
def test_students_quantile_is_scipys(degrees: int) -> None:
    assert student_quantile(degrees, 0.95) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-8)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.data())
@settings(deadline=None)
def test_the_area_is_the_mean_height(accuracies: list[float], data: st.DataObject) -> None:
    steps = data.draw(st.lists(st.floats(0.001, 5), min_size=len(accuracies) - 1, max_size=len(accuracies) - 1))
    strengths = np.concatenate([[0.0], np.cumsum(steps)]).tolist()
    found = area(strengths, accuracies)
    assert min(accuracies) - 1e-9 <= found <= max(accuracies) + 1e-9
    assert found * strengths[-1] == pytest.approx(np.trapezoid(accuracies, strengths), abs=1e-9)


def test_the_halving_strength_lies_on_the_line_between_two_points() -> None:
    fgsm = [0.867, 0.828, 0.781, 0.664, 0.426, 0.180]
    strengths = [0.0, 0.005, 0.01, 0.02, 0.05, 0.10]
    assert halving_strength(strengths, fgsm) == pytest.approx(0.0491, abs=1e-3)
    assert halving_strength(strengths, [0.867] * 6) is None
    assert halving_strength(strengths, [0.0] * 6) is None


@pytest.mark.parametrize("strengths", [[0.0], [0.0, 0.0], [0.1, 0.0]])
def test_strengths_that_do_not_rise_are_no_curve(strengths: list[float]) -> None:
    with pytest.raises(ValueError, match="curve"):
        area(strengths, [0.5] * len(strengths))
