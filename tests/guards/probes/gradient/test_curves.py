from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.probes.gradient.curves import area_under, eps50

FGSM = [(0, 0.867), (0.005, 0.828), (0.01, 0.781), (0.02, 0.664), (0.05, 0.426), (0.1, 0.180)]
accuracies = st.lists(st.floats(0, 1), min_size=2, max_size=8)


def test_it_halves_where_the_line_between_two_points_crosses_the_half() -> None:
    assert eps50([(0, 1.0), (0.1, 0.5), (0.2, 0.0)]) == pytest.approx(0.1)
    assert eps50([(0, 0.8), (0.1, 0.6), (0.3, 0.2)]) == pytest.approx(0.2)
    assert eps50(FGSM) == pytest.approx(0.05, abs=0.002)  # 0.4335 is half of the clean accuracy


def test_a_curve_that_never_halves_has_no_such_epsilon() -> None:
    assert eps50([(0, 0.9), (0.1, 0.9)]) is None
    assert eps50([(0, 0.0), (0.1, 0.0)]) is None
    assert eps50([(0, 0.9)]) is None
    assert eps50([]) is None


def test_the_area_is_the_mean_accuracy_over_the_range() -> None:
    assert area_under([(0, 1.0), (0.1, 0.0)]) == pytest.approx(0.5)
    assert area_under([(0, 0.7), (0.05, 0.7), (0.2, 0.7)]) == pytest.approx(0.7)
    assert area_under([(0, 0.7)]) is None
    assert area_under([(0.1, 0.7), (0.1, 0.2)]) is None


@given(accuracies)
def test_the_order_of_the_points_does_not_matter_and_the_figures_stay_in_range(values: list[float]) -> None:
    points = [(0.01 * place, value) for place, value in enumerate(values)]
    area, half = area_under(points), eps50(points)
    assert area == area_under(reversed(points))
    assert area is not None
    assert min(values) - 1e-9 <= area <= max(values) + 1e-9
    assert half == eps50(reversed(points))
    assert half is None or 0 <= half <= points[-1][0]


@given(accuracies)
def test_a_curve_that_lies_lower_has_less_area_and_halves_no_later(values: list[float]) -> None:
    upper = [(0.01 * place, value) for place, value in enumerate(values)]
    lower = [upper[0], *((epsilon, value * 0.5) for epsilon, value in upper[1:])]
    high, low = area_under(upper), area_under(lower)
    assert high is not None
    assert low is not None
    assert low <= high + 1e-9
    if (later := eps50(upper)) is not None:
        sooner = eps50(lower)
        assert sooner is not None
        assert sooner <= later + 1e-9
