from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from guards.probes.base import Example, Measured, ProbeKind, Setting, Trial, flipped
from guards.probes.records import UnitOutcome, from_json, to_json

_TEXTS = st.text(max_size=20)
_PARAMETERS = st.dictionaries(_TEXTS, _TEXTS | st.integers(-9, 9) | st.floats(allow_nan=False), max_size=3)
_SETTINGS = st.builds(Setting, _TEXTS, _TEXTS, _TEXTS, st.sampled_from(ProbeKind), _PARAMETERS)
_TRIALS = st.builds(
    Trial,
    _TEXTS,
    st.booleans(),
    _TEXTS,
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.builds(Example, _TEXTS, _TEXTS, _TEXTS),
)
_MEASURED = st.builds(Measured, _SETTINGS, st.lists(_TRIALS, max_size=4).map(tuple))
_OUTCOMES = st.builds(
    UnitOutcome,
    _TEXTS,
    st.floats(0, 1e4).map(lambda s: round(s, 6)),
    st.lists(_MEASURED, max_size=3).map(tuple),
    _TEXTS,
)


@given(_OUTCOMES)
def test_an_outcome_comes_back_from_json_as_it_was(outcome: UnitOutcome) -> None:
    assert from_json(json.loads(json.dumps(to_json(outcome)))) == outcome


def test_what_was_wrong_before_is_no_trial() -> None:
    trial = flipped("a", clean=False, adversarial=False)
    assert trial.skipped
    assert not trial.success


def test_right_before_and_wrong_after_is_a_success_and_keeps_its_example() -> None:
    example = Example("plain", "disguised")
    assert flipped("a", clean=True, adversarial=False, example=example) == Trial(
        "a", success=True, clean=True, adversarial=False, example=example
    )
    assert flipped("a", clean=True, adversarial=True, example=example).example is None


def test_texts_are_not_in_a_trials_representation() -> None:
    assert "plain" not in repr(flipped("a", clean=True, adversarial=False, example=Example("plain", "disguised")))
