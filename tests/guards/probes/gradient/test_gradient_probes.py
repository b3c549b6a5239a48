"""The gradient probes of a suite, planned and run as the harness does it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from guards.errors import ConfigError
from guards.probes.base import Measured, ProbeKind, Trial
from guards.probes.gradient.reward_head import RewardHeadClassifier
from guards.probes.harness import plan, run
from guards.probes.records import UnitOutcome, from_json, to_json
from guards.probes.suite import Suite, load_suite, named_suite
from guards.probes.targets import Exchange, Judged, Targets
from guards.types import Action, Message, part_text

EMBEDDING = """
name: tiny
description: For tests.
probes:
  - kind: embedding_attack
    name: embedding
    epsilons: [0, 0.1, 1.0, 3.0]
    harmful: {texts: [do re mi, x y z w, h i j k l m], label: 1}
    benign: {texts: [a, "why not?"], label: 0}
"""
WORDS = """
name: tiny
description: For tests.
probes:
  - kind: hotflip
    name: words
    words: 2
    harmful: {texts: [do re mi, go a by b, "why not?", a do b re c mi d, q or 7 e, a], label: 1}
    benign: {texts: [do re mi, go a by b, "why not?", a do b re c mi d, q or 7 e, a], label: 0}
"""


class GuardByLetter:
    """Withholds what has an o in it."""

    def requests(self, conversations: Sequence[Sequence[Message]]) -> tuple[Judged, ...]:
        texts = ["".join(part_text(part) for part in messages[-1].parts) for messages in conversations]
        return tuple(Judged(Action.BLOCK, 0.9) if "o" in text else Judged(Action.ALLOW, 0.1) for text in texts)

    def responses(self, exchanges: Sequence[Exchange]) -> tuple[Judged, ...]:
        raise AssertionError("the texts are requests")


def suite_of(tmp_path: Path, text: str) -> Suite:
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    return load_suite(path)


def measured(suite: Suite, targets: Targets) -> list[Measured]:
    outcomes: list[UnitOutcome] = []
    assert run(plan(suite, targets), targets, outcomes.append)
    assert not [outcome for outcome in outcomes if outcome.error]
    assert [from_json(to_json(outcome)).measured for outcome in outcomes] == [one.measured for one in outcomes]
    return [one for outcome in outcomes for one in outcome.measured]


def trials(found: list[Measured], **parameters: object) -> list[Trial]:
    return [
        trial
        for one in found
        if all(one.setting.parameters[name] == value for name, value in parameters.items())
        for trial in one.trials
    ]


@pytest.fixture
def targets(head: RewardHeadClassifier) -> Targets:
    return Targets(gradients={"request_risk": head}.__getitem__)


def test_every_attack_norm_and_epsilon_is_a_row_of_its_own(tmp_path: Path, targets: Targets) -> None:
    found = measured(suite_of(tmp_path, EMBEDDING), targets)
    rows = {one.setting.key for one in found}
    figures = 5  # FGSM and PGD both raw and worst so far, the control raw
    assert len(rows) == figures * 2 * 4 * 2  # norms, epsilons, kinds
    assert {one.setting.target for one in found} == {"request_risk"}
    assert len(trials(found, attack="pgd", norm="l2", epsilon=1.0, figure="raw")) == 5


def test_no_epsilon_gives_the_clean_accuracy_and_the_worst_so_far_only_falls(tmp_path: Path, targets: Targets) -> None:
    found = measured(suite_of(tmp_path, EMBEDDING), targets)
    for attack in ("fgsm", "pgd", "random_direction"):
        for norm in ("l2", "linf"):
            for figure in ("raw",) if attack == "random_direction" else ("raw", "worst so far"):
                curve = [
                    trials(found, attack=attack, norm=norm, epsilon=epsilon, figure=figure)
                    for epsilon in (0.0, 0.1, 1.0, 3.0)
                ]
                assert all(trial.clean == trial.adversarial for trial in curve[0])
                rights = [sum(bool(trial.adversarial) for trial in at) for at in curve]
                assert figure == "raw" or rights == sorted(rights, reverse=True)


def test_pgd_is_right_no_oftener_than_fgsm_on_any_text(tmp_path: Path, targets: Targets) -> None:
    found = measured(suite_of(tmp_path, EMBEDDING), targets)
    for figure in ("raw", "worst so far"):
        by_pgd, by_fgsm = (trials(found, attack=attack, figure=figure) for attack in ("pgd", "fgsm"))
        assert len(by_pgd) == len(by_fgsm) > 0
        assert not any(often.adversarial and not once.adversarial for often, once in zip(by_pgd, by_fgsm, strict=True))
    assert any(not trial.adversarial and trial.clean for trial in trials(found, attack="pgd"))


def test_the_same_seed_gives_the_same_results(tmp_path: Path, targets: Targets) -> None:
    suite = suite_of(tmp_path, EMBEDDING)
    assert measured(suite, targets) == measured(suite, targets)


def test_a_success_turns_what_was_right_and_what_was_wrong_before_is_skipped(tmp_path: Path, targets: Targets) -> None:
    for one in measured(suite_of(tmp_path, EMBEDDING), targets):
        for trial in one.trials:
            assert trial.success == (bool(trial.clean) and not trial.adversarial)
            assert bool(trial.skipped) == (not trial.clean)


def test_flipped_texts_are_judged_by_the_guard_too(tmp_path: Path, head: RewardHeadClassifier) -> None:
    targets = Targets(guard=GuardByLetter(), gradients={"request_risk": head}.__getitem__)
    found = measured(suite_of(tmp_path, WORDS), targets)
    by_head, by_guard = (
        {(one.setting.kind, t.item): t for one in found if one.setting.target == target for t in one.trials}
        for target in ("request_risk", "guard")
    )
    assert by_head.keys() == by_guard.keys()
    assert len(by_head) == 12
    assert any(trial.success for trial in by_head.values())
    for item, own in by_head.items():
        if not own.clean:
            assert by_guard[item].skipped
    for one in found:
        for trial in one.trials:
            if trial.success and one.setting.target == "guard" and one.setting.kind is ProbeKind.ATTACK:
                assert trial.example is not None
                assert "o" in trial.example.original
                assert "o" not in trial.example.attacked
                assert trial.value == pytest.approx(-0.8)


def test_without_a_guard_only_the_classifier_is_asked(tmp_path: Path, targets: Targets) -> None:
    found = measured(suite_of(tmp_path, WORDS), targets)
    assert {one.setting.target for one in found} == {"request_risk"}


def test_without_torch_a_run_says_what_it_skipped() -> None:
    planned = plan(named_suite(None, "gradient"), Targets())
    assert not planned.units
    assert set(planned.skipped) == {"embedding_attack", "hotflip", "hotflip-near"}
    assert "gradients" in planned.skipped["embedding_attack"]


def test_planning_the_suite_never_loads_torch() -> None:
    program = (
        "import sys, guards.probes.registry\n"
        "from guards.probes.suite import named_suite\n"
        "assert named_suite(None, 'gradient').units()\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[4])


def test_epsilons_begin_with_the_clean_accuracy(tmp_path: Path) -> None:
    for written in ("[0.1, 0.2]", "[0, 0.2, 0.1]", "[]"):
        with pytest.raises(ConfigError, match="epsilons"):
            suite_of(tmp_path, EMBEDDING.replace("[0, 0.1, 1.0, 3.0]", written))


def test_a_label_that_the_classifier_has_not_is_refused_by_name(tmp_path: Path, targets: Targets) -> None:
    suite = suite_of(tmp_path, EMBEDDING.replace("name: embedding\n", "name: embedding\n    gold: [good, bad]\n"))
    _, unit = suite.units()[0]
    with pytest.raises(ConfigError, match=r"'bad'.*passes, withheld"):
        unit.run(targets)
