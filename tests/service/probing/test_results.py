"""What a run came to, on its way through the store."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from guards.probes.base import Measured, ProbeKind, Setting, Trial
from guards.probes.records import UnitOutcome
from guards.probes.results import results
from service.probing.results import results_to_json, rows_from_json

TRIALS = st.builds(
    Trial,
    st.text(min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["", "", "wrong before"]),
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.floats(-10, 10),
)
SETTINGS = st.builds(
    Setting,
    st.just("probe"),
    st.sampled_from(["guard", "request_risk"]),
    st.sampled_from(["encoding", "gradient"]),
    st.sampled_from(ProbeKind),
    st.dictionaries(st.sampled_from(["attack", "epsilon", "norm"]), st.integers(0, 3), max_size=3),
)
MEASURED = st.builds(Measured, SETTINGS, st.lists(TRIALS, max_size=5).map(tuple))


@given(st.lists(st.lists(MEASURED, max_size=3).map(tuple), max_size=4))
def test_rows_come_back_as_they_were(measured: list[tuple[Measured, ...]]) -> None:
    outcomes = [UnitOutcome(f"probe/{number}", 0.5, one) for number, one in enumerate(measured)]
    document = json.loads(json.dumps(results_to_json(outcomes, {}), allow_nan=False))
    assert rows_from_json(document) == results(outcomes)
    assert (document["units_done"], document["spent_s"]) == (len(outcomes), 0.5 * len(outcomes))


def test_a_probe_whose_units_failed_is_told_of() -> None:
    outcomes = [UnitOutcome("a/1", 1.0, error="KeyError"), UnitOutcome("a/2", 1.0, error="OSError")]
    skipped = results_to_json(outcomes, {"b": "needs model"})["skipped"]
    assert skipped == {"a": "2 units failed (KeyError, OSError); see the log", "b": "needs model"}


def test_results_of_another_format_show_no_rows() -> None:
    assert rows_from_json(None) == ()
    assert rows_from_json({"format": 2, "rows": [{"unheard": "of"}]}) == ()
