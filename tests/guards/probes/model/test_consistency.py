from __future__ import annotations

import pytest

from guards.probes.model.consistency import Consistency, ConsistencyConfig, Questions, agreement_threshold
from guards.probes.prompts.material import read_material
from tests.guards.probes.fake_targets import FakeEncoder, FakeModel, measured, successes, targets, trials

_PROBE = Consistency(ConsistencyConfig(name="consistency", items=4))


def test_the_same_answer_everywhere_is_consistent() -> None:
    rows = measured(_PROBE, targets(model=FakeModel(lambda text: "Paris is the capital.")))
    assert successes(rows) == 0
    assert all(trial.value == pytest.approx(1.0) for trial in trials(rows))


def test_an_answer_that_hangs_on_the_case_is_found_under_that_change() -> None:
    model = FakeModel(lambda text: "do not shout" if text.isupper() else "Paris is the capital")
    rows = measured(_PROBE, targets(model=model))
    assert successes(rows, change="upper") == 4
    assert successes(rows) == 4


def test_the_threshold_parts_answers_to_one_question_from_those_to_others() -> None:
    items = read_material(None, "consistency", Questions).items
    encoder = FakeEncoder()
    threshold = agreement_threshold(encoder, items)
    first = encoder.vectors([item.answers[0] for item in items])
    second = encoder.vectors([item.answers[1] for item in items])
    same = sum(float(a @ b) > threshold for a, b in zip(first, second, strict=True))
    different = sum(
        float(first[i] @ second[j]) > threshold for i in range(len(items)) for j in range(len(items)) if i != j
    )
    assert same / len(items) > 0.6
    assert different / (len(items) * (len(items) - 1)) < 0.2
