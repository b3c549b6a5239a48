from __future__ import annotations

from collections.abc import Sequence

import pytest

from guards.errors import InvalidInput
from guards.probes.base import ProbeKind
from guards.probes.model.stress import CASES, Stress, StressConfig
from guards.probes.targets import Judged
from guards.types import Action, Message
from tests.guards.probes.fake_targets import FakeGuard, FakeModel, measured, successes, targets, trials

_PROBE = Stress(StressConfig(name="stress", tokens=2000))


class _Judging(FakeGuard):
    """Says the same of every request, or raises."""

    def __init__(self, outcome: Judged | Exception) -> None:
        super().__init__()
        self._outcome = outcome

    def requests(self, conversations: Sequence[Sequence[Message]]) -> tuple[Judged, ...]:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return (self._outcome,) * len(conversations)


def test_what_reads_everything_and_answers_passes_every_case() -> None:
    rows = measured(_PROBE, targets())
    assert successes(rows) == 0
    assert len(trials(rows, target="guard")) == len(trials(rows, target="model")) == len(CASES)
    assert all(trial.value is not None for trial in trials(rows))


def test_text_that_passes_unread_is_found_and_withheld_or_blank_text_is_no_failure() -> None:
    unread = measured(_PROBE, targets(guard=_Judging(Judged(Action.ALLOW, 0.0, complete=False))))
    assert successes(unread, case="very_long", target="guard") == 1
    assert successes(unread, case="empty") == successes(unread, case="blank") == 0
    withheld = measured(_PROBE, targets(guard=_Judging(Judged(Action.BLOCK, 0.0, complete=False))))
    assert successes(withheld, target="guard") == 0


def test_a_crash_is_a_failure_with_its_type_and_a_refused_input_is_none() -> None:
    crash = measured(_PROBE, targets(guard=_Judging(KeyError("x"))))
    found = trials(crash, target="guard", kind=ProbeKind.ATTACK)
    assert all(trial.success and trial.example and trial.example.answer == "crash: KeyError" for trial in found)
    refused = measured(_PROBE, targets(guard=_Judging(InvalidInput("too long; send less"))))
    assert successes(refused, target="guard") == 0


def test_a_model_without_an_answer_fails_except_on_blank_input() -> None:
    rows = measured(_PROBE, targets(model=FakeModel(lambda text: " ")))
    assert successes(rows, target="model") == len(CASES) - 2


def test_what_takes_too_long_is_a_failure() -> None:
    slow = Stress(StressConfig(name="stress", tokens=10, limit_s=1e-9))
    assert successes(measured(slow, targets())) == 2 * len(CASES)


def test_unknown_cases_and_targets_are_refused() -> None:
    with pytest.raises(ValueError, match="very_long"):
        StressConfig(name="stress", cases=("nope",))
    with pytest.raises(ValueError, match="targets"):
        StressConfig.model_validate({"name": "stress", "targets": ["nobody"]})
