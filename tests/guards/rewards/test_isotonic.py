from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.isotonic import IsotonicRegression

from guards.rewards.isotonic import Isotonic, fit_isotonic

ROWS = st.lists(st.tuples(st.floats(-8, 8).map(lambda x: round(x, 1)), st.integers(0, 1)), min_size=1, max_size=80)


@given(rows=ROWS, looked_at=st.lists(st.floats(-20, 20), min_size=2, max_size=40))
@settings(deadline=None)
def test_risk_never_rises_with_reward(rows: list[tuple[float, int]], looked_at: list[float]) -> None:
    curve = fit_isotonic([reward for reward, _ in rows], [label for _, label in rows])
    risks = [curve.risk(reward) for reward in sorted(looked_at)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(risks))
    assert all(0 < risk < 1 for risk in risks)


@given(rows=ROWS)
@settings(deadline=None)
def test_blocks_are_those_of_a_known_implementation(rows: list[tuple[float, int]]) -> None:
    rewards, labels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    theirs = IsotonicRegression(increasing=False, y_min=0, y_max=1).fit_transform(rewards, labels)
    curve = fit_isotonic(rewards.tolist(), labels.tolist())
    margin = 1 / (len(rows) + 2)
    levels = np.unique(np.clip(theirs, margin, 1 - margin).round(9))
    assert np.unique(np.round(curve.risks, 9)).tolist() == levels.tolist()


def test_equal_rewards_have_one_risk_whatever_their_order() -> None:
    rewards, labels = [0.0, 0.0, 0.0, 1.0], [1, 0, 1, 0]
    curve = fit_isotonic(rewards, labels)
    assert curve == fit_isotonic(rewards[::-1], labels[::-1])
    assert curve.risk(0.0) == pytest.approx(2 / 3)


def test_it_reads_back_as_it_was_written() -> None:
    curve = fit_isotonic([0.1, 0.2, 0.30000000000000004, 5], [1, 1, 0, 0])
    assert Isotonic.model_validate_json(curve.model_dump_json()) == curve


def test_a_reward_that_is_no_number_has_no_risk() -> None:
    assert math.isnan(fit_isotonic([0.0, 1.0], [1, 0]).risk(math.nan))


@pytest.mark.parametrize(
    ("rewards", "risks"),
    [([0, 1], [0.1, 0.9]), ([1, 0], [0.9, 0.1]), ([0, 0], [0.9, 0.1]), ([0], [0.9, 0.1]), ([0], [1.1]), ([], [])],
)
def test_a_curve_that_rises_or_makes_no_sense_is_refused(rewards: list[float], risks: list[float]) -> None:
    with pytest.raises(ValidationError):
        Isotonic(rewards=tuple(rewards), risks=tuple(risks))
