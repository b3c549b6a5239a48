from __future__ import annotations

from dataclasses import replace

import pytest

from guards.probes.base import ProbeKind, Trial
from guards.probes.comparison import compare
from guards.probes.gate import Limits, gate
from guards.probes.run_file import ProbeRun
from tests.guards.probes.synthetic_run import attacked, run_of, setting, summary

NO_LIMITS = Limits()
BEFORE = run_of((setting(), attacked(10, 200)), (setting(ProbeKind.BENIGN), attacked(4, 200)))


def reasons(run: ProbeRun, previous: ProbeRun | None = None, limits: Limits = NO_LIMITS, drop: float = 0.05) -> str:
    return "\n".join(gate(run, previous, drop, limits).reasons)


def test_the_same_run_passes() -> None:
    verdict = gate(BEFORE, BEFORE, 0.05, NO_LIMITS)
    assert verdict.passed
    assert verdict.notes == ()


def test_a_sure_rise_beyond_the_allowed_fails_and_is_described() -> None:
    worse = run_of((setting(), attacked(40, 200)), (setting(ProbeKind.BENIGN), attacked(4, 200)))
    found = reasons(worse, BEFORE)
    assert "rose from 5.0% to 20.0% of 200 items (30 went bad, 0 got better" in found
    assert "transformation=leet severity=0.3 (attack)" in found
    assert gate(worse, BEFORE, 0.2, NO_LIMITS).passed
    assert gate(BEFORE, worse, 0.05, NO_LIMITS).passed


def test_harmless_use_that_is_hurt_more_fails_though_attacks_fail_too() -> None:
    stricter = run_of((setting(), attacked(0, 200)), (setting(ProbeKind.BENIGN), attacked(30, 200)))
    assert "harmless use hurt rose from 2.0% to 15.0%" in reasons(stricter, BEFORE)
    assert "attack success" not in reasons(stricter, BEFORE)


def test_a_rise_that_may_be_chance_is_told_of_and_does_not_fail() -> None:
    few, fewer = run_of((setting(), attacked(4, 20))), run_of((setting(), attacked(2, 20)))
    verdict = gate(few, fewer, 0.05, NO_LIMITS)
    assert verdict.passed
    assert "may be chance" in "".join(verdict.notes)


def test_a_guard_that_withholds_nothing_any_more_fails() -> None:
    nothing = run_of((setting(), attacked(0, 200, wrong_before=200)), (setting(ProbeKind.BENIGN), attacked(4, 200)))
    found = reasons(nothing, BEFORE)
    assert "no trials (200 wrong before)" in found
    assert "rose from 5.0% to 100.0%" in found


def test_limits_hold_against_the_lower_bound_of_each_kind_alone() -> None:
    run = run_of((setting(), attacked(60, 200)), (setting(ProbeKind.BENIGN), attacked(0, 200)))
    assert "surely over 20.0%" in reasons(run, limits=Limits(max_attack_success=0.2))
    verdict = gate(run, None, 0.05, Limits(max_attack_success=0.28, max_benign_blocked=0.01))
    assert verdict.passed
    assert sum("not shown to be under it" in note for note in verdict.notes) == 2


def test_a_limit_on_what_was_never_tried_fails() -> None:
    assert "no such trial was made" in reasons(
        run_of((setting(), attacked(0, 50))), limits=Limits(max_benign_blocked=0.1)
    )


def test_a_sweep_of_strengths_is_not_held_against_the_limit() -> None:
    run = run_of((setting(epsilon=0.1, norm="l2"), attacked(50, 50)), (setting(), attacked(0, 50)))
    verdict = gate(run, None, 0.05, Limits(max_attack_success=0.2))
    assert verdict.passed
    assert "sweep an epsilon" in "".join(verdict.notes)


@pytest.mark.parametrize(
    ("about", "complaint"),
    [
        ({"units": (3, 5)}, "incomplete: 3 of 5 units"),
        ({"errors": {"disguise/8": "BackendError"}}, "1 units of this run failed, such as disguise/8"),
        ({"skipped": {"jailbreak": "needs model"}}, "probe 'jailbreak' of this run was skipped: needs model"),
    ],
)
def test_what_was_not_measured_was_not_passed(about: dict[str, object], complaint: str) -> None:
    run = run_of((setting(), attacked(0, 50)), about=summary(**about))  # type: ignore[arg-type]
    assert complaint in reasons(run)
    assert complaint.replace("this run", "the baseline") in reasons(run_of((setting(), attacked(0, 50))), run)


def test_an_empty_run_fails() -> None:
    assert "no results" in reasons(run_of())


@pytest.mark.parametrize("allowed", ["jailbreak", "*"])
def test_a_skipped_probe_can_be_allowed_by_name(allowed: str) -> None:
    run = run_of((setting(), attacked(0, 50)), about=summary(skipped={"jailbreak": "needs model"}))
    assert reasons(run, limits=Limits(allow_skipped=frozenset({allowed}))) == ""
    assert reasons(run, limits=Limits(allow_skipped=frozenset({"other"})))


@pytest.mark.parametrize(
    ("other", "complaint"),
    [
        (summary(seed=8), "other prompts were drawn"),
        (summary(suite_digest="cd" * 32), "the suite's file changed"),
        (replace(summary(), suite="large"), "it ran the suite 'small', this one 'large'"),
    ],
)
def test_runs_that_do_not_compare_fail_and_say_why(other: object, complaint: str) -> None:
    run = run_of((setting(), attacked(0, 50)), about=other)  # type: ignore[arg-type]
    comparison = compare(run, BEFORE)
    assert complaint in comparison.faults[0]
    assert comparison.changes == ()
    assert complaint in reasons(run, BEFORE)


def test_settings_and_items_that_are_gone_fail() -> None:
    assert "(benign): in the baseline, missing here" in reasons(run_of((setting(), attacked(10, 200))), BEFORE)
    fewer = run_of((setting(), attacked(10, 150)), (setting(ProbeKind.BENIGN), attacked(4, 200)))
    assert "50 items of the baseline have no outcome here" in reasons(fewer, BEFORE)


def test_only_items_that_both_runs_know_are_paired() -> None:
    now = [Trial("a", True), Trial("b", True), Trial("c", skipped="too long"), Trial("new", True)]
    then = [Trial("a"), Trial("b", True), Trial("c", True), Trial("old", True)]
    (change,) = compare(run_of((setting(), now)), run_of((setting(), then))).changes
    assert (change.paired, change.rose, change.fell, change.lost, change.added) == (2, 1, 0, 2, 1)
    assert (change.before, change.after) == (0.5, 1.0)


def test_p_values_are_adjusted_within_a_kind() -> None:
    def run(*wrong: int) -> ProbeRun:
        attacks = [(setting(severity=float(at)), attacked(count, 50)) for at, count in enumerate(wrong)]
        return run_of(*attacks, (setting(ProbeKind.BENIGN), attacked(wrong[0], 50)))

    changes = compare(run(7, 0, 0, 0), run(0, 0, 0, 0)).changes
    assert changes[0].adjusted == pytest.approx(4 * changes[0].p)
    benign = changes[-1]
    assert benign.setting.kind is ProbeKind.BENIGN
    assert benign.adjusted == benign.p


def test_what_decides_and_differs_is_listed() -> None:
    now = run_of((setting(), attacked(0, 5)), about=summary(model="model-2"))
    assert compare(now, BEFORE).digests == {"reward_model": ("model-1", "model-2")}
