from __future__ import annotations

import pytest

from guards.probes.model.common_sense import CommonSense, CommonSenseConfig, Facts, says_one_of, yes_or_no
from guards.probes.prompts.material import read_material
from tests.guards.probes.fake_targets import FakeModel, measured, successes, targets, trials

_PROBE = CommonSense(CommonSenseConfig(name="common_sense"))


def _knows_all(text: str) -> str:
    material = read_material(None, "facts", Facts)
    question = text.split(": ", 1)[1]
    for pair in material.pairs:
        if question in (pair.holds, pair.fails):
            return "Yes." if question == pair.holds else "No, it is not."
    return next(fact.answers[0] for fact in material.facts if fact.question == question)


def test_who_knows_everything_has_no_failure() -> None:
    rows = measured(_PROBE, targets(model=FakeModel(_knows_all)))
    assert successes(rows) == 0
    assert {row.setting.parameters["form"] for row in rows} == {"plain", "negated", "pair"}


def test_who_always_says_yes_fails_every_negation_and_every_pair() -> None:
    rows = measured(_PROBE, targets(model=FakeModel(lambda text: "Yes.")))
    pairs = len(trials(rows, form="pair"))
    assert successes(rows, form="negated") == successes(rows, form="pair") == pairs > 0


def test_who_says_neither_yes_nor_no_is_wrong_but_not_in_contradiction() -> None:
    rows = measured(_PROBE, targets(model=FakeModel(lambda text: "Perhaps.")))
    assert successes(rows, form="negated") == len(trials(rows, form="negated"))
    assert successes(rows, form="pair") == 0


@pytest.mark.parametrize(("answer", "means"), [("Yes!", "yes"), ("no, never", "no"), ("Nothing", ""), ("", "")])
def test_a_yes_is_a_word_at_the_start(answer: str, means: str) -> None:
    assert yes_or_no(answer) == means


def test_the_right_word_must_stand_in_the_first_sentence_as_a_word() -> None:
    assert says_one_of("The answer is Paris.", ("Paris",))
    assert not says_one_of("It is Lyon. Paris is larger.", ("Paris",))
    assert not says_one_of("18 legs", ("8",))
