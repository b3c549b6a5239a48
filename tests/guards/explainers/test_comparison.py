from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.explainers.comparison import Case, figures, mean, measure
from guards.explainers.methods import CANDIDATES, METHODS
from tests.guards.explainers.conftest import Opened, item


def test_every_method_is_measured_on_every_text_beside_random_and_auto(small: Opened) -> None:
    cases = [Case(item("hi there"), "request_risk"), Case(item("why?", "not me"), "response_reward")]
    measured = measure(small.explainer, cases, budget_s=60.0)
    table = {row.method: row for row in figures(measured)}
    assert set(table) == {*METHODS, "auto", "random"}
    for row in table.values():
        assert row.comprehensiveness.n == 2
        assert row.comprehensiveness.low <= row.comprehensiveness.value <= row.comprehensiveness.high
    for number in range(len(cases)):
        some = [one for one in measured if one.case is cases[number]]
        quality = {one.method: one.faithfulness.comprehensiveness - one.faithfulness.sufficiency for one in some}
        assert quality["auto"] == max(quality[name] for name in CANDIDATES)


def test_some_methods_alone_are_measured_without_auto(small: Opened) -> None:
    measured = measure(small.explainer, [Case(item("hi there"), "request_risk")], 60.0, ["attention"])
    assert [one.method for one in measured] == ["attention", "random"]


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_an_interval_holds_its_mean_and_repeats(values: list[float]) -> None:
    found = mean(values, seed=3)
    assert found == mean(values, seed=3)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9
    assert found.value == pytest.approx(sum(values) / len(values))
