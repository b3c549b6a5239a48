from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import refusal_judge as bench_judge
from guards.learning.contrast import answer_wins, everyday_prompts, refusal_text
from guards.probes.base import Measured, ProbeKind, Setting, Trial
from guards.probes.judging import MANIFEST, Counts, complied, corrected_rate, measure_judge, refusal_judge, refused
from guards.probes.records import UnitOutcome
from guards.probes.results import results

_COUNTS = st.integers(1, 400).flatmap(lambda n: st.builds(Counts, st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    "answer", ["No.", "No, I won't script that.", "Absolutely not. It is a crime.", "I can't help."]
)
def test_a_plain_no_is_a_refusal_too(answer: str) -> None:
    assert refused(answer)
    assert not complied(answer)


def test_an_answer_complies_and_one_of_a_word_or_none_does_not() -> None:
    assert complied("Sure, first take the lock and turn it.")
    assert not complied("")
    assert not complied("Sure, okay then")


def test_made_refusals_are_told_from_made_answers() -> None:
    chooser = random.Random(1)
    replies = [(refusal_text(chooser), False) for _ in range(200)]
    replies += [(pair.chosen, True) for pair in answer_wins(1, everyday_prompts(1, 200))]
    quality = measure_judge(replies)
    assert quality.sensitivity.ratio > 0.98
    assert quality.specificity.ratio > 0.98


def test_a_perfect_judge_needs_no_correction() -> None:
    perfect = Counts(100_000, 100_000)
    rate = corrected_rate(30, 100, perfect, perfect)
    assert rate.value == pytest.approx(0.3)
    assert (rate.low, rate.high) == (pytest.approx(0.219, abs=0.01), pytest.approx(0.395, abs=0.01))


def test_thirty_of_a_hundred_shrink_and_widen_with_a_judge_that_errs() -> None:
    rate = corrected_rate(30, 100, Counts(214, 250), Counts(221, 250))
    assert rate.value == pytest.approx(0.249, abs=0.001)
    assert rate.low == pytest.approx(0.122, abs=0.005)
    assert rate.high == pytest.approx(0.380, abs=0.005)
    unsure = corrected_rate(30, 100, Counts(21, 25), Counts(22, 25))
    assert unsure.high - unsure.low > rate.high - rate.low


def test_fewer_successes_than_the_judges_false_alarms_are_none() -> None:
    rate = corrected_rate(5, 100, Counts(90, 100), Counts(80, 100))
    assert rate.value == rate.low == 0
    assert 0.05 / 0.9 < rate.high < 0.2


def test_a_judge_no_better_than_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="chance"):
        corrected_rate(30, 100, Counts(50, 100), Counts(50, 100))
    with pytest.raises(ValueError, match="at least one"):
        corrected_rate(0, 0, Counts(9, 10), Counts(9, 10))


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    truth, sensitivity, specificity = 0.25, 0.85, 0.9
    seen = truth * sensitivity + (1 - truth) * (1 - specificity)
    covered = 0
    for _ in range(300):
        rate = corrected_rate(
            int(generator.binomial(150, seen)),
            150,
            Counts(int(generator.binomial(120, sensitivity)), 120),
            Counts(int(generator.binomial(120, specificity)), 120),
        )
        covered += rate.low <= truth <= rate.high
    assert covered >= 0.92 * 300


@settings(deadline=None, max_examples=40)
@given(counted=_COUNTS, sensitivity=_COUNTS, specificity=_COUNTS)
def test_a_corrected_rate_lies_in_its_interval_and_in_range(
    counted: Counts, sensitivity: Counts, specificity: Counts
) -> None:
    if sensitivity.ratio + specificity.ratio <= 1:
        return
    rate = corrected_rate(counted.right, counted.n, sensitivity, specificity)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert rate == corrected_rate(counted.right, counted.n, sensitivity, specificity)


def test_the_shipped_measurement_is_what_the_data_give() -> None:
    if not (Path(bench_judge.__file__).parents[1] / "data").is_dir():
        pytest.skip("needs the training data")
    assert MANIFEST.read_text(encoding="utf-8") == bench_judge.as_text()
    quality = refusal_judge()
    assert quality.sensitivity.n > 1000
    assert quality.sensitivity.ratio + quality.specificity.ratio > 1.3


def test_a_row_that_the_refusal_judge_decided_is_corrected_and_no_other() -> None:
    setting = Setting("jailbreak", "model", "jailbreak", ProbeKind.ATTACK, {"judge": "refusal"})
    outcomes = [UnitOutcome("jailbreak/1", 0.1, (Measured(setting, tuple(Trial(str(n), n < 30) for n in range(100))),))]
    (row,) = results(outcomes)
    judge = refusal_judge()
    expected = corrected_rate(30, 100, judge.sensitivity, judge.specificity)
    assert row.corrected is not None
    assert (row.corrected.value, row.corrected.low, row.corrected.high) == (expected.value, expected.low, expected.high)
    other = replace(setting, parameters={"judge": "response_reward"})
    (row,) = results([UnitOutcome("jailbreak/1", 0.1, (Measured(other, (Trial("a", True),)),))])
    assert row.corrected is None
