from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.errors import ConfigError
from guards.probes.gradient.decision_point import turning_reward
from guards.rewards.isotonic import Isotonic
from guards.rewards.manifest import Calibration


@given(st.floats(0.1, 5), st.floats(-3, 3), st.floats(0.01, 0.99))
def test_texts_up_to_the_turn_reach_the_threshold_and_no_other(a: float, b: float, threshold: float) -> None:
    calibration = Calibration(method="platt", a=a, b=b, id="test")
    turn = turning_reward("head", calibration.risk, threshold)
    assert calibration.risk(turn) >= threshold
    assert calibration.risk(math.nextafter(turn, math.inf)) < threshold
    assert turn == pytest.approx((-math.log(threshold / (1 - threshold)) - b) / a, abs=1e-6)


def test_a_calibrated_curve_turns_at_the_end_of_a_flat_part() -> None:
    curve = Isotonic(rewards=(-2.0, -1.0, 1.0), risks=(0.9, 0.5, 0.5))
    assert turning_reward("head", curve.risk, 0.9) == pytest.approx(-2.0)
    assert turning_reward("head", curve.risk, 0.7) == pytest.approx(-1.5)


def test_a_threshold_that_no_reward_reaches_is_refused_by_name() -> None:
    curve = Isotonic(rewards=(-2.0, 1.0), risks=(0.6, 0.1))
    with pytest.raises(ConfigError, match="'head'"):
        turning_reward("head", curve.risk, 0.7)
