from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.errors import ConfigError
from guards.probes.base import Example, ProbeKind, Trial
from guards.probes.redaction import masked, visible
from guards.probes.results import results
from guards.probes.run_file import as_json, probe_run, read_run
from guards.probes.statistics.estimate import Estimate
from guards.probes.statistics.ratio import wilson
from tests.guards.probes.synthetic_run import HOSTILE, attacked, outcome, run_of, setting, summary

REQUIRED = {
    "probe", "target", "category", "kind", "parameters", "trials", "successes", "ratio", "low", "high", "skipped",
    "errors", "clean_accuracy", "adversarial_accuracy", "epsilon", "norm", "mean_value", "mean_low", "mean_high",
    "corrected", "log_evidence",
}  # fmt: skip


def test_trials_of_several_units_are_counted_by_setting() -> None:
    one, other = setting(severity=0.3), setting(severity=1.0)
    rows = results(
        [
            outcome("disguise/0", (one, attacked(2, 10)), (other, attacked(5, 10))),
            outcome("disguise/8", (one, attacked(1, 10, wrong_before=4))),
        ]
    )
    assert [(row.setting, row.successes, row.trials) for row in rows] == [(one, 3, 16), (other, 5, 10)]
    interval = wilson(3, 16)
    assert (rows[0].ratio, rows[0].low, rows[0].high) == (interval.value, interval.low, interval.high)
    assert rows[0].skipped == {"wrong before": 4}
    assert rows[0].clean_accuracy == 16 / 20
    assert rows[0].adversarial_accuracy == 13 / 20
    assert rows[0].accuracy_trials == 20


def test_attacks_and_harmless_use_are_never_one_row() -> None:
    rows = results(
        [outcome("p/0", (setting(ProbeKind.ATTACK), attacked(5, 5)), (setting(ProbeKind.BENIGN), attacked(0, 5)))]
    )
    assert [(row.kind, row.ratio) for row in rows] == [("attack", 1.0), ("benign", 0.0)]


def test_without_a_trial_nothing_is_known() -> None:
    (row,) = results([outcome("p/0", (setting(), attacked(0, 3, wrong_before=3)))])
    assert (row.trials, row.ratio, row.low, row.high) == (0, None, 0.0, 1.0)
    assert row.log_evidence == 0.0
    assert row.adversarial_accuracy == 0.0


def test_evidence_grows_with_successes() -> None:
    none, some, many = (results([outcome("p/0", (setting(), attacked(n, 40)))])[0] for n in (0, 10, 40))
    assert none.log_evidence < 0 < some.log_evidence < many.log_evidence


def test_a_failed_unit_is_told_of_in_the_rows_of_its_probe_alone() -> None:
    other = setting(probe="other")
    rows = results(
        [
            outcome("disguise/0", (setting(), attacked(1, 5))),
            outcome("other/0", (other, attacked(1, 5))),
            outcome("disguise/8", error="BackendError"),
        ]
    )
    assert [(row.probe, row.errors) for row in rows] == [("disguise", 1), ("other", 0)]


def test_epsilon_and_norm_come_from_the_parameters() -> None:
    (row,) = results([outcome("p/0", (setting(attack="fgsm", epsilon=0.05, norm="l2"), attacked(1, 5)))])
    assert (row.epsilon, row.norm) == (0.05, "l2")


def test_a_judges_errors_are_taken_out_where_someone_knows_them() -> None:
    def correct(one: object, successes: int, trials: int) -> Estimate:
        return Estimate(successes / trials / 2, 0.0, 1.0)

    (row,) = results([outcome("p/0", (setting(), attacked(2, 10)))], correct)
    assert row.corrected == Estimate(0.1, 0.0, 1.0)


def test_a_value_is_averaged_over_trials_alone() -> None:
    trials = [Trial("a", value=1.0), Trial("b", value=3.0), Trial("c", value=100.0, skipped="too long"), Trial("d")]
    (row,) = results([outcome("p/0", (setting(), trials))])
    assert row.mean_value == 2.0
    assert row.mean_low is not None
    assert row.mean_low < 2.0


def test_a_run_comes_back_from_its_file(tmp_path: Path) -> None:
    run = run_of(
        (setting(), attacked(3, 20, wrong_before=2)),
        (setting(ProbeKind.BENIGN, probe="überzogen"), attacked(0, 4)),
        (setting(epsilon=0.1, norm="l2"), [Trial("a", True), Trial("a"), Trial("b", skipped="too long")]),
        about=summary(errors={"disguise/1": "BackendError"}, skipped={"jailbreak": "needs model"}, units=(2, 3)),
    )
    path = tmp_path / "run.json"
    path.write_text(as_json(run), encoding="utf-8")
    assert read_run(path) == run
    document = json.loads(path.read_text())
    assert all(row.keys() >= REQUIRED for row in document["results"])
    assert document["run"]["complete"] is False
    assert document["outcomes"][2]["items"] == {"a": "1", "a#2": "0", "b": "-"}


def test_what_was_wrong_before_is_kept_with_what_came_after() -> None:
    trials = [
        Trial("held", clean=True, adversarial=True),
        Trial("fell", True, clean=True, adversarial=False),
        Trial("never", skipped="wrong before", clean=False, adversarial=False),
        Trial("mended", skipped="wrong before", clean=False, adversarial=True),
        Trial("left out", skipped="too long"),
    ]
    (items,) = run_of((setting(), trials)).outcomes
    assert dict(items.items) == {"held": "0", "fell": "1", "never": "W", "mended": "w", "left out": "-"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "not JSON"), ("[]", "no run of probes"), ('{"run": {"format": "wardgate.probes/1"}}', "damaged")],
)
def test_a_file_that_is_no_run_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_run(path)
    assert str(path) in str(caught.value)


def test_texts_leave_no_file_unless_asked_for() -> None:
    measured = (setting(), attacked(3, 5, text="how do locks work"))
    assert "locks" not in as_json(run_of(measured))
    assert "how do locks work" in as_json(run_of(measured, show_examples=True))
    assert "how do locks work" not in repr(run_of(measured, show_examples=True))


def test_the_worst_examples_are_those_of_the_largest_value() -> None:
    trials = [
        Trial(f"item {value}", True, value=value, example=Example("a", "b")) for value in (0.1, -0.9, 0.5, 0.2, -0.3)
    ]
    assert [one.item for one in probe_run(summary(), [outcome("p/0", (setting(), trials))]).examples] == [
        "item -0.9",
        "item 0.5",
        "item -0.3",
    ]


@given(st.text())
@settings(deadline=None)
def test_masking_keeps_the_length_and_no_letter_or_digit(text: str) -> None:
    shown = masked(text)
    assert len(shown) == len(text)
    assert {character for character in shown if character.isalnum()} <= {"x", "X", "0"}


def test_words_in_other_alphabets_and_signs_are_masked_too() -> None:
    assert masked("Wie geht's? Ⓑⓞⓜⓑ ｂｏｍｂ 𝐛𝐨𝐦𝐛 бомба 爆弾 🇧🇴 ⠃⠕") == "Xxx xxxx'x? Xxxx xxxx xxxx xxxxx xx xx xx"
    assert masked("\U000e0062\U000e006f") == "\U000e0078" * 2


def test_invisible_characters_are_written_out() -> None:
    assert visible("a\u200bb\u202e") == "a⟨U+200B⟩b⟨U+202E⟩"
    assert visible("word " * 1000).endswith("(5,000 characters)")
    assert len(visible(HOSTILE * 1000)) < 700
