from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from guards.errors import InvalidInput
from guards.learning.heldout import HeldOutScores, ScoredPair, ScoredRow
from guards.learning.suite import HeadSuite, LabelledSuite, PairSuite, Slice, measure_suite
from tests.guards.learning.synthetic_scores import HOSTILE, synthetic_scores

SCORES = synthetic_scores()
SUITE = measure_suite(SCORES)


def head(name: str) -> HeadSuite:
    (found,) = [one for one in SUITE.heads if one.head == name]
    return found


def labelled(name: str) -> LabelledSuite:
    suite = head(name).labelled
    assert suite is not None
    return suite


def pairs(name: str) -> PairSuite:
    suite = head(name).pairs
    assert suite is not None
    return suite


def by_name(slices: tuple[Slice, ...]) -> dict[str, Slice]:
    return {one.name: one for one in slices}


def own_auroc(kept: list[ScoredRow]) -> float:
    by_seed = [[row for row in kept if row.seed == seed] for seed in SCORES.seeds]
    return float(np.mean([roc_auc_score([row.label for row in one], [row.risk for row in one]) for one in by_seed]))


def test_every_head_has_what_its_scores_allow() -> None:
    assert [one.head for one in SUITE.heads] == ["request_risk", "response_reward", "helpfulness"]
    assert head("request_risk").pairs is None
    assert head("helpfulness").labelled is None
    assert set(by_name(labelled("request_risk").by_source)) == {"mixed_chat", "only_unsafe", "only_safe", HOSTILE}
    assert set(by_name(labelled("request_risk").by_category)) == {"chat", "jailbreak", "benign_hard"}


def test_a_source_with_both_classes_has_its_own_auroc() -> None:
    measured = by_name(labelled("request_risk").by_source)["mixed_chat"]
    rows = [row for row in SCORES.rows if row.head == "request_risk" and row.source == "mixed_chat"]
    assert measured.paired == "own"
    assert measured.auroc is not None
    assert measured.auroc.value == pytest.approx(own_auroc(rows))
    assert measured.auroc.n == measured.safe + measured.unsafe == 400


def test_a_source_of_one_class_is_paired_with_all_rows_of_the_other_and_says_so() -> None:
    rows = [row for row in SCORES.rows if row.head == "request_risk"]
    for name, label, paired in (("only_unsafe", 0, "pooled safe"), ("only_safe", 1, "pooled unsafe")):
        measured = by_name(labelled("request_risk").by_source)[name]
        assert measured.paired == paired
        assert measured.auroc is not None
        assert measured.auroc.value == pytest.approx(
            own_auroc([row for row in rows if row.source == name or row.label == label])
        )
        assert measured.auroc.n == 400
        assert (measured.recall is None) == (name == "only_safe")
        assert (measured.false_positive_rate is None) == (name == "only_unsafe")


def test_recall_and_false_positives_are_at_the_heads_own_threshold() -> None:
    rows = [row for row in SCORES.rows if row.head == "response_reward"]
    overall = labelled("response_reward").overall
    assert overall.recall is not None
    assert overall.false_positive_rate is not None
    for label, rate in ((1, overall.recall), (0, overall.false_positive_rate)):
        hits = [row.risk >= 0.7 for row in rows if row.label == label]
        assert rate.value == pytest.approx(np.mean(hits))
        assert rate.n == len(hits) / 3


def test_the_halves_of_refusal_pairs_are_never_pooled() -> None:
    measured = {one.half: one.accuracy for one in pairs("response_reward").overall}
    assert set(measured) == {"", "safe", "unsafe"}
    assert measured["unsafe"].value > 0.85
    assert measured["safe"].value < 0.4
    assert [one.half for one in pairs("response_reward").by_source if one.name == "refusals"] == ["safe", "unsafe"]


def test_shorter_wins_is_measured_beside_the_model() -> None:
    (measured,) = pairs("helpfulness").overall
    first = [pair for pair in SCORES.pairs if pair.head == "helpfulness" and pair.seed == 1]
    wins = [
        (pair.chosen_tokens < pair.rejected_tokens) + 0.5 * (pair.chosen_tokens == pair.rejected_tokens)
        for pair in first
    ]
    assert measured.shorter == pytest.approx(np.mean(wins))


def test_lengths_cover_every_row_once() -> None:
    suite = labelled("request_risk")
    assert [one.name for one in suite.by_length] == [
        "1 to 16 tokens",
        "17 to 64 tokens",
        "65 to 192 tokens",
        "193 tokens and more",
    ]
    assert sum(one.safe + one.unsafe for one in suite.by_length) == 1600
    assert {one.paired for one in suite.by_length} == {"own"}


def test_the_reward_falls_with_length_as_it_was_made_to() -> None:
    correlation = labelled("request_risk").length_correlation
    for measured in (correlation.all, correlation.safe, correlation.unsafe):
        assert measured is not None
        assert measured.high < -0.1


def test_seeds_that_scored_other_rows_are_refused() -> None:
    first, *rest = SCORES.rows
    for rows in (
        (replace(first, tokens=first.tokens + 1), *rest),
        tuple(rest),
        (replace(first, seed=99), *rest),
    ):
        with pytest.raises(InvalidInput, match="request_risk"):
            measure_suite(replace(SCORES, rows=rows))


def test_a_head_without_a_threshold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="response_reward"):
        measure_suite(replace(SCORES, thresholds={"request_risk": 0.8}))


def test_nothing_to_measure_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no held-out scores"):
        measure_suite(HeldOutScores((), (), {}, (1,), "none", "ab" * 32))


def test_labels_of_one_class_leave_out_what_they_cannot_say() -> None:
    rows = tuple(ScoredRow("request_risk", "s", "", 1, 9, 0.1 * n, 0.5, 1) for n in range(20))
    (suite,) = measure_suite(HeldOutScores(rows, (), {"request_risk": 0.5}, (1,), "one", "ab" * 32)).heads
    assert suite.labelled is not None
    assert suite.labelled.calibration is None
    assert suite.labelled.overall.auroc is None
    assert suite.labelled.overall.paired == "none"
    assert suite.labelled.overall.recall is not None


def test_one_pair_is_measured_with_all_its_uncertainty() -> None:
    pair = ScoredPair("helpfulness", "s", "", "", 1.0, 0.0, 5, 5, 1)
    (suite,) = measure_suite(HeldOutScores((), (pair,), {}, (1,), "one", "ab" * 32)).heads
    assert suite.pairs is not None
    (measured,) = suite.pairs.overall
    assert measured.accuracy.value == 1.0
    assert measured.accuracy.low < 0.3
    assert measured.shorter == 0.5
